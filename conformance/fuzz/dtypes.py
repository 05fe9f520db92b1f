"""Dtypes and special values over elementwise operations and reductions."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st

from conformance.fuzz import grammar
from conformance.fuzz.grammar import FILLERS, Draw, Sketch, function, rules, steps
from conformance.fuzz.layouts import among
from conformance.fuzz.program import Input, Program

_UNARY = rules(
    "{t}.abs()", "{t}.neg()", "{t}.sign()", "{t}.square()", "{t}.sqrt()", "{t}.rsqrt()", "{t}.reciprocal()",
    "{t}.exp()", "{t}.log()", "{t}.log1p()", "{t}.sin()", "{t}.tanh()", "{t}.sigmoid()", "{t}.relu()", "{t}.floor()",
    "{t}.ceil()", "{t}.round()", "{t}.trunc()", "{t}.frac()", "{t}.isnan()", "{t}.isinf()", "{t}.isfinite()",
    "{t}.logical_not()", "{t}.bitwise_not()", "~{t}", "-{t}", "{t}.erf()", "{t}.expm1()", "{t}.sgn()",
    "{t}.signbit()", "{t}.nan_to_num()", "{t}.nan_to_num({z}, 5, -5)", "{t}.clamp({z}, 3)", "{t}.clamp(min={z})",
    "{t}.clamp(max=2.5)", "{t}.clip(-2, 3)", "{t}.positive()", "F.softplus({t})", "F.gelu({t})", "F.hardtanh({t})",
    "F.relu6({t})", "F.elu({t})", "F.silu({t})", "F.softsign({t})", "F.logsigmoid({t})", "{t}.acos()",
    "{t}.deg2rad()", "{t}.exp2()", "{t}.log2()", "{t}.cosh()", "{t}.atan()", "{t}.isreal()", "{t}.isposinf()",
    "{t}.digamma()", "{t}.lgamma()", "F.mish({t})",
)  # fmt: skip
_BINARY = rules(
    "{t} + {o}", "{t} - {o}", "{t} * {o}", "{t} / {o}", "{t} // {o}", "{t} % {o}", "{t} ** {o}", "{t} ** 2",
    "{t} ** .5", "{t} ** -1", "2 ** {t}", "{t} + {w}", "{t} * {w}", "{t} / {w}", "{t} // {w}", "{t} % {w}",
    "{w} - {t}", "{w} / {t}", "{w} // {t}", "{t}.fmod({w})", "{t}.remainder({o})", "torch.fmod({t}, {o})",
    "torch.maximum({t}, {o})", "torch.minimum({t}, {o})", "torch.fmax({t}, {o})", "torch.fmin({t}, {o})",
    "torch.atan2({t}, {o})", "torch.hypot({t}, {o})", "torch.div({t}, {o}, rounding_mode='floor')",
    "torch.div({t}, {w}, rounding_mode='trunc')", "torch.copysign({t}, {o})", "torch.xlogy({t}, {o})", "{t} == {o}",
    "{t} != {w}", "{t} < {o}", "{t} >= {w}", "{t} & {o}", "{t} | {o}", "{t} ^ {o}", "{t} << 1", "{t} >> 1",
    "torch.logical_and({t}, {o})", "torch.logical_xor({t}, {o})", "torch.where({t} > 0, {t}, {o})",
    "torch.where({t} > 0, {t}, {w})", "torch.where({t}.isnan(), {w}, {t})", "torch.gcd({t}, {o})",
    "torch.isclose({t}, {o})", "torch.add({t}, {o}, alpha=2)", "torch.sub({t}, {o}, alpha={w})",
    "torch.lerp({t}, {o}, .5)", "torch.addcmul({t}, {t}, {o})", "{t}.masked_fill({t} > 1, {w})",
    "{t} + torch.tensor({w})", "{t} * torch.tensor({w}, dtype=torch.{dt})", "torch.heaviside({t}, {o})",
    "torch.nextafter({t}, {o})", "torch.ldexp({t}, {o})", "torch.logaddexp({t}, {o})", "torch.floor_divide({t}, {o})",
    "torch.true_divide({t}, {w})", "torch.rsub({t}, {o})", "{t} @ {o}.mT",
)  # fmt: skip
# Of what becomes a whole number nothing is negative or infinite: PyTorch does not say what that is as an integer.
_REDUCTIONS = rules(
    "{t}.sum()", "{t}.sum({d})", "{t}.nan_to_num(0, 5, 0).clamp(0, 9).sum({d}, dtype=torch.{dt})", "{t}.mean({d})",
    "{t}.prod({d})", "{t}.amax({d})", "{t}.amin({d}, keepdim=True)", "{t}.max({d})[0]", "{t}.max({d})[1]",
    "{t}.min()", "{t}.argmax({d})", "{t}.argmin()", "{t}.any({d})", "{t}.all()", "{t}.all({d})", "{t}.cumsum({d})",
    "{t}.cumprod({d})", "{t}.cummax({d})[0]", "{t}.var({d})", "{t}.std()", "{t}.median()", "{t}.median({d})[0]",
    "{t}.nanmean({d})", "{t}.nansum({d})", "{t}.logsumexp({d})", "{t}.softmax({d})", "{t}.norm()",
    "{t}.count_nonzero({d})", "{t}.sort({d})[0]", "{t}.sort({d}, descending=True)[0]", "{t}.topk(1, {d})[0]",
    "{t}.aminmax()[0]", "{t}.mode({d})[0]", "{t}.nan_to_num(0, 5, 0).clamp(0, 9).mean({d}, dtype=torch.{dt})",
    "{t}.log_softmax({d})", "{t}.nan_to_num(0, 5, 0).clamp(0, 9).softmax({d}, dtype=torch.{dt})",
    "{t}.quantile(.5, {d})", "{t}.diff(dim={d})", "{t}.logcumsumexp({d})", "{t}.nanmedian()", "{t}.unique()",
    "{t}.kthvalue(1, {d})[0]", "{t}.nonzero()", "{t}[{t} > 0]", "{t}.bincount()", "{t}.histc(4)",
    "{t}.argsort({d}, stable=True)", "torch.cat([{t}, {o}])", "torch.stack([{t}, {o}])", "{t}.cov()", "{t}.trace()",
    "{t}.flip(0)", "{t}.roll(1)", "{t}.tril()", "{t}.repeat(2, 1)", "{t}.expand(2, *{t}.shape)", "F.one_hot({t})",
    "{t}.nan_to_num(0, 5, 0).clamp(0, 9).cumsum({d}, dtype=torch.{dt})", "F.pad({t}, (1, 1), value={w})",
)  # fmt: skip
_CASTS = rules(
    "{t}.nan_to_num(0, 5, -5).clamp(0, 100).to(torch.{dt})", "{t}.to(torch.{fl})", "{t}.float()", "{t}.bool()",
    "{t}.nan_to_num(0, 5, -5).clamp(0, 100).type(torch.{dt})",
    "{t}.nan_to_num(0, 9, -9).clamp(-9, 9).to(torch.int32)",
    "{t}.to({o}.dtype) if {t}.dtype.is_floating_point <= {o}.dtype.is_floating_point else {t}", "{t}.double()",
    "{t}.half()", "torch.zeros_like({t})", "torch.full_like({t}, 2)", "{t}.new_ones(3)",
    "torch.ones({t}.shape, dtype=torch.{dt})", "torch.arange(3, dtype=torch.{dt})", "{t}.bfloat16()",
    "{t}.type_as({o})", "{t}.view(torch.{dt})", "torch.tensor([1, 2, 3], dtype=torch.{dt})", "torch.tensor({w})",
    "{t}.sum() > 0",
)  # fmt: skip
_RULES = [*_UNARY, *_BINARY, *_REDUCTIONS, *_CASTS]
_FLOATING = ("float32", "float32", "float64", "float16", "bfloat16")
_DTYPES = (*_FLOATING, "int64", "int32", "int16", "int8", "uint8", "bool", "int64")


def _scalar(draw: Draw, sketch: Sketch, chosen: Mapping[str, str]) -> str:
    return draw(
        st.sampled_from(
            ("2", "-3", "2.5", "-1.5", "True", "0", "0.", "float('inf')", "float('nan')", "1e10", "7", "-8.")
        )
    )


_FILLERS = {**FILLERS, "w": _scalar, "dt": among(*_DTYPES), "fl": among(*_FLOATING)}


@st.composite
def programs(draw: Draw) -> Program:
    """One to five lines on one or two tensors of any dtype; what no line reads comes out."""
    dims = draw(st.sampled_from(((2, 3), (4,), (), (3, 1), (2, 2, 3), (1,))))
    inputs = []
    for name in ("x", "y")[: draw(st.integers(1, 2))]:
        dtype = draw(st.sampled_from(_DTYPES))
        kinds = ("special", "normal", "whole") if dtype in _FLOATING else ("whole", "index")
        inputs.append(Input(name, dims, dtype, draw(st.sampled_from(kinds))))
    sketch = Sketch.begun(inputs, grammar.STATIC)
    steps(draw, sketch, _RULES, _FILLERS, 4)
    text = function(sketch, inputs, grammar.ends(sketch, inputs))
    return Program(text, tuple(inputs), grammar.STATIC, draw(grammar.orders()), tflite=draw(st.integers(0, 9)) == 9)
