"""Convolution with any stride, dilation and groups, by the leanest TensorFlow operation for it.

Keras sends a grouped convolution through XLA (a slow compilation for each shape, and none in TFLite), refuses
strides with dilation, and has no groups in three dimensions. The layers here are Keras's own but for the
operation that they call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nobuco.errors import InputError
from nobuco.layers.loading import FromFile
from nobuco.layers.sizes import sizes

Conv2DOp = Callable[..., tf.Tensor]


def convolve(
    x: tf.Tensor,
    kernel: tf.Tensor,
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: str = "VALID",
    grouped: Conv2DOp = tf.nn.conv2d,
) -> tf.Tensor:
    """Convolve `x` (batch, *spatial, channels) with `kernel` (*spatial, channels / groups, filters).

    The number of groups follows from the channels. `grouped` computes the grouped case in two dimensions.
    """
    if x.dtype.is_complex:
        return in_parts(lambda x, kernel: convolve(x, kernel, strides, dilations, padding, grouped), x, kernel)
    if None in kernel.shape[:-2]:
        raise InputError(
            "the size of a convolution's kernel is known only when the model runs, but TensorFlow wants to know it "
            "when the model is built; give the axis of input_shapes that it comes from as a number"
        )
    if x.dtype.is_integer or x.shape[-1] is None or None in kernel.shape[-2:]:
        return _by_taps(x, kernel, strides, dilations, padding)
    n, groups = len(strides), x.shape[-1] // kernel.shape[-2]
    if n == 1:
        lifted = convolve(tf.expand_dims(x, 1), kernel[None], (strides[0],) * 2, (1, *dilations), padding, grouped)
        return tf.squeeze(lifted, 1)
    if n == 3:
        if groups == 1 and set(dilations) == {1}:
            return tf.nn.conv3d(x, kernel, (1, *strides, 1), padding)
        return _by_slices(x, kernel, strides, dilations, padding, grouped)
    if groups == 1:
        return tf.nn.conv2d(x, kernel, strides, padding, dilations=dilations)
    if groups == x.shape[-1] and _has_depthwise_kernel(x, strides, dilations):
        per_channel = tf.reshape(kernel, (*kernel.shape[:2], groups, kernel.shape[-1] // groups))
        return tf.nn.depthwise_conv2d(x, per_channel, (1, *strides, 1), padding, dilations=dilations)
    return grouped(x, kernel, strides, padding, dilations=dilations)


def in_parts(product: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """A product of complex tensors from products of their real and imaginary parts; of real ones, itself."""
    if not x.dtype.is_complex:
        return product(x, y)
    a, b, c, d = tf.math.real(x), tf.math.imag(x), tf.math.real(y), tf.math.imag(y)
    return tf.complex(product(a, c) - product(b, d), product(a, d) + product(b, c))


def _by_taps(
    x: tf.Tensor, kernel: tf.Tensor, strides: Sequence[int], dilations: Sequence[int], padding: str
) -> tf.Tensor:
    """A convolution as the sum, over the kernel's elements, of products of matrices.

    TensorFlow convolves integers of 32 bits at most; matrices it multiplies in 64, wrapping around as PyTorch does. And
    it wants to know the channels when a model is built, where an image of a dynamic batch may be a group of them.
    """
    *taps, width, filters = sizes(kernel)
    reach = [(n - 1) * d for n, d in zip(taps, dilations)]
    if padding == "SAME":
        x = tf.pad(x, [[0, 0], *([r // 2, r - r // 2] for r in reach), [0, 0]])
    batch, *spatial, channels = sizes(x)
    groups = channels // width
    counts = [(size - r - 1) // s + 1 for size, r, s in zip(spatial, reach, strides)]
    total: Any = 0
    for tap in np.ndindex(*taps):
        starts = [i * d for i, d in zip(tap, dilations)]
        windows = (slice(first, first + (n - 1) * s + 1, s) for first, n, s in zip(starts, counts, strides))
        seen = x[(slice(None),) + tuple(windows)]
        rows = tf.transpose(tf.reshape(seen, (-1, groups, width)), (1, 0, 2))
        columns = tf.transpose(tf.reshape(kernel[tap], (width, groups, filters // groups)), (1, 0, 2))
        total += tf.matmul(rows, columns)
    return tf.reshape(tf.transpose(total, (1, 0, 2)), (batch, *counts, filters))


def _has_depthwise_kernel(x: tf.Tensor, strides: Sequence[int], dilations: Sequence[int]) -> bool:
    """TensorFlow's depthwise kernel wants equal strides; dilation goes through space-to-batch, which TFLite
    turns back into one operation only for static sizes.
    """
    if set(dilations) == {1}:
        return len(set(strides)) == 1
    return set(strides) == {1} and None not in x.shape[1:]


def _by_slices(
    x: tf.Tensor,
    kernel: tf.Tensor,
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: str,
    grouped: Conv2DOp,
) -> tf.Tensor:
    """A convolution in three dimensions as the sum over the kernel's depth of those in two.

    TensorFlow has neither groups nor (on the CPU and in TFLite) dilation in three dimensions.
    """
    taps = kernel.shape[0]
    reach = (taps - 1) * dilations[0]
    if padding == "SAME":
        x = tf.pad(x, [[0, 0], [reach // 2, reach - reach // 2], [0, 0], [0, 0], [0, 0]])
    batch, depth, *plane = sizes(x)
    out_depth = (depth - reach - 1) // strides[0] + 1
    total = None
    for tap in range(taps):
        start = tap * dilations[0]
        slab = x[:, start : start + (out_depth - 1) * strides[0] + 1 : strides[0]]
        slab = tf.reshape(slab, (batch * out_depth, *plane))
        part = convolve(slab, kernel[tap], strides[1:], dilations[1:], padding, grouped)
        total = part if total is None else total + part
    return tf.reshape(total, (batch, out_depth, *sizes(total)[1:]))


def trainable_grouped_conv2d(
    x: tf.Tensor, kernel: tf.Tensor, strides: Sequence[int], padding: str, dilations: Sequence[int]
) -> tf.Tensor:
    """`tf.nn.conv2d` with groups, with the gradient that TensorFlow lacks on the CPU.

    The gradient is that of the dense convolution whose kernel is zero between groups.
    """

    @tf.custom_gradient
    def run(x: tf.Tensor, kernel: tf.Tensor) -> Any:
        def gradient(upstream: tf.Tensor) -> Any:
            with tf.GradientTape() as tape:
                tape.watch([x, kernel])
                dense = _dense(kernel, x.shape[-1] // kernel.shape[-2])
                y = tf.nn.conv2d(x, dense, strides, padding, dilations=dilations)
            return tape.gradient(y, [x, kernel], upstream)

        return tf.nn.conv2d(x, kernel, strides, padding, dilations=dilations), gradient

    return run(x, kernel)


def _dense(kernel: tf.Tensor, groups: int) -> tf.Tensor:
    block = np.ones((kernel.shape[-2], kernel.shape[-1] // groups))
    return tf.tile(kernel, (1, 1, groups, 1)) * tf.constant(np.kron(np.eye(groups), block), kernel.dtype)


def zero_insertion(x: tf.Tensor, strides: Sequence[int]) -> tf.Tensor:
    """Put `stride - 1` zeros behind each element of each spatial axis, as a transposed convolution does."""
    for i, stride in enumerate(strides, 1):
        if stride > 1:
            lengths = sizes(x)
            rows = tf.reshape(x, (prod(lengths[:i]), lengths[i], 1, prod(lengths[i + 1 :])))
            rows = tf.pad(rows, [[0, 0], [0, 0], [0, stride - 1], [0, 0]])
            x = tf.reshape(rows, (*lengths[:i], lengths[i] * stride, *lengths[i + 1 :]))
    return x


class _Direct:
    """Mixed into a Keras convolution: `convolve` in place of `keras.ops.conv`."""

    def __init__(self, *args: Any, dilation_rate: Any = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rank = len(self.strides)  # type: ignore[attr-defined]
        # Set after Keras has checked the arguments: it refuses strides with dilation.
        self.dilation_rate = (dilation_rate,) * rank if isinstance(dilation_rate, int) else tuple(dilation_rate)

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """The operation that Keras's layer calls."""
        padding = self.padding.upper()  # type: ignore[attr-defined]
        x, kernel = tf.convert_to_tensor(inputs), tf.convert_to_tensor(kernel)
        return convolve(x, kernel, self.strides, self.dilation_rate, padding, trainable_grouped_conv2d)  # type: ignore[attr-defined]


