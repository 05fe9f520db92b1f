"""Products of matrices that TFLite's converter refuses, or its kernels do: einsum, and sums over nothing."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nobuco.export.lowering.operation import Rule
from nobuco.layers.sizes import sizes as sizes_of

_MATRICES = ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "MatMul")


def einsum(equation: str, *operands: Any) -> Any:
    """A product of one or two operands, as one of matrices."""
    operands_of, out = equation.replace(" ", "").split("->")
    terms = operands_of.split(",")
    letters = iter(letter for letter in string.ascii_letters if letter not in equation)
    ranks = [len(x.shape) - len(term.replace("...", "")) for x, term in zip(operands, terms) if "..." in term]
    rest = "".join(next(letters) for _ in range(max(ranks, default=0)))
    labelled = [
        (x, term.replace("...", rest[len(rest) - (len(x.shape) - len(term.replace("...", ""))) :]))
        for x, term in zip(operands, terms)
    ]
    out = out.replace("...", rest)
    if len(labelled) == 1:
        return _transposed(*_without(*labelled[0], out), out)
    (left, of_left), (right, of_right) = labelled
    return _product(_without(left, of_left, out + of_right), _without(right, of_right, out + of_left), out)


def _without(x: Any, term: str, others: str) -> tuple[Any, str]:
    """An operand summed over what stands in it alone."""
    gone = [place for place, letter in enumerate(term) if letter not in others]
    return (tf.reduce_sum(x, gone) if gone else x), "".join(letter for letter in term if letter in others)


def _product(left: tuple[Any, str], right: tuple[Any, str], out: str) -> Any:
    (a, of_a), (b, of_b) = left, right
    batch = [letter for letter in of_a if letter in of_b and letter in out]
    summed = [letter for letter in of_a if letter in of_b and letter not in out]
    rows, columns = ([letter for letter in term if letter not in other] for term, other in ((of_a, of_b), (of_b, of_a)))
    sizes = {letter: size for x, term in (right, left) for letter, size in zip(term, sizes_of(x)) if _is_known(size, 1)}
    # Of a size that one of both has, the other has all, or one for all.
    a, b = (
        tf.broadcast_to(x, [sizes.get(letter, 1) for letter in term]) if _repeats(x, term, sizes) else x
        for x, term in ((a, of_a), (b, of_b))
    )

    def as_matrix(x: Any, term: str, first: list[str], last: list[str]) -> Any:
        order = [*batch, *first, *last]
        x = tf.transpose(x, [term.index(letter) for letter in order])
        shape = [sizes.get(letter, 1) for letter in batch]
        return tf.reshape(x, [*shape, _total(sizes, first), _total(sizes, last)])

    product = tf.matmul(as_matrix(a, of_a, rows, summed), as_matrix(b, of_b, summed, columns))
    order = [*batch, *rows, *columns]
    return _transposed(tf.reshape(product, [sizes.get(letter, 1) for letter in order]), "".join(order), out)


def _is_known(size: Any, other: int) -> bool:
    return not isinstance(size, int) or size != other


def _repeats(x: Any, term: str, sizes: dict[str, Any]) -> bool:
    return any(size == 1 and letter in sizes for letter, size in zip(term, x.shape))


def _total(sizes: dict[str, Any], letters: Sequence[str]) -> Any:
    total: Any = 1
    for letter in letters:
        total = total * sizes.get(letter, 1)
    return total


def _transposed(x: Any, term: str, out: str) -> Any:
    return tf.transpose(x, [term.index(letter) for letter in out])


def rule(operation: tf.Operation) -> Rule | None:
    """What stands for a product of no terms, which is zero, and for an einsum of real numbers."""
    if operation.type == "Einsum":
        return _rule_of_einsum(operation)
    if operation.type not in _MATRICES:
        return None
    by_rows = operation.get_attr("transpose_a" if operation.type == "MatMul" else "adj_x")
    is_of_nothing = operation.inputs[0].shape.rank and operation.inputs[0].shape[-2 if by_rows else -1] == 0
    shape = operation.outputs[0].shape
    if not is_of_nothing or not shape.is_fully_defined():
        return None
    return lambda operation, *_: [tf.zeros(shape, operation.outputs[0].dtype)]


def _rule_of_einsum(operation: tf.Operation) -> Rule | None:
    """None where a letter stands twice in an operand."""
    equation = operation.get_attr("equation").decode()
    terms = equation.replace(" ", "").replace("...", "").split("->")[0].split(",")
    if len(terms) > 2 or any(len(set(term)) < len(term) for term in terms):
        return None
    return lambda operation, *inputs: [einsum(equation, *inputs)]
