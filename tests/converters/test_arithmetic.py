"""Parity of arithmetic, mathematical functions, comparison, logic and bits, in every spelling and dtype."""

from __future__ import annotations

import math
import operator
from functools import partial

import pytest
import torch

from nobuco import ChannelOrder
from nobuco.export.tflite_file import run_tflite, to_tflite

LAST = (ChannelOrder.TENSORFLOW,)
NAN, INF = math.nan, math.inf


def floats(*shape: int) -> torch.Tensor:
    return torch.randn(shape) * 3


def integers(*shape: int) -> torch.Tensor:
    values = torch.randint(1, 9, shape)
    return values * (1 - 2 * torch.randint(0, 2, shape))


def _name(value: object) -> str:
    return getattr(value, "__name__", None) or str(value)


OPERATORS = [
    getattr(operator, name)
    for name in ["add", "sub", "mul", "truediv", "floordiv", "mod", "eq", "ne", "lt", "le", "gt", "ge"]
]


@pytest.mark.parametrize("op", OPERATORS, ids=_name)
def test_operators_with_tensors_and_numbers(check, op):
    def every_way(x, i, y):
        return op(x, y), op(x, 2), op(1.5, x), op(i, 3), op(i, 2.5), op(7, i), op(x, i), op(i, i + 20)

    check(every_way, floats(2, 3, 4, 5), integers(2, 3, 4, 5), floats(2, 3, 4, 5))


IN_PLACE = ["iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow"]


@pytest.mark.parametrize("op", [getattr(operator, name) for name in IN_PLACE])
def test_operators_in_place(check, op):
    check(lambda x, y: op(x, y), torch.rand(2, 3, 4) + 0.5, torch.rand(3, 1) + 0.5)
    check(lambda x: op(x, 2), floats(2, 3, 4))
    if op not in (operator.itruediv, operator.ipow):
        check(lambda i: op(i, 3), integers(2, 3, 4))


def test_in_place_keeps_the_dtype(check):
    check(lambda h, x: h.add_(x).mul_(2.5), torch.ones(2, 3).half(), floats(2, 3))


BROADCAST = [
    ((2, 3, 4, 5), (3, 1, 1)),
    ((2, 3, 4, 5), (5,)),
    ((2, 3, 4, 5), (1, 3, 1, 5)),
    ((3, 4, 5), (2, 3, 4, 5)),
    ((2, 3, 4), (4,)),
    ((2, 1, 4, 1, 3), (3, 1, 2, 1)),
    ((2, 3), (3,)),
    ((2, 3, 4), ()),
    ((), (2, 3, 4)),
    ((4, 5), (2, 3, 4, 5)),
]


@pytest.mark.parametrize(("left", "right"), BROADCAST, ids=str)
def test_broadcasting(check, left, right):
    check(lambda a, b: (a + b, torch.maximum(b, a), a < b), floats(*left), floats(*right))


@pytest.mark.parametrize(
    "a", [torch.bool, torch.uint8, torch.int32, torch.int64, torch.float16, torch.float32], ids=str
)
@pytest.mark.parametrize("b", [torch.bool, torch.int16, torch.int64, torch.float32, torch.float64], ids=str)
def test_promotion(check, a, b):
    x, y = torch.tensor([[0, 1, 2]]).to(a), torch.tensor([[2, 1, 1]]).to(b)
    check(lambda x, y: (x + y, x * y, x / y, x == y, torch.where(x > y, x, y)), x, y, orders=LAST)
    check(lambda x, y: (x + y[0, 0], x * 2, x + 1.5), x, y, orders=LAST)


def test_logic_of_sums_and_products_of_truth(check):
    x, y = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])
    check(lambda x, y: (x + y, x * y, x & y, x | y, x ^ y, ~x, torch.maximum(x, y), torch.minimum(x, y)), x, y)
    check(lambda x, y: (x < y, x >= y, x != y, x | True, x * 3, x + 0.5), x, y)


ALPHA = [
    lambda x, y: (torch.add(x, y, alpha=2), x.sub(y, alpha=0.5), torch.rsub(x, y, alpha=3), torch.rsub(x, 1)),
    lambda x, y: (
        x.subtract(y),
        x.multiply(y),
        x.divide(y),
        torch.true_divide(x, y),
        torch.add(input=x, other=y),
    ),
    lambda x, y: (
        torch.addcmul(x, x, y, value=0.3),
        torch.addcdiv(x, x, y),
        x.addcmul_(y, y),
        torch.lerp(x, y, 0.25),
    ),
    lambda x, y: (
        torch.lerp(x, y, y),
        torch.hypot(x, y),
        torch.atan2(x, y),
        torch.copysign(x, y),
        torch.ldexp(x, y),
    ),
    lambda x, y: (torch.logaddexp(x, y), torch.logaddexp2(x, y), torch.fmax(x, y), torch.fmin(x, y)),
    lambda x, y: (
        torch.isclose(x, y),
        torch.isclose(x, x + 1e-7),
        torch.xlogy(x, y.abs()),
        torch.special.xlog1py(x, y.abs()),
    ),
    lambda x, y: (
        torch.heaviside(x, y),
        torch.dist(x, y),
        torch.maximum(x, y),
        x.greater(y),
        x.less_equal(y),
    ),
]


