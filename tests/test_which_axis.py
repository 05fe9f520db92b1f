"""Which of several dynamic axes decides: a model is right, or refuses, also where one axis alone is another."""

from __future__ import annotations

import functools
import math
import warnings
from contextlib import suppress

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco import InputError, NobucoWarning
from tests.parity import convert
from tests.sizes import check_sizes

SIZES = [
    (2, 6),
    (2, 5),
    (2, 7),
    (2, 12),
    (2, 3),
    (1, 6),
    (3, 6),
    (4, 6),
    (9, 6),
    (9, 3),
    (3, 7),
    (4, 12),
    (1, 1),
    (7, 30),
]


def conversion(program, *examples, dynamic=None):
    """The model and the report, with every axis dynamic, or those that are."""
    examples = [x if isinstance(x, torch.Tensor) else torch.randn(x) for x in examples]
    shapes = [tuple(None if dynamic is None or i in dynamic else n for i, n in enumerate(x.shape)) for x in examples]
    return convert(program, *examples, input_shapes=dict(zip(examples, shapes)), return_report=True)


def assert_same(program, model, *shapes):
    given = [torch.randn(shape) for shape in shapes]
    got = model(given[0].numpy() if len(given) == 1 else [x.numpy() for x in given]).numpy()
    np.testing.assert_allclose(got, program(*given).detach().numpy(), 1e-4, 1e-4)


