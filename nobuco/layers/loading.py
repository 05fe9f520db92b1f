"""What a layer of ours takes from a `.keras` file, and what it refuses while Keras loads one in safe mode."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import prod
from typing import Any

import h5py
import keras
import tensorflow as tf
from keras.src.saving.serialization_lib import in_safe_mode  # Keras' own layers ask it, too; it has no public name

from nobuco.errors import UnsafeFileError


def trusted() -> bool:
    """Whether the user has said `safe_mode=False`. A config that is read outside of `load_model` is not trusted."""
    return in_safe_mode() is False


def declared(shape: Sequence[Any], dtype: Any) -> tuple[int, ...]:
    """The shape of a weight from a config, if this machine can hold such a weight.

    Raises:
        UnsafeFileError: it cannot, or that is no shape.
    """
    sizes = tuple(shape) if isinstance(shape, (list, tuple)) else (shape,)
    if not all(isinstance(n, int) and n >= 0 for n in sizes):
        raise UnsafeFileError(f"holds a weight of the shape {shape!r}")
    try:
        needed = prod(sizes) * tf.dtypes.as_dtype(keras.backend.standardize_dtype(dtype)).size
    except (TypeError, ValueError):
        raise UnsafeFileError(f"holds a weight of the type {dtype!r}") from None
    if needed > _memory():
        raise UnsafeFileError(f"asks for a weight of {list(sizes)} in {dtype}, more than this machine's memory")
    return sizes


def _memory() -> int:
    """The machine's memory; where the system does not tell, as much as there can be."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 2**63


def shapes_held(store: Any) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays in what Keras gives a layer to load from HDF5: asked for one, Keras reads all of it.

    Not of links, which Keras refuses.
    """
    group = getattr(store, "_h5_entry_group", getattr(store, "group", None))
    if not isinstance(group, h5py.Group):
        return {}
    own = [key for key in group if isinstance(group.get(key, getlink=True), h5py.HardLink)]
    return {key: group[key].shape for key in own if isinstance(group[key], h5py.Dataset)}


class FromFile:
    """Mixed into each of our layers: how it behaves while Keras loads it from a file in safe mode.

    It is wired, but not run: a file may give a layer tensors where a model's own come from other layers, and Keras then
    runs it as it loads. And what it refuses is told as it is; Keras' error would hold the whole config, twice.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the layer."""
        if in_safe_mode() and not _symbolic((args, kwargs)):
            raise UnsafeFileError(f"gives the layer {self.name!r} numbers to run on while it is loaded")  # type: ignore[attr-defined]
        return super().__call__(*args, **kwargs)  # type: ignore[misc]

    def load_own_variables(self, store: Any) -> None:
        """Load the weights, if each array is no larger than they are: a file can say a shape and hold nothing of it."""
        most = max((prod(variable.shape) for variable in self.variables), default=0)  # type: ignore[attr-defined]
        for shape in shapes_held(store).values():
            if prod(shape) > most:
                raise UnsafeFileError(
                    f"holds for {self.name!r} an array of {shape}, larger than any weight of it"  # type: ignore[attr-defined]
                )
        super().load_own_variables(store)  # type: ignore[misc]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A layer from what `get_config` gave."""
        try:
            return super().from_config(config)  # type: ignore[misc]
        except TypeError as error:
            if isinstance(error.__context__, UnsafeFileError):
                raise error.__context__ from None
            raise


def _symbolic(arguments: Any) -> bool:
    """Whether a call only wires a layer, or a layer that is called by one which is being wired."""
    return tf.inside_function() or any(isinstance(x, keras.KerasTensor) for x in keras.tree.flatten(arguments))
