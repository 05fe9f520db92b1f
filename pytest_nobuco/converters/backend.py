"""What the converters' items need of the frameworks, for real.

Imports PyTorch, TensorFlow and nobuco, so it is itself imported only when converters are listed.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import numpy as np
import torch

from nobuco.builtin import find_converter, registered_converters
from nobuco.parity import Difference
from nobuco.registry import (
    Converter,
    Operation,
    Sample,
    operation_name,
    operator_named,
)
from pytest_nobuco.converters.builtin_facts import (
    FREE_AXES,
    IN_BLOCKS,
    LEFT_OUT,
    NOT_CALLED,
    ONLY_DYNAMIC,
    PASSIVE,
    TRUSTING,
    UNTIED,
)
from pytest_nobuco.converters.calls import Accepts, Call, RefusedError, choose, is_untied, spread, untied
from pytest_nobuco.converters.conversions import Subjects, attempted, measured
from pytest_nobuco.converters.defaults import telling
from pytest_nobuco.converters.forms import formed, forms_of_tensors, many
from pytest_nobuco.converters.integers import large_integers
from pytest_nobuco.converters.items import BadSample, ConverterCase, Entry, Finding
from pytest_nobuco.converters.option_forms import forms_of_options
from pytest_nobuco.converters.outcomes import SpecialSample
from pytest_nobuco.converters.parameters import Trials, Varied, varied
from pytest_nobuco.converters.parity import Conversion, blame, reaches
from pytest_nobuco.converters.resize import Limit, Resized, resized
from pytest_nobuco.converters.samples import Source, source_of, writes
from pytest_nobuco.converters.signatures import signatures_of
from pytest_nobuco.converters.special import of_quadrants, special
from pytest_nobuco.converters.traits import covering
from pytest_nobuco.errors import SuiteError, UnavailableError
from pytest_nobuco.gate import Bound, bound_for, describe_output
from pytest_nobuco.options import Options
from pytest_nobuco.results import OutputResult

Blame = tuple[str | None, dict[str, Any] | None]


class NobucoConverters:
    """The real one. It keeps the last conversions, which the next item, of another runtime, shares."""

    def __init__(self) -> None:
        self._registered: dict[str, tuple[Converter, list[Operation], Source | None]] = {}
        self._last: tuple[Any, Subjects, list[Conversion | Exception]] | None = None
        self._varied: dict[str, Varied] = {}

    def listed(self) -> list[Entry]:
        """See `Converters`."""
        entries = [self.entry(converter) for converter in registered_converters()]
        return [entry for entry in entries if entry is not None]

    def entry(self, converter: Converter) -> Entry | None:
        """One registered converter, to be tried; None where it serves no operation that can be called."""
        # Another converter may have taken over some of its operations.
        operations = [op for op in _callables(converter) if find_converter(op) is converter]
        if not operations:
            return None
        name = _unused(operation_name(operations[0]), self._registered)
        source = source_of(converter, operations)
        self._registered[name] = converter, operations, source
        return Entry(name, tuple(map(operation_name, operations)), source.dtypes if source else ())

    def tried(self, entry: Entry, case: ConverterCase, options: Options) -> Finding:
        """See `Converters`."""
        if case.runtime == "tflite" and importlib.util.find_spec("ai_edge_litert") is None:
            raise UnavailableError("TFLite needs ai-edge-litert: pip install 'nobuco[pytest]'")
        converter = self._registered[entry.name][0]
        key = entry.name, case.order, case.shape, case.dtype, case.runtime
        if self._last is None or self._last[0][:-1] != key[:-1]:
            subjects = self.subjects(entry, case, options)
            self._last = key, subjects, attempted(converter, subjects, case)
        if case.runtime == "tflite" and any(map(_is_beyond_tflite, self._last[1])):
            subjects = [subject for subject in self._last[1] if not _is_beyond_tflite(subject)]
            if not subjects:
                raise UnavailableError("all samples are without elements, or drawn in float64: TFLite has none of both")
            self._last = (*key[:-1], ""), subjects, attempted(converter, subjects, case)
        _, subjects, conversions = self._last
        bound = bound_for([], options)
        found = list(measured(converter, case, subjects, conversions, bound))
        conversion_id = "/".join(filter(None, key[:-1]))
        if case.runtime == "tflite":
            judged_here = [not _is_of_kernels(subject) for subject in subjects]
            subjects, found = (
                list(itertools.compress(subjects, judged_here)),
                list(itertools.compress(found, judged_here)),
            )
        finding = _finding(subjects, found, bound, conversion_id, partial(self._blame, entry, case, bound))
        known = self._varied.get(entry.name)
        if known is None or case.shape != "static":
            return finding
        idle = "; ".join(f"{name}: {reason}" for name, reason in known.reasons.items())
        return replace(finding, parameters=known.share, idle=idle)

    def subjects(self, entry: Entry, case: ConverterCase, options: Options) -> Subjects:
        """The calls to try; in the dynamic case those that PyTorch itself takes at other sizes."""
        converter, _, source = self._registered[entry.name]
        if source is None:
            raise SuiteError(
                f"no sample: give samples=... in @nobuco.converter, a function that returns a list of nobuco.Sample; "
                f"the converter is at {converter.location}"
            )
        if case.shape == "static" and _only_dynamic(entry):
            raise UnavailableError("this is computed while converting, unless an axis is dynamic")
        calls = self._calls(entry, case, source, options)
        if case.shape == "static":
            return calls
        sizes = partial(
            resized, limit=_limit(entry.spellings), seed=options.seed, accepts=partial(_is_defined, entry),
            blocks=_has(entry, IN_BLOCKS), alone=not _trusts(entry, converter),
        )  # fmt: skip
        free = [found for number, call in enumerate(calls) if (found := sizes(call, large=number % 2 > 0)) is not None]
        if not free:
            raise UnavailableError("PyTorch itself takes no other sizes with the arguments of these samples")
        return free

    def _calls(self, entry: Entry, case: ConverterCase, source: Source, options: Options) -> list[Call]:
        """Every spelling has to take a sample in the main dtype; in a further one those that do are tried."""
        converter, operations, _ = self._registered[entry.name]
        is_main = case.dtype is None or case.dtype == source.dtypes[0]
        operations = [operation for operation in operations if operation_name(operation) not in NOT_CALLED]

        def accepts(call: Call) -> bool:
            reached = _only_dynamic(entry) or call.name in PASSIVE or reaches(converter, call)
            return reached and _is_defined(entry, call)

        samples = source.draw(case.dtype)
        samples = list(map(untied, samples)) if _has(entry, UNTIED) else samples
        try:
            chosen = choose(operations, samples, options.samples, is_main, accepts, options.seed)
        except RefusedError as error:
            if not is_main:
                raise UnavailableError(f"there is no sample in {case.dtype}: {error}") from None
            raise SuiteError(f"no sample: {error} (samples from {source.name})") from None
        # The rest does not depend on whether an axis is dynamic, and looking for other sizes of each takes long.
        given = converter.samples is not None or _has(entry, TRUSTING)
        if given or case.shape != "static":
            return chosen
        if not is_main:
            more = large_integers(_not_writing(operations), samples, options.seed)
            more += of_quadrants(_plain(operations), samples, options.seed)
            return [*chosen, *spread(operations, more, accepts, options.seed)]
        made_by_rule = self.varied(entry, samples, accepts, options.seed)
        made = [
            *source.own(),
            *made_by_rule.samples,
            *made_by_rule.defaults,
            *self.special(entry, samples, options.seed),
            *large_integers(_not_writing(operations), samples, options.seed),
        ]
        found = [*chosen, *spread(operations, made, accepts, options.seed)]

        def tried(sample: Sample) -> Call | None:
            call = next(iter(spread(operations, [sample], accepts, options.seed)), None)
            is_double = call is not None and any(array.dtype == np.float64 for array in call.expected)
            return None if is_double else call  # of which TFLite computes little

        operation, left_out = _plain(operations), _left_out(entry)
        signatures = signatures_of(operation, converter)
        found += covering(samples, [call.sample for call in found], signatures, tried)
        # ATen's inner operations trust what the public ones have checked.
        trusting = all(isinstance(operation, torch._ops.OpOverload) for operation in operations)
        public = source.name == "OpInfo"
        for forms, trusted in ((forms_of_tensors(), trusting), (forms_of_options(signatures), trusting and not public)):
            wanted = [form for form in forms if form.name not in left_out]
            found += formed(wanted, samples, [call.sample for call in found], tried, as_they_are=trusted)
        if trusting:
            return found
        trials = Trials(operation, signatures, options.seed)
        found += [call for call in map(tried, many([call.sample for call in found if call.random])) if call is not None]
        more = telling(trials, [call.sample for call in found], lambda sample: tried(sample) is not None)
        return [*found, *spread(operations, more, accepts, options.seed)]

    def varied(self, entry: Entry, samples: Sequence[Sample], accepts: Accepts, seed: int) -> Varied:
        """Samples in which the operation's parameters differ from those of its other samples."""
        if entry.name not in self._varied:
            converter, operations, _ = self._registered[entry.name]
            operation = _plain(operations)

            def serves(sample: Sample) -> bool:
                return bool(spread(operations, [sample], accepts, seed))

            self._varied[entry.name] = varied(operation, samples, signatures_of(operation, converter), serves, seed)
        return self._varied[entry.name]

    def special(self, entry: Entry, samples: Sequence[Sample], seed: int) -> list[Sample]:
        """Samples of values that the operation may treat apart."""
        return special(_plain(self._registered[entry.name][1]), samples, seed, _left_out(entry))

    def _blame(self, entry: Entry, case: ConverterCase, bound: Bound, subject: Call | Resized) -> Blame:
        return blame(self._registered[entry.name][0], subject, case.order, case.runtime, bound)


