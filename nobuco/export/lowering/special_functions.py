"""Special functions in float32: of gamma's family, of Bessel's, and the quantile of the normal distribution.

Polynomials of Bessel functions are those of Abramowitz and Stegun, Handbook of Mathematical Functions, 9.4.1 to 9.4.6;
those of the quantile are of S. Moshier's Cephes library.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from nobuco.export.lowering.functions import polynomial
from nobuco.export.lowering.operation import Rule, computing

_BY_RECURRENCE = 6


def digamma(x: Any) -> Any:
    """Its asymptotic series, some steps above; below zero by reflection."""
    is_below = x < 0
    y = tf.where(is_below, 1 - x, x)
    steps = tf.add_n([1 / (y + k) for k in range(_BY_RECURRENCE)])
    y = y + _BY_RECURRENCE
    inverse = 1 / (y * y)
    series = tf.math.log(y) - 0.5 / y + inverse * polynomial(inverse, (1 / 240, -1 / 252, 1 / 120, -1 / 12))
    past = x - tf.round(x)
    mirrored = tf.where(past == 0, math.nan, math.pi / _tangent(math.pi * past))
    return series - steps - tf.where(is_below, mirrored, 0.0)


def _tangent(x: Any) -> Any:
    return tf.sin(x) / tf.cos(x)


# The logarithm of gamma: Lanczos' approximation with g = 5 and six terms.
_LANCZOS = (
    76.18009172947146, -86.50532032941677, 24.01409824083091, -1.231739572450155, 0.1208650973866179e-2,
    -0.5395239384953e-5,
)  # fmt: skip


def _log_gamma(a: Any) -> Any:
    """Of positive numbers."""
    total = 1.000000000190015 + tf.add_n([c / (a + k) for k, c in enumerate(_LANCZOS, 1)])
    return (a + 0.5) * tf.math.log(a + 5.5) - (a + 5.5) + tf.math.log(math.sqrt(2 * math.pi) * total / a)


_TURNS = 300  # enough for float32 where `a` is below some thousands


def igamma(a: Any, x: Any) -> Any:
    """The lower incomplete gamma function: a series where `x` is small, one minus a continued fraction elsewhere."""
    lower, upper, is_near = _incomplete_gamma(a, x)
    return tf.where(is_near, lower, 1 - upper)


def igammac(a: Any, x: Any) -> Any:
    """The upper incomplete gamma function."""
    lower, upper, is_near = _incomplete_gamma(a, x)
    return tf.where(is_near, 1 - lower, upper)


def _incomplete_gamma(a: Any, x: Any) -> tuple[Any, Any, Any]:
    """The lower one, right where it says so, and the upper one, right elsewhere."""
    nothing, one = tf.zeros_like(a + x), tf.ones_like(a + x)
    is_near = x < a + 1
    is_known = (a > 0) & (x >= 0)
    near, far = (
        tf.where(is_near & is_known, x, 0.5 * one),
        tf.where(is_near, a + 1 + one, tf.minimum(x, 1e30) + nothing),
    )
    degree = tf.where(is_known, a, one) + nothing

    def series(k: Any, term: Any, total: Any) -> tuple[Any, Any, Any]:
        term = term * near / (degree + tf.cast(k, term.dtype))
        return k + 1, term, total + term

    def goes_on(k: Any, term: Any, total: Any) -> Any:
        return (k < _TURNS) & tf.reduce_any(term > 1e-8 * total)

    _, _, total = tf.while_loop(goes_on, series, (tf.constant(1), 1 / degree, 1 / degree))
    fraction = _continued_fraction(degree, far)
    logarithm = degree * tf.math.log(tf.where(is_near, near, far)) - tf.where(is_near, near, far) - _log_gamma(degree)
    power = tf.exp(logarithm)
    wrong = tf.where((a < 0) | (x < 0) | ((a == 0) & (x == 0)), math.nan, 0.0) + 0 * tf.minimum(a + x, 1.0)
    lower = tf.where(a > 0, tf.where(x == 0, nothing, power * total), one)
    upper = tf.where(a > 0, tf.where(x < math.inf, power * fraction, nothing), nothing)
    return lower + wrong, upper + wrong, is_near & (a > 0)


def _continued_fraction(a: Any, x: Any) -> Any:
    """Lentz' method, from the front, until it stands still."""
    tiny = 1e-30
    b = x + 1 - a
    d = 1 / _apart(b, tiny)

    def step(k: Any, b: Any, c: Any, d: Any, h: Any, change: Any) -> tuple[Any, ...]:
        i = tf.cast(k, a.dtype)
        factor, b = i * (a - i), b + 2
        d = 1 / _apart(factor * d + b, tiny)
        c = _apart(b + factor / c, tiny)
        return k + 1, b, c, d, h * d * c, d * c

    def goes_on(k: Any, *state: Any) -> Any:
        return (k < _TURNS) & tf.reduce_any(tf.abs(state[-1] - 1) > 1e-7)

    start = (tf.constant(1), b, tf.ones_like(b) / tiny, d, d, tf.zeros_like(b))
    return tf.while_loop(goes_on, step, start)[4]