@keras.saving.register_keras_serializable("nobuco")
class Conv1D(FromFile, _Direct, keras.layers.Conv1D):
    """`keras.layers.Conv1D`, computed by `convolve`."""

    def call(self, inputs: Any) -> Any:
        """Convolve."""
        # Keras's Conv1D has a call of its own, for causal padding, which goes past `convolution_op`.
        return super(keras.layers.Conv1D, self).call(inputs)


@keras.saving.register_keras_serializable("nobuco")
class Conv2D(FromFile, _Direct, keras.layers.Conv2D):
    """`keras.layers.Conv2D`, computed by `convolve`."""


@keras.saving.register_keras_serializable("nobuco")
class Conv3D(FromFile, _Direct, keras.layers.Conv3D):
    """`keras.layers.Conv3D`, computed by `convolve`."""


class _Whole:
    """Mixed into a transposed convolution of Keras: its config says all that it was built with.

    Before Keras 3.15 it does not say `output_padding`, so that a saved model would be loaded as another one; and the
    first versions of Keras 3 refuse one of zero, which is another thing than none.
    """

    def __init__(self, *args: Any, output_padding: int | Sequence[int] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        sizes = (output_padding,) * self.rank if isinstance(output_padding, int) else output_padding  # type: ignore[attr-defined]
        self.output_padding = None if sizes is None else tuple(sizes)

    def get_config(self) -> dict[str, Any]:
        """What `__init__` takes."""
        return {**super().get_config(), "output_padding": self.output_padding}  # type: ignore[misc]


@keras.saving.register_keras_serializable("nobuco")
class Conv1DTranspose(FromFile, _Whole, keras.layers.Conv1DTranspose):
    """`keras.layers.Conv1DTranspose` with the whole config."""


@keras.saving.register_keras_serializable("nobuco")
class Conv2DTranspose(FromFile, _Whole, keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose` with the whole config."""


@keras.saving.register_keras_serializable("nobuco")
class Conv3DTranspose(FromFile, _Whole, keras.layers.Conv3DTranspose):
    """`keras.layers.Conv3DTranspose` with the whole config."""


@keras.saving.register_keras_serializable("nobuco")
class ZeroInsertion(FromFile, keras.layers.Layer):
    """`stride - 1` zeros behind each element of each spatial axis."""

    def __init__(self, strides: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.strides = tuple(strides)

    def call(self, inputs: Any) -> Any:
        """Insert."""
        return zero_insertion(inputs, self.strides)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape for Keras, None where unknown."""
        spatial = (None if n is None else n * s for n, s in zip(input_shape[1:-1], self.strides))
        return (input_shape[0], *spatial, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """What `__init__` takes."""
        return {**super().get_config(), "strides": self.strides}
