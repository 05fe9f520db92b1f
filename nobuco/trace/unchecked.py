"""Operations that PyTorch runs on what does not go together: they read and write outside of their memory.

A program is run at other sizes than the example's and on other values, and of such a call the process may end. Found by
running the samples of PyTorch's operations with one axis longer, shorter or empty; torchvision's regions name the image
that they are of, which their kernels believe.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from nobuco.ir import tensors
from nobuco.trace.calls import name_of

# They take statistics of any size, which `torch.nn.functional.batch_norm` does not.
_OF_CHANNELS = {"native_batch_norm", "_native_batch_norm_legit", "_batch_norm_with_update"}
_OF_ELEMENTS = {"embedding_bag", "_embedding_bag", "_embedding_bag_forward_only", "segment_reduce", "linalg_lstsq"}
_UNCHECKED = {"lu_unpack", *_OF_CHANNELS, *_OF_ELEMENTS}
_OF_REGIONS = {f"torchvision::{name}" for name in ("roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool")}
# How many times as far as its image reaches a region may, to be tried.
_FAR = 4


def refusing_unchecked() -> AbstractContextManager[Any]:
    """Calls of torchvision that would read outside of their memory raise in this block, whatever values they get."""
    return _Refusing() if "torchvision" in sys.modules else nullcontext()


class _Refusing(TorchFunctionMode):
    """No dispatch mode: what Dynamo compiles under one, as of `torch.cond`, fails there and from then on."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(getattr(func, "_qualified_op_name", "") or getattr(func, "_name", "")).removesuffix(".default")
        if name in _OF_REGIONS:
            _refuse_regions(name, args)
            if _are_far_beyond(*args[:3]):
                raise RuntimeError(f"{name}: regions so much larger than their image take minutes")
        return func(*args, **(kwargs or {}))


def refuse_unchecked(func: Any, args: Any, kwargs: Any) -> None:
    """Raise where what an ATen call gets does not go together and PyTorch does not say so."""
    if func._schema.name in _OF_REGIONS:
        _refuse_regions(func._schema.name, args)
    name = name_of(func)
    if name in _UNCHECKED:
        inputs = tensors((args, kwargs))
        if not _go_together(name, inputs):
            raise RuntimeError(f"{name}: sizes {[tuple(tensor.shape) for tensor in inputs]} do not go together")


def _go_together(name: str, inputs: Sequence[torch.Tensor]) -> bool:
    first, *others = inputs
    if name in _OF_ELEMENTS and not all(tensor.numel() for tensor in inputs):
        return False
    if name == "lu_unpack":
        return (*first.shape[:-2], min(first.shape[-2:])) == tuple(others[0].shape)
    if name == "segment_reduce":
        return all(lengths.shape[:-1] == first.shape[: lengths.dim() - 1] for lengths in others)
    return name not in _OF_CHANNELS or all(tensor.shape == first.shape[1:2] for tensor in others)


def _refuse_regions(name: str, args: Sequence[Any]) -> None:
    if not _are_of_images(args[0], args[1]):
        raise RuntimeError(f"{name}: a region names an image that is not there")


def _are_of_images(images: torch.Tensor, regions: torch.Tensor) -> bool:
    """Whether the first number of each region is that of an image."""
    if images.dim() != 4 or regions.dim() != 2 or regions.shape[1] != 5:
        return True  # which the kernels refuse themselves
    of = regions[:, 0]
    return bool(((of >= 0) & (of < images.shape[0])).all() and torch.isfinite(regions).all())


def _are_far_beyond(images: torch.Tensor, regions: torch.Tensor, scale: float) -> bool:
    """Whether a region reaches so far beyond its image that the samples within it would be millions."""
    return bool(regions.numel()) and float(regions[:, 1:].abs().max()) * scale > _FAR * max(images.shape[-2:])
