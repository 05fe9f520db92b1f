"""Parity of one conversion with PyTorch itself, in each channel order."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils import _pytree as pytree

import nobuco
from nobuco import ChannelOrder
from nobuco.layers.output import called

ORDERS = (ChannelOrder.TENSORFLOW, ChannelOrder.PYTORCH)


def convert(model: Any, *args: Any, order: ChannelOrder | str = ChannelOrder.PYTORCH, **options: Any) -> Any:
    """What `pytorch_to_keras` gives, quietly, with inputs and outputs in one order."""
    orders = {"inputs_channel_order": order, "outputs_channel_order": order}
    return nobuco.pytorch_to_keras(model, list(args) or None, **(orders | {"verbose": False} | options))


def told(model: Any, *args: Any, **options: Any) -> tuple[Any, list[str]]:
    """What `convert` gives, and what nobuco warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        converted = convert(model, *args, **options)
    return converted, [str(w.message) for w in caught if issubclass(w.category, nobuco.NobucoWarning)]


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
    model = evaluated(model)
    wanted = tensors_of(model, *args, **kwargs)
    tensors = [t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
    keras_model = None
    for order in orders if any(tensor.dim() > 2 for tensor in (*tensors, *wanted)) else orders[:1]:
        keras_model = convert(model, *args, kwargs=kwargs or None, order=order)
        feeds = [nobuco.t_pytorch2keras(t, order) for t in tensors]
        assert_close(called(keras_model, feeds), wanted, order, atol, rtol)
        if tflite:
            from nobuco.export.tflite_file import run_tflite, to_tflite

            assert_close(run_tflite(to_tflite(keras_model), feeds), wanted, order, atol, rtol)
    return keras_model


def assert_converts(
    model: Any, *args: torch.Tensor, reference: Callable[..., Any] | None = None, atol: float = 1e-5, **options: Any
) -> Any:
    """Convert; compare with PyTorch on the traced inputs and on others; see that nothing has changed."""
    model = evaluated(model)
    with unchanged(model):
        keras_model, report = convert(model, *args, return_report=True, **options)
    assert report.ok, report.first_bad()
    for inputs in (args, tuple(x * 0.5 + 0.1 if x.is_floating_point() else x for x in args)):
        assert_matches(keras_model, reference or model, *inputs, atol=atol)
    return keras_model


def assert_matches(keras_model: Any, reference: Callable[..., Any], *args: torch.Tensor, atol: float = 1e-5) -> None:
    """Both give the same; inputs and outputs lie as in PyTorch."""
    got = called(keras_model, [x.numpy() for x in args])
    for ours, theirs in zip(got, tensors_of(reference, *args), strict=True):
        np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-4, atol=atol)


def assert_close(
    got: Sequence[Any], wanted: Sequence[torch.Tensor], order: ChannelOrder, atol: float = 1e-5, rtol: float = 1e-4
) -> None:
    """Tensors in a channel order are PyTorch's, in number, dtype, shape and values."""
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


def tensors_of(program: Callable[..., Any], *args: Any, **kwargs: Any) -> list[torch.Tensor]:
    """The tensors that a program returns for copies of its arguments, those that it makes of sizes left out."""
    with torch.no_grad():
        returned = program(*copy.deepcopy(args), **copy.deepcopy(kwargs))
    return [leaf for leaf in pytree.tree_leaves(returned) if isinstance(leaf, torch.Tensor)]


def evaluated(model: Any) -> Any:
    """A module out of training; anything else as it is."""
    return model.eval() if isinstance(model, nn.Module) and getattr(model, "training", False) else model


@contextmanager
def unchanged(model: Any) -> Iterator[None]:
    """A module has the tensors, flags and hooks that it had, and PyTorch its settings."""
    tensors, rest, settings = *everything(model), torchs_state()
    yield
    now, rest_now = everything(model)
    assert torchs_state() == settings
    assert rest_now == rest
    assert now.keys() == tensors.keys()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in now.items())


def everything(model: Any) -> tuple[dict[str, torch.Tensor], list[Any]]:
    """The tensors of a module, and the class, flag and hooks of each module in it."""
    if not isinstance(model, nn.Module):
        return {}, []
    rest = [
        (type(m), getattr(m, "training", None), *map(len, (m._forward_hooks, m._forward_pre_hooks, m._backward_hooks)))
        for m in model.modules()
    ]
    return copy.deepcopy(dict(model.state_dict())), rest


def torchs_state() -> dict[str, Any]:
    """What a conversion switches while it runs."""
    return {
        "gradients": torch.is_grad_enabled(),
        "mkldnn": torch._C._get_mkldnn_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "function modes": torch._C._len_torch_function_stack(),
        "dispatch modes": torch._C._len_torch_dispatch_stack(),
        "hooks": {
            name: len(made)
            for name, made in vars(torch.nn.modules.module).items()
            if name.startswith("_global_") and isinstance(made, dict)
        },
        "optimized TorchScript": torch._C._get_graph_executor_optimize(),
        "random": torch.get_rng_state().sum().item(),
        "relu": F.relu,
        "call": nn.Module.__call__,
    }
