"""Decisions on values, with and without `explore_branches`, and state: buffers written, swapped, aliased, counted."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping

import torch
from hypothesis import strategies as st
from torch import nn

from conformance.fuzz import grammar
from conformance.fuzz.grammar import FILLERS, Draw, Sketch, function, rules, steps
from conformance.fuzz.program import Input, Program, Trial

_DECISIONS = rules(
    "if {p}:\n    {t} = {t} * 2", "if {p}:\n    {t} = {t} + 1\nelse:\n    {t} = {t} - 1",
    "if not ({p}):\n    {t} = {t}.neg()",
    "if {p}:\n    {t} = {t} * 2\nelif {p2}:\n    {t} = {t} * 3\nelse:\n    {t} = {t} * 5",
    "if {p} and {p2}:\n    {t} = {t} + 2", "if {p} or {p2}:\n    {t} = {t} + 3", "{t} = {t} * 2 if {p} else {t}",
    "while {t}.sum() > 9:\n    {t} = {t} / 2 - 1", "while {t}.abs().max() > 4:\n    {t} = {t} * .5",
    "for r in {t}:\n    if r.sum() > 0:\n        {t} = {t} + r",
    "for j in range(int({t}.argmax()) % 3):\n    {t} = {t} + j", "if {p}:\n    return {t} * 7",
    "if {p}:\n    {t} = {t} * 1\n    {t}[0] = 5.", "{t} = {t} * 1\nif {p}:\n    {t}.mul_(2)",
    "{t} = {t} * 1\nif {p}:\n    {t}[0].add_(1)\nelse:\n    {t}[-1].add_(1)", "if {p}:\n    {t} = {t} + self.a",
    "try:\n    assert {p}\n    {t} = {t} * 2\nexcept AssertionError:\n    {t} = {t} * 3",
    makes="",
)  # fmt: skip
_VALUES = rules(
    "torch.where({p}, {t}, {t} * 2)", "torch.where({t} > {z}, {t}, {o})",
    "torch.cond({p}, lambda v: v * 2, lambda v: v - 1, ({t},))", "{t} * {t}.sum().item()", "{t} + float({t}.max())",
    "{t}[: max(1, int({t}.argmax()) % 3)]", "{t}.roll(int({t}.flatten()[0].item()) % 3)",
    "{t}[{t} > {z}].sum() + {t} * 0", "{t} * {t}.nonzero().shape[0]", "{t} + len({t}[{t} > 0])",
    "{t} * {t}.unique().numel()", "{t} * (1 if {p} else 2)", "{t} + max({t}.tolist()[0]) if {t}.dim() == 2 else {t}",
    "{t} + max({t}.max(), {t}.mean())", "sorted({t}, key=lambda r: r.sum().item())[0]",
    "max({t}, key=lambda r: r.sum().item())", "{t} * ({p})", "{t}.masked_fill({t} > 0, 1.)",
    "{t}.index_select(0, {t}.flatten().argmax()[None] % 2)", "F.one_hot({t}.flatten().argmax() % 3) * 1.",
    "torch.while_loop(lambda v: v.sum() < 9, lambda v: (v + 1,), ({t},))[0]", "{t} + 1", "{t} * {o}", "{t}.sum()",
    "{t}.mean(0)", "{t}[0]", "{t}.view(-1)", "{t} + self.a", "{t} * self.b.sum()", "{t} + self.n",
    "self.a * {t}.mean()", "{t}.clamp(-1, {t}.mean().item())", "torch.tensor([{t}.sum().item(), 1.])",
    "abs({t}.sum()) * {t}", "round({t}.mean().item()) * {t}",
)  # fmt: skip
_STATE = rules(
    "self.a.add_(1)", "self.a = self.a + 1", "self.a = self.a + {t}.sum()", "self.a += {t}.mean()",
    "self.a.mul_(.5).add_({t}.mean())", "self.a.copy_(self.b)", "self.a, self.b = self.b, self.a", "self.b = self.a",
    "self.b = self.a.clone()", "self.a, self.b = self.b + {t}.sum(), self.a", "self.n += 1", "self.n.add_(1)",
    "self.a[0] = {t}.sum()", "self.a[int(self.n) % 3] = {t}.max()", "self.a = torch.roll(self.a, 1)",
    "self.a.zero_()", "self.a = torch.zeros(3)", "self.a.fill_({t}.max())",
    "self.a = torch.cat([self.a[1:], {t}.sum()[None]])", "v = self.a\nv.add_(2)", "v = self.a[1:]\nv.mul_(2)",
    "self.a.data = self.b", "self.a.data.add_(1)", "if self.n > 1:\n    self.a.add_(1)",
    "if self.n % 2 == 0:\n    self.b = self.b * 2", "if {p}:\n    self.a.add_(1)", "if {p}:\n    self.a = self.a * 2",
    "self.b.copy_({t}.sum().expand(3))", "if {p}:\n    self.a, self.b = self.b, self.a", "if {p}:\n    self.n += 1",
    "self.a = {t}.flatten()[:3]", "self.a.index_add_(0, torch.tensor([1]), {t}.sum()[None])", "self.b = self.a[:]",
    "self.c.add_(1)", "self.a.lerp_(self.b, .5)", "self.a[self.n % 3] += 1", "self.k += 1\n{t} = {t} + self.k",
    "self.a.clamp_(max=9.)", "self.n.copy_({t}.sum() > 0)",
    makes="",
)  # fmt: skip
_PREDICATES = (
    "{t}.sum() > 0", "{t}.mean() < {z}", "torch.equal({t}, {o})", "torch.allclose({t}, {o})",
    "torch.is_nonzero({t}.sum())", "({t} > 0).any()", "({t} > 0).all()", "{t}.sum().item() > 0",
    "bool({t}.flatten()[0] > 0)", "{t}.max() > {t}.mean()", "int({t}.sum()) % 2", "{t}.flatten()[0] == {z}",
    "{t}.sum()", "len({t}[{t} > 0]) > 2", "{t}.isnan().any()", "float({t}.min()) < -3", "self.n > 1",
    "self.a.sum() > 2", "{t}.argmax() > 1", "({t} == {o}).all()", "-3 < {t}.mean() < 3", "{t}.numel() > 2",
)  # fmt: skip
_BUFFERS = (
    "self.register_buffer('a', torch.zeros(3))", "self.register_buffer('b', torch.tensor([1., 2., 3.]))",
    "self.register_buffer('n', torch.tensor(0))", "self.c = self.a", "self.k = 0",
)  # fmt: skip


_GROUPS = ([_DECISIONS], [_VALUES], [_STATE], [_STATE], [_DECISIONS, _STATE], [_DECISIONS, _VALUES], [_VALUES, _STATE])


def _predicate(draw: Draw, sketch: Sketch, chosen: Mapping[str, str]) -> str:
    text = draw(st.sampled_from(_PREDICATES))
    return text.format(
        t=grammar.tensor(draw, sketch, chosen), o=grammar.tensor(draw, sketch, chosen), z=draw(st.integers(-3, 3))
    )


_TRIALS = (
    Trial("example"),
    Trial("other values", variants=(1,)),
    Trial("positive values", variants=(2,)),
    Trial("negative values", variants=(3,)),
    Trial("zeros", variants=(4,)),
    Trial("large values", variants=(5,)),
    Trial("calls in a row", variants=(0, 1, 2, 3)),
    Trial("other calls in a row", variants=(3, 4, 0)),
)


def _module() -> nn.Module:
    """What `self` is while lines are drawn."""
    module = nn.Module()
    for line in _BUFFERS:
        exec(line, {"self": module, "torch": torch})
    return module


def _used_buffers(sketch: Sketch, stateful: bool) -> list[str]:
    """The lines of `__init__` that lines of `forward` need."""
    used = set(re.findall(r"self\.(\w)\b", " ".join(sketch.lines))) | ({"a", "b"} if stateful else set())
    used |= {"a"} if "c" in used else set()
    return [line for line, name in zip(_BUFFERS, "abnck") if name in used]


@st.composite
def programs(draw: Draw) -> Program:
    """Two to seven lines; what they decide and what they leave in buffers."""
    dims = draw(st.sampled_from(((2, 3), (3,), (1, 3), (4, 3))))
    inputs = [Input("x", dims, values=draw(st.sampled_from(("whole", "normal", "index"))))]
    if draw(st.integers(0, 2)) == 2:
        inputs.append(Input("y", dims))
    # Not all kinds of lines in each program: what is told of one would hide what is not told of another.
    groups = draw(st.sampled_from(_GROUPS))
    stateful = _STATE in groups
    trials = _TRIALS if stateful else _TRIALS[:6]
    sketch = Sketch.begun(inputs, trials)
    for space in sketch.spaces:
        space["self"] = copy.deepcopy(_module())
    fillers = {**FILLERS, "p": _predicate}
    steps(draw, sketch, [rule for group in groups for rule in group], fillers, 4)
    sketch.parts += _used_buffers(sketch, stateful)
    text = function(sketch, inputs, [*sketch.tensors[:3], *(["self.a + self.b"] if stateful else [])])
    explore = {"explore_branches": True} if draw(st.booleans()) else {}
    tflite = draw(st.integers(0, 9)) == 9
    return Program(text, tuple(inputs), trials, draw(grammar.orders()) | explore, tflite=tflite)
