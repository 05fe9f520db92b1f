"""Programs whose tensors are as large as values say: at other values, too, they have to be right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import nobuco
from nobuco import NobucoWarning
from tests.parity import told


def assert_right_at_other_values(program, model, shape):
    for seed in range(4):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        expected = program(x.clone())
        expected = expected if isinstance(expected, tuple) else (expected,)
        got = model(x.numpy())
        for ours, theirs in zip(got if isinstance(got, (list, tuple)) else [got], expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def sizes_of_what_a_mask_chooses(x):
    chosen = x[x > 0]
    filled = torch.zeros(chosen.shape[0], 2)
    filled[:, 0] = chosen
    return filled, chosen.view(chosen.shape[0], 1), torch.arange(len(chosen))


def the_best_of_what_a_mask_chooses(x):
    mask = x > 0
    values, best = x[mask].topk(min(5, int(mask.numel()), x[mask].shape[0]))
    return values, torch.where(mask.flatten())[0][best]


def cut_off_at_a_number(x):
    places = torch.nonzero(x > 0)[:4]
    return places, x.flatten()[: places.shape[0]]


def written_through_a_mask(x):
    y = x.clone()
    y[x > 0.5] = x[x > 0.5] * 2
    return y


def scattered_back(x):
    rows = torch.where(x[:, 0] > 0)[0]
    result = torch.zeros(len(x), 3)
    result[rows] = x[rows, :1].expand(-1, 3)
    return result + torch.cat([rows, rows]).numel()


def several_at_once(x):
    return torch.masked_select(x, x > 0), torch.argwhere(x > 0), (x > 0).nonzero(as_tuple=True)[1]


def places_as_a_vector(x):
    rows = torch.nonzero(x[:, 0] > 0).squeeze(1)
    return x[rows], (x > 0).argwhere().squeeze(1)


PROGRAMS = [
    places_as_a_vector,
    sizes_of_what_a_mask_chooses,
    the_best_of_what_a_mask_chooses,
    cut_off_at_a_number,
    written_through_a_mask,
    scattered_back,
    several_at_once,
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_as_many_as_values_say(program):
    model, warned = told(program, torch.randn(6, 5, generator=torch.Generator().manual_seed(9)))
    assert not warned
    assert_right_at_other_values(program, model, (6, 5))


def test_always_as_many_stay_static():
    def program(x):
        best = torch.zeros_like(x, dtype=torch.bool).scatter(1, x.argsort(1)[:, :3], True)
        return x[best].reshape(x.shape[0], 3)

    model, warned = told(program, torch.randn(4, 6))
    assert not warned
    assert model.output_shape == (4, 3)
    assert_right_at_other_values(program, model, (4, 6))


def test_one_that_is_chosen_is_not_all_there_may_be():
    def program(x):
        chosen = x[x > 0]
        return chosen.view(chosen.shape[0], 1)

    model, _ = told(program, torch.tensor([-1.0, 1.0, -1.0]))
    assert_right_at_other_values(program, model, (3,))


def test_a_branch_on_how_many_is_reported():
    def program(x):
        chosen = x[x > 0]
        if chosen.numel() == 0:
            return chosen
        return chosen * 2

    _, warned = told(program, torch.randn(6, 5))
    assert any("right where shape[0] of what is chosen != 0" in message for message in warned), warned


def test_a_loop_over_what_is_chosen_is_refused():
    def program(x):
        return torch.stack([row * 2 for row in x[x > 0]])

    with pytest.warns(NobucoWarning, match="makes other calls where other numbers of elements"):  # noqa: SIM117
        with pytest.raises(nobuco.ConverterError, match="loop over dimension 0"):
            nobuco.pytorch_to_keras(program, [torch.randn(6, 5)], verbose=False)


def test_other_sizes_stay_static_where_the_program_takes_another_way():
    def program(x):
        small = F.interpolate(x[None, None], scale_factor=x.shape[0] / 12)[0, 0]
        chosen = small[small > 100]
        return small if len(chosen) == 0 else small + chosen.sum()

    with pytest.warns(NobucoWarning, match="right where shape.0. of what is chosen == 0"):
        model = nobuco.pytorch_to_keras(program, [torch.randn(6, 5)], verbose=False)
    assert model.output_shape == (3, 2)


def test_what_had_no_elements_while_tracing_has_some_later():
    def moved(x):
        rows = x[x[:, 0] > 9]
        return rows.unsqueeze(1).reshape(-1, 4), rows.view(-1, 2, 2).permute(1, 0, 2), rows.flatten()

    model, _ = told(moved, torch.zeros(5, 4))
    x = torch.arange(20.0).view(5, 4)
    for ours, theirs in zip(model(x.numpy()), moved(x), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("chosen", "region"), [(2, "<= 2"), (4, ">= 3")])
def test_a_branch_on_len_is_reported_though_all_sizes_are_static(chosen, region):
    """Python's `len` gives a plain number, so that only runs with other numbers of elements show the decision."""

    def program(x):
        return x * 2 if len(x[x > 0]) > 2 else x

    example = torch.tensor([1.0] * chosen + [-1.0] * (6 - chosen))
    with pytest.warns(NobucoWarning, match=f"right where shape.0. of what is chosen {region}"):
        _, report = nobuco.pytorch_to_keras(program, [example], verbose=False, return_report=True)
    assert [condition.region for condition in report.conditions] == [f"shape[0] of what is chosen {region}"]


def test_a_branch_that_moves_a_state_is_reported():
    """On the first call both sides give the same."""

    class Counter(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(3))

        def forward(self, x):
            if len(x[x > 0]) > 2:
                self.count = self.count * 2
            self.count.add_(1)
            return self.count * 1

    with pytest.warns(NobucoWarning, match="right where shape.0. of what is chosen <= 2"):
        nobuco.pytorch_to_keras(Counter(), [torch.tensor([1.0, 2.0, -1.0, -1.0])], verbose=False)


def test_a_branch_on_how_many_are_unlike_is_reported_where_the_example_has_few():
    def program(x):
        return x * 2 if len(torch.unique(x)) > 3 else x

    with pytest.warns(NobucoWarning, match="right where shape.0. of what is chosen <= 2"):
        nobuco.pytorch_to_keras(program, [torch.tensor([1.0, 2.0, 1.0, 2.0, 1.0, 2.0])], verbose=False)
