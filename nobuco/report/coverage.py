"""What of a program converts, known before it is converted: the data, and its text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from rich.text import Text

from nobuco.kinds import FLAG, instance, takes, whole
from nobuco.report.console import LEAST_WIDTH, laid_out, legend, painted
from nobuco.report.data import Status
from nobuco.report.naming import short
from nobuco.report.tree import DIM, MARKS, OPENED_INTO_ATEN, Remark, Row, clean

if TYPE_CHECKING:  # the graph's package imports torch, which a reader of reports has no need of
    from nobuco.ir import Site


class Served(Enum):
    """How a call gets into the model."""

    CONVERTER = "by a converter"
    OPENED = "opened into ATen calls"
    NOTHING = "without a converter"


@dataclass(frozen=True)
class CallCoverage:
    """An operation, and what becomes of the calls of it.

    `count` is how many calls there are and `sites` where, each line once; both are empty for an operation that was
    asked for by itself. `inputs` are the tensors of the first call in words, as "float32[1, 3, 224, 224]".
    `converter` is the source line of the converter that serves it, `into` what its ATen calls become, and `reason` why
    PyTorch cannot tell these.
    """

    name: str
    served: Served
    count: int = 0
    sites: tuple[Site, ...] = ()
    inputs: tuple[str, ...] = ()
    converter: str | None = None
    into: tuple[CallCoverage, ...] = ()
    reason: str = ""

    def walk(self) -> Iterator[CallCoverage]:
        """Yield this and all that it is opened into, outermost first."""
        yield self
        for call in self.into:
            yield from call.walk()


@dataclass(frozen=True)
class Coverage:
    """What becomes of each operation that a program calls, in the order of the first calls."""

    subject: str
    calls: tuple[CallCoverage, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """The operations that nothing converts, each once: converters for these are to be written."""
        gaps = (c.name for call in self.calls for c in call.walk() if c.served is Served.NOTHING)
        return tuple(dict.fromkeys(gaps))

    @property
    def complete(self) -> bool:
        """Whether all of it converts."""
        return not self.missing

    def count(self, served: Served) -> int:
        """How many calls are served in this way; an opened one with a gap inside is served by nothing."""
        return sum(max(call.count, 1) for call in self.calls if _outcome(call) is served)


@takes(coverage=instance("what nobuco.coverage returned", Coverage), width=whole(LEAST_WIDTH), color=FLAG)
def render_coverage(coverage: Coverage, *, width: int = 80, color: bool = False) -> str:
    """The coverage as text of `width` columns, with terminal colours if `color`."""
    tree = tuple(_lines(coverage.calls, "", top=True))
    lines = (laid_out(tree, width), [_verdict(coverage)])
    return painted((legend(lines, width), *lines), color)


def _lines(calls: Sequence[CallCoverage], guides: str, top: bool) -> Iterator[Row | Remark]:
    for number, call in enumerate(calls):
        is_last = number == len(calls) - 1
        branch, trunk = ("", "") if top else ("└ ", "  ") if is_last else ("├ ", "│ ")
        mark, style = _mark(call)
        times = f"  {call.count}x" if call.count > 1 else ""
        note = "  (no converter)" if call.served is Served.NOTHING else ""
        yield Row(guides + branch, mark, style, clean(short(call.name)), times + note)
        stem = guides + trunk + ("│ " if call.into else "  ")
        if call.reason:
            yield Remark(stem, clean(f"PyTorch cannot open it: {call.reason}"), style)
        if call.served is Served.NOTHING:
            yield from (Remark(stem, str(site), DIM, wraps=False) for site in call.sites)
        yield from _lines(call.into, guides + trunk, top=False)


def _mark(call: CallCoverage) -> tuple[str, str]:
    gap_style = MARKS[Status.NO_CONVERTER][1]
    if call.served is Served.OPENED:
        return OPENED_INTO_ATEN, gap_style if _outcome(call) is Served.NOTHING else ""
    return MARKS[Status.DONE if call.served is Served.CONVERTER else Status.NO_CONVERTER]


def _outcome(call: CallCoverage) -> Served:
    return Served.NOTHING if any(c.served is Served.NOTHING for c in call.walk()) else call.served


def _verdict(coverage: Coverage) -> Text:
    parts = [f"{coverage.count(served)} {served.value}" for served in Served if coverage.count(served)]
    mark, style = MARKS[Status.DONE if coverage.complete else Status.NO_CONVERTER]
    return Text(f"{mark} {coverage.subject}: {', '.join(parts) or 'no calls'}", f"bold {style}")
