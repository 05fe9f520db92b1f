"""Modified Bessel functions by polynomials, which TFLite has, where float32 holds no more digits than they give.

The polynomials are those of Abramowitz and Stegun, Handbook of Mathematical Functions, 9.8.1 to 9.8.8; float64 goes to
TensorFlow's own functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

Function = Callable[[tf.Tensor], tf.Tensor]

# I0 and I1 / x in powers of (x / 3.75)^2, up to 3.75; sqrt(x) exp(-x) times I0 and I1 in powers of 3.75 / x, beyond.
_I0_NEAR = (1.0, 3.5156229, 3.0899424, 1.2067492, 0.2659732, 0.0360768, 0.0045813)
_I1_NEAR = (0.5, 0.87890594, 0.51498869, 0.15084934, 0.02658733, 0.00301532, 0.00032411)
_I0_FAR = (
    0.39894228, 0.01328592, 0.00225319, -0.00157565, 0.00916281, -0.02057706, 0.02635537, -0.01647633, 0.00392377
)  # fmt: skip
_I1_FAR = (
    0.39894228, -0.03988024, -0.00362018, 0.00163801, -0.01031555, 0.02282967, -0.02895312, 0.01787654, -0.00420059
)  # fmt: skip
# What K0 and x K1 are beside a logarithm in powers of (x / 2)^2, up to 2; sqrt(x) exp(x) times them in powers of 2 / x.
_K0_NEAR = (-0.57721566, 0.42278420, 0.23069756, 0.03488590, 0.00262698, 0.00010750, 0.00000740)
_K1_NEAR = (1.0, 0.15443144, -0.67278579, -0.18156897, -0.01919402, -0.00110404, -0.00004686)
_K0_FAR = (1.25331414, -0.07832358, 0.02189568, -0.01062446, 0.00587872, -0.00251540, 0.00053208)
_K1_FAR = (1.25331414, 0.23498619, -0.03655620, 0.01504268, -0.00780353, 0.00325614, -0.00068245)


def _polynomial(x: tf.Tensor, coefficients: Sequence[float]) -> tf.Tensor:
    *lower, total = coefficients
    for coefficient in reversed(lower):
        total = total * x + coefficient
    return total


def _first_kind(near: Sequence[float], far: Sequence[float], odd: bool, scaled: bool) -> Function:
    def function(x: tf.Tensor) -> tf.Tensor:
        size = tf.abs(x)
        small = _polynomial(tf.square(x / 3.75), near) * (x if odd else 1.0)
        small = small * tf.exp(-size) if scaled else small
        beyond = tf.maximum(size, 3.75)
        large = _polynomial(3.75 / beyond, far) * tf.math.rsqrt(beyond)
        large = large if scaled else large * tf.exp(beyond)
        return tf.where(size < 3.75, small, large * tf.sign(x) if odd else large)

    return function


def _second_kind(near: Sequence[float], far: Sequence[float], first: Function, odd: bool, scaled: bool) -> Function:
    def function(x: tf.Tensor) -> tf.Tensor:
        within = tf.minimum(x, 2.0)
        rest = _polynomial(tf.square(within / 2), near)
        logarithm = tf.math.log(tf.maximum(within / 2, 1e-37) if odd else within / 2)  # I1 is zero where it is infinite
        small = rest / within + logarithm * first(within) if odd else rest - logarithm * first(within)
        small = small * tf.exp(within) if scaled else small
        beyond = tf.maximum(x, 2.0)
        large = _polynomial(2 / beyond, far) * tf.math.rsqrt(beyond)
        return tf.where(x <= 2, small, large if scaled else large * tf.exp(-beyond))

    return function


def _by_dtype(own: Function, tensorflows: Function) -> Function:
    """A function of float64 is TensorFlow's; one of fewer bits is computed in 32."""

    def function(x: tf.Tensor) -> tf.Tensor:
        return tensorflows(x) if x.dtype == tf.float64 else tf.cast(own(tf.cast(x, tf.float32)), x.dtype)

    return function


_i0, _i1 = _first_kind(_I0_NEAR, _I0_FAR, False, False), _first_kind(_I1_NEAR, _I1_FAR, True, False)

i0 = _by_dtype(_i0, tf.math.bessel_i0)
i1 = _by_dtype(_i1, tf.math.bessel_i1)
i0e = _by_dtype(_first_kind(_I0_NEAR, _I0_FAR, False, True), tf.math.bessel_i0e)
i1e = _by_dtype(_first_kind(_I1_NEAR, _I1_FAR, True, True), tf.math.bessel_i1e)
k0 = _by_dtype(_second_kind(_K0_NEAR, _K0_FAR, _i0, False, False), tf.math.special.bessel_k0)
k1 = _by_dtype(_second_kind(_K1_NEAR, _K1_FAR, _i1, True, False), tf.math.special.bessel_k1)
k0e = _by_dtype(_second_kind(_K0_NEAR, _K0_FAR, _i0, False, True), tf.math.special.bessel_k0e)
k1e = _by_dtype(_second_kind(_K1_NEAR, _K1_FAR, _i1, True, True), tf.math.special.bessel_k1e)
