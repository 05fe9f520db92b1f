"""What became of a program: right everywhere, right but warned of, wrong with a word or without one, or worse."""

from __future__ import annotations

import itertools
import math
import re
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from conformance.fuzz.outcome import Outcome
from conformance.fuzz.program import Program, Trial
from conformance.fuzz.running import Converted, Hang, Outputs, converted, in_pytorch, limited
from nobuco.bridge import to_numpy
from nobuco.errors import ConverterError, ExportError, NobucoError, NobucoWarning
from nobuco.parity import compare, default_tolerance

_GRAVEST_FIRST = (Outcome.SILENT, Outcome.TOLD, Outcome.REFUSED)
_OURS = "/nobuco/"  # what the path of a file of nobuco's has in it


@dataclass(frozen=True)
class Verdict:
    """What became of a program; `signature` is alike where the reason is likely to be the same."""

    outcome: Outcome
    signature: str = ""
    detail: str = ""
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Problem:
    signature: str
    detail: str
    outcome: Outcome


def judge(program: Program, seconds: float = 60) -> Verdict:
    """Convert a program, run it on each of its trials, and compare with PyTorch."""
    try:
        with limited(seconds):
            return _judged(program)
    except Hang as hang:
        return Verdict(Outcome.HANG, f"hang in {_place(hang)}", f"{hang}\n{_brief_traceback(hang)}")


def _judged(program: Program) -> Verdict:
    wanted: list[tuple[Trial, Outputs]] = []
    for trial in program.trials:
        try:
            wanted.append((trial, in_pytorch(program, trial)))
        except Exception as error:
            if not wanted:
                return Verdict(Outcome.VOID, "PyTorch", _line(error))
    try:
        model = converted(program)
    except Exception as error:
        return _of_failed_conversion(error)
    problem = min(
        _problems(program, model, wanted), key=lambda found: _GRAVEST_FIRST.index(found.outcome), default=None
    )
    if problem is None:
        signature = _without_numbers(model.said[0]) if model.said else ""
        return Verdict(Outcome.WARNED if model.said else Outcome.RIGHT, signature, said=model.said)
    return Verdict(problem.outcome, problem.signature, problem.detail, model.said)


def _of_failed_conversion(error: Exception) -> Verdict:
    outcome = Outcome.REFUSED if _is_clear(error) else Outcome.RAW
    signature = f"{type(_first(error)).__name__} in {_place(error)}"
    return Verdict(outcome, signature, f"{_line(error)}\n{_brief_traceback(error)}")


def _is_clear(error: BaseException) -> bool:
    """Whether an error is nobuco's own word, and not what a converter stumbled over wrapped into one."""
    if isinstance(error, ConverterError):
        cause = error.__cause__
        return cause is not None and (isinstance(cause, NobucoError) or _is_raised_on_purpose(cause))
    return isinstance(error, NobucoError)