@pytest.mark.parametrize("function", ALPHA, ids=range(len(ALPHA)))
def test_two_operands(check, function):
    check(function, floats(2, 3, 4), floats(2, 3, 4))


@pytest.mark.parametrize("mode", [None, "floor", "trunc"])
def test_division(check, mode):
    x = torch.tensor([7.5, -7.5, 7.5, -7.5, 1.0, 0.0, 5.0, -3.0])
    y = torch.tensor([2.0, 2.0, -2.0, -2.0, 0.1, 3.0, 0.0, 0.7])
    check(lambda x, y: (torch.div(x, y, rounding_mode=mode), x.div(2, rounding_mode=mode)), x, y)
    i, j = torch.tensor([7, -7, 7, -7, 1]), torch.tensor([2, 2, -2, -2, 3])
    check(lambda i, j: (torch.div(i, j, rounding_mode=mode), i.div(3, rounding_mode=mode)), i, j)


def test_remainders_take_their_sign_as_in_pytorch(check):
    x, y = torch.tensor([7.5, -7.5, 7.5, -7.5, 1.0]), torch.tensor([2.0, 2.0, -2.0, -2.0, 0.1])
    i, j = torch.tensor([7, -7, 7, -7]), torch.tensor([2, 2, -2, -2])
    check(
        lambda x, y: (x % y, torch.fmod(x, y), x.remainder(2), x // y, 5 % y, torch.fmod(x, -3)),
        x,
        y,
        tflite=True,
    )
    check(lambda i, j: (i % j, torch.fmod(i, j), i.remainder(3), i // j, -5 // i, i.floor_divide(2)), i, j)


@pytest.mark.parametrize("exponent", [-2, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4])
def test_power(check, exponent):
    check(lambda x: (x**exponent, x.pow(exponent), torch.pow(exponent + 3, x)), torch.rand(2, 3, 4) + 0.5)
    if exponent in (0, 1, 2, 3, 4):
        check(lambda i: (i**exponent, i.pow(exponent + 0.5).abs()), integers(2, 3).abs())


def test_power_of_tensors(check):
    check(lambda x, y: (x**y, 2**y, torch.float_power(x, 2), x.pow_(y)), torch.rand(2, 3) + 0.5, floats(2, 3))
    check(lambda i, j: (i**j, 2**j), integers(2, 3), integers(2, 3).abs())


CLAMPS = [
    {"min": -1},
    {"max": 0.5},
    {"min": -0.5, "max": 0.5},
    {"min": 1, "max": -1},
    {"min": 0},
    {"min": 0, "max": 6},
]


@pytest.mark.parametrize("bounds", CLAMPS, ids=str)
def test_clamp(check, bounds):
    check(
        lambda x: (x.clamp(**bounds), torch.clip(x, **bounds), x.clamp_(**bounds)),
        floats(2, 3, 4, 5),
        tflite=True,
    )
    check(lambda i: torch.clamp(i, **bounds), integers(2, 3))


def test_clamp_by_tensors(check):
    x, low, high = floats(2, 3, 4, 5), floats(3, 1, 1), floats(5) + 4
    check(lambda x, low, high: (torch.clamp(x, low, high), x.clamp(max=high), x.clamp(min=low)), x, low, high)
    check(lambda x: (x.clamp_min(0.3), torch.clamp_max(x, 0), x.clamp(-1, 1), x.clamp(None, 1)), x)


FLOAT_FUNCTIONS = [
    "exp", "exp2", "expm1", "sin", "cos", "tan", "atan", "arctan", "sinh", "cosh", "tanh", "asinh", "arcsinh",
    "sigmoid", "erf", "erfc", "deg2rad", "rad2deg", "sinc", "square", "floor", "ceil", "round", "trunc", "fix",
    "frac", "neg", "negative", "abs", "absolute", "sign", "sgn", "signbit", "isnan", "isinf", "isfinite",
    "positive", "isposinf", "isneginf",
]  # fmt: skip
POSITIVE_FUNCTIONS = ["log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal", "lgamma"]
UNIT_FUNCTIONS = ["asin", "acos", "arcsin", "arccos", "atanh", "arctanh", "erfinv", "i0"]
TFLITE_FUNCTIONS = [
    "digamma", "exp", "exp2", "expm1", "sin", "cos", "tan", "atan", "sinh", "cosh", "tanh", "asinh", "sigmoid",
    "deg2rad", "sinc", "square", "floor", "ceil", "round", "trunc", "frac", "neg", "abs", "sign", "signbit",
    "isnan", "isinf", "isfinite", "lgamma", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal", "asin",
    "acos", "atanh", "logit",
]  # fmt: skip


@pytest.mark.parametrize("name", FLOAT_FUNCTIONS + POSITIVE_FUNCTIONS + UNIT_FUNCTIONS)
def test_function(check, name):
    x = floats(2, 3, 4, 5)
    if name in POSITIVE_FUNCTIONS:
        x = x.abs() + 0.1
    if name in UNIT_FUNCTIONS:
        x = torch.tanh(x) * 0.99
    check(getattr(torch, name), x)
    in_place = getattr(torch.Tensor, name + "_", None)
    check(lambda x: (getattr(x, name)(), in_place(x)) if in_place else getattr(x, name)(), x, orders=LAST)


@pytest.mark.parametrize(
    "name", ["exp", "log", "sqrt", "sigmoid", "sin", "atan", "log1p", "erf", "reciprocal", "deg2rad"]
)
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.bool], ids=str)
def test_function_of_integers_is_floating(check, name, dtype):
    check(getattr(torch, name), torch.tensor([1, 2, 3]).to(dtype), orders=LAST)


INTEGER_FUNCTIONS = [
    "floor", "ceil", "round", "trunc", "abs", "neg", "sign", "square", "isnan", "isinf", "isfinite", "signbit",
]  # fmt: skip


@pytest.mark.parametrize("name", INTEGER_FUNCTIONS)
def test_function_of_integers_is_integer(check, name):
    check(getattr(torch, name), integers(2, 3), orders=LAST)


@pytest.mark.parametrize("name", TFLITE_FUNCTIONS)
def test_function_in_tflite(check, name):
    check(getattr(torch, name), torch.rand(2, 3) * 0.9 + 0.05, orders=LAST, tflite=True)


@pytest.mark.parametrize("name", ["sinh", "asinh", "erfinv", "expm1", "log1p", "tanh"])
def test_small_numbers_keep_their_digits(check, name):
    x = torch.tensor([1e-7, -3e-6, 2e-5, 1e-30, 0.0])
    check(lambda x: getattr(torch, name)(x) * 1e6, x)
    check(getattr(torch, name), torch.tensor([1.9e-2, 2.1e-2, -0.3, 0.9]))


def test_asinh_of_large_numbers(check):
    check(torch.asinh, torch.tensor([torch.inf, -torch.inf, 1e30, -3e38, 1e19, 4e18, 1e4]))


SPECIAL = torch.tensor([NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -0.5])


@pytest.mark.parametrize(
    "function",
    [
        torch.nan_to_num,
        partial(torch.nan_to_num, nan=1.0, posinf=2.0, neginf=-3.0),
        torch.isnan,
        torch.isinf,
        torch.isfinite,
        torch.isposinf,
        torch.isneginf,
        torch.signbit,
        torch.round,
        torch.trunc,
        torch.special.entr,
        torch.special.ndtr,
        torch.sinc,
        torch.abs,
        torch.relu,
        torch.logical_not,
        lambda x: torch.fmax(x, x.flip(0)),
        lambda x: torch.fmin(x, x.flip(0)),
        lambda x: torch.clamp(x, -1, 1),
        lambda x: torch.maximum(x, x.flip(0)),
        lambda x: torch.logaddexp(x, x),
        lambda x: torch.copysign(x * 0 + 2, x),
        lambda x: torch.xlogy(x, x),
        lambda x: torch.isclose(x, x, equal_nan=True),
        lambda x: torch.isclose(x, x + 1e-9),
        lambda x: torch.round(x * 12.345, decimals=1),
        lambda x: torch.round(x * 123.45, decimals=-1),
    ],
)
def test_special_values(check, function):
    check(function, SPECIAL)


@pytest.mark.parametrize("function", [torch.sign, torch.sgn, torch.rsqrt, torch.asinh, torch.acosh])
def test_special_values_in_tflite(check, function):
    check(function, torch.cat([SPECIAL, torch.tensor([3e38, -3e38, 1e-30])]), tflite=True)


@pytest.mark.parametrize("function", [torch.maximum, torch.minimum, torch.fmax, torch.fmin, torch.max, torch.min])
def test_extremes_among_nan_in_tflite(check, function):
    x = SPECIAL.repeat(len(SPECIAL))
    check(function, x, x.reshape(len(SPECIAL), -1).T.flatten(), tflite=True)
    check(lambda x: function(x, torch.tensor([NAN, 1.0])), torch.tensor([[1.0, 2.0]]), tflite=True)
    check(lambda x: function(x, torch.tensor([1.0, 2.0])), torch.tensor([[1.5, NAN]]), tflite=True)


def test_logit(check):
    x = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0])
    check(lambda x: (torch.logit(x, eps=1e-3), x[1:4].logit(), torch.special.logit(x, 0.2)), x)


