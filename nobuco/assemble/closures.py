"""Which Keras layers and variables a converter's callable uses: what its closure holds on to."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from types import FunctionType, MethodType
from typing import Any

import keras


def loads_by_itself(layer: Any) -> bool:
    """Whether Keras can load a layer from a file alone: its own layers, ours, and classes registered with it.

    A user's class that is not registered goes into an op layer instead, which carries its computation along.
    """
    if not isinstance(layer, keras.layers.Layer) or type(layer).__module__.startswith(("keras.", "nobuco.")):
        return True
    return keras.saving.get_registered_object(keras.saving.get_registered_name(type(layer))) is not None


def variables_of(function: Any) -> list[keras.Variable]:
    """The Keras variables that a callable reaches through its closure, each once, in order of discovery."""
    variables: dict[int, keras.Variable] = {}
    for item in _reachable(function, set()):
        owned = item.variables if isinstance(item, keras.layers.Layer) else [item]
        variables.update((id(v), v) for v in owned)
    return list(variables.values())


def _reachable(item: Any, seen: set[int]) -> Iterator[Any]:
    if id(item) in seen:
        return
    seen.add(id(item))
    if isinstance(item, (keras.layers.Layer, keras.Variable)):
        yield item
        return
    for part in _parts(item):
        yield from _reachable(part, seen)


def _parts(item: Any) -> Iterator[Any]:
    if isinstance(item, FunctionType):
        yield from (cell.cell_contents for cell in item.__closure__ or () if _is_filled(cell))
        yield from item.__defaults__ or ()
        yield from (item.__kwdefaults__ or {}).values()
    elif isinstance(item, MethodType):
        yield item.__self__
        yield item.__func__
    elif isinstance(item, functools.partial):
        yield item.func
        yield from item.args
        yield from item.keywords.values()
    elif isinstance(item, (list, tuple, set, frozenset)):
        yield from item
    elif isinstance(item, dict):
        yield from item.values()
    elif callable(item) and hasattr(item, "__dict__") and not isinstance(item, type):
        yield from vars(item).values()


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
