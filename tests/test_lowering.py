"""What TFLite lacks, in a TFLite file without Flex, against PyTorch."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F
from ai_edge_litert.interpreter import Interpreter
from torch import linalg, nn

import nobuco
from nobuco.export import run_tflite, to_tflite
from tests.lite import assert_tflite_matches, ops_of, real, tflite_of
from tests.parity import convert, evaluated


@pytest.mark.parametrize("size", [1, 2, 7])
def test_batches_of_dynamic_size(size):
    def model(x, y):
        return linalg.solve(x, y), linalg.eigvalsh(x), linalg.svdvals(x), torch.fft.rfft(x).abs(), torch.erf(y)

    data = tflite_of(model, positive_definite(4), real(3, 4, 2), input_shapes=[(None, 4, 4), (None, 4, 2)])
    x = real(size, 4, 4)
    args = (x @ x.mT + 4 * torch.eye(4), real(size, 4, 2))
    for found, expected in zip(run_tflite(data, [arg.numpy() for arg in args]), model(*args), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


INTEGERS = [torch.int8, torch.uint8, torch.int16, torch.int64]


def whole(dtype, *shape):
    kind, generator = torch.iinfo(dtype), torch.Generator().manual_seed(3)
    return torch.randint(kind.min, kind.max, shape, dtype=dtype, generator=generator)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_arithmetic_of_integers(dtype):
    def model(x, y):
        trunc = torch.div(x, y, rounding_mode="trunc")
        sums = [x + y, x - y, x * y, 255 - x, x // y, trunc, x % y, x.maximum(y), x.relu(), x.clamp(3, 100), x**2]
        chosen = [torch.where(x > y, x, y), x.masked_fill(x < 5, 1), x.sign(), x.abs(), x.flip(1), x.tril()]
        return torch.stack([*sums, *chosen])

    y = whole(dtype, 7, 5).T.contiguous()
    assert_tflite_matches(model, whole(dtype, 5, 7), torch.where(y == 0, torch.ones_like(y), y))


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_whole_rows_of_integers(dtype):
    assert_tflite_matches(
        lambda x: torch.stack([x.sum(1), x.prod(1), x.amax(1).long(), x.argmin(1)]), whole(dtype, 5, 7)
    )
    assert_tflite_matches(lambda x, y: F.pad(x @ y, (1, 2)).repeat(1, 2), whole(dtype, 5, 7), whole(dtype, 7, 3))


@pytest.mark.parametrize("dtype", [*INTEGERS, torch.int32], ids=str)
def test_bits(dtype):
    x, y, places = whole(dtype, 5, 7), whole(dtype, 7), torch.arange(7).to(dtype)
    assert_tflite_matches(lambda x, y: torch.stack([x & y, x | y, x ^ y, (x & 5).expand(5, 7), ~x]), x, y)
    assert_tflite_matches(lambda x, places: torch.stack([x << places, x >> places, x >> 3, x << 70]), x, places)


def test_far_shifts_of_64_bits():
    places = torch.tensor([0, 1, 31, 32, 33, 62, 63])
    assert_tflite_matches(lambda x, places: torch.stack([x << places, x >> places]), whole(torch.int64, 5, 7), places)


@pytest.mark.parametrize("name", ["log1p", "expm1", "erf", "erfc", "erfinv", "sinh", "asinh", "atanh"])
def test_small_numbers_keep_their_digits(name):
    compute = getattr(torch, name)
    x = torch.tensor([1e-6, -1e-6, 1e-9, 0.0, 1e-3, 0.3, -0.5, 0.9])
    (found,) = run_tflite(tflite_of(compute, x), [x.numpy()])
    np.testing.assert_allclose(found, compute(x), rtol=2e-6)


@pytest.mark.parametrize("name", ["log1p", "expm1", "erf", "erfc", "erfinv"])
def test_special_numbers(name):
    x = torch.tensor([torch.inf, -torch.inf, torch.nan, 0.0, 1.0, -1.0, 88.0, -88.0, 11.0, 4.0, -4.0])
    (found,) = run_tflite(tflite_of(getattr(torch, name), x), [x.numpy()])
    np.testing.assert_allclose(found, getattr(torch, name)(x), rtol=2e-6, atol=1e-37)


@pytest.mark.parametrize("scale", [2**0.5, None])
def test_gelu_stays_one_operation(scale):
    def gelu(x):
        return 0.5 * x * (1 + torch.erf(x / scale if scale else x * 0.7071067811865476))

    assert ops_of(gelu, real(3, 5)) == ["GELU"]


@pytest.mark.parametrize("beside", [lambda x: 0.5 * x, lambda x: torch.erf(x / 2**0.5)], ids=["half", "erf"])
def test_gelu_beside_what_it_is_made_of(beside):
    """TFLite's converter makes one operation of equal ones, and then sees no GELU any more."""
    assert_tflite_matches(lambda x: F.gelu(x) + 3 * beside(x), real(3, 5))


