"""What a TFLite file keeps of numbers that are none, of the ends of dtypes, and of tensors without elements."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import nobuco
from nobuco import ChannelOrder
from nobuco.export import run_tflite, to_tflite
from tests.parity import convert
from tests.sizes import check_sizes

OPTIONS = {"tflite": True, "orders": [ChannelOrder.PYTORCH]}


def assert_equal(functions, example, *others):
    """The functions of one tensor, in one file that is converted on an example, on other values against PyTorch."""
    orders = {"inputs_channel_order": ChannelOrder.PYTORCH, "outputs_channel_order": ChannelOrder.PYTORCH}
    model = nobuco.pytorch_to_keras(lambda x: [f(x) for f in functions.values()], [example], verbose=False, **orders)
    data = to_tflite(model)
    for x in (example, *others):
        for (name, f), got in zip(functions.items(), run_tflite(data, [x.numpy()]), strict=True):
            np.testing.assert_allclose(got, f(x).numpy(), rtol=1e-4, atol=1e-5, err_msg=name)


def test_outputs_without_elements(check):
    check(lambda x: (x * 2, x.sum(1)), torch.zeros(0, 3), **OPTIONS)
    check(lambda x: F.adaptive_avg_pool1d(x, 2), torch.zeros(0, 3, 8), **OPTIONS)


def test_infinite_constants_stay_infinite(check):
    check(lambda x: torch.where(x > 0, torch.inf, -x * torch.inf), torch.randn(3, 4), **OPTIONS)


def test_attention_with_a_mask_of_infinities(check):
    mask = torch.full((4, 4), -torch.inf).triu(1)
    x = torch.randn(2, 4, 6)
    check(lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=mask), x, **OPTIONS)


def test_mixtures_begin_and_end_with_what_is_mixed():
    numbers = {str(w): lambda x, w=w: torch.lerp(x, x.flip(0), w) for w in (0.0, 0.3, 0.5, 0.8, 1.0)}
    tensors = {str(w): lambda x, w=w: torch.lerp(x, x.flip(0), torch.tensor(w)) for w in ([0.6], [0.2, 0.0, 1.0, 0.9])}
    assert_equal(numbers | tensors, torch.tensor([1.0, 2, 3, 4]), torch.tensor([1e8, -torch.inf, 3, 1]))


def test_the_hypotenuse_of_infinity_and_no_number():
    infinite = torch.tensor([3.0, torch.inf, -torch.inf, torch.nan, 1e30])
    assert_equal({"hypot": lambda x: torch.hypot(x, x.flip(0))}, torch.arange(5.0), infinite, infinite.roll(1))


def test_padding_of_nothing(check):
    for mode in ("reflect", "replicate", "circular"):
        check(lambda x, mode=mode: F.pad(x, (2, 1), mode), torch.zeros(0, 3, 8), **OPTIONS)


def test_softmax_of_a_scalar(check):
    for softmax in (F.softmax, F.softmin, F.log_softmax):
        check(lambda x, softmax=softmax: softmax(x, 0), torch.tensor(2.0), **OPTIONS)


@pytest.mark.parametrize(
    "length",
    [
        lambda x: x.norm(),
        lambda x: torch.linalg.vector_norm(x, dim=(0, 1), keepdim=True),
        lambda x: x.square().sum().sqrt(),
        lambda x: (x**2).sum(1, keepdim=True).sqrt(),
    ],
)
def test_division_by_the_norm_of_several_axes(check, length):
    """TFLite's L2_NORMALIZATION is along the last axis, and gives zeros for zeros."""
    x = torch.arange(12.0).reshape(3, 4) - 5
    x[2] = 0
    check(lambda x: x / length(x), x, **OPTIONS)


SPECIAL = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0, -0.0, 1.0, -1.0, 8e37, -8e37, 100.0, -100.0, 0.5])


ELEMENTWISE = [
    "abs", "acosh", "asinh", "atan", "cosh", "exp", "exp2", "expm1", "isinf", "isnan", "log2", "log10", "log1p",
    "logit", "reciprocal", "relu", "rsqrt", "sigmoid", "sign", "sinh", "square", "tanh",
]  # fmt: skip


def test_infinities_and_nan():
    """XNNPACK's EXP of NaN is 0, its LOG of infinity is 88, its RSQRT of 0 is NaN."""
    functions = {name: getattr(torch, name) for name in ELEMENTWISE}
    functions |= {name: getattr(F, name) for name in ("softplus", "logsigmoid", "mish", "elu", "gelu")}
    functions |= {
        "a root below": lambda x: 1 / torch.sqrt(x),
        "a power": lambda x: x**-0.5,
        "logsumexp": lambda x: x.logsumexp(0),
        "xlogy": lambda x: torch.xlogy(torch.tensor(2.0), x),
        "maximum": lambda x: torch.maximum(x, torch.tensor(1.0)),
        "softmax": lambda x: x.softmax(0),
    }
    assert_equal(functions, torch.linspace(0.1, 3.0, 12), SPECIAL, SPECIAL.roll(5))


@pytest.mark.parametrize("place", [0, 3, 11])
def test_extremes_of_nan(place):
    x = torch.randn(2, 12)
    x[1, place] = torch.nan
    functions = {
        "all": lambda x: x.max(),
        "axis": lambda x: x.amax(1),
        "kept": lambda x: x.amin(1, keepdim=True),
        "both": lambda x: x.min(1)[0],
        "norm": lambda x: x.norm(torch.inf, dim=1),
    }
    assert_equal(functions, torch.randn(2, 12), x)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16])
