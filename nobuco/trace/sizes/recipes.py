"""What a number in a program must have been: a few functions of the sizes that were met before, tried in turn."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nobuco.ir import Value
from nobuco.trace.sizes.formulas import linear_fit, steps

HERE = object()

# In so many runs a function of a size must hold, with different results, before it is believed.
_FEWEST_NUMBERS = 4
_LARGEST_DIVISOR = 64
_OF_TWO: tuple[Callable[..., int], ...] = (max, min)
_MOST_PAIRED = 30
_Steps = tuple[tuple[Callable[..., Any], tuple[Any, ...]], ...]
# Functions of one size that give a whole number: the root, the next power of two, its exponent, how many bits it has.
_WHOLE_FUNCTIONS: tuple[tuple[_Steps, Callable[[int], int]], ...] = (
    (((math.sqrt, (HERE,)), (math.floor, (HERE,))), math.isqrt),
    (
        ((operator.sub, (HERE, 1)), (int.bit_length, (HERE,)), (operator.pow, (2, HERE))),
        lambda n: 1 << (n - 1).bit_length(),
    ),
    (((operator.sub, (HERE, 1)), (int.bit_length, (HERE,))), lambda n: (n - 1).bit_length()),
    (((int.bit_length, (HERE,)),), int.bit_length),
)
_FUNCTIONS: tuple[Callable[[Any], float], ...] = (math.sqrt, math.log, math.log2, math.log10)


@dataclass(frozen=True)
class Recipe:
    """A size met before, and the calls that make a number of it; `HERE` is what the call before gave.

    A call may take another size, too.
    """

    size: Value
    steps: tuple[tuple[Callable[..., Any], tuple[Any, ...]], ...] = ()


def candidates(sizes: Sequence[tuple[tuple[Any, ...], Value]], numbers: tuple[Any, ...]) -> Iterator[Recipe]:
    """The ways in which these numbers, one of each run, come of sizes met before, as far as the runs tell."""
    if all(type(n) is float and n.is_integer() for n in numbers):
        for recipe in candidates(sizes, tuple(map(int, numbers))):
            yield replace(recipe, steps=(*recipe.steps, (operator.mul, (HERE, 1.0))))
    whole = [(met, size) for met, size in sizes if all(type(n) is int for n in (*met, *numbers))]
    for met, size in whole:
        yield from _bounded(size, met, numbers)
    if len(set(numbers)) < _FEWEST_NUMBERS:
        return
    for met, size in whole:
        yield from _fitted(size, met, numbers)
        for recipe in _fitted(size, met, [-n for n in numbers]):
            yield replace(recipe, steps=(*recipe.steps, (operator.neg, (HERE,))))
        for first, made in _WHOLE_FUNCTIONS:
            for recipe in _fitted(size, [made(abs(n)) for n in met], numbers, plainly=True):
                yield replace(recipe, steps=(*first, *recipe.steps))
    for met, size in sizes if any(type(n) is float for n in numbers) else ():
        yield from _affine(size, met, numbers)
    yield from _products(dict(reversed(whole)), numbers)
    yield from _of_two(dict(whole), numbers)
    for met, size in whole:
        yield from _remainders(size, met, numbers)


def _remainders(size: Value, met: Sequence[int], numbers: tuple[Any, ...]) -> Iterator[Recipe]:
    """What a size has more than a multiple of some number, or lacks to one: all of it, or half."""
    if not all(type(n) is int and 0 <= n < _LARGEST_DIVISOR for n in numbers):
        return
    for by, negated in itertools.product(range(max(numbers) + 1, _LARGEST_DIVISOR + 1), (True, False)):
        rest = [(-n if negated else n) % by for n in met]
        first = [(operator.neg, (HERE,))] if negated else []
        for add, parts in ((0, 1), (0, 2), (1, 2)):
            if list(numbers) == [(n + add) // parts for n in rest]:
                whole = ((operator.mod, by, 0), (operator.add, add, 0), (operator.floordiv, parts, 1))
                yield Recipe(size, (*first, *((op, (HERE, n)) for op, n, nothing in whole if n != nothing)))


def _bounded(size: Value, met: Sequence[int], numbers: Sequence[int]) -> Iterator[Recipe]:
    """`max(size, n)`, `min(size, n)`, or both, where all sides were seen."""
    other = sorted({n for n, m in zip(numbers, met) if n != m})
    if len(other) not in (1, 2) or sum(n == m for n, m in zip(numbers, met)) < 2:
        return
    low, high = other[0], other[-1]
    for made in (((max, low),), ((min, high),), ((min, high), (max, low))):
        found = list(met)
        for op, bound in made:
            found = [op(m, bound) for m in found]
        if found == list(numbers):
            yield Recipe(size, tuple((op, (HERE, bound)) for op, bound in made))


def _products(whole: Mapping[tuple[int, ...], Value], numbers: tuple[int, ...]) -> Iterator[Recipe]:
    """A product, a sum or a difference of two sizes."""
    inverses: tuple[tuple[Callable[..., Any], Callable[..., Any]], ...] = (
        (operator.mul, _quotient), (operator.add, operator.sub), (operator.sub, operator.add)
    )  # fmt: skip
    for met, size in whole.items():
        for op, inverse in inverses:
            other = whole.get(tuple(map(inverse, numbers, met)))
            if other is not None and len(set(met)) > 1:
                yield Recipe(other, ((op, (HERE, size)),))


def _quotient(number: int, by: int) -> int | None:
    return number // by if by and number % by == 0 else None


def _of_two(sizes: Mapping[tuple[int, ...], Value], numbers: tuple[Any, ...]) -> Iterator[Recipe]:
    """The larger, or the smaller, of two sizes."""
    if all(type(n) is int for n in numbers):
        for (met, size), (other, second) in itertools.product(list(sizes.items())[:_MOST_PAIRED], repeat=2):
            for op in _OF_TWO:
                if numbers == tuple(map(op, met, other)):
                    yield Recipe(size, ((op, (HERE, second)),))


def _fitted(size: Value, met: Sequence[int], numbers: Sequence[int], plainly: bool = False) -> Iterator[Recipe]:
    """`(p * size + a) // b`, or such a number in steps of more than one, as `ceil(h / 8) * 8` is.

    `plainly`: one of p and b is one, as the others fit much that is rather small.
    """
    step, start = steps(numbers)
    for by, offset in dict.fromkeys(((1, 0), (step, start))):
        fit = linear_fit(met, [(n - offset) // by for n in numbers])
        if fit is not None and not (plainly and 1 not in (fit[0], fit[2])):
            p, a, b = fit
            made = ((operator.mul, p, 1), (operator.add, a, 0), (operator.floordiv, b, 1))
            whole = (*made, (operator.mul, by, 1), (operator.add, offset, 0))
            yield Recipe(size, tuple((op, (HERE, n)) for op, n, nothing in whole if n != nothing))


def _affine(size: Value, met: Sequence[Any], numbers: Sequence[Any]) -> Iterator[Recipe]:
    """A float that is `a * g(size) + b`, for a few functions `g`."""
    if len(set(met)) < _FEWEST_NUMBERS or not all(map(math.isfinite, numbers)):
        return
    firsts: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [(f, (HERE,)) for f in _FUNCTIONS]
    for first in (None, (operator.truediv, (1.0, HERE)), *firsts):
        try:
            seen = [float(m) if first is None else first[0](*(m if a is HERE else a for a in first[1])) for m in met]
        except (ValueError, ArithmeticError):  # the root of what is negative, or one by nothing
            continue
        line = _line(seen, numbers)
        if line is not None and np.allclose(np.multiply(line[0], seen) + line[1], numbers, rtol=1e-11, atol=0):
            steps = [] if first is None else [first]
            steps += [(operator.mul, (HERE, line[0]))] if line[0] != 1 or first is None else []
            steps += [(operator.add, (HERE, line[1]))] if line[1] else []
            yield Recipe(size, tuple(steps))


def _line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float] | None:
    """The slope and the offset of a line through the outermost points, rounded to what was written, if that fits."""
    low, high = int(np.argmin(x)), int(np.argmax(x))
    if x[low] == x[high]:
        return None
    slope = (y[high] - y[low]) / (x[high] - x[low])
    near = float(f"{slope:.9g}")
    slope = near if math.isclose(near, slope, rel_tol=1e-12) else slope
    offset = y[low] - slope * x[low]
    return (slope, 0.0 if abs(offset) < 1e-11 * max(map(abs, y)) else offset) if slope else None
