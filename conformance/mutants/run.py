"""A mutant put in place of the built-in converter, and tried as the plugin's items are."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from conformance.mutants.rules import Mutant
from nobuco.builtin import find_converter
from nobuco.registry import Converter, registry
from pytest_nobuco.converters.backend import NobucoConverters, judged, judged_in_tflite
from pytest_nobuco.converters.calls import Call
from pytest_nobuco.converters.conversions import Subjects, attempted, measured
from pytest_nobuco.converters.items import ConverterCase
from pytest_nobuco.errors import SuiteError
from pytest_nobuco.gate import bound_for
from pytest_nobuco.options import Options

_KEPT = 3


@dataclass(frozen=True)
class Verdict:
    """What the item found; `by` is the sample that caught it, `problem` what was wrong there.

    `calls` are the first samples that caught it.
    """

    mutant: Mutant
    caught: bool
    by: str
    problem: str = ""
    calls: tuple[Call, ...] = ()

    @property
    def raised(self) -> bool:
        """Whether the mutant gave nothing that could be compared: such a one shows little of the samples."""
        return self.caught and " raised " in self.problem


def verdicts(mutants: Iterable[Mutant], options: Options) -> Iterator[Verdict]:
    """Try one after the other; those of one converter and one form, which share their samples, in a row."""
    for _, group in itertools.groupby(mutants, form_of):
        first, *others = group
        built_in = find_converter(first.operation)
        if built_in is None:
            raise SuiteError(f"{first.operation} has no converter that could be a wrong one")
        case, subjects = samples_of(built_in, first, options)
        yield from (tried(mutant, built_in, case, subjects, options) for mutant in (first, *others))


def form_of(mutant: Mutant) -> tuple[Any, ...]:
    """What mutants have in common that are tried on the same samples."""
    return mutant.operation, mutant.order, mutant.shape, mutant.runtime, mutant.dtype


def samples_of(converter: Converter, mutant: Mutant, options: Options) -> tuple[ConverterCase, Subjects]:
    """The samples of the item in the mutant's form."""
    converters = NobucoConverters()
    entry = converters.entry(converter)
    assert entry is not None
    main = entry.dtypes[0] if entry.dtypes else None
    case = ConverterCase(mutant.order, mutant.shape, mutant.dtype or main, mutant.runtime)
    subjects = converters.subjects(entry, case, options)
    return case, subjects if case.runtime == "keras" else judged_in_tflite(subjects)


def tried(mutant: Mutant, built_in: Converter, case: ConverterCase, subjects: Subjects, options: Options) -> Verdict:
    """The first samples on which a mutant differs from PyTorch."""
    bound = bound_for([], options)
    with installed(mutant.change(built_in)) as converter:
        results = measured(converter, case, subjects, attempted(converter, subjects, case), bound)
        wrong = (
            (subject, problems[0])
            for subject, result in zip(subjects, results)
            if (problems := judged(result, bound)[1])
        )
        first = list(itertools.islice(wrong, _KEPT))
    if first:
        calls = [subject if isinstance(subject, Call) else subject.call for subject, _ in first]
        return Verdict(mutant, True, calls[0].describe(), first[0][1], tuple(calls))
    return Verdict(mutant, False, f"passes {len(subjects)} samples")


@contextmanager
def installed(converter: Converter) -> Iterator[Converter]:
    """A converter serves its operations, whoever served them before, until the block ends."""
    with registry.restoring():
        for operation in converter.operations:
            registry.remove(operation)
        registry.add(converter)
        yield converter
