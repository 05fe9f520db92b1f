"""Losses: weights, reductions, and CTC with everything that its lengths can be."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from nobuco import ChannelOrder

ONE_ORDER = {"orders": [ChannelOrder.PYTORCH]}
X, Y, WEIGHT = torch.randn(3, 4), torch.randn(3, 4), torch.rand(3, 4)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize(
    "loss",
    [
        F.mse_loss,
        F.huber_loss,
        pytest.param(
            F.l1_loss,
            marks=pytest.mark.xfail(strict=True, reason="PyTorch 2.13 itself drops the weight under a function mode"),
        ),
    ],
)
def test_weighted_losses(check, loss, reduction):
    check(lambda x, y, w: loss(x, y, reduction=reduction, weight=w), X, Y, WEIGHT, **ONE_ORDER)


@pytest.mark.parametrize("options", [{"reduce": False}, {"size_average": False}, {"size_average": True}])
@pytest.mark.filterwarnings("ignore:size_average and reduce args will be deprecated")
def test_reductions_as_they_were_told_of_old(check, options):
    check(lambda x, y: F.mse_loss(x, y, **options), X, Y, **ONE_ORDER)
    check(lambda x, y: F.smooth_l1_loss(x, y, **options), X, Y, **ONE_ORDER)


@pytest.mark.parametrize("reduction", [0, 1, 2])
def test_huber_loss_with_a_reduction_by_number(check, reduction):
    check(lambda x, y: torch._C._nn.huber_loss(x, y, reduction, 0.5), X, Y, **ONE_ORDER)


@pytest.mark.parametrize("p", [0, 1, 2, 2.5, float("inf")])
def test_pairwise_distances(check, p):
    check(lambda x: F.pdist(x, p), X, tflite=True, **ONE_ORDER)


def log_probs(steps=8, batch=3, classes=5):
    return torch.randn(steps, batch, classes).log_softmax(2)


LABELS = torch.tensor([[1, 2, 2, 4], [3, 3, 1, 1], [4, 1, 2, 3]])


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_ctc_loss(check, reduction):
    given, wanted = torch.tensor([8, 6, 7]), torch.tensor([4, 2, 3])
    check(
        lambda x, labels, n, m: F.ctc_loss(x, labels, n, m, reduction=reduction),
        log_probs(), LABELS, given, wanted, tflite=True, **ONE_ORDER,
    )  # fmt: skip


@pytest.mark.parametrize("function", [torch.ctc_loss, torch.ops.aten.ctc_loss.Tensor])
def test_ctc_loss_by_its_inner_names_reduces_as_each_does_by_default(check, function):
    given, wanted = torch.tensor([8, 6, 7]), torch.tensor([4, 2, 3])
    check(lambda x: function(x, LABELS, given, wanted), log_probs(), **ONE_ORDER)


def test_ctc_loss_with_lengths_in_python_and_another_blank(check):
    check(lambda x: F.ctc_loss(x, LABELS - 1, (8, 6, 7), (4, 2, 3), blank=4), log_probs(), **ONE_ORDER)


def test_ctc_loss_of_labels_that_are_the_blank(check):
    check(lambda x: F.ctc_loss(x, LABELS, (8, 6, 7), (4, 3, 3), blank=1), log_probs(), **ONE_ORDER)


def test_ctc_loss_of_labels_one_behind_the_other(check):
    labels = torch.cat([LABELS[0, :4], LABELS[1, :2], LABELS[2, :3]])
    given, wanted = torch.tensor([8, 6, 7]), torch.tensor([4, 2, 3])
    check(lambda x, labels, n, m: F.ctc_loss(x, labels, n, m), log_probs(), labels, given, wanted, **ONE_ORDER)


def test_ctc_loss_without_a_batch(check):
    given, wanted = torch.tensor(8), torch.tensor(4)
    check(
        lambda x: F.ctc_loss(x, LABELS[0], given, wanted, reduction="none"), log_probs()[:, 0].contiguous(), **ONE_ORDER
    )


@pytest.mark.parametrize("zero_infinity", [False, True])
def test_ctc_loss_of_what_is_too_long_and_of_nothing(check, zero_infinity):
    given, wanted = torch.tensor([3, 6, 0]), torch.tensor([4, 0, 0])
    check(
        lambda x: F.ctc_loss(x, LABELS, given, wanted, reduction="none", zero_infinity=zero_infinity),
        log_probs(), tflite=True, **ONE_ORDER,
    )  # fmt: skip


def test_distances_of_bytes_wrap_before_they_are_measured(check):
    x, y = (torch.randint(0, 256, (4, 5), dtype=torch.uint8) for _ in range(2))
    check(F.pairwise_distance, x, y, **ONE_ORDER)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_labels_end_at_the_first_that_is_none(check, reduction):
    """PyTorch's own decomposition takes what stands behind it for the first class."""
    labels = torch.tensor([[0, 2, -1, 1], [3, -1, 0, 0], [-1, 0, 0, 0], [1, 0, 3, 2]])

    def loss(x, labels):
        return F.multilabel_margin_loss(x, labels, reduction=reduction)

    check(loss, torch.randn(4, 4), labels, tflite=True, **ONE_ORDER)
    check(loss, torch.randn(4), labels[0], **ONE_ORDER)
