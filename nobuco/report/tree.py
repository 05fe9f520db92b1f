"""The lines of a report's tree, before they know a width: which calls are shown, and what is said of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len

from nobuco.parity import Difference
from nobuco.report.data import NodeReport, Status, TraceLevel
from nobuco.report.naming import relative, spoken

_FOLD_FROM = 3
_MESSAGE_LINES = 8

DIM = "dim"
_OPENED = "▾"
OPENED_INTO_ATEN = "▿"
_ABSENT = ("·", DIM)
_FOLDED = ("≡", DIM)
MARKS = {
    Status.DONE: ("✓", "green"),
    Status.IMPRECISE: ("≈", "yellow"),
    Status.FAILED: ("✗", "red"),
    Status.NO_CONVERTER: ("?", "magenta"),
    Status.INSIDE: _ABSENT,
    Status.UNREACHED: ("–", DIM),
}


@dataclass(frozen=True)
class Row:
    """A call, or several folded into one line."""

    guides: str
    mark: str
    style: str
    label: str
    notes: str = ""
    outputs: str = ""

    @property
    def length(self) -> int:
        """The columns that all but the outputs takes."""
        return cell_len(f"{self.guides}{self.mark} {self.label}{self.notes}")


@dataclass(frozen=True)
class Remark:
    """Text below a call: words, which may be wrapped, or a source line, which may not."""

    guides: str
    text: str
    style: str
    wraps: bool = True


def tree_lines(
    nodes: Sequence[NodeReport], parent: str, guides: str, detail: TraceLevel, top: bool = True
) -> Iterator[Row | Remark]:
    """The lines of `nodes`, whose parent has the path `parent`, and of all below them."""
    groups = list(_groups(nodes, fold=detail is not TraceLevel.ALWAYS))
    for number, (node, like_it) in enumerate(groups):
        is_last = number == len(groups) - 1 and not like_it
        branch, trunk = ("", "") if top else ("└ ", "  ") if is_last else ("├ ", "│ ")
        label, node = (label_of(node, parent), node) if top else _compacted(node, parent, detail)
        children = node.children if detail is TraceLevel.ALWAYS or not node.direct else ()
        yield _row(node, label, guides + branch, bool(children), detail)
        stem = guides + trunk + ("│ " if children else "  ")
        yield from (Remark(stem, *remark) for remark in _remarks(node, detail))
        yield from tree_lines(children, node.path or parent, guides + trunk, detail, top=False)
        if like_it:
            end = "" if top else "└ " if number == len(groups) - 1 else "├ "
            yield Row(guides + end, *_FOLDED, _folded_label(like_it, parent))


def _groups(nodes: Sequence[NodeReport], fold: bool) -> Iterator[tuple[NodeReport, tuple[NodeReport, ...]]]:
    """The nodes, each with those right after it that look just like it and have nothing to tell."""
    start = 0
    while start < len(nodes):
        end, looks = start + 1, _looks(nodes[start]) if fold else None
        while looks is not None and end < len(nodes) and _looks(nodes[end]) == looks:
            end += 1
        if end - start < _FOLD_FROM:
            end = start + 1
        yield nodes[start], tuple(nodes[start + 1 : end])
        start = end


def _looks(node: NodeReport) -> tuple[Any, ...] | None:
    """What a fine call looks like in the tree, its path aside; None if something is wrong in it."""
    below = [_looks(child) for child in node.children]
    if node.status.is_bad or None in below:
        return None
    if node.constant and not node.children:
        return ("constant",)  # whatever computed it, the model has none of that
    return (node.name, node.status, node.direct, _flags(node), node.outputs, tuple(below))


def _folded_label(nodes: Sequence[NodeReport], parent: str) -> str:
    if nodes[0].constant:
        return f"{len(nodes)} more constant"
    first, last = relative(nodes[0].path, parent), relative(nodes[-1].path, parent)
    if not first or first == last:
        return f"{len(nodes)} more"
    return f"{len(nodes)} more: {first} … {last}"


def _compacted(node: NodeReport, parent: str, detail: TraceLevel) -> tuple[str, NodeReport]:
    """The label of a line and the call that it tells of: the innermost of calls that made just one other."""
    label = label_of(node, parent)
    only_opened = len(node.children) == 1 and not node.direct
    has_own_say = node.message or _flags(node) or _is_cause(node)
    if detail is TraceLevel.ALWAYS or has_own_say or not only_opened:
        return label, node
    inner, innermost = _compacted(node.children[0], node.path or parent, detail)
    return f"{label} → {inner}", innermost


def _row(node: NodeReport, label: str, guides: str, opened: bool, detail: TraceLevel) -> Row:
    below = _gravest_below(node)
    mark, style = MARKS[node.status]
    if opened and not node.direct and not _is_cause(node):
        mark = OPENED_INTO_ATEN if node.opened else _OPENED
        style = MARKS[below][1] if below else ""
    elif node.absent and not node.status.is_bad:
        mark, style = _ABSENT
    notes = ["" if below else _difference_note(node, detail), _flags(node)]
    return Row(
        guides,
        mark,
        f"bold {style}" if node.direct and not node.absent else style,
        clean(label),
        "".join(f"  {note}" for note in notes if note),
        _outputs(node),
    )


def _gravest_below(node: NodeReport) -> Status | None:
    """What a call that was opened has to show for the calls in it: the worst that happened there."""
    below = {inner.status for child in node.children for inner in child.walk()}
    return next((s for s in (Status.FAILED, Status.NO_CONVERTER, Status.IMPRECISE) if s in below), None)


def label_of(node: NodeReport, parent: str) -> str:
    """The call's name after its path, as far as the path of `parent` does not tell it."""
    return spoken(node.name, node.path, parent)


