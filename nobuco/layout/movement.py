"""Pure data movement, as algebra: any chain of reshapes and permutations in its shortest form.

A chain is held as *atoms*: factors of the input's dimensions, fine enough that every step only regroups or
reorders them. The shortest form is then one reshape into atoms, one transposition, one reshape out, and
each of the three vanishes where it would do nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np

from nobuco.layout.channels import Order


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

    @property
    def transposed(self) -> tuple[int, ...]:
        """The shape between the transposition and the reshape behind it."""
        return tuple(self.split[i] for i in self.perm)


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


# What every runtime transposes: a GPU takes no more dimensions. A move that has more by nature may keep as many.
_MOST_NATURAL = 4


def without_reshapes(move: Move, source: Sequence[int]) -> Move:
    """A move of a tensor of shape `source` in dimensions that it or the result has, where that saves a reshape.

    `shortest` joins what stays together, which leaves least to transpose; but a reshape to that form, or back, costs a
    copy in most runtimes, and a transposition of a dimension more costs nothing.
    """
    if not move.transposes or 0 in move.split:
        return move
    most = max(_MOST_NATURAL, len(move.split))
    lying = [move.split[i] for i in move.perm]
    own = _cuts(move.split, source)
    theirs = {move.perm[i]: cuts for i, cuts in _cuts(lying, move.shape).items()}
    both = {i: own.get(i, set()) | theirs.get(i, set()) for i in {*own, *theirs}}
    candidates = [move]
    for cuts in (own, theirs, both):
        finer = _finer(move, cuts)
        candidates += [finer, _with_units(finer, source)]
    short = [m for m in candidates if len(m.split) <= most]
    return min(short, key=lambda m: (m.split != tuple(source)) + (m.transposed != m.shape))


def _cuts(runs: Sequence[int], shape: Sequence[int]) -> dict[int, set[int]]:
    """By run of elements, after how many of its parts a dimension of `shape` begins inside it."""
    bounds = {prod(shape[:i]) for i in range(1, len(shape))}
    cuts = {}
    for i, size in enumerate(runs):
        ahead = prod(runs[:i])
        inside = {bound // ahead for bound in bounds if bound % ahead == 0 and ahead < bound < ahead * size}
        cuts[i] = {cut for cut in inside if size % cut == 0}
    return cuts


def _finer(move: Move, cuts: Mapping[int, set[int]]) -> Move:
    """The same move with its dimensions cut; as it is where two cuts of one do not go together."""
    parts: list[list[int]] = []
    for i, size in enumerate(move.split):
        at = [1, *sorted(cuts.get(i, ())), size]
        if any(b % a for a, b in pairwise(at)):
            return move
        parts.append([b // a for a, b in pairwise(at)])
    first = [sum(map(len, parts[:i])) for i in range(len(parts))]
    perm = tuple(first[i] + k for i in move.perm for k in range(len(parts[i])))
    return Move(tuple(n for sizes in parts for n in sizes), perm, move.shape)


def _with_units(move: Move, source: Sequence[int]) -> Move:
    """The same move with dimensions of one: where `source` has them, or else as many as the result has."""
    real = [i for i, n in enumerate(source) if n != 1]
    units = [i for i, n in enumerate(source) if n == 1]
    split = tuple(source)
    if move.split != tuple(source[i] for i in real):
        units = list(range(move.shape.count(1)))
        real = list(range(len(units), len(units) + len(move.split)))
        split = (*(1 for _ in units), *move.split)
    turned = [real[i] for i in move.perm]
    if (len(turned), len(units)) != (len(move.shape) - move.shape.count(1), move.shape.count(1)):
        return Move(split, (*units, *turned), move.shape)
    rest, ones = iter(turned), iter(units)
    return Move(split, tuple(next(ones if n == 1 else rest) for n in move.shape), move.shape)


@dataclass(frozen=True)
class Freed:
    """What a movement comes down to where the last axis, before it or behind it, may lie in an order of its own.

    `order` tells which channel lies at each place of that axis. Nothing is left but `DEPTH_TO_SPACE` (before it) or
    `SPACE_TO_DEPTH` (behind it) with blocks of this size, or with a size of one nothing at all.
    """

    order: Order
    block: int


def freed(shape: Sequence[int], steps: Sequence[Step], before: bool) -> Freed | None:
    """`steps` on a tensor of `shape` with the order of channels `before` it, or behind it, that leaves least to do.

    None where more is left than what `Freed` says.
    """
    chain = _Atoms.behind(shape, steps)
    if chain is None:
        return None
    current = chain.shape
    there = [atom for group in chain.groups for atom in group]
    own = chain.of_source(shape, len(shape) - 1) if before else chain.groups[-1]
    order_left = sorted(own, key=there.index) if before else sorted(own)
    split, perm = tuple(chain.source[a] for a in own), tuple(own.index(a) for a in order_left)
    turned = tuple(chain.source[a] for a in order_left)
    ahead = _regrouped(shape, turned, tuple(perm.index(i) for i in range(len(perm)))) if before else []
    left = [*ahead, *steps, *([] if before else _regrouped(current, split, perm))]
    deep, wide = (shape, current) if before else (current, shape)
    block = _block(shortest(shape, left), deep, wide, before)
    return None if block is None else Freed(order_of(split, perm), block)


def order_of(split: Sequence[int], perm: Sequence[int]) -> Order:
    """Which element lies at each place of an axis that is seen as one of `split`, and transposed."""
    return tuple(np.arange(prod(split)).reshape(split).transpose(perm).ravel().tolist())


def _regrouped(shape: Sequence[int], split: Sequence[int], perm: Sequence[int]) -> list[Step]:
    """The steps that transpose the last axis of a tensor as one of `split`."""
    lead = len(shape) - 1
    turned = (*range(lead), *(lead + i for i in perm))
    return [Reshape((*shape[:-1], *split)), Permute(turned), Reshape(tuple(shape))]


def turned_channels(shape: Sequence[int], steps: Sequence[Step]) -> tuple[Order, bool] | None:
    """In which order steps put dimension 1 of a tensor, and whether that is all that they do.

    None where dimension 1 is another one afterwards.
    """
    chain = _Atoms.behind(shape, steps)
    if chain is None or 0 in shape or min(len(shape), len(chain.groups)) < 2:
        return None
    groups = [tuple(a for a in group if chain.source[a] != 1) for group in chain.groups]
    own, there = chain.of_source(shape, 1), groups[1]
    if sorted(there) != list(own):
        return None
    others = [chain.of_source(shape, i) for i in range(len(shape)) if i != 1]
    order = order_of([chain.source[a] for a in own], [own.index(a) for a in there])
    return order, chain.shape == tuple(shape) and [*groups[:1], *groups[2:]] == others


def _block(moves: Sequence[Move], deep: Sequence[int], wide: Sequence[int], to_space: bool) -> int | None:
    """The size of the squares that moves bring from channels into space, or back; 1 if they do nothing, else None."""
    if not moves:
        return 1
    if len(moves) > 1 or len(deep) != 4 or len(wide) != 4 or not deep[1] or wide[1] % deep[1]:
        return None
    batch, height, width, _ = deep
    block, channels = wide[1] // deep[1], wide[3]
    split = (batch * height, width, block, block * channels) if to_space else (
        batch * height, block, width, block * channels
    )  # fmt: skip
    fits = (*deep,) == (batch, height, width, block * block * channels) and wide[2] == width * block
    return block if fits and moves[0] == Move(split, (0, 2, 1, 3), tuple(wide if to_space else deep)) else None


@dataclass(frozen=True)
class _Atoms:
    """`source`: atom sizes in input order; `groups`: for each current dimension, the atoms it is made of."""

    source: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, shape: Sequence[int]) -> _Atoms:
        return cls(tuple(shape), tuple((i,) for i in range(len(shape))))

    @classmethod
    def behind(cls, shape: Sequence[int], steps: Iterable[Step]) -> _Atoms | None:
        """Those of a tensor of `shape` after the steps; None where a step regroups what it cannot."""
        chain: _Atoms | None = cls.of(shape)
        for step in steps:
            if chain is not None:
                chain = chain.permuted(step.perm) if isinstance(step, Permute) else chain.reshaped(step.shape)
        return chain

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that a tensor has now."""
        return tuple(prod(self.source[a] for a in group) for group in self.groups)

    def of_source(self, shape: Sequence[int], dim: int) -> tuple[int, ...]:
        """The atoms, but for units, that a dimension of the source, which has this shape, is made of."""
        first, last = prod(shape[:dim]), prod(shape[: dim + 1])
        real = [a for a in range(len(self.source)) if self.source[a] != 1]
        return tuple(a for a in real if first <= prod(self.source[:a]) < last)

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
        return Move(tuple(prod(self.source[a] for a in run) for run in runs), perm, self.shape)