def test_casts_beyond_an_integer_wrap_around(dtype):
    x = torch.tensor([-1.0, -2.9, -200.0, 127.0, 128.0, 256.7, 300.0, 40000.0, -40000.0])
    assert_equal({"to": lambda x: x.to(dtype)}, torch.arange(9.0), x)


def test_bounds_of_nan():
    low = torch.tensor([-1.0, torch.nan, 0.0, torch.inf] * 3)
    functions = {
        "both": lambda x: torch.clamp(x, low, low + 2),
        "of each other": lambda x: torch.clamp(x, x.flip(0), x + 1),
        "below": lambda x: torch.clamp_min(x, x.roll(1)),
        "above": lambda x: x.clamp(max=x.roll(1)),
    }
    assert_equal(functions, torch.randn(12), SPECIAL, SPECIAL.roll(5))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32, torch.int64])
def test_powers_of_integers_wrap_around(dtype):
    """TFLite's own go by way of floats, and end at the largest number."""
    exponents = torch.tensor([0, 1, 7, 127, 20, 3])
    functions = {str(n): lambda x, n=n: x**n for n in (0, 4, 5, 7)}
    functions |= {"each": lambda x: x ** exponents.to(dtype), "of": lambda x: 3 ** x.abs()}
    x = torch.tensor([12, -3, 100, 2, 5, 127]).to(dtype)
    assert_equal(functions, torch.arange(6).to(dtype), x.abs() if dtype == torch.uint8 else x)


def reversed_ways(x):
    return x.flip(0), x.flip(1), x.flip(0, 1), x.flip(0, 2).to(torch.int16)


def shares(x):
    return x.log_softmax(1), x.log_softmax(0)


def added_rows(x):
    y = x * 1
    y[[0, 2, 2]] = 3.0
    return x.index_add(0, torch.tensor([0, 1, 0]), x[:3]), y


@pytest.mark.parametrize("program", [reversed_ways, shares, added_rows])
def test_nothing_along_an_axis(program):
    example, *others = (torch.randn(3, 4, 2), torch.randn(3, 0, 2), torch.randn(5, 3, 2))
    feeds = [(x,) for x in others]
    check_sizes(program, (example,), *feeds, free=[[0, 1]], orders=(ChannelOrder.PYTORCH,))


def test_a_product_of_nothing():
    program = lambda x: torch.einsum("ij,kj->ik", x, x)  # noqa: E731
    feeds = [(torch.randn(3, 0),), (torch.randn(5, 2),)]
    check_sizes(program, (torch.randn(3, 4),), *feeds, free=[[0, 1]], orders=(ChannelOrder.PYTORCH,))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_remainders_of_the_least_integer(check, dtype):
    least = torch.iinfo(dtype).min
    a, b = torch.tensor([least, least, 7, -7, least]), torch.tensor([-1, 3, -1, 3, least])
    program = lambda a, b: (torch.fmod(a, b), torch.remainder(a, b), a % -1)  # noqa: E731
    check(program, a.to(dtype), b.to(dtype), **OPTIONS)


INFINITY = float("inf")
PLACES = torch.tensor([0, 0, 1, 3])
BEYOND = [[-INFINITY, -INFINITY, 1, 2], [INFINITY, INFINITY, -3.4028234e38, 3.4028234e38], [math.nan, 1, -INFINITY, 2]]


def into(start, reduce, include_self):
    return lambda x: torch.full((5,), start).scatter_reduce(0, PLACES, x, reduce, include_self=include_self)


@pytest.mark.parametrize("reduce", ["amax", "amin"])
def test_extremes_of_what_comes_to_a_place(reduce):
    functions = {
        f"{start}, {own}": into(start, reduce, own) for start in (-INFINITY, 0.0, INFINITY) for own in (True, False)
    }
    lengths = torch.tensor([2, 0, 2])
    functions["segments"] = lambda x: torch.segment_reduce(x, reduce[1:], lengths=lengths)
    functions["rows"] = lambda x: torch.zeros(5).index_reduce(0, PLACES, x, reduce, include_self=False)
    assert_equal(functions, torch.randn(4), *map(torch.tensor, BEYOND))


def test_the_larger_of_a_number_and_infinity():
    bound = torch.full((4,), INFINITY)
    functions = {"larger": lambda x: torch.fmax(x, bound), "smaller": lambda x: torch.fmin(-bound, x)}
    assert_equal(functions, torch.randn(4), *map(torch.tensor, BEYOND))


@pytest.mark.parametrize(
    "program",
    [lambda x: ~(x < 1), lambda x: ~(x >= 1), lambda x: x.masked_fill(~(x > 0), -5.0), lambda x: ~(x <= x.flip(1)),
     lambda x: x - x],
    ids=["less", "at least", "masked", "of two", "difference"],
)  # fmt: skip
def test_nan_passes_no_comparison_and_every_negation(program):
    x = torch.tensor([[math.nan, 0.0, 1.0, 2.0, math.inf, -math.inf]])
    data = to_tflite(convert(program, torch.randn(1, 6)))
    np.testing.assert_array_equal(run_tflite(data, [x.numpy()])[0], program(x).numpy())
