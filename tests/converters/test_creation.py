"""Parity of tensors that are made of others, of sizes, or by place."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F

import nobuco
from tests.parity import convert
from tests.sizes import check_sizes

LAST = (nobuco.ChannelOrder.TENSORFLOW,)


def image() -> torch.Tensor:
    return torch.randn(2, 3, 4, 5)


def test_like_another(check):
    def several(x):
        full = torch.full_like(x, 2.5), torch.full_like(x, 3, dtype=torch.int32)
        return (
            torch.zeros_like(x),
            torch.ones_like(x, dtype=torch.int64),
            *full,
            torch.ones_like(input=x, dtype=torch.bool),
        )

    check(several, image())
    check(several, torch.randint(0, 4, (2, 3)))


def test_new(check):
    def several(x):
        return (
            x.new_zeros((2, 3, 4)),
            x.new_ones(2, 5),
            x.new_full((3,), 7),
            x.new_zeros(size=(2,), dtype=torch.int64),
        )

    check(lambda x: [x.sum() + y for y in several(x)], image())
    check(several, image())


def test_filled_in_place(check):
    check(lambda x: (x * 2).fill_(3), image())
    check(lambda x: (x * 2).zero_(), image())
    check(lambda x: x + torch.empty_like(x).fill_(1.5), image())


@pytest.fixture
def nan_in_new_memory():
    """New memory is full of NaN, with which PyTorch finds who reads it before anybody has written to it."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def test_memory_that_nobody_has_written_to_is_zero(nan_in_new_memory):
    def several(x):
        with torch.enable_grad():
            leaf = torch.empty(3, requires_grad=True)
        by_public_name = torch.empty_like(x), x.new_empty(2, 3), torch.empty(x.shape[1:]), leaf.detach()
        return *by_public_name, torch.ops.aten.new_empty_strided(x, x.shape, x.stride())

    x = image()
    assert all(y.isnan().all() for y in several(x))
    _, held, report = nobuco.pytorch_to_keras(several, args=[x], return_outputs_pt=True, return_report=True)
    assert report.ok
    assert all((y == 0).all() for y in held)


@pytest.mark.parametrize("diagonal", [0, 1, -2])
@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5), (2, 3, 4, 5), (2, 3, 2, 4, 4)], ids=str)
def test_triangles(check, diagonal, shape):
    check(lambda x: (x.tril(diagonal), torch.triu(x, diagonal=diagonal), x.triu_(diagonal)), torch.randn(shape))


@pytest.mark.parametrize("indexing", ["ij", "xy"])
def test_meshgrid(check, indexing):
    x, y, z = torch.randn(3), torch.randn(4), torch.randn(2)
    check(lambda x, y: torch.meshgrid(x, y, indexing=indexing), x, y)
    check(lambda x, y, z: torch.meshgrid([x, y, z], indexing=indexing), x, y, z)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 3, 4)], ids=str)
def test_one_hot(check, shape):
    x = torch.randint(0, 5, shape)
    check(lambda x: F.one_hot(x, 5), x)
    check(lambda x: F.one_hot(x, num_classes=7).float(), x)
    check(F.one_hot, torch.tensor([[0, 3], [1, 2]]))


def test_data_that_holds_tensors(check):
    check(lambda x: (torch.as_tensor(x), torch.as_tensor(x, dtype=torch.float64)), image())


def test_constants_are_folded(check):
    def several(x):
        rows = torch.arange(4)[:, None] + torch.eye(4, 5) * torch.linspace(0, 1, 5) + torch.full((4, 5), 2)
        return x + rows + torch.zeros(1) + torch.ones(3, 1, 1) + torch.tensor([[1.0], [2], [3], [4]])

    check(several, image())


def test_noise_has_the_right_shape_and_spread():
    for make, mean, std in ((torch.rand_like, 0.5, 0.29), (torch.randn_like, 0.0, 1.0)):
        x = torch.zeros(32, 3, 16, 16)
        model = nobuco.pytorch_to_keras(
            lambda x, make=make: make(x) + x,
            args=[x],
            full_validation=False,
            validation_tolerance=10,
            verbose=False,
        )
        noise = model([nobuco.t_pytorch2keras(x, nobuco.ChannelOrder.TENSORFLOW)])
        assert noise.shape == (32, 16, 16, 3)
        assert float(noise.numpy().mean()) == pytest.approx(mean, abs=0.05)
        assert float(noise.numpy().std()) == pytest.approx(std, abs=0.05)


SIZED = [
    lambda n: torch.zeros(n, 2),
    lambda n: torch.ones((n, 3)),
    lambda n: torch.full((n, 2), 1.5),
    lambda n: torch.eye(n),
    lambda n: torch.arange(n),
    lambda n: torch.arange(1, n + 1, 2),
    lambda n: torch.arange(0.5, n),
    lambda n: torch.eye(n, 3),
    lambda n: torch.linspace(0, 1, n),
    lambda n: torch.tensor([n, 2]),
    lambda n: torch.full((2,), n),
    lambda n: torch.arange(n, dtype=torch.float32),
    lambda n: torch.arange(n - 1, -1, -1),
]


@pytest.mark.parametrize("make", SIZED, ids=range(len(SIZED)))
def test_sizes_known_at_run_time(make):
    def function(x):
        return make(x.shape[1]) + x.sum() * 0

    x = torch.randn(2, 3, 4)
    model = convert(function, x, input_shapes={x: (2, None, 4)})
    for n in (3, 5):
        y = torch.randn(2, n, 4)
        got, wanted = torch.as_tensor(model([y.numpy()]).numpy()), function(y)
        assert got.dtype == wanted.dtype
        torch.testing.assert_close(got, wanted)


def test_window_functions_of_a_size_known_at_run_time():
    def function(x):
        n = x.shape[0]
        windows = [torch.hann_window, torch.hamming_window, torch.blackman_window, torch.bartlett_window]
        windows += [torch.kaiser_window, lambda n, periodic: torch.kaiser_window(n, periodic, 3.0)]
        windows += [lambda n, periodic: torch.hamming_window(n, periodic, 0.6, 0.3)]
        return [window(n, periodic) for window in windows for periodic in (True, False)], x * 1

    check_without_warning(function)


def test_frequencies_of_a_size_known_at_run_time():
    def function(x):
        n = x.shape[0]
        return torch.fft.fftfreq(n), torch.fft.fftfreq(n, 1 / n), torch.fft.rfftfreq(n, 0.25), x * 1

    check_without_warning(function)


def check_without_warning(function):
    with warnings.catch_warnings():
        warnings.simplefilter("error", nobuco.NobucoWarning)
        check_sizes(function, *((torch.randn(n),) for n in (6, 1, 2, 9)), free=[(0,)], orders=LAST)
