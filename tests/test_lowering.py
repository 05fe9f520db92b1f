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
from tests.tflite_operations import tflite_operations


def tflite_of(model, *args, **options):
    order = nobuco.ChannelOrder.PYTORCH
    converted = nobuco.pytorch_to_keras(
        model, args=list(args), inputs_channel_order=order, outputs_channel_order=order, verbose=False, **options
    )
    return to_tflite(converted)


def assert_matches(model, *args, tolerance=1e-5):
    with torch.no_grad():
        expected = model(*args).numpy()
    (found,) = run_tflite(tflite_of(model, *args), [arg.numpy() for arg in args])
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    if expected.dtype.kind in "ib" or expected.dtype == bool:
        np.testing.assert_array_equal(found, expected)
    else:
        finite = np.abs(expected[np.isfinite(expected)])
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * finite.max(initial=1e-30))


def test_beside_a_convolution_whose_gradient_is_its_own():
    conv = nn.Conv1d(4, 8, 3, groups=2).eval()
    assert_matches(lambda x: torch.fft.rfft(conv(x)).abs(), torch.randn(1, 4, 10))


def real(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


pairs, numbers = torch.view_as_real, torch.view_as_complex


@pytest.mark.parametrize("length", [1, 2, 3, 16, 63, 97, 400, 512, 1031, 1500])
@pytest.mark.parametrize("transform", ["rfft", "fft", "ifft", "irfft"])
def test_transform(transform, length):
    compute = getattr(torch.fft, transform)
    if transform in ("rfft", "fft"):
        assert_matches(lambda x: pairs(compute(x)), real(2, length))
    elif transform == "ifft":
        assert_matches(lambda x: pairs(compute(numbers(x))), real(2, length, 2))
    else:
        assert_matches(lambda x: compute(numbers(x)), real(2, max(length, 2), 2))


def test_a_long_transform_makes_a_small_file():
    assert len(tflite_of(lambda x: torch.fft.fft(x).real, real(1, 6007))) < 500_000


WINDOW = torch.hann_window(64)
PROGRAMS = {
    "of a vector": (lambda x: pairs(torch.fft.rfft(x)), real(60)),
    "cut": (lambda x: torch.fft.rfft(x, n=7).abs(), real(3, 9)),
    "padded": (lambda x: torch.fft.rfft(x, n=20).abs(), real(3, 9)),
    "of odd length": (lambda x: torch.fft.irfft(numbers(x), n=7), real(3, 9, 2)),
    "along the first": (lambda x: torch.fft.fft(x, dim=0).real, real(6, 5)),
    "of all": (lambda x: torch.fft.fftn(x).imag, real(3, 4, 5)),
    "both ways": (lambda x: torch.fft.irfft2(torch.fft.rfft2(x) * 2, s=(12, 20)), real(2, 12, 20)),
    "Hermitian": (lambda x: torch.fft.hfft(numbers(x)), real(3, 9, 2)),
    "orthonormal": (lambda x: torch.fft.rfft(x, norm="ortho").abs(), real(3, 9)),
    "spectrogram": (lambda x: torch.stft(x, 64, 16, window=WINDOW, return_complex=True).abs() ** 2, real(1, 500)),
    "filtered": (
        lambda x: torch.istft(torch.stft(x, 64, 16, window=WINDOW, return_complex=True) * 0.5, 64, 16, window=WINDOW),
        real(1, 512),
    ),
    "rotary": (
        lambda x, c: pairs(numbers(x.reshape(1, 4, 4, 2)) * torch.polar(torch.ones_like(c), c)).flatten(-2),
        real(1, 4, 8),
        real(4, 4),
    ),
    "written": (lambda x: pairs(numbers(x.clone()).index_fill(1, torch.tensor([1]), 2j)), real(3, 5, 2)),
    "joined": (lambda x: pairs(torch.cat([numbers(x), numbers(x).flip(0)], 1)[:, ::2].roll(1, 0)), real(3, 5, 2)),
    "chosen": (lambda x: pairs(torch.where(x[..., 0] > 0, numbers(x), numbers(x) * 1j)), real(3, 5, 2)),
    "equal": (lambda x: numbers(x) == numbers(x.abs()), real(3, 5, 2)),
    "sums": (lambda x: pairs(torch.stack([numbers(x).sum(0), numbers(x).mean(0), numbers(x).prod(0)])), real(3, 5, 2)),
    "running": (lambda x: pairs(numbers(x).cumprod(0) + numbers(x).cumsum(0)), real(3, 5, 2)),
    "adjoint": (lambda x: pairs(numbers(x) @ numbers(x).mH), real(2, 3, 4, 2)),
    "einsum": (
        lambda x, y: pairs(torch.einsum("bij,jk->bik", numbers(x), numbers(y))),
        real(2, 3, 4, 2),
        real(4, 5, 2),
    ),
    "over real": (lambda x, y: pairs(numbers(x) / y), real(3, 5, 2), real(3, 5)),
    "norm": (lambda x: linalg.vector_norm(numbers(x)), real(5, 2)),
    "given": (lambda z: (z * z).real, torch.complex(real(3, 4), real(4, 3).T.contiguous())),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_complex_numbers(name):
    model, *args = PROGRAMS[name]
    assert_matches(model, *args)


FUNCTIONS = [
    "exp", "log", "sqrt", "rsqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sigmoid", "sgn", "reciprocal",
    "square", "log1p", "expm1", "asin", "acos", "atan", "asinh", "acosh", "atanh", "log2", "exp2", "abs",
    "angle",
]  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_of_complex_numbers(name):
    def compute(x):
        result = getattr(torch, name)(numbers(x))
        return pairs(result) if result.is_complex() else result

    assert_matches(compute, real(3, 5, 2))


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "pow"])
def test_arithmetic_of_complex_numbers(name):
    assert_matches(lambda x, y: pairs(getattr(torch, name)(numbers(x), numbers(y))), real(3, 5, 2), real(1, 5, 2))


