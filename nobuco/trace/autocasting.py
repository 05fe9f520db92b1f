"""`torch.autocast`: which calls compute in another type than that of what they are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

# The kind of device, and the type that calls are cast to there.
Autocast = tuple[str, torch.dtype]


def autocast_on(inputs: Sequence[torch.Tensor]) -> Autocast | None:
    """The autocast in force where these tensors are; its cache is emptied, so that every cast can be seen."""
    for device in dict.fromkeys(tensor.device.type for tensor in inputs):
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            torch.clear_autocast_cache()
            return device, torch.get_autocast_dtype(device)
    return None


def has_cast(calls: Sequence[Any]) -> bool:
    """Whether a call that made these ATen calls cast something by the way, rather than being a cast."""
    return _CAST in calls and any(call is not _CAST for call in calls)


_CAST = torch.ops.aten._to_copy.default
