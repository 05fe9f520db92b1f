"""Pooling: max, average, power average, and their adaptive forms, in one to three dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import tensorflow as tf

from nobuco.converters.arithmetic import truncated_quotient
from nobuco.converters.spatial import spatial
from nobuco.converters.support import cast, pair, sizes
from nobuco.converters.windows import Adaptive, Window, along, known
from nobuco.converters.writing import written
from nobuco.layers.padding import pad
from nobuco.ops.names import F, Tensor, aten, torch
from nobuco.registry import ChannelUse

PER_DIM = Sequence[Any]


def windows(n: int, kernel: Any, stride: Any, padding: Any, dilation: Any = 1, ceil_mode: bool = False) -> list[Window]:
    """A window per spatial dimension; no stride (None or an empty list) is the kernel's size."""
    stride = kernel if stride is None or (isinstance(stride, Sequence) and not stride) else stride
    numbers = zip(*(pair(v, n) for v in (kernel, stride, padding, dilation)))
    return [Window(k, s, p, d, ceil_mode) for k, s, p, d in numbers]


def is_whole(input: Tensor, places: Sequence[Window]) -> bool:
    """Whether the one window is all of the input, as in `F.avg_pool2d(x, x.shape[2:])`."""
    return [w.kernel for w in places] == list(input.shape[-len(places) :]) and not any(w.padding for w in places)


def is_moving(*numbers: Any) -> bool:
    """Whether a size of the windows is known to the running model only."""
    return any(tf.is_tensor(number) for number in tf.nest.flatten(numbers))


def is_each(kernel: Any) -> bool:
    """Whether the running model knows the size of the windows along each axis by itself, as with `x.shape[2:]`."""
    return isinstance(kernel, (list, tuple)) and all(map(tf.is_tensor, kernel))


# -- max ----------------------------------------------------------------------------------------------


