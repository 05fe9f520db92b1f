"""Dynamic shapes: which axes are free, what a form with free axes is called, and which other sizes it is tried at.

An axis has the letter that PyTorch's documentation gives it: N the batch, C the channels, D, H and W the depth,
height and width of what has four or five axes; T the second and L the last of what has fewer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]
FreeAxes = tuple[tuple[int, ...], ...]
"""For each input tensor, in order, its dynamic axes."""

AUTO, NONE = "auto", "none"
LETTERS = "NCTLDHW"
_LETTERS_OF_RANK = {0: "", 1: "N", 2: "NT", 3: "NTL", 4: "NCHW", 5: "NCDHW"}
# Networks halve their input up to five times; sizes that differ by less would often be refused.
_STRIDE = 32


@dataclass(frozen=True)
class Wish:
    """Which axes somebody wants to be dynamic.

    letters: of the axes, `auto` or `none`; `shapes`, by the input's position and with None at each dynamic axis,
        says it more exactly. `strict`: asked for by name, so that a model which takes one size only fails.
    """

    letters: str = AUTO
    shapes: Mapping[int, tuple[int | None, ...]] | None = None
    strict: bool = False


def read_letters(text: str) -> str:
    """Check `auto`, `none` or letters such as `NHW`; `ValueError` says what is wrong."""
    if text in (AUTO, NONE):
        return text
    wrong = [letter for letter in text if letter not in LETTERS]
    if wrong or not text or len(set(text)) != len(text):
        raise ValueError(
            f"{text!r} names no axes; give auto, none, or some of the letters {LETTERS}, each once, e.g. HW or NT"
        )
    return text


def read_shapes(given: Any) -> dict[int, tuple[int | None, ...]]:
    """The `input_shapes=` of a marker: by position, a sequence of shapes, or the shape of the only input."""
    if not isinstance(given, Mapping):
        single = given and _is_shape(given)
        given = dict(enumerate([given] if single else given))
    shapes = {}
    for position, shape in given.items():
        if type(position) is not int or not (shape is None or _is_shape(shape)):
            raise ValueError(
                f"input_shapes={given!r}: give shapes with None at each dynamic axis by the input's position, "
                "e.g. {0: (None, 3, None, None)}"
            )
        if shape is not None:
            shapes[position] = tuple(shape)
    return shapes


def _is_shape(given: Any) -> bool:
    return isinstance(given, (list, tuple)) and all(size is None or type(size) is int for size in given)


def free_axes(shapes: Sequence[Shape], wish: Wish) -> FreeAxes:
    """The dynamic axes of inputs of these shapes; `ValueError` where the wish does not fit them."""
    if wish.shapes is not None:
        return _of_shapes(shapes, wish.shapes)
    letters = wish.letters
    if letters == NONE:
        letters = ""
    elif letters == AUTO:
        # Images may have any size; of what else a net takes, most often the batch is free.
        letters = "DHW" if any(len(shape) in (4, 5) for shape in shapes) else "N"
    free = tuple(tuple(i for i, letter in enumerate(_letters(shape)) if letter in letters) for shape in shapes)
    if wish.strict and letters and not any(free):
        raise ValueError(f"no input has an axis {' or '.join(letters)}: their shapes are {list(shapes)}")
    return free


def _of_shapes(shapes: Sequence[Shape], wanted: Mapping[int, tuple[int | None, ...]]) -> FreeAxes:
    free: list[tuple[int, ...]] = [()] * len(shapes)
    for position, shape in wanted.items():
        if not 0 <= position < len(shapes):
            raise ValueError(f"input_shapes names input {position}; there are {len(shapes)}, counted from 0")
        own = shapes[position]
        if len(own) != len(shape) or any(size not in (None, was) for size, was in zip(shape, own)):
            raise ValueError(f"input_shapes gives input {position} the shape {shape}; it is tried at {own}")
        free[position] = tuple(axis for axis, size in enumerate(shape) if size is None)
    return tuple(free)


def name_of(shapes: Sequence[Shape], free: FreeAxes) -> str:
    """How a form is written in a test's id: `static`, or `dyn` and the letters of its free axes."""
    letters = {_letters(shape)[axis] for shape, axes in zip(shapes, free) for axis in axes}
    return "dyn" + "".join(letter for letter in LETTERS if letter in letters) if letters else "static"


def other_shapes(shapes: Sequence[Shape], free: FreeAxes) -> Iterator[tuple[Shape, ...]]:
    """Shapes at which a form is tried that it was not converted at, the best first.

    Axes that were equal stay equal where they have the same place (a mask is as long as its sequence), and height
    and width become unequal, so that a mistaken one for the other is seen.
    """
    keys = list(dict.fromkeys(axis_key(shape, axis) for shape, axes in zip(shapes, free) for axis in axes))
    for change in (_alternating, _longer, _doubled):
        sizes = {key: change(key[1], place) for place, key in enumerate(keys)}
        yield tuple(
            tuple(sizes[axis_key(shape, axis)] if axis in axes else size for axis, size in enumerate(shape))
            for shape, axes in zip(shapes, free)
        )


def _letters(shape: Shape) -> str:
    return _LETTERS_OF_RANK.get(len(shape), "N" + "?" * (len(shape) - 1))


def axis_key(shape: Shape, axis: int) -> tuple[int, int]:
    """What dynamic axes that have one size in all inputs have in common: their place, and their size."""
    return (axis - len(shape) if len(shape) > 3 else axis, shape[axis])


def _alternating(size: int, place: int) -> int:
    step = math.gcd(size, _STRIDE) or 1
    return size - step if place % 2 == 0 and size > step else size + step


def _longer(size: int, place: int) -> int:
    return size + _STRIDE * (place + 1)


def _doubled(size: int, place: int) -> int:
    return 2 * size
