"""Which inputs a model is tried on, as text and as data: `1,3,224,224`, `1,16:int64:0:1000`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

Read = TypeVar("Read")

FLOATS = ("float32", "float16", "bfloat16", "float64")
INTEGERS = ("int64", "int32", "int16", "int8", "uint8")
DTYPES = (*FLOATS, *INTEGERS, "bool")
FORM = (
    "[NAME=]SIZES[:DTYPE[:LOW:HIGH]][@VALUES], e.g. 1,3,224,224 or ids=1,16?:int64:0:1000 with the keyword that it "
    "goes to in front, and ? after a dynamic size; values such as @0 or @1,1,0 are repeated"
)
_NAME = re.compile(r"[^\W\d]\w*(\.\w+)*")


@dataclass(frozen=True)
class InputSpec:
    """A tensor to draw at random.

    Floats come from a normal distribution, integers from `low` up to but not including `high`. The default
    range is as small as a range can be, since an integer is most often an index into something. `free` are the
    axes that shall be dynamic. `name` is the keyword that it goes to, empty for a positional argument; with dots, a
    key in the dict that goes there. `values` are numbers that fill it again and again, in place of random ones, or
    `random:SEED:SCALE` for floats from another seed.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    low: int = 0
    high: int = 2
    free: tuple[int, ...] = ()
    name: str = ""
    values: str = ""

    def __str__(self) -> str:
        values = f"@{self.values}" if self.values else ""
        return (f"{self.name}=" if self.name else "") + self._text + values

    @property
    def _text(self) -> str:
        sizes = ",".join(f"{size}?" if axis in self.free else str(size) for axis, size in enumerate(self.shape))
        if (self.low, self.high) != (0, 2):
            return f"{sizes}:{self.dtype}:{self.low}:{self.high}"
        return sizes if self.dtype == "float32" else f"{sizes}:{self.dtype}"


def parse_input(text: str) -> InputSpec:
    """Read `[NAME=]SIZES[:DTYPE[:LOW:HIGH]][@VALUES]`; `ValueError` says what is wrong with it."""
    name, equals, form = text.strip().rpartition("=")
    if equals and not _NAME.fullmatch(name):
        raise ValueError(f"{text!r}: {name!r} is no keyword; the form is {FORM}")
    form, at, values = form.partition("@")
    if at:
        _check_values(values, text)
    return replace(_parsed(form, text), name=name, values=values)


def _check_values(values: str, text: str) -> None:
    numbers = values.removeprefix("random:").split(":") if values.startswith("random:") else values.split(",")
    try:
        found = list(map(float, numbers))
    except ValueError:
        found = []
    if not found or (values.startswith("random:") and len(found) != 2):
        raise ValueError(
            f"{text!r}: {values!r} are no values; give numbers such as @0 or @1,1,0, or @random:SEED:SCALE"
        )


def _parsed(form: str, text: str) -> InputSpec:
    sizes, *rest = form.split(":")
    if len(rest) not in (0, 1, 3):
        raise ValueError(f"{text!r} is not of the form {FORM}")
    dtype = rest[0] if rest else "float32"
    if dtype not in DTYPES:
        raise ValueError(f"{text!r}: unknown dtype {dtype!r}; there are {', '.join(DTYPES)}")
    digits = sizes.split(",") if sizes else []
    shape = tuple(_integer(size.removesuffix("?"), text) for size in digits)
    free = tuple(axis for axis, size in enumerate(digits) if size.endswith("?"))
    if any(size < 0 for size in shape):
        raise ValueError(f"{text!r}: a size is never negative")
    if len(rest) < 3:
        return InputSpec(shape, dtype, free=free)
    low, high = (_integer(bound, text) for bound in rest[1:])
    if dtype not in INTEGERS or low >= high:
        raise ValueError(f"{text!r}: a range LOW:HIGH needs an integer dtype and LOW below HIGH")
    return InputSpec(shape, dtype, low, high, free)


def parse_seed(text: str) -> int:
    """Read a seed that PyTorch, NumPy and Python all take; `ValueError` says what is wrong with it."""
    seed = int(text) if text.strip().isdecimal() else -1
    if not 0 <= seed < 2**32:
        raise ValueError(f"{text!r} is no seed; it is a whole number from 0 to {2**32 - 1}")
    return seed


def told(read: Callable[[str], Read]) -> Callable[[str], Read]:
    """What reads a word of the command line, its `ValueError` told as argparse tells them."""

    def reading(text: str) -> Read:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return reading


def read_inputs(given: Any) -> tuple[Any, ...]:
    """The `inputs=` of a marker, one entry per positional argument of the model.

    Text and tuples of sizes become an `InputSpec`, text in a dict, too; anything else (a tensor, a list of tensors)
    stays as it is. What is no list or tuple of entries is the only input, and so is one shape (`inputs=(1, 3, 8, 8)`).
    """
    if not isinstance(given, (list, tuple)) or _is_shape(given):
        given = [given]
    return tuple(_read_input(entry) for entry in given)


def arranged(inputs: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Read inputs as positional and keyword arguments; `ValueError` for two of one name."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for entry in inputs:
        name = entry.name if isinstance(entry, InputSpec) else ""
        if not name:
            args.append(entry)
            continue
        place: Any = kwargs
        *outer, last = name.split(".")
        for key in outer:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise ValueError(f"{key!r} is a tensor already, so {entry} cannot be in it")
        if last in place:
            raise ValueError(f"{name!r} was given twice: {entry}")
        place[last] = entry
    return tuple(args), kwargs


def _read_input(entry: Any) -> Any:
    if isinstance(entry, str):
        return parse_input(entry)
    if isinstance(entry, Mapping) and any(isinstance(value, str) for value in entry.values()):
        return {key: parse_input(value) if isinstance(value, str) else value for key, value in entry.items()}
    return InputSpec(tuple(entry)) if _is_shape(entry) else entry


def tensor_leaves(inputs: Sequence[Any]) -> list[Any]:
    """All tensors and `InputSpec`s in read inputs, those in lists and dicts, too, in their order."""
    found: list[Any] = []
    for entry in inputs:
        if isinstance(entry, (list, tuple)):
            found += tensor_leaves(entry)
        elif isinstance(entry, dict):
            found += tensor_leaves(list(entry.values()))
        elif hasattr(entry, "shape") and hasattr(entry, "dtype"):
            found.append(entry)
    return found


def _is_shape(entry: Any) -> bool:
    # Not every sequence of one int, so that a list of Python numbers may be an argument of the model.
    return isinstance(entry, tuple) and bool(entry) and all(type(size) is int for size in entry)


def _integer(digits: str, text: str) -> int:
    try:
        return int(digits)
    except ValueError:
        raise ValueError(f"{text!r}: {digits!r} is no whole number; the form is {FORM}") from None
