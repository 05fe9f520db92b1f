"""What an argument may be: checked by name before a function runs, so that a wrong value is refused once, in a line."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

from nobuco.errors import InputError, NobucoError

P = ParamSpec("P")
R = TypeVar("R")
_LONGEST = 80


@dataclass(frozen=True)
class Kind:
    """A kind of values: the words for them, which stand behind "give", and the test."""

    words: str
    test: Callable[[Any], bool]

    def fits(self, value: Any) -> bool:
        """Whether a value is of this kind; one that cannot be asked, since its own class raises, is not."""
        try:
            return self.test(value)
        except Exception:
            return False

    def __or__(self, other: Kind) -> Kind:
        return Kind(f"{self.words}, or {other.words}", lambda value: self.fits(value) or other.fits(value))


def takes(error: type[NobucoError] = InputError, /, **kinds: Kind) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Have a function refuse values of its parameters that are not of these kinds.

    The error names the parameter and the value and says what to give; it is raised before the function runs.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            arguments = signature.bind(*args, **kwargs).arguments
            for name, kind in kinds.items():
                if name in arguments and not kind.fits(arguments[name]):
                    raise error(refusal(name, arguments[name], kind))
            return function(*args, **kwargs)

        return checked

    return decorate


def refusal(name: str, value: Any, kind: Kind) -> str:
    """The sentence about a value that is not of its kind."""
    return f"{name} is {shown(value)}; give {kind.words}"


def shown(value: Any) -> str:
    """A value in a few words: arrays by their shape and dtype, the rest by its `repr`, cut short."""
    try:
        shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
        if shape is not None and dtype is not None and not isinstance(value, type):
            return f"{_a(value)} of shape {_sizes(shape)} and dtype {dtype}"
        text = " ".join(repr(value).split())
    except Exception:  # of the user's own class
        text = _a(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _a(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeion' else 'a'} {name}"


def _sizes(shape: Any) -> Any:
    return tuple(shape) if isinstance(shape, (tuple, list)) else shape


def one_of(*choices: str) -> Kind:
    """One of these texts."""
    return Kind(" or ".join(filter(None, [", ".join(map(repr, choices[:-1])), repr(choices[-1])])), _is_in(choices))


def member_of(kind: type[Enum], name: str) -> Kind:
    """A member of an enumeration, which users write `name`."""
    return Kind(" or ".join(f"{name}.{choice.name}" for choice in kind), lambda value: isinstance(value, kind))


def whole(least: int) -> Kind:
    """A whole number from `least` up."""
    return Kind(f"a whole number from {least} up", lambda value: _is_whole(value) and value >= least)


def mapping(words: str, keys: type = str) -> Kind:
    """A dict with keys of a type."""
    return Kind(words, lambda value: isinstance(value, Mapping) and all(isinstance(key, keys) for key in value))


def instance(words: str, *classes: type) -> Kind:
    """An instance of one of these classes."""
    return Kind(words, lambda value: isinstance(value, classes))


def each(words: str, kind: Kind) -> Kind:
    """A list or tuple of at least one value, each of a kind."""
    return Kind(words, lambda value: isinstance(value, (list, tuple)) and bool(value) and all(map(kind.fits, value)))


def function_of(words: str, parameters: int) -> Kind:
    """A function that takes so many arguments by position, as far as its signature tells."""
    return Kind(words, lambda value: callable(value) and _takes(value, parameters))


def _is_in(choices: tuple[str, ...]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in choices


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_bound(value: Any) -> bool:
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and float(value) >= 0
    except OverflowError:  # a whole number beyond any float
        return False


def _takes(function: Callable[..., Any], parameters: int) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some builtins do not tell
        return True
    try:
        signature.bind(*range(parameters))
    except TypeError:
        return False
    return True


def is_path(value: Any) -> bool:
    """Whether a value can be the path of a file: a text of at least one character, or of a `pathlib` kind."""
    try:
        text = os.fspath(value)
    except TypeError:
        return False
    return isinstance(text, str) and bool(text) and "\0" not in text


NOTHING = Kind("None", lambda value: value is None)
FLAG = Kind("True or False", lambda value: isinstance(value, bool))
BOUND = Kind("a number from 0 up", _is_bound)
FUNCTION = Kind("a function", callable)
TEXT = instance("a text", str)
PATH = Kind("a path", is_path)
