"""Views and in-place writes, of fixed sizes and with dynamic axes."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st

from conformance.fuzz import grammar
from conformance.fuzz.grammar import FILLERS, Draw, Sketch, function, rules, steps
from conformance.fuzz.program import Input, Program

_SOURCES = rules("x * 1", "x + 0", "torch.zeros_like(x)", "x.clone()", "torch.cat([x, x], {d})", "x.new_zeros({s})")

_VIEWS = rules(
    "{t}[{key}]", "{t}[{key}]", "{t}[{key}]", "{t}[:, {a}:{b}]", "{t}[..., {step}]", "{t}[None]", "{t}[..., None]",
    "{t}.select({d}, {n})", "{t}.narrow({d}, {n}, {c})", "{t}.permute({perm})", "{t}.transpose({d}, {d2})", "{t}.T",
    "{t}.mT", "{t}.movedim({d}, {d2})", "{t}.view(-1)", "{t}.view({t}.shape[0], -1)", "{t}.reshape(-1)",
    "{t}.reshape({t}.shape[0], -1)", "{t}.unsqueeze({d})", "{t}.squeeze()", "{t}.squeeze({d})", "{t}.flatten()",
    "{t}.flatten({d}, {d2})", "{t}.chunk({c}, {d})[-1]", "{t}.chunk({c}, {d})[0]", "{t}.split({c}, {d})[0]",
    "{t}.split({c}, {d})[-1]", "{t}.tensor_split({c}, {d})[0]", "{t}.unbind({d})[0]", "{t}.unbind({d})[-1]",
    "list({t})[-1]", "{t}.diagonal({z}, {d}, {d2})", "{t}.unfold({d}, {c}, {c2})", "{t}.detach()", "{t}.data",
    "{t}.unsqueeze(0).expand(2, *[-1] * {t}.dim())", "{t}.expand_as({o})", "{t}.unflatten({d}, ({c}, -1))",
    "{t}.view_as({o})", "{t}.swapaxes({d}, {d2})", "{t}.contiguous()", "{t}.ravel()", "{t}.view({t}.shape)",
    "{t}.as_strided((2, {c}), ({c2}, 1), {c3})", "{t}.as_strided((2, 2), (1, 2))", "{t}.hsplit(2)[1]", "{t}[()]",
    "{t}.broadcast_to(2, *{t}.shape)", "{t}.clone()", "torch.atleast_2d({t})", "{t}.real",
)  # fmt: skip

_READS = rules(
    "{t} + 1", "{t} * {o}", "{t}.sum({d})", "{t}.flip({d})", "torch.cat([{t}, {t}], {d})", "{t}.cumsum({d})",
    "{t}.relu()", "{t}.clamp(-2, 3)", "{t}.amax({d}, keepdim=True)", "{t}.sum()", "{t} > 0", "{t}.roll(1, {d})",
    "{t}.repeat(2, *[1] * ({t}.dim() - 1))", "{t}.index_select({d}, torch.tensor([0, 0]))", "{t}.neg()",
    "torch.where({t} > 0, {t}, -1.)", "torch.stack([{t}, {t}], {d})", "{t}.sort({d})[0]", "{t}.tril()",
)  # fmt: skip

# What is read is cloned: PyTorch does not say what becomes of a write to memory that it reads meanwhile.
_WRITES = rules(
    "{t}.mul_(2)", "{t}.add_({o}.clone())", "{t}.add_({o}.max())", "{t}.sub_(1)", "{t}.neg_()", "{t}.fill_(3.)",
    "{t}.zero_()", "torch.relu_({t})", "{t}.clamp_(-4, 4)", "{t}.copy_({t}.flip(0))", "{t}.copy_({o}.clone())",
    "{t}.abs_()", "{t}[...] = {o}.clone()", "{t}[{key}] = {value}", "{t}[{key}] = {value}", "{t}[{key}] += {value}",
    "{t}[{key}] *= 2", "{t}[{key}].mul_(-1)", "{t}[{t} > {z}] = {value}", "{t}[{t} > {z}] *= 2",
    "{t}.masked_fill_({t} > {z}, {value})", "{t} += {o}.clone()", "{t}[[{n}]] = {value}",
    "{t}[torch.tensor([{n}, 0])] = {value}", "{t}[..., [0, -1]] = {value}", "{t} -= 1",
    "{t}[torch.tensor([{n}, {n}])] = {o}[:2].clone()", "torch.add({t}, 1, out={t})",
    "torch.mul({o}.clone(), 2, out={t})", "{t}.index_add_({d}, torch.tensor([0]), {t}.narrow({d}, 0, 1).clone())",
    "{t}.fill_diagonal_(5.)", "{t}.index_fill_({d}, torch.tensor([{n}]), 2.)",
    "{t}.index_copy_({d}, torch.tensor([0]), {t}.narrow({d}, 0, 1) * 3)",
    "{t}.scatter_({d}, torch.zeros([1] * {t}.dim(), dtype=torch.int64), 6.)", "{t}.data.add_(1)",
    "{t}.lerp_({o}.clone(), .5)", "{t}.scatter_add_({d}, torch.zeros({t}.shape, dtype=torch.int64), {t}.clone())",
    "{t}.tril_()", "{t}.cumsum_({d})", "{t}.unsqueeze_({d})", "{t}.squeeze_()", "{t}.t_()",
    "{t}.transpose_({d}, {d2})", "{t}.swapaxes_({d}, {d2})", "{t}.addcmul_({o}.clone(), {o} + 1, value=2)",
    "F.relu({t}, inplace=True)", "{t}.data = {o}", "{t}.sign_()", "{t}.div_(2)",
    "{t}.index_put_((torch.tensor([0]),), {t}[:1] * 2, accumulate=True)", "{t}.diagonal().add_(1)", "{t}.t().add_(1)",
    "{t}.unfold({d}, {c}, 1)[:] = 3.", "{t}.view(-1)[::2] = {value}", "{t}.flatten()[0] = 9.",
    "{t}.squeeze().mul_(2)", "for r in {t}:\n    r.add_(1)", "for r in {t}.unbind({d}):\n    r.mul_(2)",
    "{t}.unbind({d})[-1].add_(1)", "for r in {t}.split({c}, {d}):\n    r.mul_(-1)",
    "{t}.chunk({c}, {d})[0].fill_(1.)", "{t}.where({t} > 0, {o})",
    "{t}[:, 0], {t}[:, -1] = {t}[:, -1].clone(), {t}[:, 0].clone()", "{t}[1:] = {t}[:-1].clone()",
    "{t}[1:] += {t}[:-1].clone()", "{t}.expand(2, *{t}.shape)[0].add_(1)", "torch.sum({o}.clone(), {d}, out={t}[0])",
    makes="",
)  # fmt: skip


def _key(draw: Draw, sketch: Sketch, chosen: Mapping[str, str]) -> str:
    """Slices and numbers, one for each of the first dimensions."""
    shape = grammar.about(sketch, chosen).shape
    return ", ".join(_part(draw, n) for n in shape[: draw(st.integers(1, max(1, len(shape))))])


def _part(draw: Draw, size: int) -> str:
    kind = draw(st.sampled_from(("all", "slice", "from", "to", "step", "number", "last", "ellipsis")))
    start = draw(st.integers(0, max(0, size - 1)))
    stop = draw(st.integers(start, size)) if kind in ("slice", "to") else 0
    step = draw(st.integers(2, 3)) if kind == "step" else 0
    return {
        "all": ":", "slice": f"{start}:{stop}", "from": f"{start}:", "to": f":{stop}", "number": str(start),
        "step": f"{start}::{step}", "last": str(-1 - start), "ellipsis": f"-{start}:" if start else ":",
    }[kind]  # fmt: skip


def _bound(draw: Draw, sketch: Sketch, chosen: Mapping[str, str]) -> str:
    return str(draw(st.integers(-2, 4)))


def _stride(draw: Draw, sketch: Sketch, chosen: Mapping[str, str]) -> str:
    return draw(st.sampled_from(("::2", "1::2", "::3", ":-1", "-1:")))


def _value(draw: Draw, sketch: Sketch, chosen: Mapping[str, str]) -> str:
    """What to write: a number, a tensor's extreme, or a tensor that may fit."""
    tensor = draw(st.sampled_from(sketch.tensors))
    return draw(
        st.sampled_from(("7.", "-1", f"{tensor}.max()", f"{tensor}.min()", f"{tensor}[0].clone()", f"{tensor}.clone()"))
    )


