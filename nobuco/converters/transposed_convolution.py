"""Transposed convolutions, as modules (native Keras layers with weights) and as functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import tensorflow as tf

from nobuco.assemble.chain import Chain
from nobuco.assemble.learned import Learned, learned
from nobuco.converters.convolution import Spec, conv, conv_layer, keras_layer, padding_layer, with_weights
from nobuco.converters.spatial import spatial
from nobuco.converters.support import pair, sizes, wide
from nobuco.ir import Node
from nobuco.layers import convolution as direct
from nobuco.layers.checkpoint import Step
from nobuco.layers.convolution import in_parts, zero_insertion
from nobuco.layers.padding import pad
from nobuco.layout.movement import Freed
from nobuco.ops.names import Tensor, nn, torch
from nobuco.registry import ChannelUse, Folding


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
    spec = Transposed.of(
        self.weight.shape[2:], self.stride, self.padding, self.output_padding, self.groups, self.dilation
    )
    if output_size is None:
        return _chained([*_transposed_layers(spec, weight, bias), *_cropping(spec, weight.dtype)])
    # As large as PyTorch allows, and cut to the size asked for, which may be known at run time only.
    spec = replace(spec, output_padding=tuple(s - 1 for s in spec.stride))
    layer = _chained(_transposed_layers(spec, weight, bias))
    before = spec.padding if spec.is_native and not spec.is_same else (0,) * n

    def cut(input: Any, output_size: Any = None) -> Any:
        return _windows(layer(input), before, output_size[-n:])

    return cut


def _chained(layers: Sequence[Any]) -> Any:
    return layers[0] if len(layers) == 1 else Chain(tuple(layers))


def _windows(y: tf.Tensor, before: Sequence[int], sizes: Sequence[Any]) -> tf.Tensor:
    """Of each spatial axis so many places, after those before."""
    if not any(before) and list(y.shape[1:-1]) == list(sizes):
        return y
    window = (slice(None), *(slice(p, p + size) for p, size in zip(before, sizes)))
    return y[window]


def _transposed(n: int) -> Any:
    """Keras' layer, if its config says `output_padding`, as it does from 3.15 on; else ours."""
    own = keras_layer("Conv", n, "Transpose")
    return own if "output_padding" in own(1, 1).get_config() else getattr(direct, own.__name__)


def _transposed_layers(spec: Transposed, weight: Learned, bias: Learned | None) -> list[Any]:
    n, dtype = len(spec.kernel), weight.dtype
    if not spec.is_native:
        kernel = weight.after(_to_ordinary(weight.shape, spec.groups))
        ahead = [direct.ZeroInsertion(spec.stride, dtype=dtype)] if set(spec.stride) != {1} else []
        ordinary = spec.ordinary
        if ordinary.tf_padding is None:
            ahead.append(padding_layer(ordinary.padding, "constant", dtype))
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
    return [with_weights(layer, weight.shape[0], n, weight.transpose(*range(2, n + 2), 1, 0), bias)]


def _cropping(spec: Transposed, dtype: str) -> list[Any]:
    """The layer that cuts what PyTorch's padding cuts, where TensorFlow's transposed convolution does not."""
    if not spec.is_native or spec.is_same or not any(spec.padding):
        return []
    n = len(spec.kernel)
    crop = spec.padding[0] if n == 1 else tuple((p, p) for p in spec.padding)
    return [keras_layer("Cropping", n)(crop, dtype=dtype)]