def _apart(x: Any, tiny: float) -> Any:
    """No zero, which a quotient follows."""
    return tf.where(tf.abs(x) < tiny, tf.constant(tiny, x.dtype), x)


# -- Bessel functions ----------------------------------------------------------------------------------------

# In powers of (x / 3)^2: up to 3.
_J0 = (0.0002100, -0.0039444, 0.0444479, -0.3163866, 1.2656208, -2.2499997, 1.0)
_Y0 = (-0.00024846, 0.00427916, -0.04261214, 0.25300117, -0.74350384, 0.60559366, 0.36746691)
_J1 = (0.00001109, -0.00031761, 0.00443319, -0.03954289, 0.21093573, -0.56249985, 0.5)
_Y1 = (0.0027873, -0.0400976, 0.3123951, -1.3164827, 2.1682709, 0.2212091, -0.6366198)
# In powers of 3 / x: the size of the wave, and how far it is behind x.
_SIZE_0 = (0.00014476, -0.00072805, 0.00137237, -0.00009512, -0.00552740, -0.00000077, 0.79788456)
_PHASE_0 = (0.00013558, -0.00029333, -0.00054125, 0.00262573, -0.00003954, -0.04166397, -0.78539816)
_SIZE_1 = (-0.00020033, 0.00113653, -0.00249511, 0.00017105, 0.01659667, 0.00000156, 0.79788456)
_PHASE_1 = (-0.00029166, 0.00079824, 0.00074348, -0.00637879, 0.00005650, 0.12499612, -2.35619449)


def _wave(x: Any, size: Sequence[float], phase: Sequence[float], wave: Callable[[Any], Any]) -> Any:
    """Beyond 3."""
    inverse = 3 / x
    return polynomial(inverse, size) * wave(x + polynomial(inverse, phase)) / tf.sqrt(x)


def bessel_j0(x: Any) -> Any:
    """The first kind of order 0."""
    size = tf.abs(x)
    near, far = tf.minimum(size, 3.0), tf.maximum(size, 3.0)
    return tf.where(size < 3, polynomial(near * near / 9, _J0), _wave(far, _SIZE_0, _PHASE_0, tf.cos))


def bessel_j1(x: Any) -> Any:
    """The first kind of order 1."""
    size = tf.abs(x)
    near, far = tf.clip_by_value(x, -3, 3), tf.maximum(size, 3.0)
    beyond = _wave(far, _SIZE_1, _PHASE_1, tf.cos) * tf.sign(x)
    return tf.where(size < 3, near * polynomial(near * near / 9, _J1), beyond)


def bessel_y0(x: Any) -> Any:
    """The second kind of order 0, of positive numbers."""
    near, far = tf.minimum(x, 3.0), tf.maximum(x, 3.0)
    within = 2 / math.pi * tf.math.log(near / 2) * bessel_j0(near) + polynomial(near * near / 9, _Y0)
    return tf.where(x < 3, within, _wave(far, _SIZE_0, _PHASE_0, tf.sin))


def bessel_y1(x: Any) -> Any:
    """The second kind of order 1, of positive numbers."""
    near, far = tf.minimum(x, 3.0), tf.maximum(x, 3.0)
    within = 2 / math.pi * tf.math.log(near / 2) * bessel_j1(near) + polynomial(near * near / 9, _Y1) / near
    return tf.where(x < 3, within, _wave(far, _SIZE_1, _PHASE_1, tf.sin))