@pytest.mark.parametrize(
    "compute",
    [
        lambda x: 0.5 * (1 + torch.erf(x / 2**0.5)), lambda x: (1 + torch.erf(x)) * 2,
        lambda x: (1 + torch.erf(x / 2**0.5)) * x * 0.5, lambda x: 0.5 * x * (1 + torch.erf(x * 0.5)),
        lambda x: 0.5 * (x + 1) * (1 + torch.erf(x / 2**0.5)), lambda x: 0.5 * x * (2 + torch.erf(x / 2**0.5)),
    ],
    ids=["distribution", "doubled", "turned round", "other scale", "other factor", "other sum"],
)  # fmt: skip
def test_what_is_nearly_gelu(compute):
    assert_tflite_matches(compute, real(3, 5))


def test_log_sigmoid_takes_no_more_operations_than_it_needs():
    assert len(ops_of(F.logsigmoid, real(3, 5))) <= 7


WIDE = torch.cat([torch.linspace(-9.7, 40, 200), torch.tensor([0.0, -2.0, 1e-3, 1e3, torch.nan])])
ABOVE_ZERO = WIDE[WIDE > 0]
PARTS = torch.cat([torch.linspace(0, 1, 101), torch.tensor([1e-30, 1e-5, 1 - 1e-6, -1.0, 2.0, torch.nan])])
DEGREES, PLACES = (x.flatten() for x in torch.meshgrid(
    torch.tensor([0.0, 0.1, 1.0, 5.0, 30.0, 100.0]), torch.tensor([0.0, 0.01, 1.0, 5.0, 29.0, 110.0, torch.inf]),
    indexing="ij",
))  # fmt: skip


@pytest.mark.parametrize(
    ("compute", "args"),
    [
        (torch.digamma, [WIDE]),
        (torch.special.ndtri, [PARTS]),
        (torch.special.bessel_j0, [WIDE]),
        (torch.special.bessel_j1, [WIDE]),
        (torch.special.bessel_y0, [ABOVE_ZERO]),
        (torch.special.bessel_y1, [ABOVE_ZERO]),
        (torch.igamma, [DEGREES, PLACES]),
        (torch.igammac, [DEGREES, PLACES]),
        (torch.nextafter, [PLACES, DEGREES]),
        (lambda x: torch.float_power(x.abs(), 1.5).log().float(), [WIDE]),
        (lambda x: x.softmax(0, dtype=torch.float64).float(), [ABOVE_ZERO]),
    ],
    ids=[
        "digamma", "ndtri", "j0", "j1", "y0", "y1", "igamma", "igammac", "nextafter", "float_power", "softmax",
    ],
)  # fmt: skip
def test_special_functions(compute, args):
    expected = compute(*(arg.double() if compute is not torch.nextafter else arg for arg in args)).numpy()
    (found,) = run_tflite(tflite_of(compute, *args), [arg.numpy() for arg in args])
    np.testing.assert_allclose(found, expected, rtol=3e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,Ab->ijAb", [(2, 3), (4, 4)]),
        ("ijk,ik->j", [(1, 2, 3), (1, 3)]),
        ("...ik,...j->ij", [(1, 2, 3), (3,)]),
        ("i,j->ji", [(3,), (4,)]),
    ],
)
def test_einsum(equation, shapes):
    assert_tflite_matches(lambda *x: torch.einsum(equation, *x), *(real(*shape) for shape in shapes))


def test_products_of_nothing():
    assert_tflite_matches(torch.matmul, torch.zeros(5, 5, 0), torch.zeros(0, 5))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.uint8])
def test_more_arithmetic_of_integers(dtype):
    def model(x):
        segments = torch.tensor([0, 1, 1, 0, 1])
        return torch.stack([
            F.relu6(x), x**0, torch.fmod(x, 3), torch.zeros_like(x).scatter_reduce(0, segments, x, "prod"),
            torch.zeros_like(x).scatter_reduce(0, segments, x, "amax"), torch.cat(x.chunk(3)[::-1]),
        ])  # fmt: skip

    for number in (0, 1):
        x = torch.tensor([torch.iinfo(dtype).min, 7, 3, torch.iinfo(dtype).max, 1], dtype=dtype).roll(number)
        assert_tflite_matches(model, x)


