"""Pooling: every argument, in one to three dimensions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco import ChannelOrder
from tests.lite import ops_of
from tests.sizes import check_sizes

DIMS = [1, 2, 3]


def image(n: int, size: int = 8) -> torch.Tensor:
    return torch.randn(2, 3, *range(size, size + n))


MAX = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 3, "stride": 1, "padding": 1},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    {"kernel_size": 4, "stride": 3, "padding": 2, "ceil_mode": True},
    {"kernel_size": 2, "stride": 2, "dilation": 2, "padding": 1},
    {"kernel_size": 3, "stride": 1, "dilation": 3, "padding": 1, "ceil_mode": True},
]


@pytest.mark.parametrize("n", DIMS)
@pytest.mark.parametrize("arguments", MAX, ids=str)
@pytest.mark.parametrize("indices", [False, True])
def test_max_pool(check, n, arguments, indices):
    check(lambda x: getattr(F, f"max_pool{n}d")(x, return_indices=indices, **arguments), image(n) - 5)


def test_max_pool_module_and_unequal(check):
    check(nn.MaxPool2d((3, 2), stride=(2, 1), padding=(1, 0)), image(2), tflite=True)
    check(nn.MaxPool2d(2, return_indices=True), image(2))
    check(lambda x: torch.max_pool2d(x, [2, 2], []), image(2))


@pytest.mark.xfail(strict=True, reason="TensorFlow's MaxPool starts from the lowest finite number, not from -inf")
def test_max_of_minus_infinity(check):
    check(lambda x: F.max_pool2d(x, 2), torch.full((1, 2, 4, 4), float("-inf")))


AVERAGE = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 3, "stride": 1, "padding": 1, "count_include_pad": False},
    {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    {"kernel_size": 4, "stride": 3, "padding": 2, "ceil_mode": True},
    {"kernel_size": 4, "stride": 3, "padding": 1, "ceil_mode": True, "count_include_pad": False},
]


@pytest.mark.parametrize("n", DIMS)
@pytest.mark.parametrize("arguments", AVERAGE, ids=str)
def test_avg_pool(check, n, arguments):
    check(lambda x: getattr(F, f"avg_pool{n}d")(x, **arguments), image(n))


@pytest.mark.parametrize("n", DIMS)
@pytest.mark.parametrize("arguments", AVERAGE, ids=str)
def test_avg_pool_of_integers(check, n, arguments):
    pool = getattr(F, f"avg_pool{n}d")
    check(lambda x: pool(x, **arguments), torch.randint(-99, 99, image(n).shape))


@pytest.mark.parametrize("n", [2, 3])
def test_avg_pool_of_integers_keeps_every_bit(n):
    x = torch.randint(-(2**60), 2**60, (1, 2, *[6] * n))
    pool = getattr(F, f"avg_pool{n}d")
    model = nobuco.pytorch_to_keras(lambda x: pool(x, 2, divisor_override=3), [x], verbose=False)
    got = model(nobuco.t_pytorch2keras(x, ChannelOrder.TENSORFLOW))
    assert torch.equal(nobuco.t_keras2pytorch(got, ChannelOrder.TENSORFLOW), pool(x, 2, divisor_override=3))


@pytest.mark.parametrize("n", [2, 3])
def test_divisor_override(check, n):
    op = getattr(F, f"avg_pool{n}d")
    check(lambda x: op(x, 3, 2, 1, divisor_override=5), image(n))
    check(lambda x: op(x, 2, ceil_mode=True, count_include_pad=False, divisor_override=3), image(n))


@pytest.mark.parametrize("n", DIMS)
def test_lp_pool(check, n):
    op = getattr(F, f"lp_pool{n}d")
    check(lambda x: op(x, 2, 3, stride=2), image(n))
    check(lambda x: op(x, 2, 3, 2, True), image(n))
    check(lambda x: op(x, 1.5, 2), image(n).abs())


@pytest.mark.parametrize("n", DIMS)
@pytest.mark.parametrize("size", [1, 2, 4, 3, 5, 11])
def test_adaptive(check, n, size):
    check(lambda x: getattr(F, f"adaptive_avg_pool{n}d")(x, size), image(n))
    check(lambda x: getattr(F, f"adaptive_max_pool{n}d")(x, size), image(n))


def test_adaptive_unequal(check):
    check(nn.AdaptiveAvgPool2d((None, 3)), image(2), tflite=True)
    check(nn.AdaptiveAvgPool2d((1, 5)), image(2), tflite=True)
    check(nn.AdaptiveMaxPool2d((3, None)), image(2), tflite=True)
    check(nn.AdaptiveMaxPool2d((3, 4), return_indices=True), image(2))
    check(lambda x: F.adaptive_max_pool1d(x, 3, return_indices=True), image(1))


@pytest.mark.parametrize("n", DIMS)
def test_unbatched(check, n):
    check(lambda x: getattr(F, f"max_pool{n}d")(x, 3, 2, 1), image(n)[0])
    check(lambda x: getattr(F, f"max_pool{n}d")(x, 2, return_indices=True), image(n)[0])
    check(lambda x: getattr(F, f"adaptive_avg_pool{n}d")(x, 3), image(n)[0])


@pytest.mark.parametrize("n", DIMS)
def test_max_unpool(check, n):
    def program(x):
        y, indices = getattr(F, f"max_pool{n}d")(x, 2, return_indices=True)
        return getattr(F, f"max_unpool{n}d")(y, indices, 2, output_size=x.shape)

    check(program, image(n))
    check(lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), torch.randn(1, 2, 4, 6))


def test_max_unpool_to_a_dynamic_size():
    def program(x):
        return F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2, output_size=x.size())

    images = [torch.randn(2, 3, *size) for size in ((7, 10), (8, 8), (5, 6))]
    check_sizes(program, *((x,) for x in images), free=[(0, 2, 3)])


def test_integers(check):
    check(lambda x: F.max_pool2d(x, 2), torch.randint(-9, 9, (1, 2, 6, 6)))


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.MaxPool2d(2), ["MAX_POOL_2D"]),
        (nn.MaxPool2d(3, 1, 1), ["MAX_POOL_2D"]),
        (nn.MaxPool2d(3, 2, 1), ["PADV2", "MAX_POOL_2D"]),
        (nn.AvgPool2d(2), ["AVERAGE_POOL_2D"]),
        (nn.AvgPool2d(3, 2, 1), ["PAD", "AVERAGE_POOL_2D"]),
        (nn.AvgPool2d(3, 1, 1, count_include_pad=False), ["AVERAGE_POOL_2D"]),
        (nn.AvgPool2d(3, 2, 1, count_include_pad=False), ["PAD", "AVERAGE_POOL_2D", "MUL"]),
        (nn.AdaptiveAvgPool2d(1), ["MEAN"]),
        (nn.AdaptiveAvgPool2d(4), ["AVERAGE_POOL_2D"]),
        (nn.MaxPool1d(2), ["RESHAPE", "MAX_POOL_2D", "RESHAPE"]),
        (nn.MaxPool3d(2), ["RESHAPE", "MAX_POOL_2D", "RESHAPE", "MAX_POOL_2D", "RESHAPE"]),
    ],
    ids=str,
)
def test_tflite_operations(module, expected):
    n = int(type(module).__name__[-2])
    assert ops_of(module, torch.randn(1, 4, *[8] * n)) == expected


DYNAMIC = [
    nn.MaxPool2d(3, 2, 1),
    nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    nn.MaxPool2d(3, 2, 1, dilation=2),
    nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
    nn.AdaptiveAvgPool2d(3),
    nn.AdaptiveMaxPool2d((3, None)),
]


@pytest.mark.parametrize("module", DYNAMIC, ids=str)
def test_dynamic_sizes(module):
    x, larger = image(2), torch.randn(3, 3, 12, 17)
    model = nobuco.pytorch_to_keras(module, args=[x], input_shapes={x: (None, 3, None, None)}, verbose=False)
    got = model(nobuco.t_pytorch2keras(larger, nobuco.ChannelOrder.TENSORFLOW))
    got = nobuco.t_keras2pytorch(got, nobuco.ChannelOrder.TENSORFLOW)
    assert torch.allclose(got, module(larger), atol=1e-5)


@pytest.mark.parametrize("batch", [(2,), ()])
@pytest.mark.parametrize(("n", "pool"), [(2, F.fractional_max_pool2d), (3, F.fractional_max_pool3d)])
def test_fractional_pooling_by_given_numbers(check, n, pool, batch):
    x, numbers = torch.randn(*batch, 3, *range(7, 7 + n)), torch.rand(*(batch or (1,)), 3, n)
    kernel, ratio = (2, 3, 2)[:n], (0.5, 0.6, 0.7)[:n]
    one_order = [nobuco.ChannelOrder.PYTORCH]
    check(lambda x, r: pool(x, kernel, output_ratio=ratio, _random_samples=r), x, numbers, orders=one_order)
    check(
        lambda x, r: pool(x, kernel, output_size=[3] * n, return_indices=True, _random_samples=r),
        x, numbers, tflite=True, orders=one_order,
    )  # fmt: skip


def test_max_pool_with_indices_of_three_dimensions_in_tflite(check):
    one_order = [nobuco.ChannelOrder.PYTORCH]
    check(lambda x: F.max_pool3d(x, 3, 2, 1, return_indices=True), image(3), tflite=True, orders=one_order)
    check(lambda x: F.adaptive_max_pool3d(x, (3, 4, 2), return_indices=True), image(3), tflite=True, orders=one_order)


@pytest.mark.xfail(strict=True, reason="XNNPACK's average pooling makes infinity of NaN")
def test_power_average_of_negative_elements_is_not_a_number_in_tflite_either(check):
    check(lambda x: F.lp_pool2d(x, 1.5, 2), image(2), tflite=True, orders=[nobuco.ChannelOrder.PYTORCH])


def test_windows_that_are_larger_than_the_input(check):
    check(lambda x: F.avg_pool2d(x, 900, ceil_mode=True), torch.randn(2, 3, 4, 5), tflite=True)
    check(lambda x: F.avg_pool2d(x, 9, 9, 1, ceil_mode=True), torch.randn(2, 3, 4, 5))
    check(lambda x: F.avg_pool2d(x, 9, 9, 1, ceil_mode=True, count_include_pad=False), torch.randn(2, 3, 4, 5))
    check(lambda x: F.max_pool2d(x, (900, 2), ceil_mode=True), torch.randn(2, 3, 4, 5), tflite=True)
