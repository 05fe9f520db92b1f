"""What is random stays random: shape, dtype and distribution, never the numbers of the trace."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from tests.parity import convert


def drawn(function, x, times=2):
    """What the converted function gives, several times."""
    model = convert(function, x, full_validation=False, validation_tolerance=float("inf"))
    outputs = [np.asarray(model(x.numpy())) for _ in range(times)]
    expected = function(x)
    assert all(out.shape == tuple(expected.shape) for out in outputs)
    assert all(out.dtype == nobuco.bridge.to_numpy(expected).dtype for out in outputs)
    assert not np.array_equal(outputs[0], outputs[1])
    return outputs


def test_rrelu_draws_a_slope_for_each_negative_element():
    x = torch.randn(100, 100)
    out, _ = drawn(lambda x: F.rrelu(x, 0.2, 0.6, training=True), x)
    negative = x.numpy() < 0
    slopes = out[negative] / x.numpy()[negative]
    assert np.array_equal(out[~negative], x.numpy()[~negative])
    assert slopes.min() == pytest.approx(0.2, abs=0.01)
    assert slopes.max() == pytest.approx(0.6, abs=0.01)
    assert slopes.mean() == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize("dim", [1, -1])
def test_hard_gumbel_softmax_picks_by_probability(dim):
    wanted = torch.tensor([0.1, 0.2, 0.7])
    logits = wanted.log().expand(5000, 3) if dim == -1 else wanted.log()[:, None].expand(200, 3, 25)
    out, _ = drawn(lambda x: F.gumbel_softmax(x, 0.5, hard=True, dim=dim), logits.contiguous())
    assert set(np.unique(out)) == {0.0, 1.0}
    assert (out.sum(dim) == 1).all()
    frequency = out.mean(0) if dim == -1 else out.mean((0, 2))
    assert frequency == pytest.approx(wanted.numpy(), abs=0.03)


def test_soft_gumbel_softmax_sums_to_one_and_sharpens_as_it_cools():
    logits = torch.randn(500, 8)
    hot, _ = drawn(lambda x: F.gumbel_softmax(x, 10.0), logits)
    cold, _ = drawn(lambda x: F.gumbel_softmax(x, 0.1), logits)
    assert hot.sum(1) == pytest.approx(1, abs=1e-5)
    torch.manual_seed(0)
    for ours, tau in ((hot, 10.0), (cold, 0.1)):
        assert ours.max(1).mean() == pytest.approx(F.gumbel_softmax(logits, tau).amax(1).mean().item(), abs=0.03)


@pytest.mark.parametrize(("n", "pool"), [(2, F.fractional_max_pool2d), (3, F.fractional_max_pool3d)])
def test_fractional_pooling_takes_maxima_near_their_places(n, pool):
    x = torch.arange(9.0**n).reshape(1, 1, *[9] * n).repeat(40, 1, *[1] * n)  # grows along each axis
    outputs = drawn(lambda x: pool(x, 2, output_size=[5] * n), x, times=5)
    rows = np.concatenate(outputs)[(..., *[0] * (n - 1))].reshape(-1, 5) // 9 ** (n - 1)
    assert (rows[:, 0] == 1).all() and (rows[:, -1] == 8).all()  # the first window starts the input, the last ends it
    reference = torch.cat([pool(x, 2, output_size=[5] * n) for _ in range(20)])
    theirs = reference[(..., *[0] * (n - 1))].reshape(-1, 5) // 9 ** (n - 1)
    assert rows.mean(0) == pytest.approx(theirs.mean(0).numpy(), abs=0.15)


def test_new_random_tensors():
    uniform, _ = drawn(lambda x: torch.rand(200, 100) + 0 * x, torch.zeros(200, 100))
    normal, _ = drawn(lambda x: torch.randn(200, 100, dtype=torch.float64) + 0 * x, torch.zeros(200, 100))
    assert (uniform.mean(), uniform.var()) == pytest.approx((1 / 2, 1 / 12), abs=0.02)
    assert (normal.mean(), normal.std()) == pytest.approx((0, 1), abs=0.02)


def test_dropout_between_recurrent_layers_in_training():
    torch.manual_seed(0)
    lstm = nn.LSTM(4, 16, num_layers=2, dropout=0.5)
    outputs = drawn(lambda x: lstm(x)[0], torch.randn(3, 50, 4), times=20)
    with torch.no_grad():
        theirs = torch.stack([lstm(torch.ones(3, 50, 4))[0] for _ in range(20)])
        lstm.eval()
    ours = np.stack(outputs)
    assert ours.std(0).mean() == pytest.approx(theirs.std(0).mean().item(), rel=0.3)


def test_attention_drops_weights_in_training():
    attention = nn.MultiheadAttention(8, 2, dropout=0.25, batch_first=True)
    out, _ = drawn(lambda x: attention(x, x, x, average_attn_weights=False)[1], torch.randn(8, 40, 8))
    assert (out == 0).mean() == pytest.approx(0.25, abs=0.02)
    assert out.sum(-1).mean() == pytest.approx(1, abs=0.02)
    query = torch.randn(500, 16, 8) / 10  # of nearly equal weights, whose sum varies little
    out, _ = drawn(lambda x: F.scaled_dot_product_attention(x, x, torch.ones_like(x), dropout_p=0.25), query)
    assert out.mean() == pytest.approx(1, abs=0.02)


def test_native_dropout_gives_its_mask(check):
    model = nobuco.pytorch_to_keras(
        lambda x: torch.native_dropout(x, 0.25, True), args=[torch.ones(100, 100)],
        full_validation=False, validation_tolerance=float("inf"), verbose=False,
    )  # fmt: skip
    out, mask = (np.asarray(t) for t in model(np.ones((100, 100), np.float32)))
    assert np.array_equal(out, np.where(mask, np.float32(1 / 0.75), 0))
    assert mask.dtype == bool
    assert mask.mean() == pytest.approx(0.75, abs=0.03)
    check(lambda x: torch.native_dropout(x, 0.25, False), torch.randn(3, 4))


# -- dropout in a model that is converted in training mode ---------------------------------------------


def test_elements_are_dropped_and_the_rest_scaled():
    out, _ = drawn(lambda x: F.dropout(x, 0.25, training=True), torch.ones(64, 8, 8))
    assert set(np.unique(out.round(4))) == {np.float32(0), np.float32(1.3333)}
    assert out.mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("dropout", "shape"), [(F.dropout1d, (16, 8, 5)), (F.dropout2d, (16, 8, 3, 5))])
def test_channels_are_dropped_whole(dropout, shape):
    out, _ = drawn(lambda x: dropout(x, 0.5, training=True), torch.ones(shape))
    out = out.reshape(128, -1)
    assert (out == out[:, :1]).all()
    assert set(np.unique(out)) == {0.0, 2.0}


@pytest.mark.parametrize("dropout", [F.alpha_dropout, F.feature_alpha_dropout])
def test_alpha_dropout_keeps_mean_and_spread(dropout):
    out, _ = drawn(lambda x: dropout(x, 0.3, training=True), torch.randn(64, 64, 16))
    assert out.mean() == pytest.approx(0, abs=0.1)
    assert out.std() == pytest.approx(1, abs=0.1)


def test_everything_dropped(check):
    check(lambda x: F.dropout(x, 1.0, training=True), torch.randn(2, 3))
