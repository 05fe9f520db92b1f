"""Dropout in a model that is converted in training mode: what it drops, what mean and spread remain."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import nobuco
from nobuco import ChannelOrder


def converted(function, x):
    model = nobuco.pytorch_to_keras(
        function,
        args=[x],
        inputs_channel_order=ChannelOrder.PYTORCH,
        outputs_channel_order=ChannelOrder.PYTORCH,
        full_validation=False,
        validation_tolerance=float("inf"),
        verbose=False,
    )
    return np.asarray(model([x.numpy()]))


def test_elements_are_dropped_and_the_rest_scaled():
    out = converted(lambda x: F.dropout(x, 0.25, training=True), torch.ones(64, 8, 8))
    assert set(np.unique(out.round(4))) == {np.float32(0), np.float32(1.3333)}
    assert out.mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("dropout", "shape"), [(F.dropout1d, (16, 8, 5)), (F.dropout2d, (16, 8, 3, 5))])
def test_channels_are_dropped_whole(dropout, shape):
    out = converted(lambda x: dropout(x, 0.5, training=True), torch.ones(shape)).reshape(128, -1)
    assert (out == out[:, :1]).all()
    assert set(np.unique(out)) == {0.0, 2.0}


@pytest.mark.parametrize("dropout", [F.alpha_dropout, F.feature_alpha_dropout])
def test_alpha_dropout_keeps_mean_and_spread(dropout):
    out = converted(lambda x: dropout(x, 0.3, training=True), torch.randn(64, 64, 16))
    assert out.mean() == pytest.approx(0, abs=0.1)
    assert out.std() == pytest.approx(1, abs=0.1)


def test_everything_dropped(check):
    check(lambda x: F.dropout(x, 1.0, training=True), torch.randn(2, 3))
