"""What a program decides by a dynamic size: followed, or told with the line and where the model is right."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F

import nobuco
from nobuco.errors import InputError, NobucoWarning
from nobuco.layers.conditions import SizeCondition
from nobuco.trace.sizes.alike import same
from tests.parity import convert


@dataclass(frozen=True)
class Case:
    """A program with an example, the axes that are dynamic, and sizes of the same input: where it is right, and not."""

    program: Any
    example: tuple[int, ...]
    dynamic: set[int]
    region: str
    inside: tuple[tuple[int, ...], ...] = ()
    outside: tuple[tuple[int, ...], ...] = ()


def padded(x):
    if x.shape[2] % 4:
        x = F.pad(x, (0, 0, 0, 4 - x.shape[2] % 4))
    return F.avg_pool2d(x, 4)


def padded_both_ways(x):
    if x.shape[2] % 4 != 0:
        x = F.pad(x, (0, 0, 0, 4 - x.shape[2] % 4))
    if x.shape[3] % 4 != 0:
        x = F.pad(x, (0, 4 - x.shape[3] % 4))
    return merged(F.pad(F.avg_pool2d(x, 4), (1, 1)))


def merged(x):
    """An odd number of rows shows only in runs where nothing was padded before."""
    if x.shape[2] % 2 == 1 or x.shape[3] % 2 == 1:
        x = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))
    return torch.cat([x[:, :, 0::2], x[:, :, 1::2]], 1)


class Stage(torch.nn.Module):
    """It returns a size that it was given, which was made outside of it."""

    def forward(self, x, rows):
        return x + 1, rows


def returned_by_a_module(x):
    x = F.avg_pool2d(x, 4)
    x, rows = Stage()(x, x.shape[2])
    if rows % 2:
        x = torch.cat([x, x[:, :, :1]], 2)
    return x[:, :, 0::2] + x[:, :, 1::2]


def pairs(x):
    scores = x.flatten(0, 1) @ x.flatten(0, 1).transpose(1, 2)
    return scores.view(-1, x.shape[1], scores.size(-2), scores.size(-1)).softmax(-1)


def patches(x):
    b, c, h, w = x.shape
    rows, columns = int(-(-h // 2)), int(-(-w // 2))
    x = F.interpolate(x, (rows * 2, columns * 2), mode="bilinear")
    return x.reshape(b, c, rows, 2, columns, 2).transpose(3, 4).reshape(b, c, rows * columns, 4)


def channels_behind_the_rest(x):
    b, c, h, w = x.shape
    x = torch.cat([x.flatten(2), x.flatten(2)], 1).reshape(b, -1, h, w)
    return F.conv2d(x, torch.ones(2 * c, 1, 3, 3), groups=2 * c)


def in_turn(x):
    for i in range(x.shape[1]):
        x = x + x[:, i : i + 1] * 0.5**i
    return x


def doubled(x):
    if x.shape[2] % 4:
        x = x * 2
    return F.avg_pool2d(x, 4)


def repeated(x):
    for i in range(x.shape[0] // 4):
        x = x * 1.5**i
    return x + 1


def tabled(x):
    return x * [0.1, 0.2, 0.3][x.shape[0] % 3]


def named(x):
    return F.interpolate(x, scale_factor=2, mode=["nearest", "bilinear"][x.shape[2] % 2])


def stacked(x):
    return torch.stack([chunk.mean() for chunk in x.split(4)])


def squeezed(x):
    return (x * 2).squeeze()


def written_behind(x):
    y = x * 1
    y[:, x.shape[0] :][...] = 5.0
    return y


def chosen_and_repeated(x):
    total = x[x > 0].sum()
    for i in range(x.shape[0]):
        x = x + i**2
    return x + total


def far(x):
    return x + 1 if x.shape[0] > 1000 else x


CASES = {
    "a side of its own": Case(doubled, (1, 3, 8, 8), {2}, "x.shape[2] % 4 == 0", ((1, 3, 16, 8),), ((1, 3, 7, 8),)),
    "behind another decision": Case(
        returned_by_a_module, (1, 1, 64, 4), {2}, "x.shape[2] // 4 % 2 == 0", ((1, 1, 16, 4),), ((1, 1, 36, 4),)
    ),
    "a loop beside the batch": Case(in_turn, (2, 5, 3), {0, 1}, "x.shape[1] == 5", ((7, 5, 3),), ((1, 4, 3),)),
    "a loop": Case(repeated, (5,), {0}, "x.shape[0] // 4 == 1", ((7,),), ((8,), (3,))),
    "a list of numbers": Case(tabled, (5,), {0}, "x.shape[0] % 3 == 2", ((8,),), ((4,),)),
    "a list of names": Case(named, (1, 1, 4, 4), {2}, "x.shape[2] % 2 == 0", ((1, 1, 6, 4),), ((1, 1, 5, 4),)),
    "chunks": Case(stacked, (8, 3), {0}, "-(-x.shape[0] // 4) == 2", ((7, 3), (5, 3)), ((9, 3), (4, 3))),
    "squeeze": Case(squeezed, (3, 2), {0}, "x.shape[0] != 1", ((7, 2),), ((1, 2),)),
    "squeeze of one element": Case(squeezed, (1, 4, 4, 4), {0, 2}, "x.shape[0] == 1", ((1, 4, 7, 4),), ((2, 4, 4, 4),)),
    "a write to nothing": Case(written_behind, (6, 6), {0}, "x.shape[0] >= 6", ((8, 6),), ((4, 6),)),
    "a mask and a loop": Case(chosen_and_repeated, (3, 2), {0}, "x.shape[0] == 3", (), ((5, 2),)),
    "a far bound": Case(far, (5,), {0}, "x.shape[0] <= 1000", ((1000,),), ((1001,),)),
}  # fmt: skip


def conversion(program, example, dynamic, **options):
    x = torch.rand(example)
    shape = tuple(None if axis in dynamic else size for axis, size in enumerate(example))
    return convert(program, x, input_shapes={x: shape}, return_report=True, **options)


def is_right(program, model, shape):
    x = torch.rand(shape)
    wanted = program(x).numpy()
    try:
        got = model(x.numpy()).numpy()
    except Exception:
        return False
    return got.shape == wanted.shape and np.allclose(got, wanted, 1e-4, 1e-5)


@pytest.mark.parametrize("name", CASES)
def test_region_is_told(name):
    case = CASES[name]
    with pytest.warns(NobucoWarning) as caught:
        model, report = conversion(case.program, case.example, case.dynamic)
    told = [str(w.message) for w in caught if issubclass(w.category, NobucoWarning)]
    assert case.region in [condition.region for condition in report.conditions]
    assert all(f'File "{__file__}", line ' in message for message in told), told
    assert report.ok  # it is right in its region
    assert all(is_right(case.program, model, shape) for shape in case.inside)
    assert not any(is_right(case.program, model, shape) for shape in case.outside)


def cropped(x):
    height, width = x.shape[2:]
    y = F.pad(x, (0, (4 - width % 4) % 4, 0, (4 - height % 4) % 4)) * 2
    return y[:, :, :height, :width].contiguous()


def windows_reversed(x):
    _, c, h, w = x.shape
    windows = x.permute(0, 2, 3, 1).reshape(-1, 4, 4, c)
    return windows.view(int(windows.shape[0] / (h * w / 4 / 4)), h, w, -1)


def length_and_cut(x):
    count, cut = len(x), x[:50].shape[0]
    return torch.arange(count) + cut


def same_on_both_sides(x):
    name = "long" if x.shape[0] > 3 else "short"
    return {"long": torch.add, "short": torch.add}[name](x, 1)


RIGHT = {
    "padding to a multiple": (padded, (1, 3, 8, 8), {2}, [(1, 3, 16, 8), (1, 3, 7, 8), (1, 3, 2, 8)]),
    "padding on the example": (padded, (1, 3, 7, 8), {2}, [(1, 3, 16, 8), (1, 3, 9, 8), (1, 3, 4, 8)]),
    "padding one after the other": (
        padded_both_ways,
        (1, 3, 64, 64),
        {0, 2, 3},
        [(3, 3, 68, 92), (1, 3, 32, 36), (2, 3, 31, 33), (1, 3, 5, 7)],
    ),
    "padding by one of two": (padded_both_ways, (1, 3, 65, 63), {0, 2, 3}, [(3, 3, 68, 92), (1, 3, 32, 36)]),
    "a view of equal axes": (pairs, (2, 4, 8, 5), {0, 2}, [(3, 4, 7, 5), (1, 4, 22, 5)]),
    "channels behind what remains": (channels_behind_the_rest, (1, 3, 8, 8), {0, 2, 3}, [(2, 3, 7, 9), (1, 3, 22, 19)]),
    "a product of plain numbers": (patches, (1, 3, 8, 8), {0, 2, 3}, [(2, 3, 7, 9), (3, 3, 22, 19)]),
    "crop to what came": (cropped, (1, 1, 16, 24), {2, 3}, [(1, 1, 13, 21), (1, 1, 4, 4)]),
    "int of a ratio": (windows_reversed, (1, 16, 12, 16), {2, 3}, [(1, 16, 8, 16), (1, 16, 4, 4)]),
    "two sizes that are equal": (length_and_cut, (5,), {0}, [(100,), (3,)]),
    "nothing at the example": (lambda x: x[: x.shape[0] // 8], (2, 3), {0}, [(16, 3), (1, 3)]),
    "a far roll": (lambda x: x.roll(x.shape[0] // 100), (10,), {0}, [(300,), (99,)]),
    "a tensor of a logarithm": (lambda x: x * torch.tensor(math.log(x.shape[0])), (5,), {0}, [(9,), (2,)]),
    "no elements": (lambda x: x[:, :0].flatten(1), (2, 3, 4), {0}, [(3, 3, 4)]),
    "a window that is all of one axis": (
        lambda x: F.avg_pool2d(x, (x.shape[2], 1)),
        (1, 2, 4, 1),
        {2, 3},
        [(1, 2, 4, 5)],
    ),
    "a square window": (lambda x: F.avg_pool2d(x, x.shape[2]), (1, 2, 4, 4), {2, 3}, [(1, 2, 4, 8), (1, 2, 3, 7)]),
    "a window with padding": (
        lambda x: F.avg_pool2d(x, x.shape[2] // 2, 2, x.shape[2] // 4, count_include_pad=False),
        (1, 2, 8, 8),
        {2, 3},
        [(1, 2, 8, 12), (1, 2, 13, 17)],
    ),
    "the largest in a window": (
        lambda x: F.max_pool2d(x, x.shape[2] // 2, stride=x.shape[3] // 3, padding=1),
        (1, 2, 8, 9),
        {2, 3},
        [(1, 2, 8, 12), (1, 2, 13, 17)],
    ),
    "a window that is all of it": (lambda x: F.max_pool2d(x, x.shape[2:]), (1, 2, 4, 4), {2, 3}, [(1, 2, 4, 8)]),
    "a decision without an effect": (same_on_both_sides, (5,), {0}, [(2,), (9,)]),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_at_every_size_and_not_warned_of(name):
    program, example, dynamic, others = RIGHT[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error", NobucoWarning)
        model, report = conversion(program, example, dynamic)
    assert report.ok and not report.conditions
    assert all(is_right(program, model, shape) for shape in others)


def test_a_call_at_other_sizes_is_an_error(tmp_path):
    with pytest.warns(NobucoWarning, match="x.shape"):
        model, _ = conversion(doubled, (1, 3, 8, 8), {2})
    model.save(tmp_path / "doubled.keras")
    for one in (model, keras.models.load_model(tmp_path / "doubled.keras")):
        assert is_right(doubled, one, (1, 3, 16, 8))
        for call in (one, one.predict):
            with pytest.raises(InputError, match=r"right where x\.shape\[2\] % 4 == 0"):
                call(np.zeros((1, 3, 7, 8), np.float32))
        one.check_conditions = False
        assert one(np.zeros((1, 3, 7, 8), np.float32)).shape == (1, 3, 1, 2)


@pytest.mark.parametrize(
    "region",
    [
        "__import__('os').system('true')",
        "x.__class__",
        "(lambda: 1)()",
        "x.shape[9] == 1",
        "(" * 400,
    ],
)
def test_a_region_is_no_program(region):
    assert SizeCondition(region, "").holds({"x": (1, 2)}) is None


def squeezed_and_written(x):
    y = x * 1
    y.squeeze(1).mul_(2)
    return y


def test_a_write_through_a_dropped_dimension():
    model, report = conversion(squeezed_and_written, (4, 1, 8), {0, 2})
    assert report.ok and all(is_right(squeezed_and_written, model, shape) for shape in ((3, 1, 5), (1, 1, 1)))


def decided_beside_a_window(x):
    x = x + 1 if x.shape[0] > 3 else x
    return F.avg_pool2d(x, 4)


def test_an_axis_left_out_for_its_length_is_left_out_in_any_order():
    x = torch.rand(1, 4, 4, 4)
    with pytest.warns(NobucoWarning, match=r"x.shape\[0\] == 1"):
        model = nobuco.pytorch_to_keras(squeezed, [x], input_shapes={x: (None, 4, None, 4)}, verbose=False)
    longer = torch.rand(1, 4, 7, 4)
    given = longer.permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(model(given).numpy(), squeezed(longer).permute(0, 2, 1).numpy(), rtol=1e-5)


def test_the_same_axis_of_two_inputs_is_told_apart():
    """Both are as long on the example; where PyTorch takes unequal ones, the model does, too."""

    def program(x, y):
        return y.reshape(x.shape[2], -1)

    x, y = torch.rand(6, 11, 6), torch.rand(6, 11, 6)
    model = convert(program, x, y, input_shapes={x: (None,) * 3, y: (None,) * 3})
    for shapes in (((3, 5, 1), (1, 5, 3)), ((4, 5, 7), (7, 5, 4))):
        given = [torch.rand(shape) for shape in shapes]
        np.testing.assert_array_equal(model([t.numpy() for t in given]).numpy(), program(*given).numpy())


def test_a_run_that_fails_of_something_else_settles_no_decision():
    """At half the size, and at one, there is no room for the window: what the batch decides is still told."""
    with pytest.warns(NobucoWarning):
        _, report = conversion(decided_beside_a_window, (4, 1, 4, 4), {0, 2})
    assert "x.shape[0] > 3" in [condition.region for condition in report.conditions]


def test_predict_makes_batches_of_its_own():
    with pytest.warns(NobucoWarning, match="x.shape"):
        model, _ = conversion(lambda x: x + 1 if x.shape[0] < 50 else x, (4, 2), {0})
    assert model.predict(np.zeros((64, 2), np.float32), batch_size=8, verbose=0).shape == (64, 2)


def test_pytorch_is_not_run_on_sizes_that_it_does_not_check():
    """`lu_unpack` writes outside of its memory where there are more pivots than rows: that ended the process."""
    lu, pivots = torch.linalg.lu_factor(torch.randn(3, 4, 4))
    model = convert(
        lambda lu, pivots: torch.lu_unpack(lu, pivots), lu, pivots, input_shapes={lu: (None,) * 3, pivots: (None,) * 2}
    )
    given = torch.linalg.lu_factor(torch.randn(2, 6, 6))
    for ours, theirs in zip(model([t.numpy() for t in given]), torch.lu_unpack(*given), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)


UNCHECKED = {
    "segment_reduce": (
        lambda data, lengths: torch.segment_reduce(data, "mean", lengths=lengths, axis=1),
        [torch.randn(2, 6), torch.full((2, 3), 2)], [(2, 6), (None, 3)],
    ),
    "embedding_bag": (
        lambda indices, offsets: F.embedding_bag(indices, torch.ones(9, 3), offsets),
        [torch.tensor([1, 2, 3]), torch.tensor([0, 2])], [(3,), (None,)],
    ),
    "lstsq": (
        lambda a, b: torch.linalg.lstsq(a, b, driver="gelss").solution, [torch.randn(4, 3), torch.randn(4, 2)],
        [(4, 3), (4, None)],
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::nobuco.errors.NobucoWarning")
@pytest.mark.parametrize("name", UNCHECKED)
def test_pytorch_is_not_run_on_empty_or_unequal_parts(name):
    """Each of these reads or writes outside of its memory there, and would end this process."""
    program, args, shapes = UNCHECKED[name]
    model = convert(program, *args, input_shapes=shapes)
    np.testing.assert_allclose(model([t.numpy() for t in args]), program(*args), atol=1e-4)


def test_a_power_of_a_product_is_of_all_of_it():
    def program(x):
        side = int((x.shape[0] * x.shape[1]) ** 0.5)
        return x.flatten()[: side * side].view(side, side)

    x = torch.randn(8, 8)
    with pytest.warns(NobucoWarning, match=r"trunc\(\(x.shape\[0\] \* x.shape\[1\]\) \*\* 0.5\) == 8"):
        model = nobuco.pytorch_to_keras(program, [x], input_shapes={x: (None, None)}, verbose=False)
    with pytest.raises(InputError, match="right where"):  # 4 * 5 ** .5 is 8.9
        model(torch.randn(4, 5).numpy())


def cut_off(x):
    return x.clamp(-9, 9) * 2 if x.shape[1] > 5 else x * 2


def near_nothing_dropped(x):
    return F.hardshrink(x, 1e-3) if x.shape[1] <= 5 else x * 1


def by_a_size_and_a_value(x):
    return x * 2 if x.shape[1] > 6 and x.mean() > 9 else x - 1


def test_integers_far_from_the_examples_are_tried():
    x = torch.randint(0, 9, (2, 4))
    with pytest.warns(nobuco.NobucoWarning, match="right where x.shape"):
        convert(lambda x: x.clamp(max=90) if x.shape[1] > 5 else x * 1, x, input_shapes={x: (None, None)})


@pytest.mark.parametrize("program", [cut_off, near_nothing_dropped, by_a_size_and_a_value])
@pytest.mark.parametrize("length", [4, 8])
def test_what_makes_a_difference_to_values_far_from_the_examples_is_told(program, length):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", nobuco.NobucoWarning)
        conversion(program, (2, length, 4), {0, 1})
    assert len(caught) == 1


class NeverCompared:
    """What cannot be asked whether it is another, as PyTorch's packed weights of quantised layers cannot."""

    def __eq__(self, other):
        raise NotImplementedError

    def __ne__(self, other):
        raise NotImplementedError


def test_constants_that_cannot_be_compared_count_as_equal():
    assert same(NeverCompared(), NeverCompared()) and same(float("nan"), float("nan")) and not same(1, 2)
