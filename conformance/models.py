"""The networks that the suite converts: torchvision's, and small ones that hold what those do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from conformance.torchvision_models import network, randomized
from nobuco import ChannelOrder

PYTORCH = ChannelOrder.PYTORCH


@dataclass(frozen=True)
class Case:
    """A network with its example inputs and the most TRANSPOSE operations that its TFLite file may hold.

    `max_transposes` is None where no bound is set; `order` and `outputs_order` are how its inputs and outputs lie.
    `other_inputs` are further ones to compare on, where what a network does depends on what it sees.
    """

    name: str
    make: Callable[[], nn.Module]
    inputs: Callable[[], tuple[torch.Tensor, ...]]
    max_transposes: int | None = None
    quick: bool = False
    order: ChannelOrder = ChannelOrder.TENSORFLOW
    outputs_order: ChannelOrder = ChannelOrder.TENSORFLOW
    other_inputs: Callable[[], tuple[torch.Tensor, ...]] | None = None

    def built(self) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
        """The network in eval mode, seeded and with statistics that are not the identity, and its inputs."""
        torch.manual_seed(0)
        return randomized(self.make()), self.inputs()


def image(*shape: int) -> Callable[[], tuple[torch.Tensor, ...]]:
    """One seeded input of this shape."""
    return lambda: (torch.randn(shape, generator=torch.Generator().manual_seed(1)),)


class UNet(nn.Module):
    """Encoder and decoder with skip connections."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()

        def block(inputs: int, outputs: int) -> nn.Sequential:
            layers = []
            for n in (inputs, outputs):
                layers += [
                    nn.Conv2d(n, outputs, 3, padding=1),
                    nn.BatchNorm2d(outputs),
                    nn.ReLU(inplace=True),
                ]
            return nn.Sequential(*layers)

        self.down1, self.down2, self.middle = (
            block(3, width),
            block(width, 2 * width),
            block(2 * width, 4 * width),
        )
        self.up2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
        self.up1 = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.merge2, self.merge1 = block(4 * width, 2 * width), block(2 * width, width)
        self.head = nn.Conv2d(width, 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        c = self.middle(F.max_pool2d(b, 2))
        b = self.merge2(torch.cat([self.up2(c), b], dim=1))
        a = self.merge1(torch.cat([self.up1(b), a], dim=1))
        return self.head(a)


class BidirectionalLSTM(nn.Module):
    """Two layers, both directions, a linear head on the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(16, 32, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, _ = self.lstm(x)
        return self.head(x[:, -1])


class DetectionHead(nn.Module):
    """Class scores, boxes and a mask at three scales: several outputs, nested."""

    def __init__(self, anchors: int = 3, classes: int = 7) -> None:
        super().__init__()
        self.classes = classes
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.SiLU())
        self.steps = nn.ModuleList(
            nn.Sequential(nn.Conv2d(16, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.SiLU()) for _ in range(3)
        )
        self.score = nn.Conv2d(16, anchors * classes, 3, padding=1)
        self.box = nn.Conv2d(16, anchors * 4, 3, padding=1)
        self.mask = nn.Conv2d(16, 1, 1)

    def forward(self, x: torch.Tensor) -> dict[str, Any]:
        x = self.stem(x)
        scores, boxes = [], []
        for step in self.steps:
            x = step(x)
            n, _, h, w = x.shape
            scores.append(
                self.score(x).view(n, -1, self.classes, h, w).permute(0, 3, 4, 1, 2).reshape(n, -1, self.classes)
            )
            boxes.append(self.box(x).permute(0, 2, 3, 1).reshape(n, -1, 4))
        return {
            "scores": torch.cat(scores, 1).sigmoid(),
            "boxes": torch.cat(boxes, 1),
            "mask": F.interpolate(self.mask(x), scale_factor=2.0, mode="bilinear", align_corners=False),
        }


class GruConv(nn.Module):
    """The seed's text network: a GRU, then two convolutions that want channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(32, 128, num_layers=1, batch_first=True, bidirectional=False)
        self.conv1 = nn.Conv1d(12, 40, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(12, 60, kernel_size=1, padding=0)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, _ = self.gru(x)
        return self.conv1(x), self.conv2(x)


class HardsigmoidNet(nn.Module):
    """The seed's first module."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, kernel_size=(3, 3), padding=(1, 1), stride=(2, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        x = nn.Hardsigmoid()(x)
        return 1 - x[:, ::2] * x[:, 1::2]


class PixelShuffleNet(nn.Module):
    """The seed's pixel shuffle module."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = 4
        self.conv = nn.Conv2d(3 * self.factor**2, 3 * self.factor**2, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.PixelUnshuffle(self.factor)(x)
        x = self.conv(x)
        return nn.PixelShuffle(self.factor)(x)


class SliceReLU(nn.Module):
    """The seed's slice assignment."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x[:, 1:2, 16:25, 8::2] = torch.relu_(x[:, 1:2, 16:25, 8::2])
        return x


class InplaceSliceView(nn.Module):
    """The write through a view that the seed says cannot be handled."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.relu_(x[:, 1:2, 16:25, 8::2])
        return x


def chain(layers: int) -> nn.Module:
    """A chain of this many layers: convolutions, normalisations and activations in turn."""
    kinds: tuple[Callable[[], nn.Module], ...] = (
        lambda: nn.Conv2d(8, 8, 3, padding=1),
        lambda: nn.BatchNorm2d(8),
        lambda: nn.ReLU(),
    )
    return nn.Sequential(*(kinds[i % 3]() for i in range(layers)))


def torchvision_case(name: str, max_transposes: int | None = 0, quick: bool = False) -> Case:
    """A torchvision network on one square image."""
    return Case(name, partial(network, name), image(1, 3, 224, 224), max_transposes, quick)


CASES: tuple[Case, ...] = (
    torchvision_case("mobilenet_v3_large", quick=True),
    torchvision_case("efficientnet_b0"),
    torchvision_case("resnet18", quick=True),
    torchvision_case("densenet121"),
    torchvision_case("googlenet"),
    torchvision_case("squeezenet1_1", quick=True),
    torchvision_case("vgg11"),
    torchvision_case("mnasnet0_5"),
    torchvision_case("shufflenet_v2_x1_0", quick=True),
    torchvision_case("regnet_y_400mf"),
    torchvision_case("convnext_tiny", max_transposes=2),
    torchvision_case("vit_b_16", max_transposes=None),
    torchvision_case("swin_t", max_transposes=None),
    torchvision_case("deeplabv3_resnet50"),
    torchvision_case("lraspp_mobilenet_v3_large"),
    Case("UNet", UNet, image(1, 3, 64, 64), 0, quick=True),
    Case("BidirectionalLSTM", BidirectionalLSTM, image(1, 20, 16), 0, True, PYTORCH, PYTORCH),
    Case(
        "TransformerEncoderLayer",
        lambda: nn.TransformerEncoderLayer(64, 4, 128, batch_first=True),
        image(2, 16, 64),
        4,  # the heads of queries, keys, values and their result
        True,
        PYTORCH,
        PYTORCH,
    ),
    Case("DetectionHead", DetectionHead, image(1, 3, 64, 64), None, quick=True),
    # Its steps through channels are a transposition and two slices: five times faster than two slices with steps.
    Case("HardsigmoidNet", HardsigmoidNet, image(1, 3, 256, 256), 1, quick=True),
    Case("GruConv", GruConv, image(1, 12, 32), 1, True, PYTORCH),
    Case("PixelShuffleNet", PixelShuffleNet, image(1, 3, 64, 64), 0, quick=True),
    Case("SliceReLU", SliceReLU, image(1, 3, 64, 64), 0, quick=True),
    Case("InplaceSliceView", InplaceSliceView, image(1, 3, 64, 64), 0, quick=True),
)


def case(name: str) -> Case:
    """The case of this name."""
    try:
        return next(c for c in CASES if c.name == name)
    except StopIteration:
        raise KeyError(f"no case {name!r}; there are {', '.join(c.name for c in CASES)}") from None
