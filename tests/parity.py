"""Parity of one conversion with PyTorch itself, in each channel order."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

import nobuco
from nobuco import ChannelOrder

ORDERS = (ChannelOrder.TENSORFLOW, ChannelOrder.PYTORCH)


def check_parity(
    model: Any,
    *args: Any,
    orders: Sequence[ChannelOrder] = ORDERS,
    tflite: bool = False,
    atol: float = 1e-4,
    rtol: float = 1e-4,
    **kwargs: Any,
) -> Any:
    """Convert `model(*args, **kwargs)` and compare; returns the last Keras model.

    Inputs and outputs lie in the same order: where they do not, the units are the same, and what the planner puts
    between them is what `tests/test_layout.py` and `tests/test_planner.py` try. The bound is PyTorch's own:
    |got - expected| <= atol + rtol * |expected|.
    """
    if isinstance(model, torch.nn.Module):
        model = model.eval()
    with torch.no_grad():
        expected = model(*copy.deepcopy(args), **copy.deepcopy(kwargs))
    wanted = [t for t in pytree.tree_leaves(expected) if isinstance(t, torch.Tensor)]
    tensors = [t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
    keras_model = None
    for order in orders if any(tensor.dim() > 2 for tensor in (*tensors, *wanted)) else orders[:1]:
        keras_model = nobuco.pytorch_to_keras(
            model,
            args=list(args),
            kwargs=kwargs or None,
            inputs_channel_order=order,
            outputs_channel_order=order,
            verbose=False,
        )
        feeds = [nobuco.t_pytorch2keras(t, order) for t in tensors]
        got = keras_model(feeds[0] if len(feeds) == 1 else feeds)
        _compare(pytree.tree_leaves(got), wanted, order, atol, rtol)
        if tflite:
            from nobuco.export.tflite_file import run_tflite, to_tflite

            _compare(run_tflite(to_tflite(keras_model), feeds), wanted, order, atol, rtol)
    return keras_model


def assert_converts(module: Any, *args: torch.Tensor, **options: Any) -> Any:
    """Convert and compare, on the traced input and, if that is not of integers, on another one."""
    if isinstance(module, torch.nn.Module):
        module = module.eval()
    state = copy.deepcopy(module.state_dict()) if isinstance(module, torch.nn.Module) else {}
    model, report = nobuco.pytorch_to_keras(
        module, list(args), inputs_channel_order=ChannelOrder.PYTORCH,
        outputs_channel_order=ChannelOrder.PYTORCH, verbose=False,
        return_report=True, **options,
    )  # fmt: skip
    assert report.ok, report.first_bad()
    for given in (args, tuple(x * 0.5 + 0.1 if x.is_floating_point() else x for x in args)):
        with torch.no_grad():
            expected = module(*(x.clone() for x in given))
        expected = [t for t in pytree.tree_leaves(expected) if isinstance(t, torch.Tensor)]
        feeds = [x.numpy() for x in given]
        got = pytree.tree_leaves(model(feeds[0] if len(feeds) == 1 else feeds, training=False))
        for ours, theirs in zip(got, expected, strict=True):
            np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-4, atol=1e-5)
    if state:
        assert all(torch.equal(state[name], tensor) for name, tensor in module.state_dict().items())
    return model


def _compare(got: Sequence[Any], wanted: Sequence[torch.Tensor], order: ChannelOrder, atol: float, rtol: float) -> None:
    assert len(got) == len(wanted), f"{len(got)} outputs, PyTorch gives {len(wanted)}"
    for ours, theirs in zip(got, wanted):
        ours = nobuco.t_keras2pytorch(ours, order)
        assert ours.dtype == theirs.dtype, f"dtype {ours.dtype}, PyTorch gives {theirs.dtype}"
        assert ours.shape == theirs.shape, f"shape {tuple(ours.shape)}, PyTorch gives {tuple(theirs.shape)}"
        np.testing.assert_allclose(
            nobuco.bridge.to_numpy(ours).astype(np.complex128 if ours.is_complex() else np.float64),
            nobuco.bridge.to_numpy(theirs).astype(np.complex128 if ours.is_complex() else np.float64),
            rtol=rtol,
            atol=atol,
        )