def _left_out(entry: Entry) -> set[str]:
    """The kinds of special samples, and the forms, that are none of an entry's."""
    found = {kind for name, (kinds, _) in LEFT_OUT.items() if _has(entry, [name]) for kind in kinds}
    return found | (
        {"tied", "tied together", "zeros", "infinite", "masked", "NaN"} if _has(entry, IN_BLOCKS) else set()
    )


def _not_writing(operations: Sequence[Operation]) -> list[Operation]:
    """The spellings that write to nothing, if there are any."""
    return [operation for operation in operations if not writes(operation)] or [operations[0]]


def _plain(operations: Sequence[Operation]) -> Operation:
    """A spelling that writes to nothing, if there is one."""
    return _not_writing(operations)[0]


def _finding(
    subjects: Subjects,
    found: Sequence[list[Difference] | Exception],
    bound: Bound,
    conversion: str,
    blame: Callable[[Call | Resized], Blame],
) -> Finding:
    outputs: list[OutputResult] = []
    bad: list[tuple[float, Call | Resized, BadSample]] = []
    for subject, result in zip(subjects, found):
        severity, problems, measured = judged(result, bound)
        outputs += measured
        if problems:
            bad.append((severity, subject, BadSample(_describe(subject), problems)))
    bad.sort(key=lambda one: -one[0])
    samples = [sample for _, _, sample in bad]
    graph = None
    if bad:
        node, graph = blame(bad[0][1])
        samples[0] = replace(samples[0], culprit=node)
    return Finding(len(subjects), tuple(outputs), tuple(samples), bound.source, conversion, graph)


