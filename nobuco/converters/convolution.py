"""Convolutions, as modules (native Keras layers with weights) and as functions; what transposed ones share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import tensorflow as tf

from nobuco.assemble.chain import Chain
from nobuco.assemble.learned import Learned, filled, learned
from nobuco.converters.spatial import spatial
from nobuco.converters.support import pair
from nobuco.ir import Node
from nobuco.layers import OpLayer
from nobuco.layers import convolution as direct
from nobuco.layers.convolution import convolve
from nobuco.layers.padding import SpatialPadding, pad
from nobuco.layout.movement import Freed
from nobuco.ops.names import Tensor, nn, torch
from nobuco.registry import ChannelUse, Folding


@dataclass(frozen=True)
class Spec:
    """A convolution without its weights; a number per spatial dimension.

    `padding` is (before, after) per dimension; a negative amount crops.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int

    @classmethod
    def of(cls, kernel: Sequence[int], stride: Any, padding: Any, dilation: Any, groups: int) -> Spec:
        """From the arguments of a PyTorch convolution."""
        n = len(kernel)
        dilations = pair(dilation, n)
        reach = [(k - 1) * d for k, d in zip(kernel, dilations)]
        if padding == "same":
            sides = tuple((r // 2, r - r // 2) for r in reach)
        else:
            sides = tuple((p, p) for p in pair(0 if padding == "valid" else padding, n))
        return cls(tuple(kernel), pair(stride, n), sides, dilations, groups)

    @property
    def tf_padding(self) -> str | None:
        """TensorFlow's own padding where it is this one for every input size; None where there is none."""
        if all(side == (0, 0) for side in self.padding):
            return "valid"
        reach = [(k - 1) * d for k, d in zip(self.kernel, self.dilation)]
        same = all(side == (r // 2, r - r // 2) for side, r in zip(self.padding, reach))
        return "same" if same and set(self.stride) == {1} else None


def conv(x: tf.Tensor, w: tf.Tensor, b: tf.Tensor | None, spec: Spec) -> tf.Tensor:
    """Convolve channels-last `x` with `w` (*kernel, channels / groups, filters)."""
    if spec.tf_padding is None:
        x = pad(x, ((0, 0), *spec.padding, (0, 0)))
    y = convolve(x, w, spec.stride, spec.dilation, (spec.tf_padding or "valid").upper())
    return y if b is None else y + b


@spatial(torch.conv1d, torch.conv2d, torch.conv3d)
def convolution(
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """conv2d(Tensor input, Tensor weight, Tensor? bias=None, SymInt[2] stride=1, SymInt[2] padding=0,
    SymInt[2] dilation=1, SymInt groups=1) -> Tensor
    """
    spec = Spec.of(weight.shape[2:], stride, padding, dilation, groups)

    def func(
        input: Any,
        weight: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: Any = 1,
    ) -> Any:
        return conv(input, tf.transpose(weight, (*range(2, n + 2), 1, 0)), bias, spec)

    return func


def _folds(node: Node, taken: Freed | None, given: Freed | None) -> bool:
    """Whether each channel has weights of its own; blocks of an image need zeros around, and each element in between."""
    module: Any = node.module
    reads_all = set(module.dilation) == {1} and module.padding_mode == "zeros"
    batched = node.inputs[0].rank == module.weight.ndim
    return batched and module.groups == 1 and (taken is None or taken.block == 1 or reads_all)


def folded_module(n: int, self: nn.Conv2d, input: Tensor, taken: Freed | None, given: Freed | None) -> Any:
    """The module with the moves ahead of it and behind it: their channels are in the order of its weights.

    Where it has groups, they are of one channel each, and both orders are one.
    On blocks of an image it is the convolution of the image itself that has larger kernels, as far apart.
    """
    spec = Spec.of(self.weight.shape[2:], self.stride, self.padding, self.dilation, self.groups)
    kernel, bias = Learned.of(self.weight).transpose(*range(2, n + 2), 1, 0), learned(self.bias)
    if taken is not None:
        kernel = kernel.ordered(n, taken.order) if self.groups == 1 else kernel
        if taken.block > 1:
            kernel, spec = _over_blocks(kernel, spec, taken.block)
    if given is not None:
        kernel, bias = kernel.ordered(n + 1, given.order), bias and bias.ordered(0, given.order)
    layer = _module(self, spec, kernel, bias, input)
    if given is None or given.block == 1:
        return layer
    size = given.block
    whole = OpLayer(lambda x: tf.nn.depth_to_space(x, size))
    return Chain((*(layer.layers if isinstance(layer, Chain) else (layer,)), whole))


def _over_blocks(kernel: Learned, spec: Spec, size: int) -> tuple[Learned, Spec]:
    """On an image what a kernel and its spec are on its blocks, of (size, size, channels) each."""
    height, width, depth, filters = kernel.shape
    channels = depth // size**2
    kernel = kernel.reshape(height, width, size, size, channels, filters).transpose(0, 2, 1, 3, 4, 5)
    kernel = kernel.reshape(height * size, width * size, channels, filters)
    sides = tuple((before * size, behind * size) for before, behind in spec.padding)
    return kernel, Spec(kernel.shape[:2], tuple(s * size for s in spec.stride), sides, spec.dilation, spec.groups)


def _channels(node: Node) -> ChannelUse | None:
    module: Any = node.module
    if module.groups == 1:
        return ChannelUse.WEIGHED
    return ChannelUse.EACH if module.groups == module.in_channels == module.out_channels else None


@spatial(nn.Conv1d, nn.Conv2d, nn.Conv3d, folding=Folding(_folds, folded_module), channels=_channels)
def convolution_module(n: int, self: nn.Conv2d, input: Tensor) -> Any:
    """The module as a Keras layer, behind a padding layer where TensorFlow has no padding of that kind."""
    spec = Spec.of(self.weight.shape[2:], self.stride, self.padding, self.dilation, self.groups)
    kernel, bias = Learned.of(self.weight).transpose(*range(2, n + 2), 1, 0), learned(self.bias)
    return _module(self, spec, kernel, bias, input)


def _module(self: nn.Conv2d, spec: Spec, kernel: Learned, bias: Learned | None, input: Tensor) -> Any:
    mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
    if mode != "constant":  # then PyTorch reads not `padding`, but what was made of it in the beginning
        amounts = self._reversed_padding_repeated_twice
        spec = replace(spec, padding=tuple(zip(amounts[-2::-2], amounts[::-2])))
    if spec.tf_padding and (mode == "constant" or spec.tf_padding == "valid"):
        return conv_layer(spec, kernel, bias, spec.tf_padding)
    return Chain((padding_layer(spec.padding, mode, str(input.dtype)), conv_layer(spec, kernel, bias)))


def conv_layer(spec: Spec, kernel: Learned, bias: Learned | None, padding: str = "valid") -> Any:
    """A built Keras layer: DepthwiseConv, Conv, or ours where Keras's own is slow or refuses."""
    n, channels, filters = len(spec.kernel), kernel.shape[-2] * spec.groups, kernel.shape[-1]
    strided, dilated = set(spec.stride) != {1}, set(spec.dilation) != {1}
    options: dict[str, Any] = {
        "kernel_size": spec.kernel,
        "strides": spec.stride,
        "dilation_rate": spec.dilation,
        "padding": padding,
        "use_bias": bias is not None,
        "dtype": kernel.dtype,
    }
    depthwise = spec.groups == channels > 1 and n < 3 and len(set(spec.stride)) == 1
    if depthwise and not (strided and dilated):
        layer = keras_layer("DepthwiseConv", n)(depth_multiplier=filters // channels, **options)
        kernel = kernel.reshape(*spec.kernel, channels, filters // channels)
    elif spec.groups == 1 and not (strided and dilated) and not (n == 3 and dilated):
        layer = keras_layer("Conv", n)(filters, **options)
    else:
        layer = getattr(direct, f"Conv{n}D")(filters, groups=spec.groups, **options)
    return with_weights(layer, channels, n, kernel, bias)


def keras_layer(name: str, n: int, ending: str = "") -> Any:
    """Keras' layer class of this name for so many spatial dimensions."""
    return getattr(keras.layers, f"{name}{n}D{ending}")


def with_weights(layer: Any, channels: int, n: int, *weights: Learned | None) -> Any:
    """The layer, built for so many channels, with these weights."""
    layer.build((None, *(None,) * n, channels))
    return filled(layer, *weights)


def padding_layer(amounts: Sequence[tuple[int, int]], mode: str, dtype: str) -> Any:
    """Keras's layer for zeros, and for cropping; ours for the other modes and mixtures."""
    dtype = dtype.removeprefix("torch.")
    sides = amounts[0] if len(amounts) == 1 else tuple(amounts)
    if mode == "constant" and all(n >= 0 for side in amounts for n in side):
        return keras_layer("ZeroPadding", len(amounts))(sides, dtype=dtype)
    return SpatialPadding(amounts, mode, dtype=dtype)
