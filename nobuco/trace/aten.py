"""A function of tensors as the ATen calls that it makes, told without disturbing other threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn


def aten_calls(
    call: Callable[..., list[torch.Tensor]], inputs: Sequence[torch.Tensor], decompositions: Mapping[Any, Any]
) -> torch.fx.GraphModule:
    """The ATen calls of a function of these tensors; one that has a decomposition is replaced by its own calls.

    The inside of PyTorch's `make_fx`, which for its duration also replaces `nn.Module.__call__` and makes compiled
    functions raise, in all threads.
    """
    from torch.fx.experimental import proxy_tensor as proxies  # imports sympy: only where needed

    tracer = proxies.PythonKeyTracer()
    tracer.root, tracer.graph = nn.Module(), torch.fx.Graph(tracer_cls=proxies.PythonKeyTracer)
    tracer.tensor_attrs = {}
    mode = proxies.ProxyTorchDispatchMode(tracer, "real", _error_on_data_dependent_ops=False)
    places = [tracer.create_proxy("placeholder", f"arg{i}", (), {}) for i in range(len(inputs))]
    with mode, proxies.decompose(dict(decompositions)), proxies.disable_autocast_cache():
        results = proxies.wrap_key(call, tuple(inputs), tracer, pre_dispatch=False)(*places)
    tracer.create_node("output", "output", (tracer.create_arg(results),), {})
    return torch.fx.GraphModule(tracer.root, tracer.graph)
