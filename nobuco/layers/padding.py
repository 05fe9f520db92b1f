"""Padding of any axis in PyTorch's four modes, in TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nobuco.layers.loading import FromFile
from nobuco.layers.sizes import part, sizes

Amount = tuple[Any, Any]
# As many elements are taken one by one; more of them by one operation, which XNNPACK does not have.
_MOST_PARTS = 4


def pad(x: tf.Tensor, amounts: Sequence[Amount], mode: str = "constant", value: Any = 0) -> tf.Tensor:
    """Pad each axis of `x` by (before, after); a negative amount crops.

    Modes are PyTorch's: constant, reflect (without the edge), replicate, circular.
    """
    if mode == "replicate" and any(_may_crop(n) for pair in amounts for n in pair):
        # The edge may be beyond what is left after cropping.
        for i, (before, after) in enumerate(amounts):
            x = _replicated(x, i, before, after) if _real(before) or _real(after) else x
        return x
    amounts = [(_plain(before), _plain(after)) for before, after in amounts]
    x = _cropped(x, amounts)
    amounts = [(_at_least_nothing(before), _at_least_nothing(after)) for before, after in amounts]
    if not any(_real(n) for pair in amounts for n in pair):
        return x
    if mode == "constant" or 0 in x.shape.as_list():  # nothing has no edge
        # A tensor as the value would make PADV2 of TFLite's PAD.
        return _sized(tf.pad(x, _paddings(amounts), constant_values=tf.cast(value, x.dtype) if value else 0), amounts)
    padded = [i for i, pair in enumerate(amounts) if any(_real(n) for n in pair)]
    if mode == "reflect" and not all(_reaches(x, i, amounts[i]) for i in padded):
        return _sized(tf.pad(x, _paddings(amounts), mode="REFLECT"), amounts)
    fill = {"reflect": _reflected, "replicate": _replicated, "circular": _wrapped}[mode]
    for i, (before, after) in enumerate(amounts):
        if _real(before) or _real(after):
            x = fill(x, i, before, after)
    return x


def _real(n: Any) -> bool:
    return not isinstance(n, int) or n != 0


def set_natural(size: Any) -> Any:
    """Annotate a tensor as a size that is never negative, and return it: padding by it need not be able to crop."""
    size._nobuco_natural = True
    return size


def _plain(n: Any) -> Any:
    return int(n) if isinstance(n, np.integer) else n


def _may_crop(n: Any) -> bool:
    return n < 0 if isinstance(n, int) else not getattr(n, "_nobuco_natural", False)


def _at_least_nothing(n: Any) -> Any:
    if isinstance(n, int):
        return max(n, 0)
    return tf.maximum(n, 0) if _may_crop(n) else n


def _sized(x: tf.Tensor, amounts: Sequence[Amount]) -> tf.Tensor:
    """Say again which sizes are static: TFLite's converter forgets all where one amount is dynamic.

    A convolution must know its channels, and only a reshape tells them (`tf.ensure_shape` is beyond TFLite).
    """
    static = x.shape.as_list()
    if all(isinstance(n, int) for pair in amounts for n in pair) or not any(static):
        return x
    return tf.reshape(x, sizes(x))


def _paddings(amounts: Sequence[Amount]) -> Any:
    return [list(pair) for pair in amounts]


def _cropped(x: tf.Tensor, amounts: Sequence[Amount]) -> tf.Tensor:
    def window(i: int, before: Any, after: Any) -> slice:
        start = _at_least_nothing(-before) if _may_crop(before) else None
        if isinstance(after, int) or not _may_crop(after):
            return slice(start, after if _may_crop(after) else None)
        return slice(start, tf.shape(x)[i] + tf.minimum(after, 0))

    windows = tuple(window(i, *pair) for i, pair in enumerate(amounts))
    return x[windows] if any(w != slice(None) for w in windows) else x


def _reaches(x: tf.Tensor, axis: int, amounts: Amount) -> bool:
    """Whether an axis is known to hold all that its reflection shows: at another size `tf.pad` has to find out."""
    return x.shape[axis] is not None and all(isinstance(n, int) and n < x.shape[axis] for n in amounts)


def _reflected(x: tf.Tensor, axis: int, before: int, after: int) -> tf.Tensor:
    """Slices and a concatenation: TFLite's MIRROR_PAD goes element by element, ten times slower than these."""
    size = x.shape[axis]
    ahead = [part(x, axis, i, i + 1) for i in range(before, 0, -1)]
    behind = [part(x, axis, i, i + 1) for i in range(size - 2, size - 2 - after, -1)]
    if before > _MOST_PARTS:
        ahead = [tf.reverse(part(x, axis, 1, before + 1), [axis])]
    if after > _MOST_PARTS:
        behind = [tf.reverse(part(x, axis, size - 1 - after, size - 1), [axis])]
    return tf.concat([*ahead, x, *behind], axis)


def _replicated(x: tf.Tensor, axis: int, before: Any, after: Any) -> tf.Tensor:
    if all(isinstance(n, int) and 0 <= n <= _MOST_PARTS for n in (before, after)):
        return tf.concat([*[part(x, axis, None, 1)] * before, x, *[part(x, axis, -1, None)] * after], axis)
    size = sizes(x)[axis]
    return tf.gather(x, tf.clip_by_value(tf.range(-before, size + after), 0, size - 1), axis=axis)


def _wrapped(x: tf.Tensor, axis: int, before: Any, after: Any) -> tf.Tensor:
    size = sizes(x)[axis]
    ahead = [part(x, axis, size - before, None)] if _real(before) else []
    behind = [part(x, axis, None, after)] if _real(after) else []
    return tf.concat([*ahead, x, *behind], axis)


@keras.saving.register_keras_serializable("nobuco")
class SpatialPadding(FromFile, keras.layers.Layer):
    """Pad (batch, *spatial, channels) by (before, after) for each spatial axis; negative amounts crop."""

    def __init__(self, padding: Sequence[Sequence[int]], mode: str = "constant", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if mode not in ("constant", "reflect", "replicate", "circular"):
            raise ValueError(f"mode={mode!r}; there are constant, reflect, replicate, circular")
        self.padding = tuple((int(before), int(after)) for before, after in padding)
        self.mode = mode

    def call(self, inputs: Any) -> Any:
        """Pad."""
        return pad(inputs, ((0, 0), *self.padding, (0, 0)), self.mode)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape for Keras, None where unknown."""
        spatial = (None if n is None else n + sum(pair) for n, pair in zip(input_shape[1:-1], self.padding))
        return (input_shape[0], *spatial, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """What `__init__` takes."""
        return {**super().get_config(), "padding": self.padding, "mode": self.mode}
