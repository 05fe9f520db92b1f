"""Operations that PyTorch runs on sizes that do not go together: they read and write outside of their memory.

A program is run at other sizes than the example's, and of such a call the process may end. Found by running the samples
of PyTorch's operations with one axis longer, shorter or empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from nobuco.ir import tensors
from nobuco.trace.calls import name_of

# They take statistics of any size, which `torch.nn.functional.batch_norm` does not.
_OF_CHANNELS = {"native_batch_norm", "_native_batch_norm_legit", "_batch_norm_with_update"}
_OF_ELEMENTS = {"embedding_bag", "_embedding_bag", "_embedding_bag_forward_only", "segment_reduce", "linalg_lstsq"}
_UNCHECKED = {"lu_unpack", *_OF_CHANNELS, *_OF_ELEMENTS}


def refuse_unchecked(func: Any, args: Any, kwargs: Any) -> None:
    """Raise where the sizes of an ATen call do not go together and PyTorch does not say so."""
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
