"""Random programs of views and writes.

`NOBUCO_VIEW_PROGRAMS` sets how many are drawn (5 by default; 500 take about five minutes).
"""

from __future__ import annotations

import os
import random
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.parity import ORDERS
from tests.views import assert_same, whole


@dataclass(frozen=True)
class Step:
    """One line of a program: a view of, or a write to, tensor number `source`."""

    text: str
    source: int
    other: int = 0
    writes: bool = False

    def run(self, tensors: list[torch.Tensor]) -> Any:
        """Run it on the tensors made so far."""
        return eval(self.text, {"torch": torch, "t": tensors[self.source], "o": tensors[self.other]})


def _random_key(rng: random.Random, shape: torch.Size) -> str:
    parts = []
    for n in shape:
        start = rng.randrange(n)
        stop, step = rng.randint(start + 1, n), rng.choice(["", ":2"])
        parts.append(rng.choice([":", f"{start}:{stop}{step}", f"{start}:{stop}{step}", str(rng.randrange(-n, n))]))
    return ", ".join(parts)


def _random_view(rng: random.Random, t: torch.Tensor) -> str:
    rank = t.dim()
    dim, other = rng.randrange(rank), rng.randrange(rank)
    n = t.shape[dim]
    start = rng.randrange(n)
    return rng.choice(
        [
            f"t[{_random_key(rng, t.shape)}]",
            f"t[{_random_key(rng, t.shape)}]",
            f"t.select({dim}, {start})",
            f"t.narrow({dim}, {start}, {rng.randint(1, n - start)})",
            f"t.permute({rng.sample(range(rank), rank)})",
            f"t.transpose({dim}, {other})",
            "t.view(-1)",
            f"t.view({t.shape[0]}, -1)",
            f"t.unsqueeze({rng.randrange(rank + 1)})",
            f"t.flatten({min(dim, other)}, {max(dim, other)})",
            f"t.chunk(2, {dim})[-1]",
            f"t.split({rng.randint(1, n)}, {dim})[0]",
            f"t.unbind({dim})[{start}]",
            f"t.diagonal(0, {dim}, {other})",
            f"t.unfold({dim}, {rng.randint(1, n)}, {n})",
            f"t.as_strided((2, {rng.randint(1, 3)}), (6, {rng.choice([1, 2])}), {rng.randrange(8)})",
            f"t.unsqueeze(0).expand(2, *{list(t.shape)})",
            "t.detach()",
            "t.data",
        ]
    )


_RANDOM_WRITES = [
    "t.mul_(2)", "t.add_(o.max())", "torch.relu_(t)", "t.fill_(3.0)", "t.zero_()", "t.sub_(1)", "t.neg_()",
    "t.copy_(t.flip(0))", "t.copy_(o if o is t else o + 0)", "t.__setitem__(..., -1.0)", "t.__setitem__(0, o.min())",
    "t.__setitem__(t > 2, 5.0)", "t.masked_fill_(t > 3, 1.0)", "t.clamp_(-4, 4)", "torch.add(t, 1, out=t)",
    "t.index_add_(0, torch.tensor([0]), t[:1].clone())", "t.index_fill_(-1, torch.tensor([0]), 2.0)",
    "t.scatter_(0, torch.zeros([1] * t.dim(), dtype=torch.int64), 6.0)",
    # Of another part of the same memory it is open in PyTorch what is read before it is written, and what after.
    "t.__iadd__(o if o is t else o + 0)",
]  # fmt: skip


def _random_steps(rng: random.Random) -> tuple[Step, ...]:
    """Views and writes that PyTorch can run, found by running them."""
    tensors, steps = [whole(2, 3, 4) + 0], []
    for _ in range(rng.randint(3, 9)):
        source, other, writes = rng.randrange(len(tensors)), rng.randrange(len(tensors)), rng.random() < 0.45
        text = rng.choice(_RANDOM_WRITES) if writes else _random_view(rng, tensors[source])
        step = Step(text, source, other, writes)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # of in-place calls on expanded tensors, which PyTorch deprecates
                result = step.run(tensors)
        except (RuntimeError, IndexError, ValueError, UserWarning):
            continue
        if not writes and (result.numel() == 0 or result.dim() == 0):
            continue
        steps.append(step)
        tensors += [] if writes else [result]
    return tuple(steps)


@settings(
    max_examples=int(os.environ.get("NOBUCO_VIEW_PROGRAMS", "5")),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.integers(0, 2**32 - 1), st.sampled_from(ORDERS), st.sampled_from(ORDERS))
def test_random_programs(seed, given_order, wanted_order):
    steps = _random_steps(random.Random(seed))
    note("\n".join(map(repr, steps)))

    def program(x):
        tensors = [x + 0 if seed % 2 else x]
        for step in steps:
            result = step.run(tensors)
            tensors += [] if step.writes else [result]
        return tensors

    assert_same(program, 2, 3, 4, orders=((given_order, wanted_order),))
