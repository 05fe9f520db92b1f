"""Convolutions, ordinary and transposed: as modules (native Keras layers with weights) and as functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import tensorflow as tf

from nobuco.assemble.chain import Chain
from nobuco.assemble.learned import Learned, filled, learned
from nobuco.converters.spatial import spatial
from nobuco.converters.support import pair, sizes, wide
from nobuco.ir import Node
from nobuco.layers import OpLayer
from nobuco.layers import convolution as direct
from nobuco.layers.checkpoint import Step
from nobuco.layers.convolution import convolve, in_parts, zero_insertion
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
    return Chain((_padding_layer(spec.padding, mode, str(input.dtype)), conv_layer(spec, kernel, bias)))


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
        layer = _keras("DepthwiseConv", n)(depth_multiplier=filters // channels, **options)
        kernel = kernel.reshape(*spec.kernel, channels, filters // channels)
    elif spec.groups == 1 and not (strided and dilated) and not (n == 3 and dilated):
        layer = _keras("Conv", n)(filters, **options)
    else:
        layer = getattr(direct, f"Conv{n}D")(filters, groups=spec.groups, **options)
    return _with_weights(layer, channels, n, kernel, bias)


def _keras(name: str, n: int, ending: str = "") -> Any:
    return getattr(keras.layers, f"{name}{n}D{ending}")


def _transposed(n: int) -> Any:
    """Keras' layer, if its config says `output_padding`, as it does from 3.15 on; else ours."""
    own = _keras("Conv", n, "Transpose")
    return own if "output_padding" in own(1, 1).get_config() else getattr(direct, own.__name__)


def _with_weights(layer: Any, channels: int, n: int, *weights: Learned | None) -> Any:
    layer.build((None, *(None,) * n, channels))
    return filled(layer, *weights)


def _padding_layer(amounts: Sequence[tuple[int, int]], mode: str, dtype: str) -> Any:
    """Keras's layer for zeros, and for cropping; ours for the other modes and mixtures."""
    dtype = dtype.removeprefix("torch.")
    sides = amounts[0] if len(amounts) == 1 else tuple(amounts)
    if mode == "constant" and all(n >= 0 for side in amounts for n in side):
        return _keras("ZeroPadding", len(amounts))(sides, dtype=dtype)
    return SpatialPadding(amounts, mode, dtype=dtype)


