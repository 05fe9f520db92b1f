"""Functions of the user that a trace shows as one node.

`traceable` speaks PyTorch's own override protocol, as `torch.nn.functional` does: with a mode active the call
is handed to it, otherwise the function just runs. So nothing needs to know whether a trace is going on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.overrides import handle_torch_function, has_torch_function

from nobuco.ir import leaves
from nobuco.kinds import Kind, takes

F = TypeVar("F", bound=Callable[..., Any])
_MARK, _SIZES = "_nobuco_traceable", "_nobuco_sizes"


@takes(function=Kind("a function or a method", lambda value: callable(value) and not isinstance(value, type)))
def traceable(function: F) -> F:
    """Make a function (or a method) a node of its own, so that `@nobuco.converter` can serve it.

    Without a converter its inner calls are converted as if it were not there.
    """

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        tensors = tuple(leaf for leaf in leaves((args, kwargs)) if isinstance(leaf, torch.Tensor))
        if has_torch_function(tensors):
            return handle_torch_function(wrapper, tensors, *args, **kwargs)
        return function(*args, **kwargs)

    setattr(wrapper, _MARK, True)
    return wrapper  # type: ignore[return-value]


def sizes_of(function: F) -> F:
    """Make a function traceable whose sizes stay symbolic even where a trace keeps no others."""
    wrapper = traceable(function)
    setattr(wrapper, _SIZES, True)
    return wrapper


def asks_for_sizes(function: Any) -> bool:
    """Whether `sizes_of` made this function."""
    return getattr(function, _SIZES, False) is True


def is_traceable(function: Any) -> bool:
    """Whether `traceable` made this function."""
    return getattr(function, _MARK, False) is True
