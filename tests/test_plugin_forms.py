"""The forms that samples of converters are brought into where none has them; PyTorch says whether it takes them."""

from __future__ import annotations

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nobuco.builtin import find_converter
from nobuco.registry import Sample
from pytest_nobuco.converters.apart import APART
from pytest_nobuco.converters.bases import bases_of
from pytest_nobuco.converters.calls import Call, RefusedError, attempt
from pytest_nobuco.converters.domains import choices_for
from pytest_nobuco.converters.forms import formed, forms_of_tensors
from pytest_nobuco.converters.option_forms import forms_of_options
from pytest_nobuco.converters.signatures import ModuleSample, bound, signatures_of
from pytest_nobuco.converters.special import special


def made(operation, name: str, *samples: Sample, as_they_are: bool = False) -> list[Call]:
    """What comes of samples in a form."""
    signatures = signatures_of(operation, find_converter(operation))

    def tried(sample: Sample) -> Call | None:
        try:
            return attempt(operation, sample)
        except RefusedError:
            return None

    forms = [form for form in (*forms_of_tensors(), *forms_of_options(signatures)) if form.name == name]
    assert forms
    return formed(forms, samples, [], tried, as_they_are)


@pytest.mark.parametrize(
    ("operation", "form", "sample", "kwargs"),
    [
        (torch.aminmax, "keepdim alone", Sample((torch.rand(2, 3),), {"dim": 1, "keepdim": True}), {"keepdim": True}),
        (torch.sum, "several dim alone", Sample((torch.rand(2, 3), (0, 1), True)), {"dim": (0, 1)}),
        (torch.narrow, "a place from the end", Sample((torch.rand(5, 4), 0, 2, 2)), {}),
        (
            torch.linalg.cross,
            "the first dimension",
            Sample((torch.rand(2, 3), torch.rand(2, 3)), {"dim": 1}),
            {"dim": 0},
        ),
    ],
)
def test_options_are_said_alone_and_counted_from_the_end(operation, form, sample, kwargs):
    (call,) = made(operation, form, sample)
    given = bound(call.sample, signatures_of(operation, find_converter(operation)))
    options = {name: value for name, value in given.items() if not isinstance(value, torch.Tensor)}
    assert kwargs in ({}, options)
    if operation is torch.narrow:
        assert call.sample.args[2] == 2 - 5
    if operation is torch.linalg.cross:
        assert [x.shape for x in call.tensors] == [(3, 2), (3, 2)]


def test_an_end_may_lie_beyond():
    operation = torch.ops.aten.slice.Tensor
    (call,) = made(operation, "a place beyond", Sample((torch.rand(5, 4), 0, 1, 4)))
    assert max(call.sample.args[2:]) > 100


def test_a_window_is_one_place_wide_where_it_goes_by_steps():
    sample = Sample((torch.rand(1, 2, 5, 6), torch.rand(3, 2, 3, 3)), {"stride": 2})
    (call,) = made(torch.conv2d, "a window of one place, by steps", sample)
    assert call.tensors[1].shape == (3, 2, 1, 1)


def module_sample(kind: type[nn.Module], x: torch.Tensor, **arguments) -> ModuleSample:
    make = functools.partial(_module, kind)
    return ModuleSample((make(arguments), x), make=make, arguments=arguments)


def _module(kind: type[nn.Module], arguments) -> nn.Module:
    return kind(**arguments).eval()


def test_modules_are_made_of_one_channel_and_keep_their_weights_in_another_rank():
    conv = module_sample(nn.Conv2d, torch.rand(2, 4, 5, 6), in_channels=4, out_channels=6, kernel_size=3, groups=2)
    (call,) = made(nn.Conv2d, "one in dimension 1", conv)
    assert call.tensors[0].shape[1] == call.sample.args[0].in_channels == call.sample.args[0].groups == 1
    one, three = (module_sample(nn.PReLU, torch.rand(2, 3, 4), num_parameters=n) for n in (1, 3))
    (call,) = made(nn.PReLU, "rank 2", one, three)
    assert call.sample.args[0].num_parameters == call.tensors[0].shape[1] == 3


def test_numbers_beside_tensors_of_both_signs():
    (call,) = made(torch.pow, "an odd number", Sample((torch.rand(4) + 1, torch.rand(4))))
    assert call.sample.args[1] == 3
    assert (call.tensors[0] < 0).any()
    assert (call.tensors[0] > 0).any()


def test_fewer_places_than_there_is_to_place():
    places = torch.tensor([[0, 1, 2], [2, 1, 0]])
    (call,) = made(torch.scatter_add, "fewer places", Sample((torch.rand(3, 3), 0, places, torch.rand(2, 3))))
    assert call.tensors[1].numel() < call.tensors[2].numel()


def test_what_trusts_its_arguments_is_given_samples_as_they_are():
    tall, wide = (Sample((torch.rand(*shape),)) for shape in ((2, 5, 3), (2, 3, 5)))
    assert made(torch.ops.aten.linalg_qr.default, "more rows than columns", wide, as_they_are=True) == []
    (call,) = made(torch.ops.aten.linalg_qr.default, "more rows than columns", wide, tall, as_they_are=True)
    assert call.sample.args[0] is tall.args[0]


def test_max_pooling_has_parameters_though_python_hides_them():
    sample = Sample((torch.rand(1, 2, 8),), {"kernel_size": 2, "dilation": 2, "return_indices": False})
    given = bound(sample, signatures_of(F.max_pool1d, find_converter(F.max_pool1d)))
    assert given is not None
    assert given["dilation"] == 2


def test_bases_are_no_squares_where_there_are_others():
    samples = [Sample((torch.rand(*shape),)) for shape in ((5, 5), (5, 3))]
    first = next(bases_of(torch.sum, samples, signatures_of(torch.sum, find_converter(torch.sum)), 0))
    assert first.sample is samples[1]


def test_what_is_defined_for_some_numbers_works_by_element_too():
    kinds = [getattr(sample, "kind", "") for sample in special(torch.asin, [Sample((torch.rand(2, 3),))])]
    assert "numbers" in kinds


def test_masks_let_everything_pass_and_nothing():
    sample = Sample((torch.rand(2, 3), torch.tensor([[True, False, True], [False, True, True]])))
    for value in (True, False):
        (one,) = APART[f"masks of {value}"](torch.masked_select, [sample], 0)
        assert bool((one.args[1] == value).all())


def test_a_list_of_sizes_ends_in_another_and_in_one():
    assert choices_for("size", None, (2, 3, 4)) == (((2, 3, 5),), ((2, 3, 1),))
