"""Places that are written twice hold what came last, in Keras and in TFLite, as in PyTorch on a CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import nobuco
from nobuco.export import run_tflite, to_tflite
from nobuco.export.tflite_file import tflite_operations
from nobuco.layers.output import called
from tests.parity import convert

PYTORCH = nobuco.ChannelOrder.PYTORCH
X, V = torch.arange(12.0).reshape(3, 4), torch.arange(6.0)
ROWS, OTHERS = torch.tensor([1, 1, 2]), torch.tensor([2, 0, 2])
TABLE = torch.tensor([[0, 0, 1, 1], [0, 0, 0, 1]])


def assert_same(program, *args, others=None):
    model = convert(program, *[t.clone() for t in args])
    data = to_tflite(model)
    for given in (args, others or args):
        feeds = [t.numpy() for t in given]
        expected = program(*(t.clone() for t in given)).numpy()
        (got,) = called(model, feeds)
        (in_file,) = run_tflite(data, feeds)
        np.testing.assert_allclose(got, expected, rtol=1e-6)
        np.testing.assert_allclose(in_file, expected, rtol=1e-6)
    return data


def assigned(key, value):
    def program(x):
        y = x * 1
        y[key] = value
        return y

    return program


def assigned_at(value):
    def program(x, index):
        y = x * 1
        y[index] = value
        return y

    return program


CONSTANT = {
    "a number": (assigned(ROWS, 7.0), X),
    "a row each": (assigned(torch.tensor([1, 1, 2, 1]), torch.arange(4.0)), V),
    "two indices": (assigned((torch.tensor([0, 0, 1]), torch.tensor([1, 1, 2])), torch.arange(3.0)), X),
    "scatter": (lambda x: x.scatter(0, TABLE, x[1:] * 10), X),
    "index_copy": (lambda x: x.index_copy(0, ROWS, x * 10), X),
    "as_strided_scatter": (lambda x: torch.as_strided_scatter(x, V[:4].reshape(2, 2) + 20, (2, 2), (1, 1)), X),
    "max_unpool2d": (
        lambda x: F.max_unpool2d(*F.max_pool2d(x, 3, 1, return_indices=True), 3, 1),
        torch.randn(1, 2, 5, 5),
    ),
}

GIVEN = {
    "a number": (assigned_at(7.0), V, ROWS, OTHERS),
    "rows": (assigned_at(torch.arange(12.0).reshape(3, 4) + 7), X, ROWS, OTHERS),
    "negative": (assigned_at(torch.arange(3.0) + 7), V, torch.tensor([-1, 5, 0]), torch.tensor([1, -5, -5])),
    "scatter": (lambda x, i: x.scatter(0, i, x[1:] * 10), X, TABLE, torch.tensor([[2, 0, 1, 1], [2, 1, 1, 1]])),
    "scatter of a number": (lambda x, i: x.scatter(0, i, 5.0), X, TABLE, torch.tensor([[2, 0, 1, 1], [2, 1, 1, 1]])),
    "index_put": (lambda x, i: torch.index_put(x, (i,), torch.arange(3.0)[:, None]), X, ROWS, OTHERS),
    "index_copy": (lambda x, i: x.index_copy(1, i, x[:, :3] * 10), X, ROWS, OTHERS),
    "put_": (lambda x, i: (x * 1).put_(i, torch.arange(3.0) + 7), X, ROWS, OTHERS),
    "put_ that adds": (lambda x, i: (x * 1).put_(i, torch.arange(3.0) + 7, accumulate=True), X, ROWS, OTHERS),
    "integers": (lambda x, i: x.index_put((i,), torch.tensor([7, 8, 9])), torch.arange(5), ROWS, OTHERS),
    "nothing": (lambda x, i: x.index_put((i,), torch.tensor(7.0)), V, torch.tensor([2]), torch.tensor([5])),
}


@pytest.mark.parametrize(("program", "x"), CONSTANT.values(), ids=CONSTANT.keys())
def test_places_that_are_known(program, x):
    assert_same(program, x)


@pytest.mark.parametrize(("program", "x", "index", "other"), GIVEN.values(), ids=GIVEN.keys())
def test_places_that_are_an_input(program, x, index, other):
    assert_same(program, x, index, others=(x, other))


def windows_filled(y):
    y.unfold(0, 2, 1)[:] = 3.0


def windows_copied(y):
    y.unfold(0, 2, 1).copy_(torch.arange(10.0).reshape(5, 2))


def some_windows(y):
    y.unfold(0, 3, 1)[torch.tensor([0, 2])] = 4.0


def a_mask_through_expand(y):
    y.expand(3, 6)[torch.arange(18).reshape(3, 6) % 5 == 1] = 7.0


def an_index_through_expand(y):
    y[:, None].expand(6, 4)[torch.tensor([0, 0, 3]), torch.tensor([1, 2, 0])] = torch.tensor([1.0, 2.0, 9.0])


@pytest.mark.parametrize(
    "write", [windows_filled, windows_copied, some_windows, a_mask_through_expand, an_index_through_expand]
)
def test_views_whose_elements_share_places(write):
    def program(x):
        y = x * 1
        write(y)
        return y

    assert_same(program, V, others=(V + 1,))


def test_a_mask_that_is_an_input_through_expand():
    def program(x, mask):
        y = x * 1
        y.expand(3, 6)[mask] = 7.0
        return y

    masks = torch.rand(2, 3, 6) > 0.7
    assert_same(program, V, masks[0], others=(V, masks[1]))


def test_places_that_differ_cost_one_operation():
    data = assert_same(lambda x: x.index_put((torch.tensor([2, 0]),), torch.tensor([5.0, 6.0])), V)
    assert tflite_operations(data) == {"CONCATENATION": 1, "GATHER": 1}


def test_what_is_replaced_may_be_infinite():
    infinite = torch.tensor([float("inf"), 1.0, float("nan"), -float("inf")])
    assert_same(assigned_at(7.0), infinite, torch.tensor([0, 2, 3]), others=(infinite, torch.tensor([3, 3, 0])))
    assert_same(assigned(torch.tensor([2, 0]), 7.0), infinite)


def test_a_tensor_too_large_for_a_list_of_places():
    def program(x):
        y = x * 1
        y[torch.tensor([5, 70000, 5])] = x[:3] + 1
        return y

    assert len(assert_same(program, torch.rand(80000))) < 2 * 80000