@dataclass(frozen=True)
class Transposed:
    """A transposed convolution without its weights; a number per spatial dimension, all as in PyTorch.

    `groups` is a tensor where only the running model knows how many there are.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: Any

    @classmethod
    def of(
        cls, kernel: Sequence[int], stride: Any, padding: Any, output_padding: Any, groups: int, dilation: Any
    ) -> Transposed:
        """From the arguments of a PyTorch transposed convolution, in their order."""
        n = len(kernel)
        strides, paddings, extra, dilations = (pair(v, n) for v in (stride, padding, output_padding, dilation))
        return cls(tuple(kernel), strides, paddings, extra, dilations, groups)

    @property
    def is_native(self) -> bool:
        """Whether TensorFlow has it: no groups, and no dilation, which it lacks on the CPU and in TFLite."""
        return isinstance(self.groups, int) and self.groups == 1 and set(self.dilation) == {1}

    @property
    def is_same(self) -> bool:
        """Whether TensorFlow's 'same' cuts exactly what PyTorch's padding cuts."""
        return all(
            op == 0 and 2 * p == k - s
            for k, s, p, op in zip(self.kernel, self.stride, self.padding, self.output_padding)
        )

    @property
    def ordinary(self) -> Spec:
        """The convolution with flipped kernel that does the same to the input with zeros inserted."""
        reach = [(k - 1) * d for k, d in zip(self.kernel, self.dilation)]
        # Inserting leaves stride - 1 zeros behind the last element; they count as padding.
        sides = tuple(
            (r - p, r - p + op - (s - 1)) for r, p, op, s in zip(reach, self.padding, self.output_padding, self.stride)
        )
        return Spec(self.kernel, (1,) * len(reach), sides, self.dilation, self.groups)


def conv_transpose(x: tf.Tensor, w: tf.Tensor, b: tf.Tensor | None, spec: Transposed) -> tf.Tensor:
    """Transposed convolution of channels-last `x` with `w` (channels, filters / groups, *kernel)."""
    n = len(spec.kernel)
    is_known = None not in (x.shape[-1], *w.shape[:2])
    if x.dtype.is_integer or not spec.is_native or not is_known:
        return conv(zero_insertion(x, spec.stride), _ordinary_kernel(w, spec.groups), b, spec.ordinary)
    padding, options = ("same", None) if spec.is_same else ("valid", spec.output_padding)

    @wide  # TensorFlow sums float16 in float16
    def native(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return keras.ops.conv_transpose(x, kernel, spec.stride, padding, options, "channels_last")

    y = in_parts(native, x, tf.transpose(w, (*range(2, n + 2), 1, 0)))
    y = y if b is None else y + b
    return y if spec.is_same else pad(y, ((0, 0), *((-p, -p) for p in spec.padding), (0, 0)))


def _to_ordinary(shape: Sequence[int], groups: int) -> list[Step]:
    """From (channels, filters / groups, *kernel) to (*flipped kernel, channels / groups, filters)."""
    channels, filters, *kernel = shape
    n = len(kernel)
    return [
        ("reshape", (groups, channels // groups, filters, *kernel)),
        ("transpose", (*range(3, n + 3), 1, 0, 2)),
        ("reshape", (*kernel, channels // groups, groups * filters)),
        ("flip", tuple(range(n))),
    ]


def _ordinary_kernel(w: tf.Tensor, groups: int) -> tf.Tensor:
    functions = {"reshape": tf.reshape, "transpose": tf.transpose, "flip": tf.reverse}
    for name, argument in _to_ordinary(sizes(w), groups):
        w = functions[name](w, argument)
    return w


@spatial(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)
def transposed_convolution(
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """conv_transpose2d.input(Tensor input, Tensor weight, Tensor? bias=None, SymInt[2] stride=1,
    SymInt[2] padding=0, SymInt[2] output_padding=0, SymInt groups=1, SymInt[2] dilation=1) -> Tensor
    """
    spec = Transposed.of(weight.shape[2:], stride, padding, output_padding, groups, dilation)

    def func(
        input: Any,
        weight: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: Any = 1,
        dilation: Any = 1,
    ) -> Any:
        known = not tf.is_tensor(groups)
        return conv_transpose(input, weight, bias, spec if known else replace(spec, groups=groups))

    return func


def _transposed_folds(node: Node, taken: Freed | None, given: Freed | None) -> bool:
    whole = all(side is None or side.block == 1 for side in (taken, given))
    return whole and _transposed_channels(node) is not None and node.inputs[0].rank == node.module.weight.ndim


def _transposed_channels(node: Node) -> ChannelUse | None:
    return ChannelUse.WEIGHED if node.module.groups == 1 else None


def folded_transposed_module(
    n: int,
    self: nn.ConvTranspose2d,
    input: Tensor,
    output_size: Any = None,
    *,
    taken: Freed | None,
    given: Freed | None,
) -> Any:
    """The module with channels in the order of its weights."""
    before, after = (side.order if side is not None else None for side in (taken, given))
    weight, bias = Learned.of(self.weight).ordered(0, before).ordered(1, after), learned(self.bias)
    return _transposed_module(n, self, input, output_size, weight, bias and bias.ordered(0, after))


@spatial(
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    folding=Folding(_transposed_folds, folded_transposed_module),
    channels=_transposed_channels,
)
def transposed_convolution_module(n: int, self: nn.ConvTranspose2d, input: Tensor, output_size: Any = None) -> Any:
    """The module as a Keras layer, before a cropping layer where TensorFlow has no padding of that kind."""
    return _transposed_module(n, self, input, output_size, Learned.of(self.weight), learned(self.bias))


def _transposed_module(
    n: int, self: nn.ConvTranspose2d, input: Tensor, output_size: Any, weight: Learned, bias: Learned | None
) -> Any:
    numbers: Any = (self.stride, self.padding, self.kernel_size, self.dilation)
    stride, padding, kernel, dilation = numbers
    output_padding: Sequence[int] = self.output_padding
    if output_size is not None:
        output_padding = nn.ConvTranspose2d._output_padding(
            self, input, list(output_size), list(stride), list(padding), list(kernel), n, list(dilation)
        )
    spec = Transposed.of(self.weight.shape[2:], stride, padding, output_padding, self.groups, dilation)
    chain = _transposed_layers(spec, weight, bias)
    layer = chain[0] if len(chain) == 1 else Chain(tuple(chain))
    return layer if output_size is None else lambda input, output_size=None: layer(input)


def _transposed_layers(spec: Transposed, weight: Learned, bias: Learned | None) -> list[Any]:
    n, dtype = len(spec.kernel), weight.dtype
    if not spec.is_native:
        kernel = weight.after(_to_ordinary(weight.shape, spec.groups))
        ahead = [direct.ZeroInsertion(spec.stride, dtype=dtype)] if set(spec.stride) != {1} else []
        ordinary = spec.ordinary
        if ordinary.tf_padding is None:
            ahead.append(_padding_layer(ordinary.padding, "constant", dtype))
        return [*ahead, conv_layer(ordinary, kernel, bias, ordinary.tf_padding or "valid")]
    layer = _transposed(n)(
        weight.shape[1],
        spec.kernel,
        spec.stride,
        "same" if spec.is_same else "valid",
        output_padding=None if spec.is_same else spec.output_padding,
        use_bias=bias is not None,
        dtype=dtype,
    )
    built = _with_weights(layer, weight.shape[0], n, weight.transpose(*range(2, n + 2), 1, 0), bias)
    if spec.is_same or not any(spec.padding):
        return [built]
    crop = spec.padding[0] if n == 1 else tuple((p, p) for p in spec.padding)
    return [built, _keras("Cropping", n)(crop, dtype=dtype)]
