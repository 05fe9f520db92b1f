"""What a conversion has to say for itself, as plain data; console, HTML and JSON are functions of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from nobuco.kinds import instance, takes
from nobuco.parity import Difference, Tried, worst
from nobuco.report.notebook import summary_html

if TYPE_CHECKING:  # the graph's package imports torch, which a reader of reports has no need of
    from nobuco.ir import Condition, Site


class TraceLevel(Enum):
    """Under which nodes a report names the source lines: none, those that went wrong, or all."""

    NEVER = "never"
    DEFAULT = "default"
    ALWAYS = "always"


class Status(Enum):
    """How the conversion of a node went."""

    DONE = "converted"
    IMPRECISE = "imprecise"
    FAILED = "failed"
    NO_CONVERTER = "no converter"
    INSIDE = "inside a converted node"
    UNREACHED = "not reached"

    @property
    def is_bad(self) -> bool:
        """Whether a person should look at the node."""
        return self in (Status.IMPRECISE, Status.FAILED, Status.NO_CONVERTER)


@dataclass(frozen=True)
class Choice:
    """Channel orders in which a call could run, by name; "" for a tensor that has none.

    `moved` are the bytes that the whole model would transpose with the call run so and all others as planned; to plan
    anew around it may cost less.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    moved: int
    chosen: bool


@dataclass(frozen=True)
class Port:
    """An input or an output of the model: its name, its tensor as in `NodeReport`, and the id of the value.

    `turned` is whether an output is transposed before it leaves, `computed` the coarsest dtype on the way to it.
    """

    name: str
    tensor: str
    value: int
    turned: bool = False
    computed: str = ""


@dataclass(frozen=True)
class NodeReport:
    """One call of the traced program and what became of it.

    `inputs` and `outputs` are tensors in words, as "float32[1, 3, 224, 224] TENSORFLOW": sizes in PyTorch's order,
    then how it lies where that is known and matters. `own` is the node's error on PyTorch's own inputs, `accumulated`
    its error in the running model; None where not measured. `defined` and `converted` are source lines in the form of
    `Site`. `reads` and `makes` are the ids of the values that enter and leave; those in `turned` are transposed on the
    way in.
    """

    name: str
    path: str
    status: Status
    invoked: Site
    defined: str | None = None
    converted: str | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    own: Difference | None = None
    accumulated: Difference | None = None
    direct: bool = False
    """Converted by a converter of its own, rather than call by call."""
    opened: bool = False
    """It has no converter; the calls below it are the ATen calls that PyTorch makes of it."""
    reused: bool = False
    """The same layer as an earlier call."""
    disconnected: bool = False
    """No output of the model depends on it."""
    constant: bool = False
    """Computed while converting: it depends on no input."""
    useless: bool = False
    """It returns its input."""
    transposed: int = 0
    """Transpositions that stand before it in the model."""
    seconds: float = 0.0
    """The time that it took to convert and to check it."""
    message: str | None = None
    layer: str = ""
    """The name of its layer in the Keras model."""
    source: str = ""
    """The line of code at `invoked`."""
    choices: tuple[Choice, ...] = ()
    """The ways in which it could run, as the planner saw them."""
    reads: tuple[int, ...] = ()
    makes: tuple[int, ...] = ()
    turned: tuple[int, ...] = ()
    children: tuple[NodeReport, ...] = ()

    @property
    def absent(self) -> bool:
        """Whether the model has nothing for it."""
        return self.disconnected or self.constant or self.useless

    def walk(self) -> Iterator[NodeReport]:
        """Yield this node and all below it, outermost first."""
        yield self
        for child in self.children:
            yield from child.walk()

    def in_order(self) -> Iterator[NodeReport]:
        """Yield all below this node and then itself: the order in which the calls returned."""
        for child in self.children:
            yield from child.in_order()
        yield self


