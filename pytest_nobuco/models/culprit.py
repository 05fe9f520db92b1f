"""Which call is to blame where a converted model leaves its bound: the first that is off by its own fault.

Building ran each call alone on what PyTorch gave it (`NodeReport.own`), so what an earlier call did wrong does not
count against it. Imports nobuco, so it is itself imported only where something fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from nobuco.parity import Difference, default_tolerance
from nobuco.report.data import NodeReport, Report, Status
from pytest_nobuco.gate import Bound

if TYPE_CHECKING:
    from nobuco.fault import Bisection
    from pytest_nobuco.models.backend import Converted, Subject

# Rounding leaves a few units in the last place of the largest number that a call reads or gives; of long sums more.
_ROUNDINGS = 64


def culprit_of(converted: Converted, subject: Subject, bound: Bound, runtime: str) -> str | None:
    """The culprit where a model leaves its bound on these inputs, in words."""
    report = converted.report
    if not any(node.own is not None for node in report.walk()):
        return None
    elsewhere = None if subject.is_example else _bisected(converted, subject)
    if runtime != "keras" and _is_right_in_keras(converted, subject, elsewhere, bound):
        found = _bisected(converted, subject, "tflite") if runtime == "tflite" else None
        off = _first_off(found, bound, "in TFLite alone") if found is not None else None
        return off or f"no call: the Keras model is within the bound, so it is the way to {runtime}, or what runs it"
    # Calls were run alone on the example, where the model is right if it fails elsewhere only.
    place = "with these values" if subject.shapes == converted.shapes else "at these sizes"
    there = _first_off(elsewhere, bound, place) if elsewhere is not None else None
    return there or blamed(report, bound) or _none_here(report)


def _is_right_in_keras(converted: Converted, subject: Subject, elsewhere: Bisection | None, bound: Bound) -> bool:
    if elsewhere is not None:
        return not any(_exceeds(output.difference, bound) for output in elsewhere.outputs.outputs)
    return subject.is_example and not any(_exceeds(output, bound) for output in converted.report.outputs)


def blamed(report: Report, bound: Bound, label: Callable[[NodeReport], str] | None = None) -> str | None:
    """The first call that is off by its own fault, in the unit of the bound; None where all are right."""
    nodes = [node for node in report.in_order() if node.own is not None or node.status is Status.FAILED]
    peaks = {value: node.own.peak for node in nodes if node.own is not None for value in node.makes}
    tests: tuple[Callable[[NodeReport], bool], ...] = (
        lambda node: node.status is Status.FAILED or (not _own(node).matches and _exceeds(_own(node), bound)),
        lambda node: _exceeds(_own(node), bound) and _own(node).max_abs > _rounding(node, peaks),
        lambda node: node.status.is_bad,
    )
    for test in tests:
        found = next((node for node in nodes if test(node)), None)
        if found is not None:
            return f"{(label or _label)(found)}, {_fault(found)} {found.invoked}"
    return None


def imprecise_calls(report: Report) -> Mapping[str, str]:
    """The calls that are off by themselves, the first of each operation, in words."""
    found: dict[str, str] = {}
    for node in report.in_order():
        if node.status is Status.IMPRECISE:
            found.setdefault(node.name, f"{_label(node)}, {_fault(node)}")
    return found


def _own(node: NodeReport) -> Difference:
    assert node.own is not None
    return node.own


def _exceeds(difference: Difference, bound: Bound) -> bool:
    """Whether it would leave the bound, were it an output's; a default is of the scale of what it is compared with."""
    if difference.is_broken:
        return True
    if bound.is_default:
        allowed = default_tolerance(difference.expected_dtype).max_abs
        return not difference.matches or difference.severity > allowed
    return difference.max_abs > (bound.max_abs or 0.0) + (bound.max_rel or 0.0) * difference.peak


def _rounding(node: NodeReport, peaks: Mapping[int, float]) -> float:
    """What rounding alone may leave of a call's own error."""
    own = _own(node)
    largest = max([own.peak, *(peaks.get(value, 0.0) for value in node.reads)])
    return _ROUNDINGS * own.eps * largest


def _label(node: NodeReport) -> str:
    return f"{node.path} ({node.name})" if node.path else node.name


def _fault(node: NodeReport) -> str:
    """How far a call is off by itself."""
    own = node.own
    if own is None:
        return f"on PyTorch's own inputs: {node.message}"
    if own.is_broken or not own.eps:
        return f"on PyTorch's own inputs: {own.describe()}"
    of_peak = f" ({own.relative_to_peak:.1e} of the peak {own.peak:.6g})" if own.peak else ""
    return f"off by {own.max_abs:.1e}{of_peak} on PyTorch's own inputs"


def _none_here(report: Report) -> str:
    """What is known where each call is right by itself."""
    worst = max(_measured(report), key=lambda node: _own(node).severity)
    if not _own(worst).max_abs:
        return "no call by itself: each gives what PyTorch's gives on the same inputs"
    return f"no call by itself: rounding adds up; of it most in {_label(worst)}, {_fault(worst)} {worst.invoked}"


def _measured(report: Report) -> Iterator[NodeReport]:
    return (node for node in report.in_order() if node.own is not None)


def _bisected(
    converted: Converted, subject: Subject, runtime: Literal["keras", "tflite"] = "keras"
) -> Bisection | None:
    """The calls of the running model, on whatever inputs; None where it only raises."""
    import nobuco

    nobuco.reset_states(converted.model)
    try:
        return nobuco.bisect(
            subject.model, converted.model, list(subject.args), dict(subject.kwargs) or None,
            inputs_channel_order=converted.inputs, runtime=runtime,
        )  # fmt: skip
    except Exception:  # whatever a TensorFlow operation raises at a size that it cannot take
        return None


def _first_off(found: Bisection, bound: Bound, where: str) -> str | None:
    """The first call whose result leaves its bound in the running model."""
    off = [point for point in found.points if not point.difference.matches]
    off += [point for point in found.points if _exceeds(point.difference, bound)]
    if not off:
        return None
    label = f"{off[0].path} ({off[0].name})" if off[0].path else off[0].name
    return f"{label}, {where}: {off[0].difference.describe()} {off[0].invoked}"