def _is_raised_on_purpose(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and _OURS in frames[-1].filename and (frames[-1].line or "").startswith("raise")


def _problems(program: Program, model: Converted, wanted: Sequence[tuple[Trial, Outputs]]) -> Iterator[_Problem]:
    """What is wrong, until a fault of which nothing was said: what was told of one size excuses no other."""
    for trial, expected in wanted:
        yield from _problem(model, f"Keras, {trial.name}", model.in_keras, trial, expected)
    if not program.tflite:
        return
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            data = model.file()
    except ExportError as error:
        yield _Problem("TFLite: refused", _line(error), Outcome.REFUSED)
        return
    except Exception as error:
        yield _Problem(f"TFLite: {type(error).__name__}", _line(error), Outcome.TOLD if model.said else Outcome.SILENT)
        return
    said = [str(one.message) for one in caught if issubclass(one.category, NobucoWarning)]
    model = replace(model, warned=(*model.warned, *said))
    run = partial(model.in_tflite, data)
    for trial, expected in wanted:
        if not any(0 in given.shape(trial.sizes) for given in program.inputs):  # which many of its kernels refuse
            yield from _problem(model, f"TFLite, {trial.name}", run, trial, expected)


def _problem(
    model: Converted, where: str, run: Callable[[Trial], Outputs], trial: Trial, expected: Outputs
) -> Iterator[_Problem]:
    """What is wrong on one trial, unless PyTorch itself would give that in double precision."""
    fault = Outcome.TOLD if model.is_told_of(trial) else Outcome.SILENT
    try:
        got = run(trial)
    except NobucoError as error:
        yield _Problem(f"{where}: refused", _line(error), Outcome.REFUSED)
        return
    except Exception as error:
        yield _Problem(f"{where}: {type(error).__name__} {_kind_of_message(error)}", _line(error), fault)
        return
    for call, (ours, theirs) in enumerate(zip(got, expected, strict=True)):
        difference = _difference(ours, theirs)
        if difference is not None and not (
            difference[0] == "values" and _rounding_decides(model.program, trial, got, expected)
        ):
            yield _Problem(f"{where}: {difference[0]}", f"{where}, call {call}: {difference[1]}", fault)
            return


def _difference(got: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> tuple[str, str] | None:
    if len(got) != len(expected):
        return "number of outputs", f"{len(got)} outputs, PyTorch gives {len(expected)}"
    for place, (ours, theirs) in enumerate(zip(got, expected)):
        if ours.dtype != theirs.dtype:
            return "dtype", f"output {place} is {ours.dtype}, PyTorch gives {theirs.dtype}"
        if ours.shape != theirs.shape:
            return "shape", f"output {place} is {tuple(ours.shape)}, PyTorch gives {tuple(theirs.shape)}"
        if ours.numel():
            tolerance = default_tolerance(str(theirs.dtype).removeprefix("torch."))
            difference = compare(to_numpy(ours), to_numpy(theirs), tolerance)
            if not difference.matches:
                return "values", f"output {place}: {difference.describe()}"
    return None


def _rounding_decides(program: Program, trial: Trial, got: Outputs, expected: Outputs) -> bool:
    """Whether PyTorch itself is about as far off from what it gives in double precision."""
    try:
        if _shares_memory(program):  # which `double` parts
            return False
        exact = in_pytorch(program, trial, torch.float64)
        return _apart(got, expected) <= 8 * _apart(exact, expected)
    except Exception:
        return False


def _shares_memory(program: Program) -> bool:
    """Whether tensors of a module lie in one memory."""
    module = program.made()
    held = [*module.parameters(), *module.buffers()] if isinstance(module, torch.nn.Module) else []
    return len({tensor.untyped_storage().data_ptr() for tensor in held}) < len(held)


def _apart(first: Outputs, second: Outputs) -> float:
    """The largest difference; infinite where NaN or infinity is in one alone."""
    largest = 0.0
    for ours, theirs in zip(itertools.chain(*first), itertools.chain(*second), strict=True):
        both = ours.double(), theirs.double()
        differing = (both[0] - both[1]).abs()[~torch.isclose(*both, rtol=0, atol=0, equal_nan=True)]
        largest = max(largest, differing.nan_to_num(math.inf, math.inf).max().item() if differing.numel() else 0.0)
    return largest


def _first(error: BaseException) -> BaseException:
    """What a converter raised, where an error wraps that."""
    while isinstance(error, ConverterError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    return [f for f in traceback.extract_tb(_first(error).__traceback__) if _OURS in f.filename]


def _place(error: BaseException) -> str:
    """The innermost function of nobuco that an error went through."""
    frames = _frames(error)
    return f"{frames[-1].filename.rpartition(_OURS)[2]} {frames[-1].name}" if frames else "no frame of nobuco"


def _brief_traceback(error: BaseException) -> str:
    frames = _frames(error)[-4:]
    return "\n".join(f"  {f.filename.rpartition(_OURS)[2]}:{f.lineno} {f.name}: {f.line}" for f in frames)


def _line(error: BaseException) -> str:
    """An error on one line, without what Keras puts around its message."""
    return f"{type(error).__name__}: {_message(error)}"[:600]


def _message(error: BaseException) -> str:
    text = re.sub(r"\x1b\[\d*m", "", str(error)).partition("Arguments received by")[0]
    return re.sub(r"Exception encountered when calling [\w.]+\(\)\.|\{\{.*?\}\}|\s+", " ", text).strip()


def _kind_of_message(error: BaseException) -> str:
    return _without_numbers(_message(error))


def _without_numbers(message: str) -> str:
    """The beginning of a message without its names and numbers."""
    bare = re.sub(r"\[[^\]]*\]|\([^)]*\)|'[^']*'|File \"[^\"]*\"", "", message)
    return re.sub(r"-?\d+", "#", bare)[:80].strip()
