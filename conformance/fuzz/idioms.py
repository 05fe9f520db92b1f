"""What real models do with sizes: windows, patches, chunks, position tables, masks, caches, put together at random."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping

import torch
from hypothesis import strategies as st
from torch import nn

from conformance.fuzz import grammar
from conformance.fuzz.grammar import FILLERS, Draw, RejectedError, Sketch, function, rules, steps
from conformance.fuzz.layouts import among
from conformance.fuzz.program import Input, Program, Trial

# Each takes an image `{m}` (batch, channels, height, width) and puts another one in its place.
_IMAGES = rules(
    "h, w = {m}.shape[-2:]\n{m} = F.pad({m}, (0, -w % {k}, 0, -h % {k}))",
    "h, w = {m}.shape[-2:]\nif h % {k} or w % {k}:\n    {m} = F.pad({m}, (0, -w % {k}, 0, -h % {k}))",
    "h, w = {m}.shape[-2:]\n{m} = F.interpolate(F.avg_pool2d({m}, 2, ceil_mode=True), size=(h, w))",
    "h, w = {m}.shape[-2:]\n{m} = F.interpolate({m}, scale_factor=2)[..., : h + 1, : w + 1]",
    "{m} = F.interpolate({m}, scale_factor=({q}, {q2}), mode={mode})",
    "h, w = {m}.shape[-2:]\n{m} = {m}[..., (h - min(h, w)) // 2 :, (w - min(h, w)) // 2 :]",
    "b, c, h, w = {m}.shape\n{m} = {m}.view(b, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4)"
    ".reshape(b, 4 * c, h // 2, w // 2)",
    "b, c, h, w = {m}.shape\nv = {m}.view(b, c, h // {k}, {k}, w // {k}, {k}).permute(0, 2, 4, 3, 5, 1)"
    ".reshape(-1, {k} * {k}, c)\nv = v + v.mean(1, keepdim=True)\nn = int(v.shape[0] / (h * w / {k} / {k}))\n"
    "{m} = v.view(n, h // {k}, w // {k}, {k}, {k}, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)",
    "h, w = {m}.shape[-2:]\n{m} = {m}.roll((-(h // {k}), w // {k}), (2, 3))",
    "h, w = {m}.shape[-2:]\ny, x0 = torch.meshgrid(torch.arange(h), torch.arange(w), indexing='ij')\n"
    "{m} = {m} + (y * w + x0) * .5",
    "h, w = {m}.shape[-2:]\n{m} = {m} * torch.stack([torch.linspace(-1, 1, h)[:, None].expand(h, w)] * {m}.shape[1])",
    "b, c, h, w = {m}.shape\nk = min({k}, h * w)\nv, i = {m}.flatten(2).topk(k, 2)\n"
    "{m} = {m} + v.sum(-1)[..., None, None]",
    "s, p = math.ceil({m}.shape[2] / {k}), math.ceil({m}.shape[3] / {k})\n"
    "{m} = F.max_pool2d({m}, (s, p), (s, p), ceil_mode=True)",
    "s, p = max((-(-{m}.shape[2] // 2) - 1) * 2 + 3 - {m}.shape[2], 0), max((-(-{m}.shape[3] // 2) - 1) * 2 + 3"
    " - {m}.shape[3], 0)\n{m} = F.avg_pool2d(F.pad({m}, (p // 2, p - p // 2, s // 2, s - s // 2)), 3, 2)",
    "d = F.max_pool2d({m}, 2)\nu = F.interpolate(d, scale_factor=2)\ns, p = {m}.shape[2] - u.shape[2], {m}.shape[3]"
    " - u.shape[3]\n{m} = {m} + F.pad(u, (p // 2, p - p // 2, s // 2, s - s // 2))",
    "v = F.unfold({m}, 2, stride=2)\n{m} = F.fold(v, ({m}.shape[2] // 2 * 2, {m}.shape[3] // 2 * 2), 2, stride=2)",
    "{m} = {m}.transpose(2, 3)", "{m} = F.adaptive_avg_pool2d({m}, ({m}.shape[2] // 2, {k}))",
    "y = {m}.clone()\nk = y.shape[-1] // {k}\ny[..., :k] = 0\ny[..., y.shape[-1] - k :] += 1\n{m} = y",
    "y = {m}.new_zeros(*{m}.shape[:2], {m}.shape[2] + {k}, {m}.shape[3])\ny[:, :, {k} :] = {m}\n{m} = y",
    "while min({m}.shape[-2:]) > 4:\n    {m} = F.avg_pool2d({m}, 2)",
    makes="",
)  # fmt: skip
# What images come down to: a layout that their sizes decide.
_HEADS = rules(
    "{m}.flatten(1)", "{m}.flatten(2).transpose(1, 2)", "{m}.view({m}.shape[0], -1)", "{m}.mean((2, 3))",
    "{m}.permute(0, 3, 2, 1).reshape({m}.shape[0], {m}.shape[3], -1)",
    "{m}.permute(0, 2, 3, 1).reshape({m}.shape[0], -1, {m}.shape[1])", "{m}.permute(2, 0, 3, 1).flatten(1, 2)",
    "{m}.permute(0, 2, 3, 1).reshape(-1, {m}.shape[1])", "{m}.permute(3, 2, 0, 1).reshape({m}.shape[3], -1)",
    "{m}.flatten(2).max(-1)[1] // {m}.shape[3]", "{m}.flatten(2).max(-1)[1] % {m}.shape[3]",
)  # fmt: skip
# Each takes a sequence `{a}` (batch, length, width).
_SEQUENCES = rules(
    "t = {a}.shape[1]\n{a} = {a} + self.table[:t]", "t = {a}.shape[1]\n{a} = {a} + self.table[{k} : t + {k}]",
    "t = {a}.shape[1]\nm = torch.full((t, t), -9.).triu({k})\n{a} = ({a} @ {a}.mT + m).softmax(-1) @ {a}",
    "i = torch.arange({a}.shape[1])\n{a} = ({a} @ {a}.mT).masked_fill((i[:, None] - i).abs() > {k}, -9.) @ {a}",
    "t = {a}.shape[1]\n{a} = F.pad({a}, (0, 0, 0, -t % {k})).unflatten(1, (-1, {k})).mean(2)",
    "t = {a}.shape[1] // {k} * {k}\n{a} = torch.cat([{a}[:, :t].unflatten(1, (-1, {k})).mean(2), {a}[:, t:]], 1)",
    "{a} = torch.cat([v.cumsum(1) for v in {a}.split({k}, 1)], 1)",
    "{a} = torch.cat([{a}[:, j : j + {k}].flip(1) for j in range(0, {a}.shape[1], {k})], 1)",
    "d = 1\nwhile d < {a}.shape[1]:\n    {a} = torch.cat([{a}[:, :d], {a}[:, d:] + {a}[:, :-d]], 1)\n    d *= 2",
    "s = x.new_zeros({a}.shape[0], {a}.shape[2])\ny = []\nfor v in {a}.unbind(1):\n    s = s * .5 + v\n"
    "    y.append(s)\n{a} = torch.stack(y, 1)",
    "k = max(1, int({a}.shape[1] * .{k}))\nv, i = {a}.mean(-1).topk(k, 1)\n"
    "{a} = {a}.gather(1, i[..., None].expand(-1, -1, {a}.shape[2]))",
    "n = min({k}0, {a}.shape[1])\n{a} = {a}[:, :n]", "{a} = {a}[:, -{k}:]",
    "t = {a}.shape[1]\n{a} = F.pad({a}, (0, 0, {k}, 0))[:, :t]",
    "t = {a}.shape[1]\n{a} = {a} + (torch.arange(t)[:, None] / torch.arange(1, {a}.shape[2] + 1)).sin()",
    "t = {a}.shape[1]\n{a} = {a}[:, torch.linspace(0, t - 1, {k}).long()]",
    "{a} = {a}.unfold(1, {k}, max(1, {k} // 2)).amax(-1)", "{a} = {a}.repeat_interleave({k}, 1)",
    "b, t, c = {a}.shape\n{a} = {a}.as_strided((b, t - {k} + 1, c), (t * c, c, 1)).contiguous()",
    "b, t, c = {a}.shape\ni, j = torch.tril(torch.ones(t, t)).nonzero().unbind(1)\n"
    "{a} = ({a} @ {a}.mT)[:, i, j][..., None]",
    "b, t, c = {a}.shape\nv = torch.zeros(t + 1, b * c)\nv[1:] = {a}.transpose(0, 1).reshape(t, -1)\n"
    "{a} = v.view(t + 1, b, c).transpose(0, 1)",
    "L = {k}4\n{a} = {a}[:, :L] if {a}.shape[1] > L else F.pad({a}, (0, 0, 0, L - {a}.shape[1]))",
    "t = {a}.shape[1]\nr = torch.arange(t)\n{a} = {a} + self.table[(r[:, None] - r).clamp(-3, 3) + 3].sum(1)",
    makes="",
)  # fmt: skip
# What is kept by its size, and changes nothing: a table that grows, a mask, a dictionary.
_CACHES = rules(
    "n = {a}.shape[1]\nif n > self.cap:\n    self.cap, self.grown = n, torch.arange(n) * .5\n"
    "{a} = {a} + self.grown[:n, None]",
    "n = {a}.shape[1]\nif self.mask is None or self.mask.shape[0] != n:\n    self.mask = torch.ones(n, n).tril()\n"
    "{a} = self.mask @ {a}",
    "n = {a}.shape[1]\nif n not in self.ramps:\n    self.ramps[n] = torch.arange(n)[:, None] * .25\n"
    "{a} = {a} + self.ramps[n]",
    makes="",
)  # fmt: skip
# What Python remembers from call to call, and no model does.
_MEMORIES = rules(
    "if self.first:\n    x = x * 2\nself.first = False",
    "self.name = 'b' if self.name == 'a' else 'a'\nx = x + (self.name == 'a')",
    "self.seen.append({k})\nx = x + len(self.seen)", "self.steps += 1\nx = x + self.steps",
    "if self.last == tuple(x.shape):\n    x = x * 3\nself.last = tuple(x.shape)",
    "x = x if self.state is None else x + self.state\nself.state = x.mean()",
    "if self.first:\n    self.average.copy_(x.mean())\nelse:\n    self.average.mul_(.5).add_(x.mean())\n"
    "self.first = False\nx = x - self.average",
    "self.average = self.average * .5 + x.sum()\nx = x + self.average",
    makes="",
)  # fmt: skip
# What a module has for that, by name.
_PARTS = {
    "table": "self.register_buffer('table', torch.arange(200.)[:, None])", "cap": "self.cap = 6",
    "grown": "self.grown = torch.arange(6) * .5", "mask": "self.mask = None", "ramps": "self.ramps = {}",
    "first": "self.first = True", "name": "self.name = 'a'", "seen": "self.seen = []", "steps": "self.steps = 0",
    "last": "self.last = None", "state": "self.state = None",
    "average": "self.register_buffer('average', torch.tensor(0.))",
}  # fmt: skip


def _image(draw: Draw, sketch: Sketch, chosen: Mapping[str, str]) -> str:
    return _of_rank(sketch, 4)


def _sequence(draw: Draw, sketch: Sketch, chosen: Mapping[str, str]) -> str:
    return _of_rank(sketch, 3)


def _of_rank(sketch: Sketch, rank: int) -> str:
    if sketch.value("x").dim() != rank:
        raise RejectedError("x has another rank")
    return "x"


_FILLERS = {
    **FILLERS, "m": _image, "a": _sequence, "k": among("2", "3", "4"), "q": among("1.1", "1.6", "2.2", ".6", "2."),
    "mode": among("'nearest'", "'bilinear'", "'bicubic'", "'nearest-exact'"),
}  # fmt: skip
_SHAPES: tuple[tuple[int | str, ...], ...] = (
    ("n", 2, "h", "w"), (1, 2, "h", "w"), (1, 2, 8, "w"), ("n", 2, 8, 6), ("n", "t", 3), (2, "t", 3), ("n", 6, 3),
)  # fmt: skip


def _module() -> nn.Module:
    """What `self` is while lines are drawn."""
    module = nn.Module()
    for line in _PARTS.values():
        exec(line, {"self": module, "torch": torch})
    return module


def _occasions(draw: Draw, names: list[str]) -> tuple[Trial, ...]:
    """Those of all programs; then calls in a row, and sizes at which one axis alone is one, or there is nothing."""
    example = draw(grammar.lengths(names, 9))
    alone = draw(st.sampled_from(names))
    return (
        *draw(grammar.occasions(example)),
        Trial("one alone", {**example, alone: 1}, (1,)),
        Trial("nothing", {**example, alone: 0}),
        Trial("calls in a row", example, (0, 1, 2, 0)),
    )


@st.composite
def programs(draw: Draw) -> Program:
    """One to four idioms on an image or a sequence, which is what comes out, and what it comes down to."""
    dims = draw(st.sampled_from(_SHAPES))
    inputs = [Input("x", dims, values="normal")]
    trials = _occasions(draw, [dim for dim in dims if isinstance(dim, str)])
    sketch = Sketch.begun(inputs, trials)
    sketch.empty = True
    for space in sketch.spaces:
        space["self"] = copy.deepcopy(_module())
    choices = _IMAGES if len(dims) == 4 else [*_SEQUENCES, *_CACHES]
    if draw(st.integers(0, 4)) == 4:
        steps(draw, sketch, _MEMORIES, _FILLERS, 1)
    steps(draw, sketch, choices, _FILLERS, 4)
    if len(dims) == 4:
        steps(draw, sketch, _HEADS, _FILLERS, 2)
    used = set(re.findall(r"self\.(\w+)", " ".join(sketch.lines)))
    sketch.parts += [part for name, part in _PARTS.items() if name in used]
    made = [name for name in sketch.tensors if re.fullmatch(r"v\d+", name)]
    text = function(sketch, inputs, ["x", *made][:3])
    return Program(text, tuple(inputs), trials, draw(grammar.orders()), tflite=draw(st.integers(0, 9)) == 9)