# -- the quantile of the normal distribution -----------------------------------------------------------------

_MIDDLE = (
    (-59.9633501014107895, 98.0010754185999662, -56.6762857469070293, 13.9312609387279680, -1.23916583867381258),
    (1.0, 1.95448858338141760, 4.67627912898881538, 86.3602421390890591, -225.462687854119371, 200.260212380060660,
     -82.0372256168333340, 15.9056225126211695, -1.18331621121330003),
)  # fmt: skip
_TAIL = (
    (4.05544892305962420, 31.5251094599893866, 57.1628192246421288, 44.0805073893200835, 14.6849561928858024,
     2.18663306850790268, -0.140256079171354496, -0.0350424626827848203, -0.000857456785154685414),
    (1.0, 15.7799883256466750, 45.3907635128879211, 41.3172038254672030, 15.0425385692907503, 2.50464946208309416,
     -0.142182922854787789, -0.0380806407691578277, -0.000933259480895457428),
)  # fmt: skip
_FAR_TAIL = (
    (3.23774891776946036, 6.91522889068984212, 3.93881025292474443, 1.33303460815807543, 0.201485389549179082,
     0.0123716634817820021, 0.000301581553508235416, 2.65806974686737551e-06, 6.23974539184983294e-09),
    (1.0, 6.02427039364742014, 3.67983563856160859, 1.37702099489081330, 0.216236993594496636, 0.0134204006088543189,
     0.000328014464682127739, 2.89247864745380684e-06, 6.79019408009981274e-09),
)  # fmt: skip


def ndtri(p: Any) -> Any:
    """A quotient of polynomials about a half, and others of the root of a logarithm towards 0 and 1."""
    edge = math.exp(-2)
    lesser = tf.minimum(p, 1 - p)
    middle = p - 0.5
    square = middle * middle
    near = math.sqrt(2 * math.pi) * (middle + middle * square * _quotient(square, _MIDDLE))
    root = tf.sqrt(-2 * tf.math.log(tf.clip_by_value(lesser, 1e-38, edge)))
    inverse = 1 / root
    tail = tf.where(root < 8, _quotient(inverse, _TAIL), _quotient(inverse, _FAR_TAIL))
    far = root - tf.math.log(root) * inverse - inverse * tail
    far = tf.where(p < 0.5, -far, far)
    ends = tf.math.log(lesser) * tf.where(p < 0.5, 1.0, -1.0)  # infinite at the ends, NaN beyond
    return tf.where(lesser > edge, near, tf.where(lesser > 0, far, ends))


def _quotient(x: Any, polynomials: tuple[Sequence[float], Sequence[float]]) -> Any:
    above, below = polynomials
    return polynomial(x, above) / polynomial(x, below)


# -- neighbours ----------------------------------------------------------------------------------------------


def next_after(x: Any, towards: Any) -> Any:
    """The next number of float32, whose bits are the next integer."""
    x, towards = x + tf.zeros_like(towards), towards + tf.zeros_like(x)
    bits = tf.bitcast(x, tf.int32)
    step = tf.where((towards > x) == (x > 0), tf.ones_like(bits), -tf.ones_like(bits))
    least = tf.where(towards > 0, 1, -(2**31) + 1)
    following = tf.bitcast(tf.where(x == 0, least, bits + step), tf.float32)
    return tf.where(
        x == towards, towards, tf.where(tf.math.is_nan(x) | tf.math.is_nan(towards), x + towards, following)
    )


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "BesselJ0": bessel_j0,
    "BesselJ1": bessel_j1,
    "BesselY0": bessel_y0,
    "BesselY1": bessel_y1,
    "Digamma": digamma,
    "Igamma": igamma,
    "Igammac": igammac,
    "Ndtri": ndtri,
    "NextAfter": next_after,
}


def rule(operation: tf.Operation) -> Rule | None:
    """What stands for a function of float32."""
    compute = _FUNCTIONS.get(operation.type)
    if compute is None or operation.inputs[0].dtype != tf.float32:
        return None
    return computing(compute)
