"""One operation under many callables: function and method, in place, Python's operators, and ATen's overloads.

`torch.sub`, `Tensor.sub`, `Tensor.sub_`, `x - y`, `x -= y`, `2 - x`, `torch.rsub` and some overloads of ATen are one
operation. A converter is registered for one of these; the others follow from the names that PyTorch and Python give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from nobuco.ops.names import Lacking
from nobuco.ops.schema import arguments_of, fits, overloads, signatures

# What Python's operators are called in PyTorch, by the names of their methods: `__iadd__` works in place, and
# `__radd__` has the operands the other way round.
_OPERATORS = {
    "add": "add", "sub": "sub", "mul": "mul", "div": "div", "truediv": "div", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "pow", "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or",
    "xor": "bitwise_xor", "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift", "eq": "eq", "ne": "ne",
    "lt": "lt", "le": "le", "gt": "gt", "ge": "ge", "invert": "bitwise_not",
}  # fmt: skip
_METHODS = {f"__{kind}{name}__": (kind, of) for name, of in _OPERATORS.items() for kind in ("", "i", "r")}
_SPACES = (
    (torch, ""), (torch.Tensor, ""), (torch.nn.functional, ""), (torch.special, "special_"),
    (torch.linalg, "linalg_"), (torch.fft, "fft_"),
)  # fmt: skip


def name_of(operation: Any) -> str:
    """What PyTorch calls an operation, as its schema does: `linalg_norm`, `add_`, `__radd__`."""
    if _is_overload(operation):
        return operation._schema.name.partition("::")[2]
    if isinstance(operation, Lacking):
        return operation.name.rpartition(".")[2]
    return getattr(operation, "__name__", "")


def is_in_place(operation: Any) -> bool:
    """Whether an operation writes its result to its first argument, by its name."""
    name = name_of(operation)
    return _METHODS[name][0] == "i" if name in _METHODS else name.endswith("_") and not name.startswith("__")


def is_reflected(operation: Any) -> bool:
    """Whether the second operand is the first argument: in `2 - x`, which is `Tensor.__rsub__`, and `torch.rsub`."""
    name = name_of(operation)
    return name == "rsub" or (name in _METHODS and _METHODS[name][0] == "r")


def plain_forms(operations: Sequence[Any], function: Callable[..., Any]) -> Iterator[Any]:
    """Functions, methods and overloads of the operations' own names, as far as a converter of this signature fits."""
    for name, homes in _homes(operations).items():
        yield from _named(name, homes, function)


def turned_forms(operations: Sequence[Any], function: Callable[..., Any]) -> Iterator[Any]:
    """The same in place, in new memory, and with the operands the other way round."""
    for operation in filter(_is_overload, operations):
        same = (*overloads(f"{name_of(operation)}_"), *overloads(f"{name_of(operation)}_copy"))
        yield from (op for op in same if op._overloadname == operation._overloadname)
    for name, homes in _homes(operations).items():
        methods = [method for method, (_, of) in _METHODS.items() if of == name]
        for turned in (f"{name}_", f"{name}_copy", *methods, *(("rsub",) if name == "sub" else ())):
            yield from _named(turned, homes, function)


def _is_overload(operation: Any) -> bool:
    return isinstance(operation, torch._ops.OpOverload)


def _homes(operations: Sequence[Any]) -> dict[str, list[Any]]:
    """By the names of PyTorch's functions and methods among these: the modules that have them."""
    homes: dict[str, list[Any]] = {}
    for operation in operations:
        name = name_of(operation)
        for space, prefix in () if _is_overload(operation) else _SPACES:
            if operation in (_in(space, name, prefix), Lacking(f"torch.{name}")):
                homes.setdefault(name, []).append(space)
    return homes


def _named(name: str, homes: Sequence[Any], function: Callable[..., Any]) -> Iterator[Any]:
    for space, prefix in _SPACES:
        member = _in(space, name, prefix)
        if member is not None and (space in homes or space is torch.Tensor or _takes_alike(member, name, function)):
            yield member
    yield from (op for op in overloads(name) if fits(arguments_of(op), function))


def _in(space: Any, name: str, prefix: str) -> Any:
    """The function or method of that name in a module or class of PyTorch's."""
    has_it = name.startswith(prefix) and (space is torch.Tensor or name not in _METHODS)
    member = getattr(space, name.removeprefix(prefix), None) if has_it else None
    return member if callable(member) else None


def _takes_alike(operation: Any, name: str, function: Callable[..., Any]) -> bool:
    """Whether a converter of this signature takes what a function of PyTorch's in another module takes."""
    schemas = signatures(operation, name)
    return bool(schemas) and all(fits(arguments, function) for arguments in schemas)
