"""Loops over the rows of a sequence: recurrences, lists, writes row by row, numbers of rounds, rounds that differ."""

from __future__ import annotations

import copy

import torch
from hypothesis import strategies as st
from torch import nn

from conformance.fuzz import grammar
from conformance.fuzz.grammar import Draw, Sketch, function
from conformance.fuzz.program import Input, Program, Trial

_BEFORE = (
    "h = torch.zeros(x.shape[0], 4)", "h = x[:, 0] * 0.1", "h = x.mean(1)", "h = x.new_zeros(x.shape[0], 4)",
    "h = torch.ones(1, 4).expand(x.shape[0], 4)", "h = 0", "h = None",
)  # fmt: skip
# The head of a loop, and the row that a round reads.
_LOOPS = (
    ("for t in range(n):", "x[:, t]"), ("for t in range(n):", "x[:, t]"), ("for t in range(n):", "x.select(1, t)"),
    ("for t in range(n - 1, -1, -1):", "x[:, t]"), ("for t in reversed(range(n)):", "x[:, t]"),
    ("for t in range(1, n):", "x[:, t]"), ("for t in range(0, n, 2):", "x[:, t]"),
    ("for t in range(n - 1):", "x[:, t]"),
    ("for t in range(n // 2):", "x[:, 2 * t]"), ("for t in range(min(n, 4)):", "x[:, t]"),
    ("for t, r in enumerate(x.unbind(1)):", "r"), ("for t, r in enumerate(x.split(1, 1)):", "r[:, 0]"),
    ("for t, r in zip(range(n), x.flip(1).unbind(1)):", "r"), ("for t, r in enumerate(x.transpose(0, 1)):", "r"),
)  # fmt: skip
_ROUND = (
    "g = torch.cos(g * 0.5 + h)", "h = h * g", "h, g = g, h", "a, h = h, torch.sin(a + h)",
    "g = g + x[:, : t + 1].sum(1)",
    "g = x[:, : t + 1].mean(1)", "k = x[:, : t + 1]\nif k.shape[1] > {k}:\n    k = k[:, -{k}:]\nh = h + k.sum(1)",
    "h = h + t", "h = h * (t + 1) / n", "h = h * 1.1**t", "h = h + torch.full((x.shape[0], 1), float(t) * 0.1)",
    "h = torch.where(h > g, h, g * 0.3)", "h = h.clone()\nh[:, 0] = g[:, 1]", "h[:, 1] += 0.25",
    "h = F.layer_norm(h, (4,))",
    "h = h if t % 2 else h * 0.5", "h = h if t > {k} else h + 1", "if t == n - 1:\n    h = h * 2",
    "if t == 0:\n    g = g * 3", "h = torch.sin(h) if t < n // 2 else torch.cos(h)", "h = h + x[:, max(t - 1, 0)]",
    "h = h + x[:, n - 1 - t] * 0.2", "h = h.scatter(1, h.argmax(1)[:, None], 0.0)",
    "h = torch.cat([h[:, 1:], h[:, :1]], 1)",
    "for k in range({k}):\n    h = torch.sin(h * (k + 1))", "s = s + h.sum(-1, keepdim=True)", "s = s + 1",
    "h = self.cell(h, g)", "g = self.norm(h)", "h = torch.clamp(h, **({'min': -0.1} if t % 2 else {'max': 0.1}))",
    "w = torch.softmax(h @ x.transpose(1, 2).mean(0), -1)\nh = h + (w @ x.mean(0)) * 0.1",
)  # fmt: skip
# What a round leaves behind, and what is made of that.
_LEFT = {
    "o.append(h)": (
        "torch.stack(o, 1)", "torch.stack(o, -1)", "torch.cat(o, 1)", "torch.stack(o[::-1], 1)",
        "torch.stack(o[1:], 1)",
        "o[-1] + o[0]", "sum(o)", "torch.stack(o).mean(0)", "torch.stack(o[-2:], 1)", "o[len(o) // 2]",
        "sum(torch.sin(v) for v in o[::-1])",
    ),
    "o.insert(0, h)": ("torch.stack(o, 1)", "o[0]"),
    "p.append(h.unsqueeze(1))": ("torch.cat(p, 1)", "torch.cat(p[::-1], dim=1)", "torch.cat([x[:, :1], *p], 1)"),
    "q += [h, g]": ("torch.stack(q, 1)", "torch.stack(q[::2], 1)"),
    "y[:, t] = h": ("y",),
    "y[:, t] += g": ("y", "y.cumsum(1)"),
    "y[:, t, :2] *= 0.5": ("y",),
    "h = h + y[:, t]": ("y",),
}  # fmt: skip
_AFTER = (
    "if n > {k}:\n    h = h * 2", "v = torch.sin(h)\nfor t in range(n):\n    v = torch.sin(v + x[:, t])\nh = h + v",
    "h = h / n", "h = h + n",
)  # fmt: skip
_NUMBERS = st.sampled_from(("1", "2", "3", "6"))
_PARTS = ("self.cell = nn.GRUCell(4, 4)", "self.norm = nn.LayerNorm(4)")


