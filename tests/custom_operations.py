"""Operations of a user's own, with and without ATen calls inside."""

from __future__ import annotations

import torch


@torch.library.custom_op("nobuco_tests::swirl", mutates_args=())
def swirl(x: torch.Tensor, turns: float = 2.0) -> torch.Tensor:
    return torch.sin(x * turns) + x.mean(dim=-1, keepdim=True)


@torch.library.custom_op("nobuco_tests::both", mutates_args=())
def both(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    y = x.exp()
    return y, y.sum(0)


swirl.register_fake(lambda x, turns=2.0: torch.empty_like(x))
both.register_fake(lambda x: (torch.empty_like(x), x.new_empty(x.shape[1:])))


@torch.library.custom_op("nobuco_tests::grow", mutates_args=("x",))
def grow(x: torch.Tensor, by: torch.Tensor) -> None:
    x.add_(by).mul_(2)


# Operations that PyTorch has nothing but a kernel for.
_LIBRARY = torch.library.Library("nobuco_tests_closed", "DEF")
_LIBRARY.define("sealed(Tensor x) -> Tensor")
_LIBRARY.impl("sealed", lambda x: x * 2, "CPU")
sealed = torch.ops.nobuco_tests_closed.sealed


@torch.library.custom_op("nobuco_tests::holds_sealed", mutates_args=())
def holds_sealed(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(sealed(x)) + 1
