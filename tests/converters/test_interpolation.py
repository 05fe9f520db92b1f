"""Resizing: every mode, by size and by factor, in one to three dimensions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from tests.lite import ops_of
from tests.sizes import check_sizes

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
TARGETS = [
    {"scale_factor": 2},
    {"scale_factor": 0.5},
    {"scale_factor": 1.7},
    {"scale_factor": 0.6},
    {"scale_factor": 1.3, "recompute_scale_factor": True},
    {"size": 13},
    {"size": 3},
    {"size": 1},
]


def image(n: int) -> torch.Tensor:
    return torch.randn(2, 3, *range(5, 5 + n))


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "area"])
def test_nearest_and_area(check, n, target, mode):
    check(lambda x: F.interpolate(x, mode=mode, **target), image(n))


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("align_corners", [False, True])
def test_linear(check, n, target, align_corners):
    check(lambda x: F.interpolate(x, mode=LINEAR[n], align_corners=align_corners, **target), image(n))


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("align_corners", [False, True])
def test_bicubic(check, target, align_corners):
    check(lambda x: F.interpolate(x, mode="bicubic", align_corners=align_corners, **target), image(2))


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_antialias(check, target, mode):
    check(lambda x: F.interpolate(x, mode=mode, antialias=True, **target), image(2))
    check(lambda x: F.interpolate(x, mode=mode, antialias=True, align_corners=True, **target), image(2))


def test_unequal(check):
    check(lambda x: F.interpolate(x, (9, 4), mode="bilinear"), image(2), tflite=True)
    check(lambda x: F.interpolate(x, scale_factor=(1.5, 3)), image(2), tflite=True)
    check(lambda x: F.interpolate(x, (9, 6), mode="bicubic"), image(2), tflite=True)
    check(lambda x: F.interpolate(x, scale_factor=[2.0, 1.0], mode="bilinear", align_corners=True), image(2))


def test_modules(check):
    check(nn.Upsample(scale_factor=2), image(1))
    check(nn.Upsample(size=(7, 8), mode="bilinear", align_corners=True), image(2))
    check(nn.UpsamplingBilinear2d(scale_factor=2), image(2))
    check(nn.UpsamplingNearest2d(size=9), image(2))


def test_nearest_of_many_sizes():
    for old in range(1, 12):
        for new in (1, 3, 7, 10, 23):
            x = torch.arange(float(old)).reshape(1, 1, old, 1).expand(1, 1, old, 2).contiguous()
            for mode in ("nearest", "nearest-exact"):
                model = nobuco.pytorch_to_keras(
                    lambda x, mode=mode, new=new: F.interpolate(x, (new, 2), mode=mode),
                    args=[x],
                    verbose=False,
                )
                got = model(nobuco.t_pytorch2keras(x, nobuco.ChannelOrder.TENSORFLOW)).numpy()[0, :, 0, 0]
                assert (got == F.interpolate(x, (new, 2), mode=mode)[0, 0, :, 0].numpy()).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_dtypes(check, dtype, mode):
    tolerance = {torch.float64: 1e-9, torch.float16: 5e-3, torch.bfloat16: 5e-2}[dtype]
    check(
        lambda x: F.interpolate(x, scale_factor=2, mode=mode),
        image(2).to(dtype),
        atol=tolerance,
        rtol=tolerance,
    )


def test_bytes(check):
    pixels = torch.randint(0, 255, (1, 3, 6, 6), dtype=torch.uint8)
    check(lambda x: F.interpolate(x, scale_factor=2), pixels)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"scale_factor": 2}, ["RESIZE_NEAREST_NEIGHBOR"]),
        ({"size": (9, 7), "mode": "nearest-exact"}, ["RESIZE_NEAREST_NEIGHBOR"]),
        ({"scale_factor": 2, "mode": "bilinear"}, ["RESIZE_BILINEAR"]),
        ({"size": (9, 7), "mode": "bilinear", "align_corners": True}, ["RESIZE_BILINEAR"]),
    ],
    ids=str,
)
def test_tflite_operations(arguments, expected):
    assert ops_of(lambda x: F.interpolate(x, **arguments), image(2)[:1]) == expected


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic", "area"])
@pytest.mark.parametrize("factor", [2, 1.7])
def test_dynamic_sizes(mode, factor):
    def program(x):
        return F.interpolate(x, scale_factor=factor, mode=mode)

    x, larger = image(2), torch.randn(3, 3, 12, 17)
    model = nobuco.pytorch_to_keras(program, args=[x], input_shapes={x: (None, 3, None, None)}, verbose=False)
    got = model(nobuco.t_pytorch2keras(larger, nobuco.ChannelOrder.TENSORFLOW))
    got = nobuco.t_keras2pytorch(got, nobuco.ChannelOrder.TENSORFLOW)
    assert torch.allclose(got, program(larger), atol=1e-4)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("options", [{}, {"align_corners": True}, {"antialias": True}])
def test_bytes_are_rounded_after_each_axis_with_weights_of_16_bits(check, mode, options):
    x = torch.randint(0, 256, (2, 3, 9, 11), dtype=torch.uint8)
    one_order = [nobuco.ChannelOrder.PYTORCH]
    check(lambda x: F.interpolate(x, (4, 20), mode=mode, **options), x, orders=one_order, atol=0, rtol=0)
    check(lambda x: F.interpolate(x, (4, 20), mode=mode, **options), x[:, :1], orders=one_order, atol=0, tflite=True)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
@pytest.mark.parametrize("factors", [(1.1, 1.6), (2.1, 1.1)], ids=str)
def test_a_factor_counts_for_nothing_where_the_size_stays_or_doubles(check, mode, factors):
    """Not for all modes: PyTorch's kernels for neighbours and for lines copy there, whatever the factor."""
    one_order = [nobuco.ChannelOrder.PYTORCH]
    program = lambda x: F.interpolate(x, scale_factor=factors, mode=mode)  # noqa: E731
    check(program, torch.randn(1, 2, 4, 5), orders=one_order, tflite=True)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_such_a_factor_at_sizes_that_are_dynamic(mode):
    program = lambda x: F.interpolate(x, scale_factor=(2.1, 1.1), mode=mode)  # noqa: E731
    shapes = [torch.randn(1, 2, h, w) for h, w in [(4, 5), (5, 12), (11, 9), (3, 3)]]
    check_sizes(program, *[(x,) for x in shapes], free=[(2, 3)], orders=[nobuco.ChannelOrder.PYTORCH])