@pytest.mark.parametrize("name", ["logical_and", "logical_or", "logical_xor"])
def test_logic(check, name):
    x, y = torch.tensor([0.0, 1.0, -2.0, NAN]), torch.tensor([[0, 0, 3, 1], [1, 0, 0, 5]])
    check(
        lambda x, y: (getattr(torch, name)(x, y), getattr(y > 1, name + "_")(x > 0), getattr(y, name)(x)),
        x,
        y,
    )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64], ids=str)
def test_bits(check, dtype):
    x, y = torch.tensor([1, 5, 12, 100]).to(dtype), torch.tensor([3, 1, 2, 4]).to(dtype)
    check(
        lambda x, y: (x & y, x | y, x ^ y, ~x, x << y, x >> y, 6 & x, 1 | x, 3 ^ x, x & 7, x.bitwise_or_(y)),
        x,
        y,
    )
    check(
        lambda x, y: (1 << y, 64 >> y, x << 1, x >> 1, torch.bitwise_left_shift(x, 2), torch.bitwise_not(x)),
        x,
        y,
    )


def test_where(check):
    x, y = floats(2, 3, 4, 5), floats(4, 1)
    check(
        lambda x, y: (torch.where(x > 0, x, y), torch.where(y > 0, x, 0.0), x.where(x > y, y)),
        x,
        y,
        tflite=True,
    )
    check(lambda x: (torch.where(x > 0, 1, 0), torch.where(x > 0, 1.0, 0), torch.where(x > 0, True, False)), x)
    check(lambda x: torch.where(condition=x > 0, input=x, other=-x), x)


