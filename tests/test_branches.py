"""A Python `if` or `while` on a tensor, explored: both ways at run time, against PyTorch itself."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nobuco
from nobuco import NobucoWarning
from tests.control import ControlIf, Enclosing, check_ways, converted


@pytest.fixture
def x() -> torch.Tensor:
    return torch.linspace(-1.0, 2.0, 12).reshape(4, 3)


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(1, 3, 6, 5, generator=torch.Generator().manual_seed(0)) + 0.1


def test_explored_if_in_a_module(image, tmp_path):
    check_ways(Enclosing(ControlIf()), (image,), (-image,), (image * 9,), folder=tmp_path, explore_branches=True)


def test_without_exploring_the_branch_taken_stays(image):
    with pytest.warns(NobucoWarning, match="a branch stays the branch taken"):
        converted(ControlIf(), image)


def several(x: torch.Tensor) -> torch.Tensor:
    y = x + 1
    if x.sum() > 0:
        y = y * 2
        if x.max() > 2:
            y = y - 5
    else:
        y.neg_()
    if y.mean() > 1 or y.min() < -9:
        return y * 3
    return y / 2


def test_explored_decisions_of_a_function(x):
    check_ways(several, (x,), (-x,), (x * 3,), (x / 9,), (-9 * x,), (x - 3,), explore_branches=True)


def test_explored_any_item(x):
    check_ways(lambda x: x + 1 if (x > 1).any().item() else x - 1, (x,), (-x,), explore_branches=True)


def test_explored_while(x):
    def model(x: torch.Tensor) -> torch.Tensor:
        count = 0
        while x.abs().sum() < 60 and count < 3:
            x, count = x * 2, count + 1
        return x

    check_ways(model, (x,), (x * 3,), (x * 9,), (x / 9,), explore_branches=True)


def test_explored_write_to_an_argument(x):
    class Write(nn.Module):
        def forward(self, x: torch.Tensor) -> None:
            if x.sum() > 0:
                x[0] = 7.0

    def model(x: torch.Tensor) -> Any:
        y = x * 1.5
        row = y[0]
        write(y)
        return y + 1, row

    write = Write()
    check_ways(model, (x,), (-x,), explore_branches=True)
    check_ways(model, (-x,), (x,), explore_branches=True)


def test_explored_write_to_a_buffer(x):
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.zeros(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.sum() > 0:
                self.mean += x[0]
            else:
                self.mean *= 0.5
            return x + self.mean

    model = Gated()
    check_ways(model, (x,), (-x,), (-x,), (x * 2,), explore_branches=True, tflite=False)
    assert torch.equal(model.mean, torch.zeros(3))


class Reassigning(nn.Module):
    """One side puts another tensor in the buffer's place; a view outlives the branch and the write behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> Any:
        y = x * 2
        row = y[1]
        if y.mean() > 0:
            self.total.add_(y.mean())
            self.total = self.total * 0.5
        else:
            row = y[:, 1]
        y[1] *= 3
        return y, row[:3], x + self.total


def test_explored_reassignment_and_aliases(x):
    check_ways(Reassigning(), (x,), (-x,), (x * 2,), explore_branches=True, tflite=False)


def test_exploring_leaves_attributes_and_random_numbers_alone(x):
    class Counting(nn.Module):
        calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            seen.append(self.calls)
            return x + 1 if x.sum() > 0 else x - 1

    seen: list[int] = []
    model = Counting()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NobucoWarning)
        converted(model, x, explore_branches=True)
    assert seen[:2] == [1, 1]  # the other side began where the first one did; calls in a row come later, and count
    assert model.calls == 0
    assert torch.equal(torch.get_rng_state(), before)


def test_a_side_that_raises_is_reported(x):
    def model(x: torch.Tensor) -> torch.Tensor:
        if x.sum() < -1000:
            raise ValueError("too small")
        return x * 2

    with pytest.warns(NobucoWarning, match=r"test_branches\.py.*it raised ValueError: too small"):
        check_ways(model, (x,), (-x,), explore_branches=True)


def test_sides_of_different_shapes_are_reported(x):
    with pytest.warns(NobucoWarning, match="return different things"):
        converted(lambda x: x[:2] if x.sum() > 0 else x, x, explore_branches=True)


def test_the_number_of_paths_is_limited(x):
    with pytest.warns(NobucoWarning, match="no more paths are traced"):
        converted(several, x, explore_branches=1)


def test_a_side_that_never_ends_is_reported(x):
    def model(x: torch.Tensor) -> torch.Tensor:
        if x.sum() < -1000:
            while x.abs().sum() > -1:
                x = x + 1
        return x * 2

    with pytest.warns(NobucoWarning, match="as if it would never end"):
        check_ways(model, (x,), (-x,), explore_branches=True)


def test_a_loop_of_many_rounds_is_not_explored_for_ever():
    def halved(x: torch.Tensor) -> torch.Tensor:
        while x.sum() > 9:
            x = x / 2 - 1
        return x

    x = torch.tensor([[3.0, 1.0, 0.0], [2.0, 8.0, 4.0]])
    with pytest.warns(NobucoWarning, match=r"test_branches\.py.*decided more than 8 times on .*torch.while_loop"):
        check_ways(halved, (x,), (-x,), explore_branches=True)


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0], [1.0, 2.0, 4.0]])
def test_whether_a_tensor_contains_a_number_is_a_question(values):
    def program(x):
        return x * 2 if 3 in x else x

    given = torch.tensor(values)
    with pytest.warns(nobuco.NobucoWarning, match="takes a value"):
        nobuco.pytorch_to_keras(program, [given], verbose=False)
    model = nobuco.pytorch_to_keras(program, [given], explore_branches=True, verbose=False)
    for x in (torch.tensor([3.0, 1.0, 0.0]), torch.tensor([4.0, 1.0, 0.0])):
        np.testing.assert_array_equal(model(x.numpy()), program(x))


def test_a_copy_by_python_is_a_copy(check):
    def program(x):
        y = copy.deepcopy(x)
        y += 1
        return x, y

    check(program, torch.rand(3))
