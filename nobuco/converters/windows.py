"""Sliding windows along one axis: output sizes, padding, and the indices that each window looks at.

Sizes are ints where static, scalar int32 tensors where dynamic; one formula serves both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import tensorflow as tf

from nobuco.converters.support import sizes


@dataclass(frozen=True)
class Window:
    """A pooling window along one axis, with PyTorch's arguments."""

    kernel: Any
    stride: Any
    padding: Any
    dilation: Any = 1
    ceil_mode: bool = False

    @property
    def is_static(self) -> bool:
        """Whether its sizes are known before the model runs."""
        return not any(map(tf.is_tensor, (self.kernel, self.stride, self.padding, self.dilation)))

    @property
    def span(self) -> Any:
        """How far it reaches."""
        return (self.kernel - 1) * self.dilation + 1

    def within(self, size: Any) -> Window:
        """The window, no larger than the padded input: `ceil_mode` takes larger ones, which reach nothing more."""
        most = size + 2 * self.padding
        fits = not (self.ceil_mode and self.is_static and isinstance(size, int)) or self.span <= most
        return self if fits or self.dilation != 1 else replace(self, kernel=most)

    def count(self, size: Any) -> Any:
        """How many windows there are on `size` elements."""
        room = size + 2 * self.padding - self.span
        if not self.ceil_mode:
            return room // self.stride + 1
        count = (room + self.stride - 1) // self.stride + 1
        # The last window must start inside the input or the padding before it.
        outside = (count - 1) * self.stride >= size + self.padding
        return count - (int(outside) if isinstance(outside, (bool, int)) else tf.cast(outside, tf.int32))

    def sides(self, size: Any) -> tuple[Any, Any]:
        """What to pad before and after, no more than the windows reach (more where that would be dynamic)."""
        if not isinstance(size, int) and not self.ceil_mode:
            return self.padding, self.padding
        after = (self.count(size) - 1) * self.stride + self.span - size - self.padding
        return self.padding, max(after, 0) if isinstance(after, int) else tf.maximum(after, 0)

    def is_same(self, size: Any) -> bool:
        """Whether TensorFlow's 'SAME' gives these windows."""
        if not isinstance(size, int):
            return self.stride == 1 and 2 * self.padding == self.kernel - 1
        total = max((-(-size // self.stride) - 1) * self.stride + self.kernel - size, 0)
        return self.count(size) == -(-size // self.stride) and self.padding == total // 2

    def starts(self, size: Any) -> Any:
        """The first element of each window, negative in the padding."""
        return tf.range(self.count(size)) * self.stride - self.padding

    def indices(self, size: Any) -> tf.Tensor:
        """(windows, kernel): the elements of each window; places in the padding repeat one that is in it.

        A maximum does not mind repetition, so it needs no padding.
        """
        starts = self.starts(size)[:, None]
        places = tf.range(self.kernel)[None, :]
        first = tf.maximum(-starts + self.dilation - 1, 0) // self.dilation
        last = (size - 1 - starts) // self.dilation
        return starts + tf.minimum(tf.maximum(places, first), last) * self.dilation

    def lengths(self, size: Any, with_padding: bool) -> tf.Tensor:
        """(windows,): how many elements each window counts; what ceil_mode reaches beyond never counts."""
        starts = self.starts(size)
        margin = self.padding if with_padding else 0
        return tf.minimum(starts + self.kernel, size + margin) - tf.maximum(starts, -margin)


@dataclass(frozen=True)
class Adaptive:
    """The windows of adaptive pooling to `output` places along one axis."""

    output: Any

    @property
    def is_static(self) -> bool:
        """Whether the number of places is known before the model runs."""
        return not tf.is_tensor(self.output)

    def bounds(self, size: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """The first element of each window, and the one behind its last."""
        places = tf.range(self.output)
        return places * size // self.output, ((places + 1) * size + self.output - 1) // self.output

    def indices(self, size: Any) -> tf.Tensor:
        """(windows, longest): the elements of each window, the last repeated."""
        start, end = self.bounds(size)
        longest = tf.reduce_max(end - start)
        return tf.minimum(start[:, None] + tf.range(longest)[None, :], end[:, None] - 1)

    def averaging(self, size: Any) -> tf.Tensor:
        """(output, size): the matrix that averages each window."""
        start, end = (bound[:, None] for bound in self.bounds(size))
        places = tf.range(size)[None, :]
        inside = tf.cast((places >= start) & (places < end), tf.float32)
        return inside / tf.cast(end - start, tf.float32)


def known(table: Callable[..., tf.Tensor], *lengths: Any) -> tf.Tensor:
    """`table(*lengths)`, computed now and made a constant if all of them are static."""
    if not all(isinstance(length, int) for length in lengths):
        return table(*lengths)
    with tf.init_scope():
        value = np.asarray(table(*lengths))
    return tf.constant(value)


def along(x: tf.Tensor, axis: int, matrix: tf.Tensor) -> tf.Tensor:
    """Multiply `matrix` (new, old) into one spatial axis of channels-last `x`; no transposition."""
    lies = sizes(x)
    ahead, behind = prod(lies[:axis]), prod(lies[axis + 1 :])
    rows = tf.matmul(tf.cast(matrix, x.dtype), tf.reshape(x, (ahead, lies[axis], behind)))
    return tf.reshape(rows, (*lies[:axis], sizes(matrix)[0], *lies[axis + 1 :]))