def _sizes(draw: Draw, sketch: Sketch, chosen: Mapping[str, str]) -> str:
    return draw(st.sampled_from(("x.shape", "2, 3", "3, 4", "x.shape[0]", "2, x.shape[0]")))


_FILLERS = {
    **FILLERS, "key": _key, "a": _bound, "b": _bound, "step": _stride, "value": _value,
    "s": _sizes,
}  # fmt: skip
_RULES = [*_VIEWS, *_READS, *_WRITES]


@st.composite
def programs(draw: Draw, dynamic: bool) -> Program:
    """Three to nine lines; all tensors that there are come out, so that each view shows what it has become."""
    names = ("a", "b")[: draw(st.integers(1, 2))] if dynamic else ()
    dims: list[int | str] = [*names, *draw(st.lists(st.integers(1, 5), min_size=1 if dynamic else 2, max_size=2))]
    inputs = [Input("x", tuple(draw(st.permutations(dims))))]
    if draw(st.booleans()):
        inputs.append(Input("y", tuple(draw(st.permutations(dims))) if draw(st.booleans()) else inputs[0].dims))
    trials = draw(grammar.occasions(draw(grammar.lengths(names, 8)))) if dynamic else grammar.STATIC
    sketch = Sketch.begun(inputs, trials)
    sketch.empty = dynamic or draw(st.integers(0, 9)) == 0
    if draw(st.booleans()):
        source = draw(st.sampled_from(_SOURCES))
        text = grammar.text_of(draw, sketch, source, _FILLERS)
        sketch.take(text, source.makes)
    steps(draw, sketch, _RULES, _FILLERS, 9)
    options = draw(grammar.orders())
    source_text = function(sketch, inputs, sorted(sketch.tensors)[:8])
    return Program(source_text, tuple(inputs), trials, options, tflite=draw(st.integers(0, 9)) == 9)
