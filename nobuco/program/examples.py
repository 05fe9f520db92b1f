"""Arguments that an operation takes, found by trying: for questions about an operation without a program."""

from __future__ import annotations

import inspect
import itertools
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from nobuco.ir import tensors

_SHAPES = ((3, 4), (3, 3), (2, 3, 8, 8), (2, 3, 8), (4,), (2, 3, 4, 6, 6), ())
# Of the first tensor, and of the others.
_TYPES = (
    (torch.float32, torch.float32),
    (torch.int64, torch.int64),
    (torch.float32, torch.int64),
    (torch.bool, torch.bool),
    (torch.complex64, torch.complex64),
)
# By the type of a parameter: what to give for it. Tensors are made anew for each try.
_NUMBERS = {"int": 1, "SymInt": 1, "float": 0.5, "number": 2, "bool": False}


def example_arguments(operation: Any) -> tuple[Any, ...] | None:
    """Positional arguments with which an operation runs and gives a tensor; None where none were found."""
    with torch.no_grad(), torch.random.fork_rng(devices=()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kinds in _parameters(operation):
            for dtypes, shape in itertools.product(_TYPES, _SHAPES):
                if _runs(operation, _arguments(kinds, shape, dtypes)):
                    return _arguments(kinds, shape, dtypes)
    return None


def _arguments(kinds: Sequence[str], shape: Sequence[int], dtypes: tuple[torch.dtype, torch.dtype]) -> tuple[Any, ...]:
    first, others = dtypes
    mixed = shape if first == others else shape[:1]  # numbers beside floats are one per row: classes, indices
    return (*(_example(k, shape, first) for k in kinds[:1]), *(_example(k, mixed, others) for k in kinds[1:]))


def _parameters(operation: Any) -> Iterator[Sequence[str]]:
    """For each form of an operation, the types of the parameters that it cannot do without."""
    for schema in _schemas(operation):
        required = [a for a in schema.arguments if not a.has_default_value() and not a.kwarg_only]
        yield [str(a.type) for a in required]
    try:
        parameters = inspect.signature(operation).parameters.values()
    except (TypeError, ValueError):
        parameters = ()  # type: ignore[assignment]
    required = [
        p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if required:
        yield [
            p.annotation if isinstance(p.annotation, str) else getattr(p.annotation, "__name__", "") for p in required
        ]
        yield ["Tensor" for _ in required]
    yield from (["Tensor"] * count for count in (1, 2, 3))


def _schemas(operation: Any) -> list[Any]:
    operation = getattr(operation, "_opoverload", operation)
    if isinstance(operation, torch._ops.OpOverload):
        return [operation._schema]
    packet = operation
    if not isinstance(operation, torch._ops.OpOverloadPacket):
        name = getattr(operation, "__name__", "")
        packet = getattr(torch.ops.aten, name, None) if name.isidentifier() and not name.startswith("__") else None
    overloads = [] if packet is None else [getattr(packet, overload)._schema for overload in packet.overloads()]
    return [schema for schema in overloads if "Dimname" not in str(schema)]


def _example(kind: str, shape: Sequence[int], dtype: torch.dtype) -> Any:
    if kind.startswith("Optional"):
        return None
    if kind.startswith("List[Tensor"):
        return [_tensor(shape, dtype), _tensor(shape, dtype)]
    if kind.startswith("List["):
        return list(shape[-1:]) or [1]
    return _NUMBERS[kind] if kind in _NUMBERS else _tensor(shape, dtype)


def _tensor(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    if dtype.is_floating_point or dtype.is_complex:
        return torch.rand(tuple(shape), dtype=dtype)
    return torch.randint(0, 2, tuple(shape)).to(dtype)


def _runs(operation: Any, arguments: tuple[Any, ...]) -> bool:
    try:
        inputs = tensors(arguments)
        return bool(inputs) and any(all(t is not g for g in inputs) for t in tensors(operation(*arguments)))
    except Exception:  # whatever it raises: it does not take these
        return False
