"""One operation under many callables: function and method, in place, Python's operators, and ATen's overloads.

`torch.sub`, `Tensor.sub`, `Tensor.sub_`, `x - y`, `x -= y`, `2 - x`, `torch.rsub` and some overloads of ATen are one
operation. A converter is registered for one of these; the others follow from the names that PyTorch and Python give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from nobuco.ops.names import Lacking
from nobuco.ops.schema import fits, of_schema, overloads, signatures

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
    if isinstance(operation, torch._ops.OpOverload):
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


def plain_forms(operation: Any, function: Callable[..., Any]) -> Iterator[Any]:
    """Function, method and overloads of an operation's own name, as far as a converter of this signature takes them."""
    if not isinstance(operation, torch._ops.OpOverload):
        yield from _named(name_of(operation), _homes(operation), function)


def turned_forms(operation: Any, function: Callable[..., Any]) -> Iterator[Any]:
    """The same in place, in new memory, and with the operands the other way round."""
    name = name_of(operation)
    if isinstance(operation, torch._ops.OpOverload):
        same = (*overloads(f"{name}_"), *overloads(f"{name}_copy"))
        yield from (op for op in same if op._overloadname == operation._overloadname)
    elif not name.endswith("_"):
        methods = [method for method, (_, of) in _METHODS.items() if of == name]
        for turned in (f"{name}_", f"{name}_copy", *methods, *(("rsub",) if name == "sub" else ())):
            yield from _named(turned, _homes(operation), function)


def _homes(operation: Any) -> list[Any]:
    """The modules of PyTorch's that have an operation; nothing for somebody else's."""
    name = name_of(operation)
    return [space for space, prefix in _SPACES if operation in (_in(space, name, prefix), Lacking(f"torch.{name}"))]


def _named(name: str, homes: Sequence[Any], function: Callable[..., Any]) -> Iterator[Any]:
    for space, prefix in _SPACES if homes else ():
        found = _in(space, name, prefix)
        if found is not None and (space in homes or space is torch.Tensor or _takes_alike(found, name, function)):
            yield found
    if homes:
        yield from (op for op in overloads(name) if fits(of_schema(op._schema), function))


def _in(space: Any, name: str, prefix: str) -> Any:
    """The function or method of that name in a module or class of PyTorch's."""
    has_it = name.startswith(prefix) and (space is torch.Tensor or name not in _METHODS)
    found = getattr(space, name.removeprefix(prefix), None) if has_it else None
    return found if callable(found) else None


def _takes_alike(operation: Any, name: str, function: Callable[..., Any]) -> bool:
    """Whether a converter of this signature takes what a function of PyTorch's in another module takes."""
    found = signatures(operation, name)
    return bool(found) and all(fits(arguments, function) for arguments in found)
