"""Linear layers and products of vectors, matrices and tensors."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import keras
import tensorflow as tf

from nobuco.assemble.chain import Chain
from nobuco.assemble.learned import Learned, filled, learned, variable
from nobuco.converters.arithmetic import scaled
from nobuco.converters.repeating import diagonal
from nobuco.converters.support import cast, promoted, rank, sizes
from nobuco.ir import Node
from nobuco.layers import OpLayer
from nobuco.layers.dense import Dense
from nobuco.layout import ChannelOrderingStrategy
from nobuco.layout.movement import Freed
from nobuco.layout.order import ChannelOrder
from nobuco.ops.names import F, nn, torch
from nobuco.registry import ChannelUse, Converter, Folding, converter, expression, registry

FORCE_PYTORCH_ORDER = ChannelOrderingStrategy.FORCE_PYTORCH_ORDER


def dense(weight: Learned, bias: Learned | None, rank: int, name: str | None = None) -> keras.layers.Dense:
    """A built layer that does what `F.linear` does with these weights, for inputs of this rank."""
    kind = keras.layers.Dense if rank == 2 else Dense
    layer = kind(weight.shape[0], use_bias=bias is not None, dtype=weight.dtype, name=name)
    layer.build((*[None] * (rank - 1), weight.shape[1]))
    return filled(layer, weight.T, bias)


def Linear(self: nn.Linear, input: torch.Tensor) -> Any:
    """nn.Linear"""
    weight, bias = Learned.of(self.weight), learned(self.bias)
    if input.ndim > 1:
        return dense(weight, bias, input.ndim)
    layer = dense(weight, bias, 2)
    return lambda input: layer(input[tf.newaxis])[0]


def ordered_linear(self: nn.Linear, input: torch.Tensor, taken: Freed | None, given: Freed | None) -> Any:
    """nn.Linear on a matrix, its columns, or those that it gives, in an order of their own."""
    before, after = (side.order if side is not None else None for side in (taken, given))
    weight, bias = Learned.of(self.weight).ordered(1, before).ordered(0, after), learned(self.bias)
    return dense(weight, bias and bias.ordered(0, after), 2)


def _takes_matrix(node: Node, *_: Any) -> bool:
    return node.inputs[0].rank == 2


def flattened_linear(self: nn.Linear, input: torch.Tensor, order: ChannelOrder) -> Chain:
    """nn.Linear after nn.Flatten: its kernel takes the elements as they lie, so that the tensor is not turned."""
    features, width = self.weight.shape
    unflattened = Learned.of(self.weight).reshape(features, *input.shape[1:])
    kernel = unflattened.transpose(*order.permutation(input.ndim)).reshape(features, width)
    flatten = OpLayer(lambda x: tf.reshape(x, [-1, width]))  # Keras asks for the batch's size first
    return Chain((flatten, dense(kernel, learned(self.bias), 2)))


registry.add(
    Converter(
        (nn.Linear,), Linear, Linear, FORCE_PYTORCH_ORDER,
        after_flattening=Converter(
            (nn.Linear,), flattened_linear, flattened_linear, ChannelOrderingStrategy.OUTPUT_FORCE_PYTORCH_ORDER
        ),
        folding=Folding(_takes_matrix, ordered_linear),
        channels=lambda node: ChannelUse.WEIGHED if _takes_matrix(node) else None,
    )
)  # fmt: skip


@expression(F.linear, strategy=FORCE_PYTORCH_ORDER)
def linear(input: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor | None = None) -> tf.Tensor:
    """linear(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor"""
    product = matmul(input, weight, transpose_b=rank(weight) > 1)
    return product if bias is None else product + bias


@expression(F.bilinear, strategy=FORCE_PYTORCH_ORDER)
def bilinear(input1: tf.Tensor, input2: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor | None = None) -> tf.Tensor:
    """bilinear(Tensor input1, Tensor input2, Tensor weight, Tensor? bias=None) -> Tensor"""
    if rank(input1) == 1:  # TFLite has no product of such
        return bilinear(input1[tf.newaxis], input2[tf.newaxis], weight, bias)[0]
    # Not one einsum: TFLite makes a wrong product of it where there are two batch dimensions.
    product = tf.linalg.matvec(tf.tensordot(input1, weight, [[-1], [1]]), input2)
    return product if bias is None else product + bias


@converter(nn.Bilinear, channel_ordering_strategy=FORCE_PYTORCH_ORDER)
def Bilinear(self: nn.Bilinear, input1: torch.Tensor, input2: torch.Tensor) -> Any:
    """nn.Bilinear"""
    weight, bias = variable(Learned.of(self.weight), "kernel"), variable(learned(self.bias), "bias")

    def call(input1: tf.Tensor, input2: tf.Tensor) -> tf.Tensor:
        offset = None if bias is None else keras.ops.convert_to_tensor(bias)
        return bilinear(input1, input2, keras.ops.convert_to_tensor(weight), offset)

    return call


# -- products ----------------------------------------------------------------------------------------------


def matmul(input: tf.Tensor, other: tf.Tensor, transpose_b: bool = False) -> tf.Tensor:
    """The product of vectors, matrices or batches of matrices, as `torch.matmul` tells them apart by rank."""
    a, b = promoted(input, other)
    if rank(a) == 1 and rank(b) == 1:
        return tf.reduce_sum(a * b)
    if rank(b) == 1:
        return tf.squeeze(_product(a, b[:, tf.newaxis], False), -1)
    if rank(a) == 1:
        return tf.squeeze(_product(a[tf.newaxis], b, transpose_b), -2)
    return _product(a, b, transpose_b)


def _product(a: tf.Tensor, b: tf.Tensor, transpose_b: bool) -> tf.Tensor:
    """TensorFlow multiplies matrices of 8 and 16 bit integers as 32 bit ones only."""
    if a.dtype in (tf.int8, tf.int16, tf.uint8):
        wide = tf.matmul(tf.cast(a, tf.int32), tf.cast(b, tf.int32), transpose_b=transpose_b)
        return tf.cast(wide, a.dtype)
    return tf.matmul(a, b, transpose_b=transpose_b)


@expression(torch.matmul, torch.mm, torch.bmm, torch.mv, torch.dot, strategy=FORCE_PYTORCH_ORDER)
def matrix_product(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """matmul(Tensor self, Tensor other) -> Tensor"""
    return matmul(input, other)


@expression(torch.vdot, strategy=FORCE_PYTORCH_ORDER)
def vdot(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """vdot(Tensor self, Tensor other) -> Tensor"""
    return matmul(tf.math.conj(input) if input.dtype.is_complex else input, other)


@expression(torch.inner, strategy=FORCE_PYTORCH_ORDER)
def inner(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """inner(Tensor self, Tensor other) -> Tensor"""
    a, b = promoted(input, other)
    return a * b if 0 in (rank(a), rank(b)) else contracted(a, b, [rank(a) - 1], [rank(b) - 1])


@expression(torch.outer, torch.ger, strategy=FORCE_PYTORCH_ORDER)
def outer(input: tf.Tensor, vec2: tf.Tensor) -> tf.Tensor:
    """outer(Tensor self, Tensor vec2) -> Tensor"""
    a, b = promoted(input, vec2)
    return tf.logical_and(a[:, tf.newaxis], b) if a.dtype == tf.bool else a[:, tf.newaxis] * b


def _added(base: tf.Tensor, product: tf.Tensor, beta: Any, alpha: Any) -> tf.Tensor:
    """`beta * base + alpha * product`; with a beta of zero, the base does not count even where it is NaN."""
    product = scaled(product, alpha)
    if beta == 0:
        return product
    base = scaled(base, beta)
    return tf.logical_or(product, base) if product.dtype == tf.bool else product + base


@expression(torch.addmm, torch.baddbmm, strategy=FORCE_PYTORCH_ORDER)
def addmm(input: tf.Tensor, mat1: tf.Tensor, mat2: tf.Tensor, *, beta: Any = 1, alpha: Any = 1) -> tf.Tensor:
    """addmm(Tensor self, Tensor mat1, Tensor mat2, *, Scalar beta=1, Scalar alpha=1) -> Tensor"""
    return _added(input, matmul(mat1, mat2), beta, alpha)


@expression(torch.addbmm, strategy=FORCE_PYTORCH_ORDER)
def addbmm(input: tf.Tensor, batch1: tf.Tensor, batch2: tf.Tensor, *, beta: Any = 1, alpha: Any = 1) -> tf.Tensor:
    """addbmm(Tensor self, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1) -> Tensor"""
    return _added(input, tf.reduce_sum(matmul(batch1, batch2), axis=0), beta, alpha)


@expression(torch.addmv, strategy=FORCE_PYTORCH_ORDER)
def addmv(input: tf.Tensor, mat: tf.Tensor, vec: tf.Tensor, *, beta: Any = 1, alpha: Any = 1) -> tf.Tensor:
    """addmv(Tensor self, Tensor mat, Tensor vec, *, Scalar beta=1, Scalar alpha=1) -> Tensor"""
    return _added(input, matmul(mat, vec), beta, alpha)


@expression(torch.addr, strategy=FORCE_PYTORCH_ORDER)
def addr(input: tf.Tensor, vec1: tf.Tensor, vec2: tf.Tensor, *, beta: Any = 1, alpha: Any = 1) -> tf.Tensor:
    """addr(Tensor self, Tensor vec1, Tensor vec2, *, Scalar beta=1, Scalar alpha=1) -> Tensor"""
    return _added(input, outer(vec1, vec2), beta, alpha)


@expression(torch.chain_matmul, torch.linalg.multi_dot, strategy=FORCE_PYTORCH_ORDER)
def chain_matmul(*matrices: Any, tensors: Any = None, out: Any = None) -> tf.Tensor:
    """chain_matmul(Tensor[] matrices) -> Tensor"""
    first, *rest = tensors or (matrices[0] if isinstance(matrices[0], (list, tuple)) else matrices)
    for matrix in rest:
        first = matmul(first, matrix)
    return first


@expression(torch.tensordot, strategy=FORCE_PYTORCH_ORDER)
def tensordot(a: tf.Tensor, b: tf.Tensor, dims: Any = 2, out: Any = None) -> tf.Tensor:
    """tensordot(Tensor self, Tensor other, int[] dims_self, int[] dims_other) -> Tensor"""
    if tf.is_tensor(dims):
        dims = tf.get_static_value(dims).tolist()
    a, b = promoted(a, b)
    dims = (range(-dims, 0), range(dims)) if isinstance(dims, int) else dims
    first, second = ([d] if isinstance(d, int) else list(d) for d in dims)
    dims = [[d % rank(a) for d in first], [d % rank(b) for d in second]]
    for i, j in zip(*dims):  # a size of one goes with any other
        if a.shape[i] == 1 and b.shape[j] != 1:
            b = tf.reduce_sum(b, j, keepdims=True)
        elif b.shape[j] == 1 and a.shape[i] != 1:
            a = tf.reduce_sum(a, i, keepdims=True)
    return contracted(a, b, *dims)


def contracted(a: tf.Tensor, b: tf.Tensor, first: Sequence[int], second: Sequence[int]) -> tf.Tensor:
    """`tf.tensordot` over these axes of each, of sizes that TFLite may learn as it runs."""
    kept, left = ([i for i in range(rank(x)) if i not in own] for x, own in ((a, first), (b, second)))
    rows, columns = [sizes(a)[i] for i in kept], [sizes(b)[i] for i in left]
    count = prod(sizes(b)[i] for i in second)
    product = tf.matmul(
        tf.reshape(tf.transpose(a, [*kept, *first]), [prod(rows), count]),
        tf.reshape(tf.transpose(b, [*left, *second]), [prod(columns), count]),
        transpose_b=True,
    )
    return tf.reshape(product, [*rows, *columns])


@expression(torch.kron, strategy=FORCE_PYTORCH_ORDER)
def kron(input: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """kron(Tensor self, Tensor other) -> Tensor"""
    a, b = promoted(input, other)
    n = max(rank(a), rank(b))
    own, theirs = ([1] * (n - rank(x)) + sizes(x) for x in (a, b))
    if n > 3:  # TensorFlow broadcasts no more than a few axes in turn
        pairs = tf.reshape(tf.reshape(a, [-1, 1]) * tf.reshape(b, [1, -1]), own + theirs)
        spread = tf.transpose(pairs, [i for dim in range(n) for i in (dim, n + dim)])
        return tf.reshape(spread, [p * q for p, q in zip(own, theirs)])
    spread = tf.reshape(a, [m for size in own for m in (size, 1)]) * tf.reshape(
        b, [m for size in theirs for m in (1, size)]
    )
    return tf.reshape(spread, [p * q for p, q in zip(own, theirs)])


@expression(torch.linalg.cross, strategy=FORCE_PYTORCH_ORDER)
def linalg_cross(input: tf.Tensor, other: tf.Tensor, *, dim: int = -1) -> tf.Tensor:
    """linalg_cross(Tensor self, Tensor other, *, int dim=-1) -> Tensor"""
    return cross(input, other, dim)


@expression(torch.cross, strategy=FORCE_PYTORCH_ORDER)
def cross(input: tf.Tensor, other: tf.Tensor, dim: int | None = None) -> tf.Tensor:
    """cross(Tensor self, Tensor other, int? dim=None) -> Tensor"""
    a, b = promoted(input, other)
    along = a.shape.as_list().index(3) if dim is None else dim % rank(a)
    (a1, a2, a3), (b1, b2, b3) = (tf.unstack(x, 3, along) for x in (a, b))
    return tf.stack([a2 * b3 - a3 * b2, a3 * b1 - a1 * b3, a1 * b2 - a2 * b1], axis=along)


# -- einsum ------------------------------------------------------------------------------------------------

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _subscripts(dims: Sequence[Any]) -> str:
    return "".join("..." if d is Ellipsis else _LETTERS[d] for d in dims)


def _equation(operands: Sequence[Any]) -> tuple[str, list[tf.Tensor]]:
    """Both forms of a call, `(equation, *operands)` and `(op, dims, op, dims, ..., [dims])`, as the first."""
    if isinstance(operands[0], str):
        equation, *tensors = operands
        if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
            tensors = list(tensors[0])
        return equation.replace(" ", ""), tensors
    pairs = len(operands) // 2
    left = ",".join(_subscripts(dims) for dims in operands[1 : 2 * pairs : 2])
    right = "->" + _subscripts(operands[-1]) if len(operands) % 2 else ""
    return left + right, list(operands[: 2 * pairs : 2])


def _named(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The letters of each operand's axes and of the result's, those that `...` stands for included.

    Without an arrow the result has what stands once, in alphabetical order, behind those.
    """
    left, arrow, right = equation.partition("->")
    operands = left.split(",")
    unnamed = [rank - len(dims.replace("...", "")) if "..." in dims else 0 for dims, rank in zip(operands, ranks)]
    rest = "".join([letter for letter in _LETTERS if letter not in equation][: max(unnamed)])
    once = "".join(sorted(letter for letter in set(left) - set(".,") if left.count(letter) == 1))
    found = [dims.replace("...", rest[len(rest) - count :]) for dims, count in zip(operands, unnamed)]
    return found, right.replace("...", rest) if arrow else rest + once


def _diagonals(subscripts: str, x: tf.Tensor) -> tuple[str, tf.Tensor]:
    """An operand with a repeated subscript (a diagonal) as one without: TFLite's products know none."""
    for letter in sorted(set(subscripts)):
        while subscripts.count(letter) > 1:
            first = subscripts.index(letter)
            second = subscripts.index(letter, first + 1)
            x = diagonal(x, 0, first, second)
            subscripts = "".join(c for i, c in enumerate(subscripts) if i not in (first, second)) + letter
    return subscripts, x


def _rearranged(subscripts: str, x: tf.Tensor, right: str) -> tf.Tensor:
    """One operand, each of its subscripts there once: summed over what the output lacks, and transposed."""
    lacking = [i for i, c in enumerate(subscripts) if c not in right]
    x = tf.reduce_sum(cast(x, tf.int64) if x.dtype.is_integer else x, lacking) if lacking else x
    kept = [c for c in subscripts if c in right]
    return tf.transpose(x, [kept.index(c) for c in right])


def _broadcast(pairs: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Operands without the axes of size one that another operand is larger along, which PyTorch stretches."""
    sizes_of: dict[str, set[int | None]] = {}
    for subscripts, x in pairs:
        for letter, size in zip(subscripts, x.shape):
            sizes_of.setdefault(letter, set()).add(size)
    stretched = {letter for letter, found in sizes_of.items() if 1 in found and len(found) > 1}

    def without(subscripts: str, x: tf.Tensor) -> tuple[str, tf.Tensor]:
        ones = [i for i, letter in enumerate(subscripts) if letter in stretched and x.shape[i] == 1]
        return "".join(c for i, c in enumerate(subscripts) if i not in ones), tf.squeeze(x, ones) if ones else x

    return [without(*pair) for pair in pairs]


def _summed(subscripts: str, x: tf.Tensor, asked: str) -> tuple[str, tf.Tensor]:
    """An operand without what nothing else asks for, over which TFLite's products do not sum."""
    lacking = [i for i, c in enumerate(subscripts) if c not in asked]
    return "".join(c for c in subscripts if c in asked), tf.reduce_sum(x, lacking) if lacking else x


def _contracted(a: tuple[str, Any], b: tuple[str, Any], later: str) -> tuple[str, Any]:
    """The product of two operands, with the letters that something later asks for."""
    kept = "".join(dict.fromkeys(letter for letter in a[0] + b[0] if letter in later))
    return kept, tf.einsum(f"{a[0]},{b[0]}->{kept}", a[1], b[1])


@expression(torch.einsum, strategy=FORCE_PYTORCH_ORDER)
def einsum(*operands: Any) -> tf.Tensor:
    """einsum(str equation, Tensor[] tensors, ...) -> Tensor"""
    equation, tensors = _equation(operands)
    given = promoted(*tensors)
    if len(given) > 1 and given[0].dtype in (tf.uint8, tf.int8, tf.int16):
        # TensorFlow has no products of these; a sum wraps alike.
        return cast(einsum(equation, *(cast(x, tf.int32) for x in given)), given[0].dtype)
    left, right = _named(equation, [rank(x) for x in given])
    pairs = _broadcast([_diagonals(*pair) for pair in zip(left, given)])
    if len(pairs) == 1:
        return _rearranged(*pairs[0], right)
    texts = [subscripts for subscripts, _ in pairs]
    pairs = [_summed(s, x, right + "".join(texts[:i] + texts[i + 1 :])) for i, (s, x) in enumerate(pairs)]
    while len(pairs) > 2:  # TFLite has no product of three
        pairs = [_contracted(pairs[0], pairs[1], right + "".join(s for s, _ in pairs[2:])), *pairs[2:]]
    (first, x), (last, y) = pairs
    if first == last and not right:
        return tf.reduce_sum(cast(x * y, tf.int64) if x.dtype.is_integer else x * y)  # nor one that leaves no axis
    return tf.einsum(f"{first},{last}->{right}", x, y)