def test_powers_and_counts():
    x = torch.tensor([2, -3, 0, 1, 7, 2**33 + 1])
    assert_tflite_matches(lambda x: torch.stack([x**5, 3 ** (x % 100), torch.bincount(x % 6, minlength=6)]), x)


@pytest.mark.parametrize("rank", [6, 7, 8])
def test_many_axes(rank):
    """TFLite pads, slices and multiplies in five or six axes, and XNNPACK joins and sums in six."""
    x = real(*[2, 3, 2, 1, 2, 3, 4, 2][-rank:])
    functions = [
        lambda x: F.pad(x, (1, 0, 0, 2, 1, 1)), lambda x: F.pad(x, (-1, 0, 0, 1), value=3.0),
        lambda x: x[:, 1:, ..., -1], lambda x: x[0, ..., ::2, :-1], lambda x: torch.cat([x, 2 * x], 1),
        lambda x: x @ x.mT, lambda x: x @ x[..., :1, :, :].mT, lambda x: F.linear(x, torch.ones(3, x.shape[-1])),
        lambda x: F.layer_norm(x, x.shape[-2:]), lambda x: F.normalize(x, dim=-1), lambda x: x.roll(1, 1),
    ]  # fmt: skip
    assert_tflite_matches(lambda x: torch.cat([f(x).flatten() for f in functions]), x)


def positive_definite(n):
    a = real(3, n, n)
    return a @ a.mT + n * torch.eye(n)


A, B, S = real(3, 5, 5), real(3, 5, 2), positive_definite(5)
TURNED = torch.stack([torch.eye(4)[[1, 2, 3, 0]], torch.eye(4)[[3, 0, 2, 1]]])


@pytest.mark.parametrize(
    ("compute", "args"),
    [
        pytest.param(linalg.cholesky, [S], id="cholesky"),
        pytest.param(lambda x: linalg.cholesky(x, upper=True), [S[0]], id="upper"),
        pytest.param(torch.cholesky_solve, [B, linalg.cholesky(S)], id="cholesky_solve"),
        pytest.param(torch.cholesky_inverse, [linalg.cholesky(S[0])], id="cholesky_inverse"),
        pytest.param(linalg.solve, [A, B], id="solve"),
        pytest.param(linalg.solve, [A[0], B[0, :, 0]], id="vector"),
        pytest.param(lambda a, b: linalg.solve(a, b, left=False), [A, B.mT.contiguous()], id="right"),
        pytest.param(linalg.solve, [TURNED, real(2, 4, 3)], id="pivots"),
        pytest.param(linalg.inv, [A], id="inverse"),
        pytest.param(lambda x: linalg.matrix_power(x, -2), [A], id="power"),
        pytest.param(linalg.det, [A], id="determinant"),
        pytest.param(lambda a, b: linalg.solve_triangular(a, b, upper=False), [S, B], id="lower"),
        pytest.param(lambda a, b: linalg.solve_triangular(a, b, upper=True), [S[0], B], id="broadcast"),
        pytest.param(lambda a: linalg.qr(a)[0], [real(2, 5, 3)], id="q"),
        pytest.param(lambda a: linalg.qr(a)[1], [real(2, 4, 4)], id="r"),
        pytest.param(lambda a: linalg.qr(a)[1], [real(2, 3, 5)], id="wide"),
        pytest.param(lambda a: linalg.qr(a, mode="complete")[0], [real(2, 5, 3)], id="complete"),
        pytest.param(lambda a: linalg.qr(a)[1], [real(4, 4).triu()], id="triangular"),
        pytest.param(linalg.eigvalsh, [S], id="eigenvalues"),
        pytest.param(linalg.eigvalsh, [torch.eye(4)], id="equal ones"),
        pytest.param(linalg.eigvalsh, [A], id="of the lower half"),
        pytest.param(linalg.cholesky, [S.tril()], id="of the lower half, too"),
        pytest.param(lambda a: (v := linalg.eigh(a)[1]).mT @ v, [S], id="orthogonal"),
        pytest.param(lambda a: (e := linalg.eigh(a))[1] * e[0][:, None] @ e[1].mT, [S], id="eigenvectors"),
        pytest.param(linalg.svdvals, [real(3, 6)], id="singular values"),
        pytest.param(lambda a: (s := linalg.svd(a, False))[0] * s[1][:, None] @ s[2], [real(2, 5, 3)], id="tall"),
        pytest.param(lambda a: (s := linalg.svd(a, False))[0] * s[1][:, None] @ s[2], [real(2, 3, 5)], id="flat"),
        pytest.param(lambda a: (u := linalg.svd(a)[0]) @ u.mT, [real(2, 5, 3)], id="whole"),
        pytest.param(lambda a: (v := linalg.svd(a)[2]) @ v.mT, [real(2, 3, 5)], id="whole, flat"),
        pytest.param(lambda a: (u := linalg.svd(a)[0]) @ u.mT, [real(5, 1) @ real(1, 3)], id="whole, of rank one"),
        pytest.param(linalg.pinv, [real(5, 3)], id="pseudoinverse"),
        pytest.param(lambda a, b: linalg.lstsq(a, b)[0], [real(6, 3), real(6, 2)], id="least squares"),
        pytest.param(linalg.cond, [real(4, 4)], id="condition"),
    ],
)
def test_matrices(compute, args):
    assert_tflite_matches(compute, *args, tolerance=3e-5)