def _module() -> nn.Module:
    """What `self` is while lines are drawn."""
    module = nn.Module()
    for line in _PARTS:
        exec(line, {"self": module, "nn": nn, "torch": torch})
    return module.eval()


def _loop(draw: Draw, first: str) -> tuple[str, list[str]]:
    """A loop, and what a program may return of what it leaves."""
    head, row = draw(st.sampled_from(_LOOPS))
    begin = f"h = torch.sin(h + {row})"
    if first == "h = None":
        begin = f"h = {row} * 0.5 if h is None else torch.sin(h + {row})"
    body = [begin, *draw(st.lists(st.sampled_from(_ROUND), max_size=4))]
    returned = []
    for left in draw(st.lists(st.sampled_from(sorted(_LEFT)), max_size=2, unique=True)):
        body.insert(draw(st.integers(1, len(body))), left)
        returned.append(draw(st.sampled_from(_LEFT[left])))
    lines = [line for text in body for line in text.replace("{k}", draw(_NUMBERS)).splitlines()]
    return "\n".join([head, *(f"    {line}" for line in lines)]), returned


@st.composite
def programs(draw: Draw) -> Program:
    """One loop over the rows of a sequence, with what was there before it, and what becomes of what it leaves."""
    inputs = [Input("x", (draw(st.sampled_from(("b", 2))), "n", 4), values="normal")]
    names = [dim for dim in inputs[0].dims if isinstance(dim, str)]
    example = draw(grammar.lengths(names, 9))
    trials = (
        *draw(grammar.occasions(example)),
        Trial("one", {**example, "n": 1}),
    )
    sketch = Sketch.begun(inputs, trials)
    sketch.empty = True
    for space in sketch.spaces:
        space["self"] = copy.deepcopy(_module())
    first = draw(st.sampled_from(_BEFORE))
    begin = f"n, o, p, q, y, s = x.shape[1], [], [], [], x * 1, 0\n{first}\ng = a = torch.ones(x.shape[0], 4)"
    sketch.take(begin, "")
    for _ in range(4):
        loop, returned = _loop(draw, first)
        if sketch.take(loop, ""):
            break
    else:
        returned = []
    if draw(st.integers(0, 3)) == 3:
        sketch.take(draw(st.sampled_from(_AFTER)).replace("{k}", draw(_NUMBERS)), "")
    text = "\n".join(sketch.lines)
    sketch.parts += [part for part in _PARTS if part.partition(" =")[0] in text]
    outputs = [*(["h"] if isinstance(sketch.spaces[0]["h"], torch.Tensor) else ["g"]), *returned]
    return Program(function(sketch, inputs, outputs), tuple(inputs), trials, draw(grammar.orders()),
                   tflite=draw(st.integers(0, 9)) == 9)  # fmt: skip