def judged(result: list[Difference] | Exception, bound: Bound) -> tuple[float, tuple[str, ...], list[OutputResult]]:
    """How bad one sample is, what is wrong with it, and what is known of its outputs."""
    if isinstance(result, Exception):
        text = f"{type(result).__name__}: {result}"
        return math.inf, (text,), [OutputResult(None, None, False, text)]
    problems = [describe_output(i, d, bound) for i, d in enumerate(result) if not bound.admits(d)]
    severity = max((d.severity for d in result), default=0.0)
    return severity, tuple(problems), [_output(difference, bound) for difference in result]


def _output(difference: Difference, bound: Bound) -> OutputResult:
    broken = difference.is_broken
    return OutputResult(
        None if broken else difference.max_abs,
        None if broken else difference.relative_to_peak,
        bound.admits(difference),
        difference.describe(),
    )


def _is_beyond_tflite(subject: Call | Resized) -> bool:
    """Whether a tensor has no elements, which TFLite's runtime refuses, or is drawn in float64, which it cannot."""
    call = subject if isinstance(subject, Call) else subject.call
    if call.random and any(array.dtype == np.float64 for array in call.expected):
        return True
    return any(not tensor.numel() for tensor in call.tensors) or any(not array.size for array in call.expected)


def _is_of_kernels(subject: Call | Resized) -> bool:
    """Whether TFLite's own kernels decide what becomes of it, whatever the converter does."""
    sample = (subject if isinstance(subject, Call) else subject.call).sample
    return isinstance(sample, SpecialSample) and sample.is_of_kernels


def judged_in_tflite(subjects: Subjects) -> Subjects:
    """Those that TFLite can run, and in which it is the converter that decides."""
    return [subject for subject in subjects if not _is_beyond_tflite(subject) and not _is_of_kernels(subject)]


def _describe(subject: Call | Resized) -> str:
    if isinstance(subject, Call):
        return subject.describe()
    return ", then ".join(call.describe() for call in (subject.call, *subject.others))


def _limit(spellings: Iterable[str]) -> Limit | None:
    """Which axes may be free; None for all."""
    for pattern, limit in FREE_AXES.items():
        if any(fnmatchcase(spelling, pattern) for spelling in spellings):
            return limit
    return None


def _trusts(entry: Entry, converter: Converter) -> bool:
    """Whether PyTorch may read beyond tensors of sizes that do not go together; its inner operations do not check."""
    return _has(entry, TRUSTING) or all(isinstance(op, torch._ops.OpOverload) for op in _callables(converter))


def _only_dynamic(entry: Entry) -> bool:
    return _has(entry, ONLY_DYNAMIC)


def _is_defined(entry: Entry, call: Call) -> bool:
    """Whether PyTorch says what the call gives."""
    return not _has(entry, UNTIED) or is_untied(call.sample)


def _has(entry: Entry, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in entry.spellings for pattern in patterns)


def _callables(converter: Converter) -> list[Operation]:
    """What a converter serves, as it is called.

    An operator that is only named is there if somebody has imported its library. The built-in ones of that kind are
    torchvision's, which `tests/converters/test_torchvision.py` compares.
    """
    named = [op for op in converter.operations if isinstance(op, str)]
    found = [] if converter.is_built_in else [operator_named(name) for name in named]
    return [*converter.callables, *(op for op in found if op is not None)]


def _unused(name: str, taken: Iterable[str]) -> str:
    """The name, numbered where there are two such."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}~{number}"
    return found
