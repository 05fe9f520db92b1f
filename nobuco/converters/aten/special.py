"""Special functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from nobuco.converters import bessel
from nobuco.converters.math import acos, digamma
from nobuco.converters.rules import remaining
from nobuco.converters.support import aligned, alike, axes, cast, elementwise, promoted, rank, sizes, wide
from nobuco.ir import Value
from nobuco.layout.strategy import broadcasting, keeping
from nobuco.ops.names import aten, torch
from nobuco.ops.schema import overloads
from nobuco.registry import expression


def _unary(name: str, function: Callable[[tf.Tensor], tf.Tensor]) -> None:
    """Register a function of TensorFlow's for the overload of this name, in floating point."""

    @elementwise(getattr(aten, name).default, to_float=True)
    def run(self: tf.Tensor) -> tf.Tensor:
        return function(self)


def _of_positive(function: Callable[[tf.Tensor], tf.Tensor], at_zero: float) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function of positive numbers; at zero, where TensorFlow may give NaN, its limit."""

    def run(x: tf.Tensor) -> tf.Tensor:
        limit, none = (tf.constant(number, x.dtype) for number in (at_zero, math.nan))
        return tf.where(x < 0, none, tf.where(x == 0, limit, function(x)))

    return run


for _name, _function in {
    "special_i0e": bessel.i0e,
    "special_i1": bessel.i1,
    "special_i1e": bessel.i1e,
    "special_modified_bessel_i0": bessel.i0,
    "special_modified_bessel_i1": bessel.i1,
    "special_bessel_j0": tf.math.special.bessel_j0,
    "special_bessel_j1": tf.math.special.bessel_j1,
    "special_bessel_y0": _of_positive(tf.math.special.bessel_y0, -math.inf),
    "special_bessel_y1": _of_positive(tf.math.special.bessel_y1, -math.inf),
    "special_modified_bessel_k0": _of_positive(bessel.k0, math.inf),
    "special_modified_bessel_k1": _of_positive(bessel.k1, math.inf),
    "special_scaled_modified_bessel_k0": _of_positive(bessel.k0e, math.inf),
    "special_scaled_modified_bessel_k1": _of_positive(bessel.k1e, math.inf),
    "special_ndtri": tf.math.ndtri,
}.items():
    _unary(_name, _function)


@elementwise(torch.polygamma, *overloads("polygamma"), promote=False)
def polygamma(n: int, self: tf.Tensor) -> tf.Tensor:
    """polygamma(int n, Tensor self) -> Tensor"""
    (x,) = promoted(self, to_float=True)
    if n == 0:
        return digamma(x)
    sign = 1 if n % 2 else -1
    return wide(lambda x: sign * math.factorial(n) * _zeta(tf.constant(n + 1, x.dtype), x))(x)


@elementwise(*overloads("special_zeta"), operands=2, to_float=True)
def zeta(self: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """special_zeta(Tensor self, Tensor other) -> Tensor"""
    return _zeta(self, other)


# With such an exponent PyTorch's factors overflow 64 bits; it gives NaN unless it has found a sum before.
_OVERFLOWING = 7e12
_BERNOULLI = [1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510]


def _zeta(s: tf.Tensor, q: tf.Tensor) -> tf.Tensor:
    """Hurwitz' zeta function by Euler and Maclaurin, of negative numbers, too, which TensorFlow's does not take."""
    s, q = alike(s, q)
    # Of an exponent of NaN, too: not `~(s < 1)`, of which TFLite's converter makes `s >= 1`.
    pole = (s == 1) | (((s > 1) | tf.math.is_nan(s)) & (q <= 0) & (q == tf.floor(q)))
    undefined = (s < 1) | ((q < 0) & (s != tf.floor(s))) | tf.math.is_nan(s + q)
    q = tf.where(pole | undefined, tf.ones_like(q), q)

    def add(a: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.where(a < 9, a + 1, a), tf.where(a < 9, total + tf.pow(a, -s), total)

    a, total = tf.while_loop(lambda a, _: tf.reduce_any(a < 9), add, (q, tf.zeros_like(q)))
    undefined |= (total == 0) & (s > _OVERFLOWING)
    power = tf.pow(a, -s)
    total += power * a / (s - 1) + power / 2
    # Nothing is left of the power where its exponent is so large that the factors overflow.
    term = tf.where(power == 0, power, s * power / a)
    for k, number in enumerate(_BERNOULLI):
        total += number / math.factorial(2 * k + 2) * term
        term = tf.where(power == 0, term, term * (s + 2 * k + 1) * (s + 2 * k + 2) / tf.square(a))
    nothing = tf.constant(math.nan, q.dtype)
    return tf.where(pole, tf.constant(math.inf, q.dtype), tf.where(undefined, nothing, total))


@elementwise(*overloads("igamma"), operands=2)
def igamma(self: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """igamma(Tensor self, Tensor other) -> Tensor"""
    return wide(tf.math.igamma)(self, other)


@elementwise(*overloads("igammac"), operands=2)
def igammac(self: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """igammac(Tensor self, Tensor other) -> Tensor"""
    return wide(tf.math.igammac)(self, other)


@elementwise(aten.special_erfcx.default, to_float=True)
def erfcx(self: tf.Tensor) -> tf.Tensor:
    """special_erfcx(Tensor self) -> Tensor"""
    x = tf.maximum(self, 2)  # a continued fraction, where the product below would be zero times infinity
    fraction = x
    for k in range(30, 0, -1):
        fraction = x + 0.5 * k / fraction
    near = tf.minimum(self, 2)
    return tf.where(self > 2, 1 / (math.sqrt(math.pi) * fraction), tf.exp(tf.square(near)) * tf.math.erfc(near))


@elementwise(aten.special_log_ndtr.default, to_float=True)
def log_ndtr(self: tf.Tensor) -> tf.Tensor:
    """special_log_ndtr(Tensor self) -> Tensor"""
    t = self / math.sqrt(2)
    left = tf.math.log(erfcx(-tf.minimum(t, -0.7)) / 2) - tf.square(tf.minimum(t, -0.7))
    return tf.where(t < -0.7, left, tf.math.log1p(-tf.math.erfc(tf.maximum(t, -0.7)) / 2))


@elementwise(aten.special_spherical_bessel_j0.default, to_float=True)
def spherical_bessel_j0(self: tf.Tensor) -> tf.Tensor:
    """special_spherical_bessel_j0(Tensor x) -> Tensor"""
    x = tf.where(tf.abs(self) < 0.5, tf.ones([], self.dtype), self)
    square = tf.square(self)
    near = 1 - square / 6 * (1 - square / 20 * (1 - square / 42 * (1 - square / 72)))
    far = tf.where(tf.math.is_inf(self), tf.zeros([], self.dtype), tf.sin(x) / x)
    return tf.where(tf.abs(self) < 0.5, near, far)


# -- Airy ----------------------------------------------------------------------------------------------------

_AIRY_AT_ZERO = 0.355028053887817239, 0.258819403792806798
# The coefficients u_k of the asymptotic expansions (DLMF 9.7.2).
_AIRY_TERMS = [1.0]
for _k in range(1, 9):
    _AIRY_TERMS.append(_AIRY_TERMS[-1] * (6 * _k - 5) * (6 * _k - 3) * (6 * _k - 1) / (216 * _k * (2 * _k - 1)))


@elementwise(aten.special_airy_ai.default, to_float=True)
def airy_ai(self: tf.Tensor) -> tf.Tensor:
    """special_airy_ai(Tensor x) -> Tensor"""
    x = tf.cast(self, tf.float64)
    far = tf.maximum(tf.abs(x), 5)
    c = 2 / 3 * far * tf.sqrt(far)
    decaying = tf.exp(-c) * tf.add_n([(-1) ** k * u / c**k for k, u in enumerate(_AIRY_TERMS)]) / 2
    even = tf.add_n([(-1) ** k * u / c ** (2 * k) for k, u in enumerate(_AIRY_TERMS[::2])])
    odd = tf.add_n([(-1) ** k * u / c ** (2 * k + 1) for k, u in enumerate(_AIRY_TERMS[1::2])])
    waving = tf.cos(c - math.pi / 4) * even + tf.sin(c - math.pi / 4) * odd
    asymptotic = tf.where(x > 0, decaying, waving) / (math.sqrt(math.pi) * far**0.25)
    return tf.cast(tf.where(tf.abs(x) > 5, asymptotic, _airy_series(tf.clip_by_value(x, -5, 5))), self.dtype)


def _airy_series(x: tf.Tensor) -> tf.Tensor:
    cube, first, second = x**3, tf.ones_like(x), x
    f, g = first, second
    for k in range(1, 40):
        first, second = first * cube / ((3 * k - 1) * 3 * k), second * cube / (3 * k * (3 * k + 1))
        f, g = f + first, g + second
    return _AIRY_AT_ZERO[0] * f - _AIRY_AT_ZERO[1] * g


# -- orthogonal polynomials ----------------------------------------------------------------------------------

Step = Callable[[tf.Tensor, Any, tf.Tensor, tf.Tensor], tf.Tensor]
# The polynomial of x and a degree in closed form, and where PyTorch takes it rather than the recurrence.
Closed = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]

# More turns than this no loop makes in a lifetime; float32 has the number exactly.
_MOST_TURNS = 2.0**31 - 2.0**7


def _polynomial(name: str, first: Callable[[tf.Tensor], tf.Tensor], step: Step, closed: Closed | None = None) -> None:
    """Register a family of polynomials: that of degree one, and how the next follows from the last two.

    `step(x, k, p, q)` gives the one of degree k + 1 from those of degrees k and k - 1. As PyTorch does, a loop
    ends where no result can change anymore: what is not a number stays so.
    """

    @expression(*overloads(name), strategy=broadcasting)
    def run(x: Any, n: Any) -> tf.Tensor:
        x, n = aligned(*promoted(x, n, to_float=True))
        x, n = x + tf.zeros_like(n), n + tf.zeros_like(x)
        degree = _degree(n)
        known, is_known = closed(x, degree) if closed else (x, tf.zeros_like(x, tf.bool))
        turns = tf.cast(tf.where(is_known, tf.zeros_like(degree), tf.minimum(degree, _MOST_TURNS)), tf.int32)

        def is_open(k: Any, _before: Any, current: Any, _found: Any) -> Any:
            return tf.reduce_any((turns > k) & (current == current))

        def turn(k: Any, before: Any, current: Any, found: Any) -> Any:
            following = step(x, tf.cast(k, x.dtype), current, before)
            return k + 1, current, following, tf.where(turns > k, following, found)

        one, current = tf.ones_like(x), first(x)
        found = tf.where(degree < 0, tf.zeros_like(x), tf.where(degree == 0, one, current))
        found = tf.while_loop(is_open, turn, (tf.constant(1), one, current, found))[-1]
        return tf.where(is_known & (degree >= 0), known, found)


def _degree(n: tf.Tensor) -> tf.Tensor:
    """The degree as an integer, still in floating point; what int64 has no place for counts as negative."""
    whole = tf.where(n < 0, tf.math.ceil(n), tf.floor(n))
    return tf.where(tf.abs(n) < 2.0**63, whole, -tf.ones_like(n))


def _by_parity(degree: tf.Tensor, even: Any, odd: Any) -> tf.Tensor:
    half = degree / 2
    return tf.where(tf.floor(half) == half, even, odd)


def _cosines(degree: tf.Tensor, angle: tf.Tensor) -> tuple[Any, Any, Any]:
    """Of Chebyshev's first kind: within (-1, 1), at 1, at -1."""
    return tf.cos(degree * angle), tf.ones_like(degree), _by_parity(degree, 1.0, -1.0)


