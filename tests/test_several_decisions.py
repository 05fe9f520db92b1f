"""What more than one decision by a size makes, and what is decided where no decision shows: told with its region."""

from __future__ import annotations

import bisect
import math

import pytest
import torch
import torch.nn.functional as F

import nobuco
from nobuco.errors import InputError, NobucoWarning
from nobuco.layers.conditions import SizeCondition
from tests.test_conditions import conversion, is_right


def within_two_bounds(x):
    return x * (1 if 3 < x.shape[0] < 60 else 2)


def of_no_such_length(x):
    return x * (2 if any(x.shape[0] % k == 0 for k in (5, 7)) else 1)


def in_a_table(x):
    return x * bisect.bisect_left([1, 5, 50, 500], x.shape[0])


def a_tuple_of_sizes(x):
    return x * (1 if (x.shape[0], 1) > (9, 0) else 2)


def the_larger_side(x):
    scale = min(1.0, 16 / max(x.shape[0], x.shape[1]))
    return x * scale if scale < 1 else x


def the_smaller_side(x):
    return x if min(x.shape) >= 4 else x * 2


def a_caught_error(x):
    try:
        return x.view(-1, 4, 4).sum(1)
    except RuntimeError:
        return x.repeat(2, 1).view(-1, 2, 4).sum(1)


def a_tensor_of_a_size(x):
    return x * 2 if torch.tensor(x.shape[0]) > 10 else x


SEVERAL = {
    "two bounds": (within_two_bounds, (8, 3), {0}, {"x.shape[0] > 3", "x.shape[0] < 60"}, ((59, 3),), ((60, 3),)),
    "divisors": (of_no_such_length, (8, 3), {0}, {"x.shape[0] % 5 != 0", "x.shape[0] % 7 != 0"}, ((9, 3),), ((25, 3),)),
    "a table": (in_a_table, (8, 3), {0}, {"x.shape[0] > 5", "x.shape[0] <= 50"}, ((6, 3), (50, 3)), ((51, 3), (5, 3))),
    "a tuple": (a_tuple_of_sizes, (8, 3), {0}, {"x.shape[0] <= 9"}, ((7, 3),), ((10, 3), (11, 3))),
    "the larger of two": (
        the_larger_side, (8, 12), {0, 1}, {"16 / max(x.shape[1], x.shape[0]) >= 1"}, ((9, 16), (16, 3)), ((20, 9),)
    ),
    "the smaller of two": (
        the_smaller_side, (8, 12), {0, 1}, {"min(x.shape[1], x.shape[0]) >= 4"}, ((12, 4), (4, 9)), ((12, 3), (3, 12))
    ),
    "an error that is caught": (a_caught_error, (8, 4), {0}, {"x.shape[0] % 4 == 0"}, ((12, 4),), ((6, 4), (10, 4))),
    "one that the example has": (a_caught_error, (6, 4), {0}, {"x.shape[0] % 4 != 0"}, ((10, 4),), ((8, 4), (16, 4))),
    "a tensor of a size": (a_tensor_of_a_size, (8, 3), {0}, {"x.shape[0] <= 10"}, ((10, 3),), ((11, 3),)),
}  # fmt: skip


@pytest.mark.parametrize("name", SEVERAL)
def test_each_region_is_told(name):
    program, example, dynamic, regions, inside, outside = SEVERAL[name]
    with pytest.warns(NobucoWarning):
        model, report = conversion(program, example, dynamic)
    assert regions <= {condition.region for condition in report.conditions}
    assert all(is_right(program, model, shape) for shape in inside)
    assert not any(is_right(program, model, shape) for shape in outside)


def cut_off_by_a_share(x):
    return x[2 : -int(0.125 * x.shape[0]) - 1]


def filled_from_data(x):
    return x * x.new_tensor([1.0, x.shape[0], 3.0])


def squeezed_twice(x):
    x = x * 1
    x.squeeze_(0)
    return x.squeeze()


@pytest.mark.parametrize("program", [cut_off_by_a_share, filled_from_data])
def test_sizes_that_are_followed(program):
    model, report = conversion(program, (16, 3), {0})
    assert not report.warnings
    assert all(is_right(program, model, (n, 3)) for n in (8, 15, 17, 24, 100))


def test_a_number_of_dimensions_that_depends_on_a_size():
    with pytest.warns(NobucoWarning):
        model, report = conversion(squeezed_twice, (1, 2), {1})
    assert "x.shape[1] != 1" in {condition.region for condition in report.conditions}
    assert is_right(squeezed_twice, model, (1, 5))


def test_what_a_plain_number_decides_is_told():
    """No run at multiples, halves and neighbours of eight shows it, and `int` gives Python a number of its own."""
    with pytest.warns(NobucoWarning, match="False here and True there"):
        conversion(lambda x: x * (int(x.shape[0]) % 17 == 0), (8, 3), {0})


def test_a_range_of_a_size_is_told():
    with pytest.warns(NobucoWarning, match=r"gives torch\.tensor range\(0, 8\) here"):
        conversion(lambda x: x + torch.tensor(range(x.shape[0]))[:, None], (8, 3), {0})


def test_a_region_without_meaning_does_not_hold():
    """`chunk(n // 4)` of less than four: PyTorch divides by nothing there, too, or the program goes another way."""

    def chunked(x):
        return torch.cat([F.relu(part) for part in x.chunk(max(1, x.shape[0] // 4))])

    assert SizeCondition("8 // (x.shape[0] // 4) == 4", "").holds({"x": (3,)}) is False
    with pytest.warns(NobucoWarning):
        model, _ = conversion(chunked, (8, 3), {0})
    with pytest.raises(InputError):
        model(torch.rand(3, 3).numpy())


def test_calls_of_an_opened_operation_are_told_where_the_nearest_sizes_make_the_same():
    """Its numbers come of a float that is made of the size, which no call shows."""

    @torch.library.custom_op("nobuco_tests::shrunk", mutates_args=())
    def shrunk(x: torch.Tensor) -> torch.Tensor:
        return x / math.gamma(1 + x.shape[0] / 8)

    with pytest.warns(NobucoWarning, match="shrunk.default has no converter"):
        _, report = conversion(lambda x: shrunk(x), (8, 3), {0})
    assert "x.shape[0] == 8" in {condition.region for condition in report.conditions}


def test_how_many_elements_are_chosen_is_told_though_nothing_gives_nothing():
    """A run of no elements goes another way, too; that the model is right there does not refute the rest."""

    def program(x):
        return x * 2 if (x * 4).long().unique().numel() == 3 else x

    with pytest.warns(NobucoWarning, match="of what is chosen"):
        nobuco.pytorch_to_keras(
            program, [x := torch.tensor([[0.1, 0.3, 0.6]])], input_shapes={x: (None, None)}, verbose=False
        )
