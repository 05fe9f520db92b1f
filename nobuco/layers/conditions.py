"""Where a converted model is right, checked where it is called: by sizes that its conversion decided by.

A region is a comparison of sizes, as `"x.shape[2] % 4 == 0"`. It comes from a file, so that it is read as such, and not
run as Python.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.Div: operator.truediv, ast.USub: operator.neg, ast.Pow: math.pow,
    ast.BitOr: operator.or_, ast.BitXor: operator.xor,
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "max": max, "min": min, "abs": abs, "round": round, "ceil": math.ceil, "floor": math.floor, "trunc": math.trunc,
    "sqrt": math.sqrt, "log": math.log, "log2": math.log2, "log10": math.log10, "bit_length": int.bit_length,
}  # fmt: skip
_LONGEST = 500

Shape = Sequence["int | None"]


@dataclass(frozen=True)
class SizeCondition:
    """A region, and what to say outside of it."""

    region: str
    message: str

    def holds(self, shapes: Mapping[str, Shape]) -> bool | None:
        """Whether inputs of these shapes, by name and in PyTorch's order, are in the region; None: unknown."""
        try:
            return bool(_value(ast.parse(self.region[:_LONGEST], mode="eval").body, shapes))
        except ZeroDivisionError:  # no size of the region is one where it has no meaning
            return False
        except (SyntaxError, LookupError, TypeError, ValueError, ArithmeticError, RecursionError):
            return None


def _value(node: ast.AST, shapes: Mapping[str, Shape]) -> Any:
    """What a part of a region is for these shapes; `TypeError` where it is no comparison of sizes."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
        size = shapes[ast.unparse(node.value.value)][_value(node.slice, shapes)]
        if size is None:
            raise LookupError(node)
        return size
    if isinstance(node, ast.UnaryOp):
        return _OPERATORS[type(node.op)](_value(node.operand, shapes))
    if isinstance(node, ast.BinOp):
        return _OPERATORS[type(node.op)](_value(node.left, shapes), _value(node.right, shapes))
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        terms = [_value(term, shapes) for term in node.values]  # so that one that is unknown is not passed over
        return all(terms)
    if isinstance(node, ast.Compare):
        terms = [_value(term, shapes) for term in (node.left, *node.comparators)]
        return all(_OPERATORS[type(op)](a, b) for op, a, b in zip(node.ops, terms, terms[1:]))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return _FUNCTIONS[node.func.id](*(_value(arg, shapes) for arg in node.args))
    raise TypeError(f"{ast.dump(node)} is no comparison of sizes")