class ParityOfWeights(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = nn.ParameterList([torch.full((6,), 2.0), torch.full((6,), 3.0)])

    def forward(self, x):
        return x * self.weights[x.shape[0] % 2][0]


class TwoBuffers(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("near", torch.ones(()))
        self.register_buffer("far", torch.zeros(()))

    def forward(self, x):
        return x + (self.near if len(x) < 7 else self.far)


DECIDED = {
    "a shape": lambda x: x * 2 if x.shape == (2, 6) else x,
    "a list of sizes": lambda x: x * 2 if list(x.shape) == [2, 6] else x,
    "any of the sizes": lambda x: x if any(n % 2 for n in x.shape) else -x,
    "the second of two": lambda x: x if x.shape[0] == 2 and x.shape[1] > 5 else x + 1,
    "a tensor of two": lambda x: (x, x * 2)[x.shape[1] % 2 == 0],
    "a tensor that a call is given": lambda x: (x * 1, x * 2)[x.shape[1] % 2].sum(1),
    "one of two weights": ParityOfWeights(),
    "one of two buffers": TwoBuffers(),
    "pieces": lambda x: torch.stack([c.mean() for c in x.chunk(4, 1)]),
    "two lines alike": lambda x: x * (2 if x.shape[0] > 1 else 1) * (2 if x.shape[1] > 4 else 1),
    "nothing": lambda x: x.new_zeros(1, 4) if len(x) == 0 else x * 2,
}


@pytest.mark.parametrize("name", DECIDED)
def test_a_model_is_right_or_refuses(name):
    program = DECIDED[name]
    with warnings.catch_warnings(record=True):
        model, report = conversion(program, (2, 6))
    refused = []
    for shape in [*SIZES, (0, 6)]:
        holds = [region_holds(condition.region, shape) for condition in report.conditions]
        if all(holds):
            assert_same(program, model, shape)
        else:
            refused.append(shape)
            if all(condition.is_exact for condition in report.conditions):
                with pytest.raises(InputError):
                    model(torch.randn(shape).numpy())
    assert (2, 6) not in refused and refused


def region_holds(region, shape):
    return bool(eval(region, {"x": torch.empty(shape)}))


def test_what_numpy_made_of_one_axis_is_told_with_that_axis():
    with pytest.warns(NobucoWarning, match=r"right where x.shape\[1\] == 6"):
        conversion(lambda x: x + torch.from_numpy(np.arange(x.shape[1])), (2, 6))


FOLLOWED = {
    "bit_length": lambda x: x * x.shape[1].bit_length(),
    "or": lambda x: x * (x.shape[1] | 1),
    "exclusive or": lambda x: x * (x.shape[1] ^ 5),
    "inverted": lambda x: x * ~x.shape[1],
    "shifts": lambda x: x * (1 << x.shape[0]) + (x.shape[1] << 1) + (64 >> x.shape[0]),
    "round to digits": lambda x: x * round(x.shape[1] / 7, 2),
    "next power of two": lambda x: F.pad(x, (0, 2 ** (x.shape[1] - 1).bit_length() - x.shape[1])),
    "next power of two by logarithm": lambda x: F.pad(x, (0, 2 ** math.ceil(math.log2(x.shape[1])) - x.shape[1])),
    "next multiple by NumPy": lambda x: F.pad(x, (0, int(np.ceil(x.shape[1] / 8) * 8) - x.shape[1])),
    "product by NumPy": lambda x: x.reshape(int(np.prod(x.shape))) * float(np.prod(x.shape)),
    "the larger by NumPy": lambda x: x * float(np.maximum(x.shape[0], x.shape[1])),
    "a stride": lambda x: x * x.stride(0),
    "strides": lambda x: x.as_strided((min(x.shape),), (x.stride(0) + 1,)),
    "root of a product": lambda x: x * math.isqrt(x.shape[1] * 2),
    "sorted": lambda x: x.reshape(*sorted(x.shape, reverse=True)),
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_a_number_is_followed(name):
    program = FOLLOWED[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error", NobucoWarning)
        model, _ = conversion(program, (2, 6))
    for shape in SIZES:
        assert_same(program, model, shape)


def square(x):
    side = int(x.shape[1] ** 0.5)
    assert side * side == x.shape[1]
    return x.reshape(x.shape[0], side, side).permute(0, 2, 1).reshape(x.shape[0], side * 2, -1)


def test_a_program_that_takes_squares_alone():
    """Hardly any other size can be run; and `4.0`, the root, is no `4`."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", NobucoWarning)
        model, _ = conversion(square, (1, 16))
    for shape in ((3, 4), (1, 36), (2, 144)):
        assert_same(square, model, shape)


def test_a_formula_that_fits_few_numbers_is_not_believed():
    program = lambda x: x + len(str(x.shape[0] // 2))  # noqa: E731
    with pytest.warns(NobucoWarning):
        _, report = conversion(program, (3, 2), dynamic={0})
    assert not any(region_holds(c.region, (30, 2)) for c in report.conditions if "shape" in c.region)


def centred(x, y):
    """As U-Net joins what it kept: padded, or cropped, to the size of the other."""
    down, right = y.shape[2] - x.shape[2], y.shape[3] - x.shape[3]
    return F.pad(x, [right // 2, right - right // 2, down // 2, down - down // 2])


@pytest.mark.parametrize("mode", ["constant", "replicate"])
def test_a_padding_may_turn_out_negative(mode):
    program = lambda x, y: F.pad(centred(x, y), [y.shape[3] - x.shape[3], 1, 0, 0], mode=mode)  # noqa: E731
    with warnings.catch_warnings():
        warnings.simplefilter("error", NobucoWarning)
        model, _ = conversion(program, (1, 2, 5, 6), (1, 2, 9, 8), dynamic={2, 3})
    for mine, other in (((5, 6), (9, 8)), ((11, 6), (9, 8)), ((5, 13), (9, 10)), ((12, 11), (9, 8)), ((4, 4), (9, 9))):
        assert_same(program, model, (1, 2, *mine), (1, 2, *other))


def fitted(x, y):
    if x.shape[1] < y.shape[1]:
        return F.pad(x, (0, y.shape[1] - x.shape[1]))
    return x[:, : y.shape[1]]


def test_a_decision_is_tried_beyond_where_both_sides_are_equal():
    with warnings.catch_warnings(record=True):
        model, _ = conversion(fitted, (2, 6), (2, 8), dynamic={1})
    with suppress(InputError):
        assert_same(fitted, model, (2, 13), (2, 8))


def test_a_size_is_an_output():
    model, report = conversion(lambda x: (x * 2, x.shape[0]), (3, 2), dynamic={0})
    assert report.ok
    _, size = model(torch.randn(5, 2).numpy())
    assert int(size) == 5


WRITTEN = {
    "a head": lambda y: y[: len(y) // 3].mul_(2),
    "behind the first": lambda y: y[1:].copy_(y[:-1].clone()),
    "a middle": lambda y: y.narrow(0, 1, len(y) - 2).zero_(),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_part_that_is_nothing_elsewhere_is_written(name):
    def program(x):
        y = x.clone()
        WRITTEN[name](y)
        return y

    with warnings.catch_warnings(record=True):
        model, _ = conversion(program, (6, 2), dynamic={0})
    for rows in (6, 2, 3, 9):
        with suppress(InputError):
            assert_same(program, model, (rows, 2))


@functools.cache
def mask_of(length):
    return torch.triu(torch.ones(length, length), 1).bool()


def test_a_table_that_is_kept_by_size_is_no_other_way():
    program = lambda x: x.masked_fill(mask_of(x.shape[1]).any(0), 0.0)  # noqa: E731
    with warnings.catch_warnings():
        warnings.simplefilter("error", NobucoWarning)
        model, _ = conversion(program, (2, 6))
    for shape in SIZES:
        assert_same(program, model, shape)


def test_a_program_that_asks_for_the_type_of_a_size_is_told():
    with pytest.warns(NobucoWarning, match="something else when it is called than when it is traced"):
        conversion(lambda x: x * (2 if type(x.shape[1]) is int else 3), (2, 6))


def test_a_call_that_is_opened_with_sizes_in_it_is_told_with_the_axes_behind_it():
    @torch.library.custom_op("nobuco_tests::cubed", mutates_args=())
    def cubed(n: int) -> torch.Tensor:
        return torch.arange(n) * n**3

    program = lambda x: x * cubed(x.shape[0])[:, None]  # noqa: E731
    with pytest.warns(NobucoWarning, match=r"cubed.default has no converter.* right where x.shape\[0\] == 4$"):
        model, report = conversion(program, (4, 3))
    assert report.ok
    assert_same(program, model, (4, 5))
    with pytest.raises(InputError):
        model(torch.randn(5, 3).numpy())


@pytest.mark.parametrize(("low", "high"), [(2, 5), (0, 4)])
def test_a_size_within_bounds_is_followed(low, high):
    program = lambda x: x * max(low, min(len(x), high))  # noqa: E731
    with warnings.catch_warnings():
        warnings.simplefilter("error", NobucoWarning)
        model, _ = conversion(program, (3, 2))
    for rows in (1, 2, 3, 4, 5, 6, 40):
        assert_same(program, model, (rows, 2))


def modulated(x, weight):
    """A kernel for each image, as groups of one image."""
    batch, channels, *size = x.shape
    y = F.conv2d(x.reshape(1, batch * channels, *size), weight.flatten(0, 1), padding=1, stride=2, groups=batch)
    return y.view(batch, weight.shape[1], *y.shape[2:])


def modulated_upwards(x, weight):
    batch = x.shape[0]
    y = F.conv_transpose2d(x.flatten(0, 1)[None], weight.transpose(1, 2).flatten(0, 1), stride=2, groups=batch)
    return y.view(batch, weight.shape[1], *y.shape[2:])


@pytest.mark.parametrize("program", [modulated, modulated_upwards])
def test_as_many_groups_as_the_batch_has_images(program):
    shapes = [((2, 4, 6, 7), (2, 5, 4, 3, 3)), ((3, 4, 9, 6), (3, 5, 4, 3, 3)), ((1, 4, 5, 5), (1, 5, 4, 3, 3))]
    examples = [tuple(torch.randn(shape) for shape in pair) for pair in shapes]
    check_sizes(program, *examples, free=[(0, 2, 3), (0,)])


def test_a_kernel_of_dynamic_size_is_refused_with_one_sentence():
    program = lambda x: F.conv1d(x, torch.ones(1, 3, x.shape[2] // 3))  # noqa: E731
    with pytest.raises(nobuco.ConverterError, match=r"conv1d.*: the size of .* kernel .* give the axis") as error:
        conversion(program, (1, 3, 6))
    assert "OpLayer" not in str(error.value)


def halves(x):
    """Both sizes are 2 at nearly all sizes, and 3 where there is one row or one column."""
    rows, columns = (math.ceil(n / 2) for n in x.shape[2:])
    top, left = (2 * rows - x.shape[2] + 1) // 2, (2 * columns - x.shape[3] + 1) // 2
    return F.max_pool2d(F.pad(x, (left, left, top, top)), (rows, columns), (rows, columns))


def flattened(x):
    return halves(x).view(x.shape[0], -1)


def split_by_columns(x):
    pooled = halves(x)
    return pooled.permute(0, 3, 2, 1).reshape(x.shape[0], pooled.shape[3], -1)


@pytest.mark.parametrize("program", [flattened, split_by_columns])
def test_sizes_that_were_alike_in_all_runs_but_of_few_lengths_are_told_apart(program):
    shapes = [(1, 2, 6, 8), (1, 2, 1, 8), (2, 2, 6, 1), (3, 2, 1, 1)]
    check_sizes(program, *[(torch.randn(shape),) for shape in shapes], free=[(0, 2, 3)])


def squeezed_before_a_write(x):
    """What was squeezed is read behind another decision, for which it could be taken."""
    squeezed = x.squeeze()
    x.chunk(2, 1)[0].fill_(1.0)
    return squeezed * 2, x


def test_a_call_that_gives_another_rank_is_another_call():
    x = torch.randn(1, 6, 4, 8)
    with pytest.warns(NobucoWarning, match="squeeze|right where"):
        model, report = conversion(squeezed_before_a_write, x, dynamic={1, 3})
    assert "x.shape[3] != 1" in {condition.region for condition in report.conditions}
    with pytest.raises(InputError):
        model(torch.randn(1, 3, 4, 1).numpy())


def missing_in_numpy(x):
    return F.pad(x, (0, int(np.ceil(x.shape[1] / 8) * 8 - x.shape[1])))


def half_of_what_is_missing(x):
    missing = int(math.ceil(float(x.shape[1]) / 16) * 16) - int(x.shape[1])
    return F.pad(x, (missing // 2, missing - missing // 2))


@pytest.mark.parametrize("program", [missing_in_numpy, half_of_what_is_missing])
def test_what_plain_numbers_lack_to_a_multiple_is_followed(program):
    model, report = conversion(program, (2, 30), dynamic={1})
    assert report.conditions == ()
    for length in (1, 7, 16, 31, 65):
        assert_same(program, model, (2, length))


@pytest.mark.parametrize(
    "use",
    [
        lambda x, y, n: F.pad(x, (0, n - y.shape[0])),
        lambda x, y, n: x + (n - y.shape[0]),
        lambda x, y, n: y.split([n, y.shape[0] - n])[0],
    ],
)
def test_arithmetic_of_a_number_that_is_not_followed_with_a_size_that_is_no_dynamic_one(use):
    """The number keeps the example's, so what is made of it is a constant, of a size."""
    program = lambda x, y: (use(x, y, len(str(x.shape[1]))), x * 2)  # noqa: E731
    with pytest.warns(NobucoWarning, match="right where"):
        _, report = conversion(program, (2, 4), (2,), dynamic={1})
    assert report.ok
