"""A mutant put in place of the built-in converter, and tried as the plugin's items are."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from conformance.mutants.rules import Mutant
from nobuco.builtin import find_converter
from nobuco.registry import Converter, registry
from pytest_nobuco.converters.backend import NobucoConverters, Subjects, attempted, judged, measured
from pytest_nobuco.converters.calls import Call
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
    """Try one after the other; those of one converter, which share their samples, in a row."""
    for operation, group in itertools.groupby(mutants, lambda mutant: mutant.operation):
        built_in = find_converter(operation)
        if built_in is None:
            raise SuiteError(f"{operation} has no converter that could be a wrong one")
        case, subjects = samples_of(built_in, options)
        yield from (tried(mutant, built_in, case, subjects, options) for mutant in group)


def samples_of(converter: Converter, options: Options) -> tuple[ConverterCase, Subjects]:
    """The samples of the item that is channels-last, static, in Keras, and in the main dtype."""
    converters = NobucoConverters()
    entry = converters.entry(converter)
    assert entry is not None
    case = ConverterCase("nhwc", "static", entry.dtypes[0] if entry.dtypes else None, "keras")
    return case, converters.subjects(entry, case, options)


def tried(mutant: Mutant, built_in: Converter, case: ConverterCase, subjects: Subjects, options: Options) -> Verdict:
    """The first samples on which a mutant differs from PyTorch."""
    bound = bound_for([], options)
    with installed(mutant.change(built_in)) as converter:
        results = measured(converter, case, subjects, attempted(converter, subjects, case), bound)
        wrong = (
            (subject, problems[0])
            for subject, result in zip(subjects, results)
            if (problems := judged(result, bound)[1]) and isinstance(subject, Call)
        )
        first = list(itertools.islice(wrong, _KEPT))
    if first:
        return Verdict(mutant, True, first[0][0].describe(), first[0][1], tuple(call for call, _ in first))
    return Verdict(mutant, False, f"passes {len(subjects)} samples")


@contextmanager
def installed(converter: Converter) -> Iterator[Converter]:
    """A converter serves its operations, whoever served them before, until the block ends."""
    with registry.restoring():
        for operation in converter.operations:
            registry.remove(operation)
        registry.add(converter)
        yield converter