@spatial(F.max_pool1d, F.max_pool2d, F.max_pool3d, channels=ChannelUse.EACH)
def max_pool(
    n: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """max_pool2d_with_indices(Tensor self, int[2] kernel_size, int[2] stride=[], int[2] padding=0,
    int[2] dilation=1, bool ceil_mode=False) -> (Tensor, Tensor)
    """
    places = windows(n, kernel_size, stride, padding, dilation, ceil_mode)
    whole = is_whole(input, places)

    def func(
        input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, *_: Any, **__: Any
    ) -> Any:
        if is_each(kernel_size) and whole and not return_indices:
            return tf.reduce_max(input, range(1, n + 1), keepdims=True)
        if is_moving(kernel_size, stride, padding, dilation):
            moving = windows(n, kernel_size, stride, padding, dilation, ceil_mode)
            return (maximum_with_indices if return_indices else gathered_maximum)(input, moving)
        return (maximum_with_indices if return_indices else maximum)(input, places)

    return func


@spatial(
    (F.max_pool1d_with_indices, torch.max_pool1d_with_indices),
    (F.max_pool2d_with_indices, aten.max_pool2d_with_indices.default),
    (F.max_pool3d_with_indices, aten.max_pool3d_with_indices.default),
)
def max_pool_with_indices(n: int, input: Tensor, kernel_size: Any, *args: Any, **kwargs: Any) -> Any:
    """max_pool2d_with_indices(Tensor self, int[2] kernel_size, int[2] stride=[], int[2] padding=0,
    int[2] dilation=1, bool ceil_mode=False) -> (Tensor, Tensor)
    """
    return max_pool(n, input, kernel_size, *args[:4], **{**kwargs, "return_indices": True})


def maximum(x: tf.Tensor, places: Sequence[Window]) -> tf.Tensor:
    """Maximum over windows: one MAX_POOL_2D where there is no dilation."""
    places = [w.within(size) for w, size in zip(places, sizes(x)[1:-1])]
    if any(w.dilation > 1 for w in places) or not x.dtype.is_floating:
        return gathered_maximum(x, places)
    return pooled(x, places, tf.nn.max_pool2d, x.dtype.min)


def gathered_maximum(x: tf.Tensor, places: Sequence[Window | Adaptive]) -> tf.Tensor:
    """Maximum over windows of any kind."""
    return gathered(x, places, tf.reduce_max)


def gathered(x: tf.Tensor, places: Sequence[Window | Adaptive], reduce: Callable[..., tf.Tensor]) -> tf.Tensor:
    """Maximum or sum over windows of any kind, axis by axis, by gathering each window's elements."""
    for axis, (window, size) in enumerate(zip(places, sizes(x)[1:-1]), 1):
        indices = known(window.indices, size) if window.is_static else window.indices(size)
        x = reduce(tf.gather(x, indices, axis=axis), axis + 1)
    return x


def maximum_with_indices(x: tf.Tensor, places: Sequence[Window | Adaptive]) -> tuple[tf.Tensor, tf.Tensor]:
    """Maximum over windows, and where in the flattened spatial dimensions it was (the first if several)."""
    b, *spatial_sizes, c = sizes(x)
    static = all(window.is_static for window in places)
    taps = known(lambda *lengths: _taps(places, lengths), *spatial_sizes) if static else _taps(places, spatial_sizes)
    # By flat places: a gathering for each axis would need transpositions of more dimensions than TFLite has.
    windows = tf.gather(tf.reshape(x, (b, prod(spatial_sizes), c)), taps, axis=1)
    chosen = tf.one_hot(tf.argmax(windows, 2, output_type=tf.int32), sizes(taps)[1], axis=2, dtype=tf.int32)
    where = tf.reduce_sum(chosen * taps[:, :, None], 2)
    counts = (known(w.indices, n) if w.is_static else w.indices(n) for w, n in zip(places, spatial_sizes))
    shape = (b, *(sizes(indices)[0] for indices in counts), c)
    return tf.reshape(tf.reduce_max(windows, 2), shape), tf.cast(tf.reshape(where, shape), tf.int64)


def _taps(places: Sequence[Window | Adaptive], spatial_sizes: Sequence[Any]) -> tf.Tensor:
    """(windows, elements): the elements of each window, counted through all spatial dimensions."""
    flat = tf.zeros((1, 1), tf.int32)
    for window, size in zip(places, spatial_sizes):
        along_axis = window.indices(size)
        flat = flat[:, None, :, None] * size + along_axis[None, :, None, :]
        windows, _, taps, _ = sizes(flat)
        flat = tf.reshape(flat, (windows * sizes(along_axis)[0], taps * sizes(along_axis)[1]))
    return flat


def pooled(x: tf.Tensor, places: Sequence[Window], pool: Callable[..., tf.Tensor], filler: Any) -> tf.Tensor:
    """`tf.nn.max_pool2d` or `avg_pool2d` over windows without dilation, padding with `filler` where needed.

    Both separate, which brings one and three dimensions to two: TFLite pools in two only.
    """
    n = len(places)
    spatial_sizes = sizes(x)[1:-1]
    if n == 1:
        return tf.squeeze(pooled(tf.expand_dims(x, 1), [Window(1, 1, 0), *places], pool, filler), 1)
    if n == 3:
        b, d, h, w, c = sizes(x)
        x = pooled(tf.reshape(x, (b * d, h, w, c)), places[1:], pool, filler)
        _, h, w, _ = sizes(x)
        x = pooled(tf.reshape(x, (b, d, h * w, c)), [places[0], Window(1, 1, 0)], pool, filler)
        return tf.reshape(x, (b, sizes(x)[1], h, w, c))
    same = all(w.is_same(size) for w, size in zip(places, spatial_sizes))
    if not same:
        x = pad(x, ((0, 0), *(w.sides(size) for w, size in zip(places, spatial_sizes)), (0, 0)), value=filler)
    return pool(x, [w.kernel for w in places], [w.stride for w in places], "SAME" if same else "VALID")


# -- average ------------------------------------------------------------------------------------------


@spatial(
    F.avg_pool1d,
    F.avg_pool2d,
    F.avg_pool3d,
    channels=ChannelUse.EACH,
)
def avg_pool(
    n: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """avg_pool2d(Tensor self, int[2] kernel_size, int[2] stride=[], int[2] padding=0, bool ceil_mode=False,
    bool count_include_pad=True, int? divisor_override=None) -> Tensor
    """
    places = windows(n, kernel_size, stride, padding, ceil_mode=ceil_mode)
    whole = is_whole(input, places) and divisor_override is None

    def func(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, *_: Any, **__: Any) -> Any:
        if is_each(kernel_size) and whole:
            return tf.reduce_mean(input, range(1, n + 1), keepdims=True)
        if is_moving(kernel_size, stride, padding):
            moving = windows(n, kernel_size, stride, padding, ceil_mode=ceil_mode)
            return divided_sum(input, moving, count_include_pad, divisor_override)
        if input.dtype.is_integer:
            return divided_sum(input, places, count_include_pad, divisor_override)
        return average(input, places, count_include_pad, divisor_override)

    return func


def average(
    x: tf.Tensor, places: Sequence[Window], count_include_pad: bool = True, divisor: int | None = None
) -> tf.Tensor:
    """Average over windows: one AVERAGE_POOL_2D where all count the same, or TensorFlow's 'SAME' fits."""
    spatial_sizes = sizes(x)[1:-1]
    places = [w.within(size) for w, size in zip(places, spatial_sizes)]
    padded = any(w.padding for w in places)
    same = all(w.is_same(size) for w, size in zip(places, spatial_sizes))
    if divisor is None and same and padded and not count_include_pad:
        return pooled(x, places, tf.nn.avg_pool2d, 0)
    full = prod(w.kernel for w in places)
    sums_over_full = pooled(_with_zeros(x, places), [_bare(w) for w in places], tf.nn.avg_pool2d, 0)
    if divisor is not None:
        return sums_over_full * tf.cast(full / divisor, x.dtype)
    if (not padded or count_include_pad) and not any(w.ceil_mode for w in places):
        return sums_over_full

    def correction(*static_sizes: Any) -> tf.Tensor:
        return full / tf.cast(_counts(places, static_sizes, count_include_pad), tf.float32)

    return sums_over_full * tf.cast(known(correction, *spatial_sizes), x.dtype)


def divided_sum(
    x: tf.Tensor, places: Sequence[Window], count_include_pad: bool = True, divisor: int | None = None
) -> tf.Tensor:
    """Average over windows of any kind; of integers what is behind the point is dropped."""

    def counts(*lengths: Any) -> tf.Tensor:
        return _counts(places, lengths, count_include_pad)

    static = all(window.is_static for window in places)
    number = divisor if divisor is not None else (known(counts, *sizes(x)[1:-1]) if static else counts(*sizes(x)[1:-1]))
    sums = gathered(_with_zeros(x, places), [_bare(w) for w in places], tf.reduce_sum)
    quotient = truncated_quotient if x.dtype.is_integer else tf.divide
    return quotient(sums, tf.cast(number, x.dtype))


def _counts(places: Sequence[Window], spatial_sizes: Sequence[Any], with_padding: bool) -> tf.Tensor:
    """How many elements each window counts, (1, *windows, 1)."""
    grids = tf.meshgrid(*(w.lengths(size, with_padding) for w, size in zip(places, spatial_sizes)), indexing="ij")
    # Not `[None, ..., None]`: TFLite has no such slice of a dynamic shape.
    return tf.expand_dims(tf.expand_dims(tf.reduce_prod(tf.stack(grids), 0), 0), -1)


def _with_zeros(x: tf.Tensor, places: Sequence[Window]) -> tf.Tensor:
    return pad(x, ((0, 0), *(w.sides(size) for w, size in zip(places, sizes(x)[1:-1])), (0, 0)))


def _bare(window: Window) -> Window:
    return Window(window.kernel, window.stride, 0)


@spatial(F.lp_pool1d, F.lp_pool2d, F.lp_pool3d, channels=ChannelUse.EACH)
def lp_pool(
    n: int, input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Any:
    """lp_pool2d(Tensor input, float norm_type, int[2] kernel_size, int[2] stride=[],
    bool ceil_mode=False) -> Tensor
    """
    places = windows(n, kernel_size, stride, 0, ceil_mode=ceil_mode)
    full = prod(w.kernel for w in places)

    def func(input: Any, *args: Any, **kwargs: Any) -> Any:
        means = average(tf.pow(input, cast(norm_type, input.dtype)), places)
        return tf.pow(means * cast(full, input.dtype), cast(1 / norm_type, input.dtype))

    return func


# -- adaptive -----------------------------------------------------------------------------------------


@spatial(
    F.adaptive_avg_pool1d,
    (F.adaptive_avg_pool2d, aten._adaptive_avg_pool2d.default),
    (F.adaptive_avg_pool3d, aten._adaptive_avg_pool3d.default),
    channels=ChannelUse.EACH,
)
def adaptive_avg_pool(n: int, input: Tensor, output_size: Any) -> Any:
    """adaptive_avg_pool2d(Tensor self, SymInt[2] output_size) -> Tensor"""
    return lambda input, output_size: adaptive_average(input, wanted_sizes(input, output_size))


@spatial(
    F.adaptive_max_pool1d,
    F.adaptive_max_pool2d,
    F.adaptive_max_pool3d,
    channels=ChannelUse.EACH,
)
def adaptive_max_pool(n: int, input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """adaptive_max_pool2d(Tensor self, int[2] output_size) -> (Tensor, Tensor)"""

    def func(input: Any, output_size: Any, return_indices: Any = return_indices) -> Any:
        wanted = wanted_sizes(input, output_size)
        if return_indices:
            return maximum_with_indices(input, [Adaptive(size) for size in wanted])
        if all(isinstance(size, int) and size == 1 for size in wanted):
            return tf.reduce_max(input, range(1, len(input.shape) - 1), keepdims=True)
        even = even_windows(input, wanted)
        return maximum(input, even) if even else gathered(input, [Adaptive(size) for size in wanted], tf.reduce_max)

    return func


@spatial(
    (F.adaptive_max_pool1d_with_indices, torch.adaptive_max_pool1d, aten.adaptive_max_pool1d.default),
    (F.adaptive_max_pool2d_with_indices, aten.adaptive_max_pool2d.default),
    (F.adaptive_max_pool3d_with_indices, aten.adaptive_max_pool3d.default),
)
def adaptive_max_pool_with_indices(n: int, input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """adaptive_max_pool2d(Tensor self, int[2] output_size) -> (Tensor, Tensor)"""
    return lambda input, output_size, *_, **__: maximum_with_indices(
        input, [Adaptive(size) for size in wanted_sizes(input, output_size)]
    )


def wanted_sizes(x: tf.Tensor, output_size: Any) -> PER_DIM:
    """The output's spatial sizes; None keeps the input's."""
    given = sizes(x)[1:-1]
    wanted = pair(output_size, len(given)) if not tf.is_tensor(output_size) else (output_size,) * len(given)
    return [size if want is None else want for want, size in zip(wanted, given)]


def even_windows(x: tf.Tensor, wanted: PER_DIM) -> list[Window] | None:
    """The ordinary windows that adaptive pooling comes down to; None where a size does not divide."""
    pairs = list(zip(sizes(x)[1:-1], wanted))
    if not all(isinstance(size, int) and isinstance(want, int) and want and size % want == 0 for size, want in pairs):
        return None
    return [Window(size // want, size // want, 0) for size, want in pairs]


def adaptive_average(x: tf.Tensor, wanted: PER_DIM) -> tf.Tensor:
    """Average to a given size: a mean, an ordinary pool where sizes divide, else a matrix for each axis."""
    if all(isinstance(size, int) and size == 1 for size in wanted):
        return tf.reduce_mean(x, range(1, len(x.shape) - 1), keepdims=True)
    even = even_windows(x, wanted)
    if even:
        return average(x, even)
    for axis, (size, want) in enumerate(zip(sizes(x)[1:-1], wanted), 1):
        if size is not want:
            x = along(x, axis, known(lambda size, want: Adaptive(want).averaging(size), size, want))
    return x


# -- unpool -------------------------------------------------------------------------------------------


@spatial(F.max_unpool1d, F.max_unpool2d, F.max_unpool3d)
def max_unpool(
    n: int,
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Any:
    """F.max_unpool2d(Tensor input, Tensor indices, int[2] kernel_size, int[2] stride=[], int[2] padding=0,
    SymInt[2]? output_size=None) -> Tensor
    """
    places = windows(n, kernel_size, stride, padding)

    def func(
        input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
    ) -> Any:
        b, *spatial_sizes, c = sizes(input)
        wanted = (
            list(output_size)[-n:]
            if output_size is not None
            else [(size - 1) * w.stride - 2 * w.padding + w.kernel for size, w in zip(spatial_sizes, places)]
        )
        count = prod(spatial_sizes)
        flat = tf.transpose(tf.reshape(tf.cast(indices, tf.int32), (b, c, count)), (0, 2, 1))
        batch, channel = tf.range(b)[:, None, None], tf.range(c)[None, None, :]
        target = (batch * prod(wanted) + flat) * c + channel
        empty = tf.zeros([b * prod(wanted) * c], input.dtype)
        return tf.reshape(written(empty, tf.reshape(target, (-1,)), tf.reshape(input, (-1,))), (b, *wanted, c))

    return func