def test_a_state_beside_it():
    class Running(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("total", torch.zeros(3, 5))

        def forward(self, x):
            self.total.add_(torch.fft.fft(x).abs())
            return self.total * 1

    model = Running()
    data = tflite_of(Running(), real(3, 5))
    interpreter = Interpreter(model_content=data)
    runner = interpreter.get_signature_runner()
    for _ in range(3):
        (found,) = runner(x=real(3, 5).numpy()).values()
        np.testing.assert_allclose(found, model(real(3, 5)), rtol=1e-5)


def test_a_model_without_such_operations_is_left_as_it_is():
    from nobuco.export.lowering import lowered

    layer = keras.layers.Dense(3)
    function = tf.function(layer, input_signature=[tf.TensorSpec([2, 4])]).get_concrete_function()
    assert lowered(function) is function


@pytest.mark.parametrize(
    ("network", "example", "decibels"),
    [
        (nn.LayerNorm(8), real(1, 3, 8, 8), 60),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), real(1, 5, 8), 20),
        (lambda x: (x - x.mean()) ** 2, real(1, 3, 8, 8), 40),
        (lambda x: torch.zeros(3, 1, 1) - x, real(1, 3, 8, 8), 60),  # TFLite's quantiser ends the process at its zeros
        (nn.GroupNorm(1, 4), real(1, 4, 8, 8), 60),  # and here at those of the bias
        (nn.GroupNorm(2, 4), real(1, 4, 8, 8), 60),
        (lambda x: x.repeat(1, 2, 1, 3), real(1, 4, 8, 8), 60),
        (lambda x: (x.argmax(1) + 1).float(), real(1, 4, 8, 8), 60),
    ],
    ids=["normalisation", "attention", "squares", "zero minus", "one group", "two groups", "copies", "places"],
)
def test_activations_of_16_bits(network, example, decibels):
    network = evaluated(network)
    model = convert(network, example)
    samples = [example.numpy(), *(torch.randn(example.shape).numpy() for _ in range(16))]
    (found,) = run_tflite(to_tflite(model, precision="int16x8", representative=samples), [example.numpy()])
    with torch.no_grad():
        expected = network(example).numpy()
    assert 10 * np.log10((expected**2).sum() / max(((found - expected) ** 2).sum(), 1e-30)) > decibels


def test_integers_are_never_asked_for_nan():
    model = nobuco.pytorch_to_keras(lambda x: x.argmax(1), [real(1, 4, 8, 8)], verbose=False)
    data = to_tflite(model, precision="int8", representative=[real(1, 8, 8, 4).numpy()])
    assert sorted(nobuco.export.tflite_operations(data)) == ["ARG_MAX", "QUANTIZE"]


@pytest.mark.parametrize("size", [2, None])
@pytest.mark.parametrize(
    "compute",
    [
        lambda x: torch.nan_to_num(x) * 2,
        lambda x: torch.where(torch.isnan(x[:1]), torch.zeros_like(x), x[:1]) + 0 * x,
        lambda x: x.clamp(max=float("inf")) * 2,
        lambda x: torch.maximum(x, x.flip(1)),
    ],
    ids=["not a number", "broadcast", "no bound", "larger"],
)
def test_numbers_beyond_all_leave_the_range_of_integers_as_it_is(compute, size):
    example = real(2, 4, 8).clamp(-2, 2)
    model = convert(compute, example, input_shapes={example: (size, 4, 8)})
    samples = [np.full((2, 4, 8), 2, "float32"), np.full((2, 4, 8), -2, "float32"), example.numpy()]
    given = example if size else real(3, 4, 8).clamp(-2, 2)
    (found,) = run_tflite(to_tflite(model, precision="int8", representative=samples), [given.numpy()])
    expected = compute(given).numpy()
    assert found.shape == expected.shape
    assert 10 * np.log10((expected**2).sum() / ((found - expected) ** 2).sum()) > 35