@dataclass(frozen=True)
class Report:
    """A whole conversion: its tree of calls, its outputs against PyTorch's, and what it cost.

    `outputs` are the differences of the outputs, `sources` and `results` the model's inputs and outputs themselves.
    `error` is what ended a conversion that failed; its tree tells how far that came.
    """

    model: str
    nodes: tuple[NodeReport, ...]
    outputs: tuple[Difference, ...] = ()
    transpositions: int = 0
    stages: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each stage, in the order in which they ran."""
    warnings: tuple[str, ...] = ()
    sources: tuple[Port, ...] = ()
    results: tuple[Port, ...] = ()
    moved: int = 0
    """The bytes that one run of the model transposes."""
    conditions: tuple[Condition, ...] = ()
    """Where the model is right, as the program decided by a dynamic size while tracing."""
    trials: tuple[Tried, ...] = ()
    """How the model fared at other sizes and with other values than the example's."""
    error: str | None = None

    def walk(self) -> Iterator[NodeReport]:
        """Yield every node of the tree, outermost first."""
        for node in self.nodes:
            yield from node.walk()

    def in_order(self) -> Iterator[NodeReport]:
        """Yield every node in the order in which the calls returned: causes come before what holds them."""
        for node in self.nodes:
            yield from node.in_order()

    @property
    def ok(self) -> bool:
        """Whether all is converted and every output that was compared matches, on other arguments too.

        An imprecise node on the way does not count where its error is gone again at the outputs.
        """
        broken = any(node.status in (Status.FAILED, Status.NO_CONVERTER) for node in self.walk())
        matches = all(output.matches for output in self.outputs) and all(tried.ok for tried in self.trials)
        return self.error is None and not broken and matches

    @property
    def seconds(self) -> float:
        """The time that all stages took."""
        return sum(self.stages.values())

    def first_bad(self) -> NodeReport | None:
        """The call that went wrong first: where to look for the cause."""
        return next((node for node in self.in_order() if node.status.is_bad), None)

    def first_off(self) -> NodeReport | None:
        """The call after which the running model is out of bounds, though each alone may be within them."""
        return next((n for n in self.in_order() if n.accumulated is not None and not n.accumulated.matches), None)

    def worst_node(self) -> NodeReport | None:
        """The call with the largest accumulated relative error, the first of equals.

        None if none was measured.
        """
        measured = [(node, node.accumulated) for node in self.in_order() if node.accumulated is not None]
        gravest = worst(difference for _, difference in measured)
        return next((node for node, difference in measured if difference is gravest), None)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return summary_html(self)

    def counts(self) -> Counter[Status]:
        """How many calls ended how; left out are those merely opened and those that the model has not."""
        sought = (node for node in self.walk() if node.direct or not node.children)
        return Counter(node.status for node in sought if not node.absent)


REPORT = instance("a nobuco.Report, as pytorch_to_keras(..., return_report=True) gives it", Report)


@takes(report=REPORT)
def report_to_dict(report: Report) -> dict[str, Any]:
    """The report as dicts, lists, strings, numbers and None: ready for `json.dumps(..., allow_nan=False)`.

    JSON has no infinity and no NaN, so these become the strings "inf", "-inf" and "nan"; a complex number
    becomes its `str`. Each difference carries its verdict, `matches`, and its `text` beside the figures.
    """
    return {**_plain(report), "ok": report.ok}


def _plain(item: Any) -> Any:
    if isinstance(item, Enum):
        return item.name
    if is_dataclass(item):
        as_dict = {f.name: _plain(getattr(item, f.name)) for f in fields(item)}
        if isinstance(item, Difference):
            as_dict.update(matches=item.matches, text=item.describe())
        if isinstance(item, Tried):
            as_dict.update(ok=item.ok, text=item.describe())
        return as_dict
    if isinstance(item, Mapping):
        return {str(key): _plain(value) for key, value in item.items()}
    if isinstance(item, (tuple, list)):
        return [_plain(element) for element in item]
    if isinstance(item, complex) or (isinstance(item, float) and not math.isfinite(item)):
        return str(item)
    return item
