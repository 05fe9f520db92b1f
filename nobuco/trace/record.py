"""What a trace has seen so far: the calls, nested as they were made, and what there is to say about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from nobuco.errors import ConversionError
from nobuco.ir import Graph, Guard, Node, Samples, Site, Value, ValueKind, leaves, values
from nobuco.registry import operation_name
from nobuco.trace.again import run_again
from nobuco.trace.autocasting import Autocast
from nobuco.trace.calls import gives_shape_alone
from nobuco.trace.foreign import foreign
from nobuco.trace.regions import closed, every_node, refuse_leaks
from nobuco.trace.rewind import State
from nobuco.trace.site import call_site
from nobuco.trace.sizes.counting import counts

Asked = tuple[Site, str]  # a line, and what is asked there


@dataclass(frozen=True)
class Settled:
    """Decisions that go one way in any case, by their place.

    `gated` are lines of calls of `pad` which do nothing where a decision would have gone the other way; `both` are
    decisions by sizes that are settled in no way: where other sides are traced, theirs are.
    """

    ways: Mapping[Asked, bool] = field(default_factory=dict)
    gated: Mapping[Site, Asked] = field(default_factory=dict)
    both: frozenset[Asked] = frozenset()

    def plus(self, place: Asked, way: bool, gated: Collection[Site] = ()) -> Settled:
        """These and one more."""
        return replace(self, ways={**self.ways, place: way}, gated={**self.gated, **dict.fromkeys(gated, place)})


NOTHING_SETTLED = Settled()
TRUTH = "truth"
_MOST_TIMES_SETTLED = 256


class EndlessError(Exception):
    """A decision that goes one way in any case was asked for too often, as by a loop."""


@dataclass(frozen=True)
class Decision:
    """One truth value that Python asked for, after so many recorded calls of its frame, and the state then."""

    pred: Value
    taken: bool
    position: int
    site: Site
    before: State


@dataclass
class Frame:
    """A call that is going on: what it was given, and the calls that it has made so far.

    `entry` is the state in which it began, and `forced` how its first decisions shall go, where both sides of a
    branch are traced; `owner` is the instance whose method it is. `rebound` is as in `Node`.
    """

    id: int
    op: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    site: Site
    module: nn.Module | None = None
    path: str = ""
    rebound: bool = False
    owner: Any = None
    entry: State | None = None
    children: list[Node] = field(default_factory=list)
    forced: tuple[bool, ...] = ()
    decisions: list[Decision] = field(default_factory=list)

    @property
    def holder(self) -> Any:
        """The module whose attributes the call may assign."""
        return self.module if self.module is not None else self.owner


class Record:
    """Values and calls, in order; ids are counted here."""

    def __init__(self, root: Any, settled: Settled, explores: bool) -> None:
        self.frames = [Frame(0, root, (), {}, Site("", 0))]
        self.inputs: list[Value] = []
        self.states: list[tuple[Value, Value]] = []
        self.left: list[Value] = []
        self._live: set[int] = set()
        self._counter = 0
        self._foreign: tuple[Site, str] | None = None
        self._elsewhere = ""
        self._warnings: dict[str, None] = {}
        self._baked: list[tuple[tuple[Value, ...], str]] = []
        self.guards: list[Guard] = []
        self.truths: list[Guard] = []
        self._settled = settled
        self._explores = explores
        self._times_settled: Counter[Asked] = Counter()
        self._truths_settled: dict[Asked, Any] = {}
        self._noted: dict[str, set[frozenset[int]]] = {}
        self._forgotten: list[str] = []

    @property
    def root(self) -> Any:
        """The program."""
        return self.frames[0].op

    @property
    def frame(self) -> Frame:
        """The innermost call."""
        return self.frames[-1]

    # -- values -----------------------------------------------------------------------------------------

    def next_id(self) -> int:
        """An id that nothing has yet."""
        self._counter += 1
        return self._counter

    def new_value(
        self, tensor: torch.Tensor, kind: ValueKind = ValueKind.RESULT, name: str = "", live: bool = False
    ) -> Value:
        """A value that looks like this tensor; `live` if it depends on an input."""
        if tensor.is_nested or tensor.layout == torch._mkldnn:  # type: ignore[attr-defined]
            # TorchScript would hide an error that is raised here
            self._foreign = self._foreign or (call_site(), foreign(tensor))
        dtype = str(tensor.dtype).removeprefix("torch.")
        shape = () if tensor.is_nested else tuple(tensor.shape)  # a nested one has no sizes that could be asked for
        return self._noted_as(Value(self.next_id(), kind, shape, dtype, name), live)

    def new_input(self, tensor: torch.Tensor) -> Value:
        """The value of the next input of the graph."""
        value = self.new_value(tensor, ValueKind.INPUT, f"input_{len(self.inputs)}", live=True)
        self.inputs.append(value)
        return value

    def new_size(self, number: int | float) -> Value:
        """The value of a traced number."""
        dtype = "float64" if isinstance(number, float) else "int32"
        return self._noted_as(Value(self.next_id(), ValueKind.SIZE, (), dtype), live=True)

    def is_live(self, tree: Any) -> bool:
        """Whether any value of the tree depends on an input."""
        return any(isinstance(leaf, Value) and leaf.id in self._live for leaf in leaves(tree))

    def _noted_as(self, value: Value, live: bool) -> Value:
        if live:
            self._live.add(value.id)
        return value

    # -- calls ------------------------------------------------------------------------------------------

    def add(
        self,
        op: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        outputs: Any,
        site: Site | None = None,
        writes: Sequence[tuple[Value, Value]] = (),
        regions: tuple[Graph, ...] = (),
        autocast: Autocast | None = None,
    ) -> None:
        """Add a call that is over to the innermost one that is going on."""
        node = Node(
            self.next_id(), op, args, kwargs, outputs, site or call_site(), writes=tuple(writes), regions=regions,
            autocast=autocast,
        )  # fmt: skip
        self.frame.children.append(node)

    def open(self, op: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], **about: Any) -> None:
        """Begin a call; `about` is what else a `Frame` tells."""
        self.frames.append(Frame(self.next_id(), op, args, kwargs, call_site(), **about))

    def close(self, outputs: Any) -> None:
        """End the innermost call."""
        frame = self.frames.pop()
        node = Node(
            frame.id, frame.op, frame.args, frame.kwargs, outputs, frame.site, frame.module, frame.path,
            children=tuple(frame.children), rebound=frame.rebound,
        )  # fmt: skip
        self.frame.children.append(node)

    def give_up(self) -> None:
        """Leave the innermost call, which raised: what it has made until then is its caller's, who may go on."""
        frame = self.frames.pop()
        self.frame.children += frame.children

    # -- what there is to say -----------------------------------------------------------------------------

    def warn(self, message: str) -> None:
        """Add a warning to the graph."""
        self._warnings.setdefault(message)

    def forget(self, message: str) -> None:
        """Add a warning of what a call leaves in modules, and a converted model does not keep."""
        self.warn(message)
        self._forgotten.append(message)

    def note_elsewhere(self, module: str) -> None:
        """Note that the program calls a module on another thread, where calls are not seen."""
        self._elsewhere = self._elsewhere or module

    def note_baked(self, func: Any, given: Any) -> None:
        """Note that Python takes elements of a tensor; whether they vary is known at the end."""
        explored = "" if self._explores else "explore_branches=True, "
        message = (
            f"{call_site()}: {operation_name(func)} takes a value that depends on the input into Python; "
            "the converted model keeps what it was while tracing (a branch stays the branch taken). "
            f"Use {explored}torch.where or torch.cond, or give the enclosing module a converter."
        )
        self._baked.append((values(given), message))
        self._note_where(message)

    def note_guard(self, value: Value, how: str, other: Any, outcome: Any) -> None:
        """Note that Python has decided by a size; whether that matters is known once the program ran at others."""
        self.guards.append(self._guard(value, how, other, outcome))

    def note_truth(self, value: Value, outcome: bool) -> None:
        """Note that Python has decided by the truth of a tensor."""
        self.truths.append(self._guard(value, TRUTH, None, outcome))

    def _guard(self, value: Value, how: str, other: Any, outcome: Any) -> Guard:
        within = frozenset(frame.id for frame in self.frames[1:])
        return Guard(value, how, other, outcome, call_site(), self._counter, within)

    def settled(self, how: str) -> bool | None:
        """How a decision on the running line goes in any case; None where it goes as the program says.

        Raises:
            EndlessError: it is a loop that would never end.
        """
        if not self._settled.ways:
            return None
        place = call_site(), how
        if place in self._settled.ways:
            self._times_settled[place] += 1
            if self._times_settled[place] > _MOST_TIMES_SETTLED:
                raise EndlessError(place)
        return self._settled.ways.get(place)

    def goes_both_ways(self, how: str) -> bool:
        """Whether both sides of a decision by a size on the running line are to be traced."""
        return bool(self._settled.both) and (call_site(), how) in self._settled.both

    def note_settled(self, how: str, truth: Callable[[], Any]) -> None:
        """Note whether the program would have gone that way: 1 or 0, if calls are gated by it."""
        place = call_site(), how
        if place in self._settled.gated.values():
            self._truths_settled[place] = truth()

    def gate(self) -> Any:
        """1 or 0 for a call on the running line, as the program makes it or does not; None for any other."""
        place = self._settled.gated.get(call_site()) if self._settled.gated else None
        return None if place is None else self._truths_settled.get(place)

    def _note_where(self, message: str) -> None:
        """Note in which calls a warning arose; a converter for one of them answers it."""
        self._noted.setdefault(message, set()).add(frozenset(frame.id for frame in self.frames[1:]))

    def graph(self, outputs: Any, kept: Mapping[int, Any]) -> Graph:
        """What was recorded, once the program is over.

        Raises:
            ConversionError: a tensor is nested, lies in memory as only oneDNN reads it, or has left the branch it
                belongs to; or calls were made on another thread.
        """
        if self._foreign is not None:
            raise ConversionError("{}: a tensor {}".format(*self._foreign))
        if self._elsewhere:
            raise ConversionError(
                f"the program calls {self._elsewhere} on a thread of its own, where its calls are not seen; call it "
                "on the thread that runs the program"
            )
        (root,) = self.frames
        nodes = closed(root.children, [before for before, _ in self.states])
        leaf_nodes = [node for node in every_node(nodes) if not node.children]
        calls = {v.id: node for node in reversed(leaf_nodes) for v in node.results}  # one may give what it was given
        samples = Samples(kept, calls, run_again)
        refuse_leaks(nodes, [*values(outputs), *(after for _, after in self.states)])
        graph = Graph(
            nodes, tuple(self.inputs), outputs, samples, guards=tuple(self.guards), truths=tuple(self.truths),
            states=tuple(self.states), left=tuple(self.left), forgotten=tuple(self._forgotten),
        )  # fmt: skip
        # What depends on sizes alone is told where it differs at other sizes.
        varying = _depending_on_elements(graph)
        for given, message in self._baked:
            if any(value.id in varying for value in given):
                self.warn(message)
        return replace(graph, warnings=tuple(self._warnings), noted=self._noted)


def _depending_on_elements(graph: Graph) -> frozenset[int]:
    """The ids of all values that depend on elements of inputs or of state, and not on sizes alone."""
    found = {value.id for value in (*graph.inputs, *(before for before, _ in graph.states))}
    by_elements = counts(graph)
    for node in graph.walk():
        if not node.children and not gives_shape_alone(node.op) and any(v.id in found for v in node.inputs):
            found |= {v.id for v in values(node.outputs) if by_elements or v.kind is not ValueKind.SIZE}
    return frozenset(found)
