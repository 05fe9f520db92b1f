"""The graph that the tracer records and every later stage reads: frozen, typed, PyTorch's semantics.

A `Value` is a tensor at one moment: an in-place write makes a new value. A `Node` is one call that the user's
program made, with the calls that it made in turn as its children; so the trace is a tree, and a stage picks
the level that it wants to work at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

import torch

from nobuco.ir.samples import Samples
from nobuco.ir.tree import Leaf, leaves


class ValueKind(Enum):
    """Where a value comes from."""

    INPUT = "input"
    PARAMETER = "parameter"
    BUFFER = "buffer"
    CONSTANT = "constant"
    RESULT = "result"
    SIZE = "size"

    @property
    def is_constant(self) -> bool:
        """Whether the value is known before the model runs."""
        return self in (ValueKind.PARAMETER, ValueKind.BUFFER, ValueKind.CONSTANT)


@dataclass(frozen=True, eq=False)
class Value(Leaf):
    """A tensor (or, with `SIZE`, an integer) of the traced program; identity is the object itself."""

    id: int
    kind: ValueKind
    shape: tuple[int, ...]
    dtype: str
    name: str = ""

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def __repr__(self) -> str:
        return f"%{self.id}:{self.dtype}{list(self.shape)}"


@dataclass(frozen=True)
class Site:
    """A line of source code."""

    file: str
    line: int

    def __str__(self) -> str:
        return f'File "{self.file}", line {self.line}'


@dataclass(frozen=True)
class Guard:
    """A decision that Python took by a size, or by the truth of a tensor, while tracing.

    `how` is the name of a comparison with `other` (a size or a number), or of what else was asked (`"bool"`,
    `"float"`; `"truth"` of a tensor); `outcome` is what Python saw. Calls with a higher id than `position` came after
    it; `within` are the ids of those that were going on.
    """

    size: Value
    how: str
    other: Any
    outcome: Any
    site: Site
    position: int
    within: frozenset[int] = frozenset()

    @property
    def place(self) -> tuple[Site, str]:
        """The line, and what was asked there: the same for each time that it was."""
        return self.site, self.how


@dataclass(frozen=True)
class Condition:
    """Where a converted model means what the program means, as the program decided by a size while tracing.

    `region` is the condition, as `"x.shape[2] % 4 == 0"`; `message` the whole sentence, with the line. `is_exact` is
    whether the region is what the program decided by, rather than what the sizes that were tried have in common;
    `is_refused` whether the program raises an error of its own elsewhere, or gives no tensors, so that there is nothing
    to warn of. `is_of_nothing` is whether it was seen to matter where inputs have no elements alone.
    """

    region: str
    message: str
    is_exact: bool = False
    is_refused: bool = False
    is_of_nothing: bool = False


@dataclass(frozen=True, eq=False)
class Node:
    """One call: `op(*args, **kwargs) -> outputs`, tensors replaced by their values.

    `op` is the function that was called or, for a module call, the module's class; then `module` is the
    instance and `path` its name in the model. `writes` are the values that the call gave to tensors which it
    changed in place; `outputs` already names them where the call returned them. `regions` are the bodies of a
    control-flow call: each takes what the call defines (a loop's carried values) and then the call's last
    argument, the outer values that any of them reads. `opened` is whether the children are the ATen calls that
    PyTorch makes of it, rather than calls that the program made. `autocast` is the device and the type of the
    `torch.autocast` that made the call compute in another type than its inputs have. `rebound` is whether a module, or
    one in it, ran with other parameters than its own (`torch.func.functional_call`).
    """

    id: int
    op: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: Any
    site: Site
    module: Any = None
    path: str = ""
    writes: tuple[tuple[Value, Value], ...] = ()
    children: tuple[Node, ...] = ()
    regions: tuple[Graph, ...] = ()
    opened: bool = False
    autocast: tuple[str, Any] | None = None
    rebound: bool = False

    # Each stage asks for them, of a thousand calls more than twenty times each.
    @cached_property
    def inputs(self) -> tuple[Value, ...]:
        """The values among the arguments, in order, each as often as it stands there."""
        return values((self.args, self.kwargs))

    @cached_property
    def results(self) -> tuple[Value, ...]:
        """The values that the call returns."""
        return values(self.outputs)

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below it, in regions too, outermost first."""
        yield self
        for child in self.children:
            yield from child.walk()
        for region in self.regions:
            yield from region.walk()


@dataclass(frozen=True, eq=False)
class Trial:
    """Other arguments that the program was called with, and what PyTorch gave.

    `about` says what was other, as `"other sizes: x float32[1, 3, 7, 9]"`. `inputs` and `outputs` have those of each
    call in a row, in the order of the graph's; where the program keeps no state, that is mostly one.
    """

    about: str
    inputs: tuple[tuple[Any, ...], ...]
    outputs: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, eq=False)
class Graph:
    """What a trace recorded.

    `samples` maps a value's id to the tensor that it had while tracing; `outputs` is the tree that the program
    returned, tensors replaced by values. `guards` are the decisions that Python took by sizes, in order, `truths`
    those that it took by the truth of tensors, and `conditions` what follows of them, with the calls that show each
    as `evidence`, by its message; `dynamic` are the ids of those that differ from run to run, `size_texts` what
    they are by the input's axes, where that is known, `natural` those that are nowhere negative, and `runs` tell the
    shapes and sizes that values had in the runs after the first. `states` are the tensors of modules that a call
    changes: what they hold before it, and after it; `left` are, before it, those in whose place it puts others, and
    which no call reads. `trials` are calls at other sizes, or with other values, on which the finished model can be
    tried. `noted` tells of a warning, for each time that it arose, in which calls it did; `forgotten` are those of
    what a call leaves behind and a converted model does not keep.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Value, ...]
    outputs: Any
    samples: Samples = field(repr=False)
    warnings: tuple[str, ...] = ()
    guards: tuple[Guard, ...] = field(default=(), repr=False)
    truths: tuple[Guard, ...] = field(default=(), repr=False)
    conditions: tuple[Condition, ...] = ()
    evidence: Mapping[str, tuple[Trial, ...]] = field(default_factory=dict, repr=False)
    trials: tuple[Trial, ...] = field(default=(), repr=False)
    dynamic: frozenset[int] = frozenset()
    size_texts: Mapping[int, str] = field(default_factory=dict, repr=False)
    natural: frozenset[int] = frozenset()
    runs: tuple[Mapping[int, Any], ...] = field(default=(), repr=False)
    states: tuple[tuple[Value, Value], ...] = ()
    left: tuple[Value, ...] = ()
    noted: Mapping[str, Set[frozenset[int]]] = field(default_factory=dict, repr=False)
    forgotten: tuple[str, ...] = field(default=(), repr=False)

    def walk(self) -> Iterator[Node]:
        """Yield every node of the tree, outermost first."""
        for node in self.nodes:
            yield from node.walk()


def values(tree: Any) -> tuple[Value, ...]:
    """The values among the leaves of an argument tree."""
    return tuple(leaf for leaf in leaves(tree) if isinstance(leaf, Value))


def given_out(tree: Any) -> tuple[Any, ...]:
    """What a program gives: the values, tensors and numbers among the leaves of what it returned."""
    return tuple(leaf for leaf in leaves(tree) if isinstance(leaf, (Value, torch.Tensor, int, float)))


def run_gave(graph: Graph) -> tuple[Any, ...]:
    """The same of a run that was traced, with samples in place of values."""
    return tuple(graph.samples[leaf.id] if isinstance(leaf, Value) else leaf for leaf in given_out(graph.outputs))