def _sines(degree: tf.Tensor, angle: tf.Tensor) -> tuple[Any, Any, Any]:
    one_more = degree + 1
    within = tf.math.divide_no_nan(tf.sin(one_more * angle), tf.sin(angle))
    return within, one_more, _by_parity(degree, one_more, -one_more)


def _half_cosines(degree: tf.Tensor, angle: tf.Tensor) -> tuple[Any, Any, Any]:
    twice = degree + degree + 1
    within = tf.math.divide_no_nan(tf.cos((degree + 0.5) * angle), tf.cos(angle / 2))
    return within, tf.ones_like(degree), _by_parity(degree, twice, -twice)


def _half_sines(degree: tf.Tensor, angle: tf.Tensor) -> tuple[Any, Any, Any]:
    within = tf.math.divide_no_nan(tf.sin((degree + 0.5) * angle), tf.sin(angle / 2))
    return within, degree + degree + 1, _by_parity(degree, 1.0, -1.0)


@dataclass(frozen=True)
class _Chebyshev:
    """One of the four kinds of Chebyshev polynomials, of x or of 2 x - 1."""

    first: Callable[[tf.Tensor], tf.Tensor]
    by_angle: Callable[[tf.Tensor, tf.Tensor], tuple[Any, Any, Any]]
    # The degree from which PyTorch goes by the angle.
    above: int

    def register(self, name: str, argument: Callable[[tf.Tensor], tf.Tensor]) -> None:
        def closed(x: tf.Tensor, degree: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            place = argument(x)
            within = tf.abs(place) < 1
            angle = acos(tf.where(within, place, tf.zeros_like(place)))
            inside, at_one, at_minus_one = self.by_angle(degree, angle)
            known = tf.where(within, inside, tf.where(place > 0, at_one, at_minus_one))
            return known, (within & (degree > self.above)) | (tf.abs(place) == 1)

        def step(x: tf.Tensor, k: Any, p: tf.Tensor, q: tf.Tensor) -> tf.Tensor:
            return 2 * argument(x) * p - q

        _polynomial(name, lambda x: self.first(argument(x)), step, closed)


def _hermite_limit(x: tf.Tensor, degree: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """PyTorch gives no number beyond this degree."""
    return tf.fill(tf.shape(x), tf.constant(math.nan, x.dtype)), degree > (512 if x.dtype == tf.float64 else 128)


def _laguerre_at_zero(x: tf.Tensor, degree: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.ones_like(x), x == 0


def _legendre_at_ends(x: tf.Tensor, degree: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.where(x > 0, tf.ones_like(x), _by_parity(degree, 1.0, -1.0)), tf.abs(x) == 1


for _kind, _family in {
    "t": _Chebyshev(lambda x: x, _cosines, above=6),
    "u": _Chebyshev(lambda x: 2 * x, _sines, above=8),
    "v": _Chebyshev(lambda x: 2 * x - 1, _half_cosines, above=8),
    "w": _Chebyshev(lambda x: 2 * x + 1, _half_sines, above=8),
}.items():
    _family.register(f"special_chebyshev_polynomial_{_kind}", lambda x: x)
    _family.register(f"special_shifted_chebyshev_polynomial_{_kind}", lambda x: 2 * x - 1)
_polynomial("special_hermite_polynomial_h", lambda x: 2 * x, lambda x, k, p, q: 2 * x * p - 2 * k * q, _hermite_limit)
_polynomial("special_hermite_polynomial_he", lambda x: x, lambda x, k, p, q: x * p - k * q, _hermite_limit)
_polynomial(
    "special_laguerre_polynomial_l",
    lambda x: 1 - x,
    lambda x, k, p, q: ((2 * k + 1 - x) * p - k * q) / (k + 1),
    _laguerre_at_zero,
)
_polynomial(
    "special_legendre_polynomial_p",
    lambda x: x,
    lambda x, k, p, q: ((2 * k + 1) * x * p - k * q) / (k + 1),
    _legendre_at_ends,
)


# -- numbers ----------------------------------------------------------------------------------------------------


@elementwise(*overloads("gcd"), operands=2)
def gcd(self: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """gcd(Tensor self, Tensor other) -> Tensor"""
    x, y = (x if x.dtype.is_unsigned else tf.abs(x) for x in alike(self, other))

    def turn(x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.where(y == 0, x, y), tf.where(y == 0, y, x % tf.where(y == 0, tf.ones_like(y), y))

    return tf.while_loop(lambda x, y: tf.reduce_any(y != 0), turn, (x, y))[0]


@elementwise(*overloads("lcm"), operands=2)
def lcm(self: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """lcm(Tensor self, Tensor other) -> Tensor, integers of few bits in more until it is found"""
    x, y = (x if x.dtype == tf.int64 else cast(x, tf.int32) for x in (self, other))
    divisor = gcd(x, y)
    return cast(tf.abs(tf.truncatediv(x, tf.maximum(divisor, tf.ones_like(divisor))) * y), self.dtype)


def _hashed(self: Value, dim: Sequence[int] = (), *, keepdim: bool = False, mode: int = 0) -> Sequence[int]:
    return remaining(self.rank, dim, keepdim)


@expression(aten.hash_tensor.default, strategy=keeping(_hashed))
def hash_tensor(self: tf.Tensor, dim: Sequence[int] = (), *, keepdim: bool = False, mode: int = 0) -> tf.Tensor:
    """hash_tensor(Tensor self, int[1] dim=[], *, bool keepdim=False, int mode=0) -> Tensor

    The exclusive or of the bits, floating numbers as float64.
    """
    over = axes(self, dim)
    kept = [i for i in range(rank(self)) if i not in over]
    wide = tf.cast(self, tf.float64 if self.dtype.is_floating else tf.int64)
    bits = tf.transpose(tf.bitcast(wide, tf.int64), [*over, *kept])
    bits = tf.reshape(bits, [-1, *(sizes(self)[i] for i in kept)])

    def halved(bits: tf.Tensor) -> list[tf.Tensor]:
        half = tf.shape(bits)[0] // 2
        return [tf.concat([tf.bitwise.bitwise_xor(bits[:half], bits[half : 2 * half]), bits[2 * half :]], 0)]

    shrinking = [tf.TensorShape([None, *bits.shape[1:]])]
    (bits,) = tf.while_loop(lambda bits: tf.shape(bits)[0] > 1, halved, [bits], shrinking)
    left = [1 if i in over else n for i, n in enumerate(sizes(self))] if keepdim else [sizes(self)[i] for i in kept]
    return tf.reshape(tf.bitcast(bits, tf.uint64), left)


@elementwise(aten.nextafter.default, operands=2)
def nextafter(self: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """nextafter(Tensor self, Tensor other) -> Tensor"""
    return _next_of_16_bits(self, other) if self.dtype.size == 2 else tf.math.nextafter(self, other)


def _next_of_16_bits(x: tf.Tensor, towards: tf.Tensor) -> tf.Tensor:
    """By counting numbers from zero, since what compares them may take the least of them for zero."""
    x, towards = alike(x, towards)
    start, goal = _number_of(x), _number_of(towards)
    step = start + tf.sign(goal - start)
    is_negative = (step < 0) | ((step == 0) & (tf.bitcast(x, tf.int16) < 0))
    found = tf.bitcast(tf.cast(tf.where(is_negative, -(2**15) - step, step), tf.int16), x.dtype)
    undefined = tf.math.is_nan(x) | tf.math.is_nan(towards)
    return tf.where(undefined, tf.constant(math.nan, x.dtype), tf.where(start == goal, towards, found))


def _number_of(x: tf.Tensor) -> tf.Tensor:
    """How many numbers of 16 bits a number is above zero: its bits, but that they begin with a sign."""
    bits = tf.cast(tf.bitcast(x, tf.int16), tf.int32)
    return tf.where(bits < 0, -(2**15) - bits, bits)


@elementwise(aten.angle.default, promote=False)
def angle(self: tf.Tensor) -> tf.Tensor:
    """angle(Tensor self) -> Tensor"""
    if self.dtype.is_complex:
        return tf.math.angle(self)
    (x,) = promoted(self, to_float=True)
    negative = tf.where(x < 0, tf.constant(math.pi, x.dtype), tf.zeros([], x.dtype))
    return tf.where(x != x, x, negative)


@elementwise(aten.polar.default, operands=2)
def polar(abs: tf.Tensor, angle: tf.Tensor) -> tf.Tensor:
    """polar(Tensor abs, Tensor angle) -> Tensor"""
    return tf.complex(abs * tf.cos(angle), abs * tf.sin(angle))


@elementwise(aten.frexp.Tensor)
def frexp(self: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """frexp.Tensor(Tensor self) -> (Tensor mantissa, Tensor exponent)"""
    proper = tf.math.is_finite(self) & (self != 0)
    x = tf.where(proper, self, tf.ones([], self.dtype))
    exponent = tf.floor(tf.math.log(tf.abs(x)) / math.log(2)) + 1
    mantissa = x * tf.pow(tf.constant(2, x.dtype), -exponent)
    large, small = tf.abs(mantissa) >= 1, tf.abs(mantissa) < 0.5  # where the logarithm was rounded
    mantissa = tf.where(large, mantissa / 2, tf.where(small, mantissa * 2, mantissa))
    exponent = exponent + tf.cast(large, x.dtype) - tf.cast(small, x.dtype)
    zero = tf.zeros([], tf.int32)
    return tf.where(proper, mantissa, self), tf.where(proper, tf.cast(exponent, tf.int32), zero)
