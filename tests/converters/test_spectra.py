"""Short-time Fourier transforms of signals whose length is dynamic, against PyTorch, in Keras and TFLite."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.sizes import check_sizes

WINDOW = torch.hann_window(10)


@pytest.mark.parametrize(
    "options",
    [
        {"hop_length": 4},
        {"hop_length": 3, "win_length": 10, "window": WINDOW, "normalized": True},
        {"hop_length": 5, "center": False, "onesided": False},
        {"win_length": 10, "window": WINDOW, "center": False, "align_to_window": True},
        {"pad_mode": "circular"},
    ],
    ids=lambda options: "-".join(options),
)
def test_stft(options: dict[str, Any]) -> None:
    """Padding, windows shorter than the transform, and the two ways in which the first frame begins."""

    def transformed(x: torch.Tensor) -> torch.Tensor:
        return torch.view_as_real(torch.stft(x, 16, return_complex=True, **options))

    check_sizes(transformed, *[(torch.randn(shape),) for shape in ((2, 64), (3, 81), (1, 40))], free=[(0, 1)])


@pytest.mark.parametrize(
    "options",
    [
        {"hop_length": 4},
        {"hop_length": 3, "win_length": 10, "window": WINDOW + 0.1, "normalized": True},
        {"center": False, "window": torch.hamming_window(16)},
        {"length": 40},
        {"length": 70},
    ],
    ids=lambda options: "-".join(map(str, options)),
)
def test_istft(options: dict[str, Any]) -> None:
    """Frames that overlap by a fraction of a step, and a length that is shorter or longer than they reach."""

    def restored(x: torch.Tensor) -> torch.Tensor:
        return torch.istft(torch.view_as_complex(x), 16, **options)

    check_sizes(restored, *[(torch.randn(n, 9, count, 2),) for n, count in ((2, 14), (3, 15), (1, 12))], free=[(0, 2)])


def test_what_was_masked_in_the_spectrum() -> None:
    """There and back, as a denoiser does it, to the length of the input."""

    class Denoiser(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("window", torch.hann_window(16))
            self.mask = nn.Linear(9, 9)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            spectrum = torch.stft(x, 16, 4, window=self.window, return_complex=True)
            magnitude = torch.log1p(spectrum.abs()).transpose(1, 2)
            masked = spectrum * torch.sigmoid(self.mask(magnitude)).transpose(1, 2)
            return torch.istft(masked, 16, 4, window=self.window, length=x.shape[-1])

    check_sizes(Denoiser(), *[(torch.randn(shape),) for shape in ((1, 64), (2, 80), (1, 47))], free=[(0, 1)])