def test_sizes_of_complex_numbers():
    x = torch.tensor([[0.0, 0.0], [3e30, 4e30], [1e-30, 1e-30], [torch.inf, 1], [torch.nan, 1], [0, -2]])
    assert_matches(lambda x: numbers(x).abs(), x, tolerance=1e-6)


def test_complex_weights():
    class Filter(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.complex(real(4, 6), real(6, 4).T))

        def forward(self, x):
            return torch.fft.irfft(torch.fft.rfft(x) * self.weight[:, :5], n=8)

    assert_matches(Filter(), real(2, 4, 8))


def test_complex_numbers_of_dynamic_length():
    def model(x):
        return torch.fft.fft(x).abs()

    data = tflite_of(model, real(1, 12), input_shapes=[(None, None)])
    for shape in ((1, 12), (3, 7), (2, 30)):
        (found,) = run_tflite(data, [real(*shape).numpy()])
        np.testing.assert_allclose(found, model(real(*shape)), atol=1e-4)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_batches_of_dynamic_size(size):
    def model(x, y):
        return linalg.solve(x, y), linalg.eigvalsh(x), linalg.svdvals(x), torch.fft.rfft(x).abs(), torch.erf(y)

    data = tflite_of(model, positive_definite(4), real(3, 4, 2), input_shapes=[(None, 4, 4), (None, 4, 2)])
    x = real(size, 4, 4)
    args = (x @ x.mT + 4 * torch.eye(4), real(size, 4, 2))
    for found, expected in zip(run_tflite(data, [arg.numpy() for arg in args]), model(*args), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_complex_numbers_in_a_loop_and_a_branch():
    def model(x):
        (z,) = torch.while_loop(lambda z: z.abs().sum() < 100, lambda z: (z * (1.5 + 0.5j),), (numbers(x),))
        return torch.cond(z.real.sum() > 0, lambda z: pairs(z * 2j), lambda z: pairs(z * 1.0), (z,))

    data = tflite_of(model, real(3, 5, 2))
    for x in (real(3, 5, 2), -real(3, 5, 2), 0.01 * real(3, 5, 2)):
        (found,) = run_tflite(data, [x.numpy()])
        np.testing.assert_allclose(found, model(x), rtol=1e-4, atol=1e-3)


def test_complex_outputs_are_told():
    with pytest.raises(nobuco.ExportError, match=r"output_0 is complex64; .*torch\.view_as_real"):
        tflite_of(torch.fft.fft, real(1, 12))


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
    assert_matches(model, whole(dtype, 5, 7), torch.where(y == 0, torch.ones_like(y), y))


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_whole_rows_of_integers(dtype):
    assert_matches(lambda x: torch.stack([x.sum(1), x.prod(1), x.amax(1).long(), x.argmin(1)]), whole(dtype, 5, 7))
    assert_matches(lambda x, y: F.pad(x @ y, (1, 2)).repeat(1, 2), whole(dtype, 5, 7), whole(dtype, 7, 3))


@pytest.mark.parametrize("dtype", [*INTEGERS, torch.int32], ids=str)
def test_bits(dtype):
    x, y, places = whole(dtype, 5, 7), whole(dtype, 7), torch.arange(7).to(dtype)
    assert_matches(lambda x, y: torch.stack([x & y, x | y, x ^ y, (x & 5).expand(5, 7), ~x]), x, y)
    assert_matches(lambda x, places: torch.stack([x << places, x >> places, x >> 3, x << 70]), x, places)


def test_far_shifts_of_64_bits():
    places = torch.tensor([0, 1, 31, 32, 33, 62, 63])
    assert_matches(lambda x, places: torch.stack([x << places, x >> places]), whole(torch.int64, 5, 7), places)


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

    assert tflite_operations(gelu, real(3, 5)) == ["GELU"]


@pytest.mark.parametrize("beside", [lambda x: 0.5 * x, lambda x: torch.erf(x / 2**0.5)], ids=["half", "erf"])
def test_gelu_beside_what_it_is_made_of(beside):
    """TFLite's converter makes one operation of equal ones, and then sees no GELU any more."""
    assert_matches(lambda x: F.gelu(x) + 3 * beside(x), real(3, 5))


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
    assert_matches(compute, real(3, 5))


def test_log_sigmoid_takes_no_more_operations_than_it_needs():
    assert len(tflite_operations(F.logsigmoid, real(3, 5))) <= 7


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
    assert_matches(lambda *x: torch.einsum(equation, *x), *(real(*shape) for shape in shapes))


def test_products_of_nothing():
    assert_matches(torch.matmul, torch.zeros(5, 5, 0), torch.zeros(0, 5))


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
        assert_matches(model, x)


def test_powers_and_counts():
    x = torch.tensor([2, -3, 0, 1, 7, 2**33 + 1])
    assert_matches(lambda x: torch.stack([x**5, 3 ** (x % 100), torch.bincount(x % 6, minlength=6)]), x)


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
    assert_matches(lambda x: torch.cat([f(x).flatten() for f in functions]), x)


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
    assert_matches(compute, *args, tolerance=3e-5)


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
    network = network.eval() if isinstance(network, nn.Module) else network
    order = nobuco.ChannelOrder.PYTORCH
    model = nobuco.pytorch_to_keras(
        network, [example], inputs_channel_order=order, outputs_channel_order=order, verbose=False
    )
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
    example, order = real(2, 4, 8).clamp(-2, 2), nobuco.ChannelOrder.PYTORCH
    model = nobuco.pytorch_to_keras(
        compute, [example], input_shapes={example: (size, 4, 8)}, inputs_channel_order=order,
        outputs_channel_order=order, verbose=False,
    )  # fmt: skip
    samples = [np.full((2, 4, 8), 2, "float32"), np.full((2, 4, 8), -2, "float32"), example.numpy()]
    given = example if size else real(3, 4, 8).clamp(-2, 2)
    (found,) = run_tflite(to_tflite(model, precision="int8", representative=samples), [given.numpy()])
    expected = compute(given).numpy()
    assert found.shape == expected.shape
    assert 10 * np.log10((expected**2).sum() / ((found - expected) ** 2).sum()) > 35