def test_where_of_one_argument(check):
    check(lambda x: torch.where(x > 0), floats(2, 3, 4))


def test_masked_fill(check):
    x, mask = floats(2, 3, 4, 5), torch.rand(4, 5) > 0.5
    check(lambda x, m: (x.masked_fill(m, -INF), torch.masked_fill(x, m, 2), x.masked_fill_(m, 1.5)), x, mask)
    check(lambda i, m: (i.masked_fill(m, 7), i.masked_fill(m, torch.tensor(3))), integers(4, 5), mask)


def test_reversed_operators(check):
    check(lambda x: (1 - x, 2 / x, 3 // x, 5 % x, 2**x, 1 + x, 3 * x, x < 1, x == 1), floats(2, 3, 4))
    check(lambda i: (1 - i, 2 / i, 3 // i, 5 % i, 2 ** i.abs()), integers(2, 3))


def test_whole_quotients_are_exact_in_int64(check):
    edges = torch.tensor([2**63 - 1, -(2**63), 2**63 - 1, -(2**63), 2**53 + 1, -1, 0, 5, -5, 7])
    by = torch.tensor([1, 1, -1, 3, 1, 2, 5, 2, 2, -2])
    generator = torch.Generator().manual_seed(0)
    large = torch.randint(-(2**63), 2**63 - 1, (500,), generator=generator)
    small = torch.randint(1, 1000, (500,), generator=generator)
    a, b = torch.cat([edges, large, large]), torch.cat([by, small, large.flip(0)])
    keras_model = check(lambda a, b: torch.div(a, b, rounding_mode="floor"), a, b, orders=(ChannelOrder.PYTORCH,))
    expected = torch.div(a, b, rounding_mode="floor").numpy()
    assert (keras_model([a.numpy(), b.numpy()]).numpy() == expected).all()
    assert (run_tflite(to_tflite(keras_model), [a.numpy(), b.numpy()])[0] == expected).all()


def test_hypot_of_numbers_whose_squares_are_too_large(check):
    numbers = torch.tensor([0.0, 3.0, 1e30, -1e30, 1e-30, INF, -INF])
    check(torch.hypot, numbers, numbers.flip(0))
    check(torch.hypot, numbers[:5], numbers[:5] * 2)
