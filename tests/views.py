"""Programs of views and writes on small whole numbers, whose results are equal, not close."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

import nobuco
from tests.parity import ORDERS

SAME_ORDERS = tuple(zip(ORDERS, ORDERS))


def whole(*shape: int, seed: int = 0) -> torch.Tensor:
    """Small whole numbers, as floats."""
    return torch.randint(-9, 10, shape, generator=torch.Generator().manual_seed(seed)).float()


def assert_same(program: Callable[..., Any], *shape: int, orders=SAME_ORDERS) -> Any:
    """Convert on one input, compare on another, element by element; returns the last model."""
    seen, unseen = whole(*shape, seed=1), whole(*shape, seed=2)
    expected = [t for t in pytree.tree_leaves(program(unseen.clone())) if isinstance(t, torch.Tensor)]
    for given_order, wanted_order in orders:
        model = nobuco.pytorch_to_keras(
            program,
            [seen],
            inputs_channel_order=given_order,
            outputs_channel_order=wanted_order,
            full_validation=False,
            verbose=False,
        )
        got = pytree.tree_leaves(model(nobuco.t_pytorch2keras(unseen, given_order)))
        assert len(got) == len(expected)
        for ours, theirs in zip(got, expected):
            ours = nobuco.t_keras2pytorch(ours, wanted_order)
            assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
            np.testing.assert_array_equal(ours.resolve_conj().numpy(), theirs.resolve_conj().numpy())
    return model