def _outputs(node: NodeReport) -> str:
    if not node.outputs:
        return ""
    more = f" +{len(node.outputs) - 1}" if len(node.outputs) > 1 else ""
    shortened = node.outputs[0].replace(" TENSORFLOW", " TF").replace(" PYTORCH", " PT").replace(", ", ",")
    return shortened + more


def _flags(node: NodeReport) -> str:
    flags = {
        "reused": node.reused,
        "unused": node.disconnected,
        "constant": node.constant,
        "no effect": node.useless,
        f"⇄{node.transposed}": node.transposed,
    }
    return " ".join(word for word, holds in flags.items() if holds)


def _difference_note(node: NodeReport, detail: TraceLevel) -> str:
    if node.status is Status.NO_CONVERTER:
        return "(no converter)"
    difference, inherited = _telling(node)
    if difference is None or (difference.matches and node.status is Status.FAILED):
        return "(failed)" if node.status is Status.FAILED else ""
    if not node.status.is_bad and detail is not TraceLevel.ALWAYS:
        return ""
    return f"({'inherited: ' if inherited else ''}{figures(difference)})"


def _telling(node: NodeReport) -> tuple[Difference | None, bool]:
    """The difference to show for a call, and whether it came in with the call's inputs."""
    own, accumulated = node.own, node.accumulated
    if own is None:
        return accumulated, False
    if own.matches and accumulated is not None and not accumulated.matches:
        return accumulated, True
    return own, False


def figures(difference: Difference) -> str:
    """A difference in a few words, as "max diff 1.2e-02, 3.4%" (of the peak)."""
    if difference.is_broken:
        kinds = {
            "shape": difference.got_shape != difference.expected_shape,
            "dtype": difference.got_dtype != difference.expected_dtype,
            "NaN": difference.nan.differing,
            "infinity": difference.inf.differing,
        }
        return " and ".join(kind for kind, holds in kinds.items() if holds) + " differs"
    if difference.max_abs == 0:
        return "exact"
    return f"max diff {difference.max_abs:.1e}" + _of_peak(difference)


def _of_peak(difference: Difference) -> str:
    percent = 100 * difference.relative_to_peak
    if difference.peak == 0:
        return " from zeros"
    if percent < 0.1:
        return ", <0.1%"
    return f", {percent:.1f}%" if percent < 1000 else f", {percent / 100:.0f}x"


def _remarks(node: NodeReport, detail: TraceLevel) -> Iterator[tuple[str, str, bool]]:
    style = MARKS[node.status][1]
    if node.message:
        lines = clean(node.message, keep="\n").strip().splitlines()
        for line in lines[:_MESSAGE_LINES]:
            yield line, style, True
        if len(lines) > _MESSAGE_LINES:
            yield f"… {len(lines) - _MESSAGE_LINES} more lines", style, True
    is_cause, (difference, inherited) = _is_cause(node), _telling(node)
    if is_cause and difference is not None and not inherited:
        for problem in difference.problems:
            yield problem, style, True
    if detail is TraceLevel.ALWAYS or (is_cause and detail is TraceLevel.DEFAULT):
        for letter, place in (("I", str(node.invoked)), ("D", node.defined), ("C", node.converted)):
            if place:
                yield f"{letter} {place}", DIM, False


def _is_cause(node: NodeReport) -> bool:
    """Whether something is wrong here first: not in a call below, nor already in what the call was given."""
    if not node.status.is_bad or _gravest_below(node):
        return False
    return node.status is not Status.IMPRECISE or node.own is None or not node.own.matches


def clean(text: str, keep: str = "") -> str:
    """`text` without control characters, which would move a terminal's cursor, but for those in `keep`."""
    return "".join(c if c.isprintable() or c in keep else " " for c in text.expandtabs(4))
