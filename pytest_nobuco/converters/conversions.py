"""Calls converted together, as far as that is no more work, and one by one where together they fail.

Imports PyTorch, TensorFlow and nobuco, so it is itself imported only when converters are listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nobuco.parity import Difference
from nobuco.registry import Converter
from pytest_nobuco.converters.calls import Call
from pytest_nobuco.converters.items import ConverterCase
from pytest_nobuco.converters.parity import Conversion, convert, differences
from pytest_nobuco.converters.resize import Resized
from pytest_nobuco.gate import Bound

Subjects = Sequence[Call | Resized]
# How many axes of all its calls are free in one conversion.
_FREE_AT_ONCE = 10


def together(subjects: Subjects) -> Iterator[Subjects]:
    """What is converted at once: all; where axes are free, so much that there are not many of them.

    A trace is run at other sizes, which are the larger the more axes there are: they took minutes, and 15 GB.
    """
    some: list[Call | Resized] = []
    count = 0
    for subject in subjects:
        free = len(subject.free) if isinstance(subject, Resized) else 0
        if some and count + free > _FREE_AT_ONCE:
            yield some
            some, count = [], 0
        some.append(subject)
        count += free
    yield some


def attempted(converter: Converter | None, subjects: Subjects, case: ConverterCase) -> list[Conversion | Exception]:
    """The conversions of these calls, or why there are none."""
    return [_attempted(converter, some, case) for some in together(subjects)]


def _attempted(converter: Converter | None, subjects: Subjects, case: ConverterCase) -> Conversion | Exception:
    try:
        return convert(converter, subjects, case.order)
    except Exception as error:  # whatever it is, it is told of the sample that raises it alone
        return error


def measured(
    converter: Converter | None,
    case: ConverterCase,
    subjects: Subjects,
    conversions: Sequence[Conversion | Exception],
    bound: Bound,
) -> Iterator[list[Difference] | Exception]:
    """For each sample its outputs' differences, or why there are none."""
    for some, conversion in zip(together(subjects), conversions):
        yield from _measured(converter, case, some, conversion, bound)


def _measured(
    converter: Converter | None,
    case: ConverterCase,
    subjects: Subjects,
    conversion: Conversion | Exception,
    bound: Bound,
) -> Iterator[list[Difference] | Exception]:
    if isinstance(conversion, Conversion):
        try:
            yield from differences(conversion, case.runtime, bound)
            return
        except Exception as error:
            conversion = error
    if len(subjects) == 1:
        yield conversion
        return
    # Together they fail: one by one it shows which of them do.
    for subject in subjects:
        yield from _measured(converter, case, [subject], _attempted(converter, [subject], case), bound)
