"""Functions of real numbers that TFLite lacks, or has in a form that loses digits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from typing import Any

import tensorflow as tf

from nobuco.export.lowering.operation import Rule


def log1p(x: Any) -> Any:
    """log(1 + x), which TFLite's own converter makes of it, has no digits of small numbers; the series has them."""
    near = tf.clip_by_value(x, -0.4, 0.5)
    s = near / (2 + near)  # log1p(x) = 2 artanh(x / (2 + x))
    return 2 * s * polynomial(s * s, (1 / 11, 1 / 9, 1 / 7, 1 / 5, 1 / 3, 1)) + (
        tf.math.log(1 + x) - tf.math.log(1 + near)
    )


def expm1(x: Any) -> Any:
    """exp(x) - 1, which TFLite's own converter makes of it, has no digits of small numbers; the tangent has them."""
    near = tf.clip_by_value(x, -1, 1)
    half = tf.tanh(near / 2)
    return 2 * half / (1 - half) + (tf.exp(x) - tf.exp(near))


def sinh(x: Any) -> Any:
    """From expm1, which keeps the digits of small numbers."""
    return (expm1(x) - expm1(-x)) / 2


def cosh(x: Any) -> Any:
    """The mean of two powers."""
    return (tf.exp(x) + tf.exp(-x)) / 2


def tan(x: Any) -> Any:
    """The sine over the cosine."""
    return tf.sin(x) / tf.cos(x)


def erf(x: Any) -> Any:
    """A quotient of polynomials, by which TensorFlow computes it (Eigen's `generic_fast_erf`)."""
    square = tf.minimum(x * x, 16)  # beyond, it is 1 in float32
    quotient = x * polynomial(square, _ERF_ABOVE) / polynomial(square, _ERF_BELOW)
    return tf.clip_by_value(quotient, -1, 1)


_ERF_ABOVE = (
    2.123732201653183e-06, 2.861979592125863e-04, 3.658048342913389e-03, 5.243302136659622e-02, 1.874160766601562e-01,
    1.128379106521606,
)  # fmt: skip
_ERF_BELOW = (
    3.891857340931892e-05, 1.143296016380191e-03, 1.475208811461926e-02, 1.129456758499145e-01, 4.994257986545563e-01,
    1.0,
)  # fmt: skip


def erfc(x: Any) -> Any:
    """Near zero 1 - erf; beyond a quotient of polynomials in 1 / x² (Eigen's `generic_fast_erfc`)."""
    size = tf.clip_by_value(tf.abs(x), 1, 11)
    inverse = 1 / (size * size)
    quotient = polynomial(inverse, _ERFC_ABOVE) / (size * polynomial(inverse, _ERFC_BELOW))
    high = tf.round(size * 64) / 64  # its square has all its digits, so the exponent loses none
    far = quotient * tf.exp(-high * high) * tf.exp((high - size) * (high + size))
    return tf.where(tf.abs(x) > 1, tf.where(x < 0, 2 - far, far), 1 - erf(x))


_ERFC_ABOVE = (1.0208116471767426e-01, 4.2920666933059692e-01, 3.2379078865051270e-01, 5.3971976041793823e-02)
_ERFC_BELOW = (1.7251677811145782e-02, 3.9137163758277893e-01, 1.0, 6.2173241376876831e-01, 9.5662862062454224e-02)


def erfinv(x: Any) -> Any:
    """M. Giles, Approximating the erfinv function (2010), in single precision."""
    w = -tf.math.log((1 - x) * (1 + x))
    near = polynomial(tf.minimum(w, 5) - 2.5, _ERFINV_NEAR)
    far = polynomial(tf.sqrt(tf.clip_by_value(w, 5, 120)) - 3, _ERFINV_FAR)
    edge = tf.math.log(1 - tf.abs(x))  # minus infinity at 1, NaN beyond
    return tf.where(tf.abs(x) < 1, x * tf.where(w < 5, near, far), -edge * tf.sign(x))


_ERFINV_NEAR = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 2.1858087e-04, -1.25372503e-03, -4.17768164e-03,
    2.46640727e-01, 1.50140941,
)  # fmt: skip
_ERFINV_FAR = (
    -2.00214257e-04, 1.00950558e-04, 1.34934322e-03, -3.67342844e-03, 5.73950773e-03, -7.6224613e-03, 9.43887047e-03,
    1.00167406, 2.83297682,
)  # fmt: skip


def polynomial(x: Any, coefficients: Sequence[float]) -> Any:
    """Highest power first, by Horner's rule."""
    value = coefficients[0] * tf.ones_like(x)
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value


_RULES: Mapping[str, Callable[[Any], Any]] = {
    "Log1p": log1p,
    "Expm1": expm1,
    "Erf": erf,
    "Erfc": erfc,
    "Erfinv": erfinv,
}


def rule(operation: tf.Operation) -> Rule | None:
    """What stands for a function.

    log(1 + exp(x)), as activations and losses have it, stays the two operations that it is: their sums have no more
    digits, but for those that are nearly zero.
    """
    compute = _RULES.get(operation.type)
    if compute is None or operation.inputs[0].dtype not in (tf.float32, tf.float16, tf.bfloat16):
        return None
    if compute is log1p and operation.inputs[0].op.type == "Exp":
        return None
    return lambda operation, x: [tf.cast(compute(tf.cast(x, tf.float32)), x.dtype)]


def is_of_gelu(operation: tf.Operation) -> bool:
    """Whether this is the erf of `(0.5 * x) * (1 + erf(x / sqrt(2)))`, in which TFLite's converter finds its GELU.

    It does not where another operation gives one of these products, too.
    """
    if operation.type != "Erf":
        return False
    scaled, readers = operation.inputs[0].op, operation.outputs[0].consumers()
    x = _beside(scaled, "Mul", math.sqrt(0.5))
    x = _beside(scaled, "RealDiv", math.sqrt(2)) if x is None else x
    if x is None or len(readers) != 1 or _beside(readers[0], "AddV2", 1) is None:
        return False
    (total,) = readers[0].outputs
    products = total.consumers()
    if len(products) != 1 or products[0].type != "Mul":
        return False
    return any(_beside(tensor.op, "Mul", 0.5) is x for tensor in products[0].inputs if tensor is not total)


def _beside(operation: tf.Operation, kind: str, number: float) -> Any | None:
    """What an operation of this kind combines with a constant number; None where it is another one."""
    for tensor, other in permutations(operation.inputs) if operation.type == kind else ():
        value = tf.get_static_value(other)
        if value is not None and value.size == 1 and math.isclose(float(value), number, rel_tol=1e-6):
            return tensor
    return None
