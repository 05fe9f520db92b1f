"""Pure data movement, as algebra: any chain of reshapes and permutations in its shortest form.

A chain is held as *atoms*: factors of the input's dimensions, fine enough that every step only regroups or
reorders them. The shortest form is then one reshape into atoms, one transposition, one reshape out, and
each of the three vanishes where it would do nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod


@dataclass(frozen=True)
class Reshape:
    """Give the elements, in row-major order, this shape."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Permute:
    """Put dimension `perm[i]` at place i."""

    perm: tuple[int, ...]


Step = Reshape | Permute


@dataclass(frozen=True)
class Move:
    """`reshape(split)`, `transpose(perm)`, `reshape(shape)`; a pure reshape has an identity `perm`."""

    split: tuple[int, ...]
    perm: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def transposes(self) -> bool:
        """Whether data moves at all."""
        return self.perm != tuple(range(len(self.perm)))


def shortest(shape: Sequence[int], steps: Iterable[Step]) -> tuple[Move, ...]:
    """The fewest moves that do what `steps` do to a tensor of `shape`.

    One, except where a step regroups dimensions in a way that no common factor serves (4x6 to 3x8 after a
    transposition); there a new move begins. A chain that does nothing gives no move.
    """
    moves: list[Move] = []
    chain = _Atoms.of(shape)
    current = tuple(shape)
    for step in steps:
        if isinstance(step, Permute):
            chain = chain.permuted(step.perm)
            current = tuple(current[i] for i in step.perm)
            continue
        regrouped = chain.reshaped(step.shape)
        if regrouped is None:
            moves.append(chain.move())
            regrouped = _Atoms.of(current).reshaped(step.shape) or _Atoms.of(step.shape)
        chain, current = regrouped, step.shape
    moves.append(chain.move())
    sources = [tuple(shape), *(move.shape for move in moves)]
    return tuple(m for m, source in zip(moves, sources) if m.transposes or m.shape != source)


@dataclass(frozen=True)
class _Atoms:
    """`source`: atom sizes in input order; `groups`: for each current dimension, the atoms it is made of."""

    source: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, shape: Sequence[int]) -> _Atoms:
        return cls(tuple(shape), tuple((i,) for i in range(len(shape))))

    def permuted(self, perm: Sequence[int]) -> _Atoms:
        return _Atoms(self.source, tuple(self.groups[i] for i in perm))

    def reshaped(self, shape: Sequence[int]) -> _Atoms | None:
        """Regroup into `shape`, splitting atoms where needed; None where sizes share no factor."""
        if 0 in shape or 0 in self.source:
            return None if self.groups != tuple((i,) for i in range(len(self.source))) else _Atoms.of(shape)
        sizes = dict(enumerate(self.source))
        parts: dict[int, list[int]] = {i: [i] for i in sizes}
        pending = [atom for group in self.groups for atom in group]
        groups: list[tuple[int, ...]] = []
        for size in shape:
            group: list[int] = []
            while size > 1:
                if not pending:
                    return None
                atom = pending.pop(0)
                if sizes[atom] > size:
                    if sizes[atom] % size:
                        return None
                    rest = len(sizes)
                    sizes[rest], sizes[atom] = sizes[atom] // size, size
                    owner = next(places for places in parts.values() if atom in places)
                    owner.insert(owner.index(atom) + 1, rest)
                    pending.insert(0, rest)
                if size % sizes[atom]:
                    return None
                size //= sizes[atom]
                group.append(atom)
            groups.append(tuple(group))
        order = [atom for i in range(len(self.source)) for atom in parts[i]]
        place = {atom: i for i, atom in enumerate(order)}
        return _Atoms(tuple(sizes[a] for a in order), tuple(tuple(place[a] for a in g) for g in groups))

    def move(self) -> Move:
        """The chain as one move, with neighbouring atoms that stay neighbours joined and units dropped."""
        shape = tuple(prod(self.source[a] for a in group) for group in self.groups)
        atoms = [a for group in self.groups for a in group if self.source[a] != 1]
        follows = dict(pairwise(atoms))
        real = [a for a in range(len(self.source)) if self.source[a] != 1]
        runs: list[list[int]] = []
        for atom in real:
            if runs and follows.get(runs[-1][-1]) == atom:
                runs[-1].append(atom)
            else:
                runs.append([atom])
        heads = {run[0]: i for i, run in enumerate(runs)}
        perm = tuple(heads[a] for a in atoms if a in heads)
        return Move(tuple(prod(self.source[a] for a in run) for run in runs), perm, shape)
