"""Whether an example shows anything: what is NaN all over cannot be compared with anything."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nobuco.errors import InputError, warn
from nobuco.ir import Graph, Value, values


def check_example(graph: Graph, names: Sequence[str]) -> None:
    """Refuse an example by which every element of every output is NaN; warn where some are.

    Args:
        graph: a trace.
        names: of its inputs.

    Raises:
        InputError: the example holds NaN or infinities, and the outputs are nothing but NaN.
    """
    outputs = values(graph.outputs)
    unmeasured = [value for value in outputs if _is_nan(graph, value).all() and _is_nan(graph, value).numel()]
    causes = [(value, name) for value, name in zip(graph.inputs, names) if not _finite(graph, value).all()]
    if unmeasured and len(unmeasured) == len(outputs):
        for value, name in causes:
            raise InputError(
                f"args: the example {name!r} holds {_counted(graph, value)}, and the outputs are nothing but NaN, so "
                "that nothing could be compared; give an example of finite numbers"
            )
        warn(
            "the outputs are nothing but NaN although the example is finite, so that nothing is compared: look at the "
            "model's weights, or give another example"
        )
        return
    for value, name in causes:
        if _is_nan(graph, value).any() and any(_has_nan(graph, output) for output in outputs):
            warn(
                f"args: the example {name!r} holds {_counted(graph, value)}; what they reach is compared only in where "
                "it is NaN: give an example of finite numbers"
            )


def _numbers(graph: Graph, value: Value) -> torch.Tensor:
    sample = graph.samples[value.id]  # of a size a number
    return sample.detach() if isinstance(sample, torch.Tensor) else torch.tensor(sample, device="cpu")


def _finite(graph: Graph, value: Value) -> torch.Tensor:
    return torch.isfinite(_numbers(graph, value))


def _is_nan(graph: Graph, value: Value) -> torch.Tensor:
    return torch.isnan(_numbers(graph, value))


def _has_nan(graph: Graph, value: Value) -> bool:
    return bool(_is_nan(graph, value).any())


def _counted(graph: Graph, value: Value) -> str:
    """How many elements of a tensor are NaN, or infinite."""
    numbers = _numbers(graph, value)
    nan, inf = int(torch.isnan(numbers).sum()), int(torch.isinf(numbers).sum())
    kind = "NaN" if nan and not inf else "infinity" if inf and not nan else "NaN or infinity"
    return f"{kind} in {nan + inf} of its {numbers.numel()} elements"
