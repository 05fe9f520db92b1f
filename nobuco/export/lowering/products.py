"""Products of matrices that TFLite's converter refuses, or its kernels do: einsum, and sums over nothing."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nobuco.export.lowering.half_precision import wide
from nobuco.export.lowering.operation import Rule
from nobuco.layers.sizes import sizes as sizes_of

_MATRICES = ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "MatMul")


def einsum(equation: str, *operands: Any) -> Any:
    """A product of one or two operands, as one of matrices."""
    terms, out = _terms(equation, [len(x.shape) for x in operands])
    if len(terms) == 1:
        return _transposed(*_without(operands[0], terms[0], out), out)
    (left, right), (of_left, of_right) = operands, terms
    return _product(_without(left, of_left, out + of_right), _without(right, of_right, out + of_left), out)


def _terms(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The letters of each operand's axes, and those of the result's, with letters for `...`."""
    given, out = equation.replace(" ", "").split("->")
    terms = given.split(",")
    unnamed = [rank - len(term.replace("...", "")) if "..." in term else 0 for term, rank in zip(terms, ranks)]
    letters = [letter for letter in string.ascii_letters if letter not in equation][: max(unnamed)]
    named = [term.replace("...", "".join(letters[len(letters) - count :])) for term, count in zip(terms, unnamed)]
    return named, out.replace("...", "".join(letters))


def _without(x: Any, term: str, others: str) -> tuple[Any, str]:
    """An operand summed over what stands in it alone."""
    gone = [place for place, letter in enumerate(term) if letter not in others]
    return (tf.reduce_sum(x, gone) if gone else x), "".join(letter for letter in term if letter in others)


def _product(left: tuple[Any, str], right: tuple[Any, str], out: str) -> Any:
    (a, of_a), (b, of_b) = left, right
    batch = [letter for letter in of_a if letter in of_b and letter in out]
    summed = [letter for letter in of_a if letter in of_b and letter not in out]
    rows, columns = ([letter for letter in term if letter not in other] for term, other in ((of_a, of_b), (of_b, of_a)))
    of_each = [dict(zip(of_a, sizes_of(a))), dict(zip(of_b, sizes_of(b)))]
    sizes = {letter: _common([own[letter] for own in of_each if letter in own]) for letter in of_a + of_b}

    def as_matrix(x: Any, term: str, own: dict[str, Any], first: list[str], last: list[str]) -> Any:
        """Batches of one stay so, which products of matrices stretch themselves."""
        x = _stretched(x, term, {letter: sizes[letter] for letter in summed if _may_differ(own[letter], sizes[letter])})
        x = tf.transpose(x, [term.index(letter) for letter in [*batch, *first, *last]])
        if len(first) == len(last) == 1:
            return x
        return tf.reshape(x, [*(own[letter] for letter in batch), _total(sizes, first), _total(sizes, last)])

    product = tf.matmul(as_matrix(a, of_a, of_each[0], rows, summed), as_matrix(b, of_b, of_each[1], summed, columns))
    order = [*batch, *rows, *columns]
    if not len(rows) == len(columns) == 1:
        product = tf.reshape(product, [sizes[letter] for letter in order])
    return _transposed(product, "".join(order), out)


def _common(sizes: Sequence[Any]) -> Any:
    """The size that axes which stand for each other have, those of one being stretched to it."""
    numbers = [size for size in sizes if isinstance(size, int) and size != 1]
    moving = [size for size in sizes if not isinstance(size, int)]
    if numbers or not moving:
        return numbers[0] if numbers else 1
    return moving[0] if len(moving) == 1 else tf.where(tf.equal(moving[0], 1), moving[1], moving[0])


def _may_differ(own: Any, common: Any) -> bool:
    return own is not common and not (isinstance(own, int) and isinstance(common, int) and own == common)


def _stretched(x: Any, term: str, sizes: dict[str, Any]) -> Any:
    """`x` with axes of these sizes, which may be one: less zeros, for which XNNPACK serves, as for BROADCAST_TO not.

    TFLite's kernels of sums and products, unlike that of differences, end the process where there are no elements.
    """
    return x - tf.zeros([sizes.get(letter, 1) for letter in term], x.dtype) if sizes else x


def _total(sizes: dict[str, Any], letters: Sequence[str]) -> Any:
    total: Any = 1
    for letter in letters:
        total = total * sizes[letter]
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
    return lambda operation, *_: [tf.zeros(shape, wide(operation.outputs[0].dtype))]


def may_stretch(operation: tf.Operation) -> bool:
    """Whether an einsum sums over an axis of dynamic size, which may be one in one of its operands."""
    terms, out = _terms(operation.get_attr("equation").decode(), [x.shape.rank for x in operation.inputs])
    moving = [letter for x, term in zip(operation.inputs, terms) for letter, n in zip(term, x.shape) if n is None]
    return len(terms) > 1 and any(letter not in out and all(letter in term for term in terms) for letter in moving)


def _rule_of_einsum(operation: tf.Operation) -> Rule | None:
    """None where a letter stands twice in an operand."""
    equation = operation.get_attr("equation").decode()
    terms = equation.replace(" ", "").replace("...", "").split("->")[0].split(",")
    if len(terms) > 2 or any(len(set(term)) < len(term) for term in terms):
        return None
    return lambda operation, *inputs: [einsum(equation, *inputs)]
