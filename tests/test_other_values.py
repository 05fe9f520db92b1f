"""An item of a model runs it on other values than the example's: which, and who is to blame where it is wrong there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pytest_nobuco.gate import Bound
from pytest_nobuco.models.backend import Form, NobucoBackend
from pytest_nobuco.models.witness import with_other_values

BACKEND = NobucoBackend()
DEFAULT = Bound(None, None, "default of the dtype")


class Remembering(nn.Module):
    def forward(self, x):
        return torch.from_numpy(x.numpy() * 2) + x


class Picky(nn.Module):
    def forward(self, x):
        torch._assert(bool((x == 2).all()), "two, and nothing else")
        return x + 1


def test_matrices_stay_positive_and_limits_in_their_order():
    square = torch.randn(4, 4)
    matrix, limits, ids = with_other_values((square @ square.T, torch.arange(5.0), torch.tensor([3, 1, 2])))
    torch.linalg.cholesky(matrix)
    assert torch.equal(matrix, matrix.T)
    assert limits.tolist() == [0, 0.75, 1.5, 2.25, 3]
    assert ids.tolist() == [2, 1, 3]


def test_a_model_that_takes_no_others_has_none():
    assert BACKEND.varied(BACKEND.subject(Picky(), [torch.full((2,), 2.0)], {}, 0)) is None


@pytest.mark.filterwarnings("ignore::nobuco.NobucoWarning")
def test_what_a_model_holds_on_to_is_found_and_named():
    subject = BACKEND.subject(Remembering(), [torch.randn(2, 3)], {}, 0)
    converted = BACKEND.convert(subject, Form("", ""), {})
    np.testing.assert_allclose(BACKEND.run(converted, subject, "keras")[0], subject.expected[0])
    varied = BACKEND.varied(subject)
    assert np.abs(BACKEND.run(converted, varied, "keras")[0] - varied.expected[0]).max() > 0.1
    assert "torch.Tensor.add, with these values" in BACKEND.culprit(converted, varied, DEFAULT, "keras")
