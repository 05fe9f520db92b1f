"""Real networks to try the plugin on, with nothing to download: random weights, but no trivial ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _divisible(channels: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to a number of channels, never more than a tenth below it."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class ConvNormAct(nn.Sequential):
    """Convolution that keeps the size (but for its stride), batch normalisation, activation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        act: type[nn.Module] | None,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs, eps=1e-3),
            *([act()] if act else []),
        )


class SqueezeExcite(nn.Module):
    """Weighs each channel by what the whole image holds."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = _divisible(channels / 4)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        weights = self.expand(self.reduce(self.pool(x)).relu())
        return x * nn.functional.hardsigmoid(weights)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, weigh, project; added to its input where the shapes agree."""

    def __init__(
        self,
        inputs: int,
        kernel: int,
        expanded: int,
        outputs: int,
        squeeze: bool,
        act: type[nn.Module],
        stride: int,
    ) -> None:
        super().__init__()
        self.is_residual = stride == 1 and inputs == outputs
        layers: list[nn.Module] = [] if expanded == inputs else [ConvNormAct(inputs, expanded, 1, act)]
        layers.append(ConvNormAct(expanded, expanded, kernel, act, stride, groups=expanded))
        if squeeze:
            layers.append(SqueezeExcite(expanded))
        layers.append(ConvNormAct(expanded, outputs, 1, None))
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, outputs, H / stride, W / stride)."""
        y = self.block(x)
        return x + y if self.is_residual else y


class MobileNetV3(nn.Module):
    """MobileNetV3-Small of Howard et al., "Searching for MobileNetV3" (2019), table 2, with 1,000 classes.

    The weights are random and the same every time. Batch normalisation is not the identity, as it is in a
    network that was never trained, so that a converter which loses it is found out.
    """

    # kernel, expanded channels, output channels, squeeze-and-excite, activation, stride
    BLOCKS = (
        (3, 16, 16, True, nn.ReLU, 2),
        (3, 72, 24, False, nn.ReLU, 2),
        (3, 88, 24, False, nn.ReLU, 1),
        (5, 96, 40, True, nn.Hardswish, 2),
        (5, 240, 40, True, nn.Hardswish, 1),
        (5, 240, 40, True, nn.Hardswish, 1),
        (5, 120, 48, True, nn.Hardswish, 1),
        (5, 144, 48, True, nn.Hardswish, 1),
        (5, 288, 96, True, nn.Hardswish, 2),
        (5, 576, 96, True, nn.Hardswish, 1),
        (5, 576, 96, True, nn.Hardswish, 1),
    )

    def __init__(self, classes: int = 1000, seed: int = 0) -> None:
        super().__init__()
        layers: list[nn.Module] = [ConvNormAct(3, 16, 3, nn.Hardswish, stride=2)]
        channels = 16
        for kernel, expanded, outputs, squeeze, act, stride in self.BLOCKS:
            layers.append(InvertedResidual(channels, kernel, expanded, outputs, squeeze, act, stride))
            channels = outputs
        layers.append(ConvNormAct(channels, 6 * channels, 1, nn.Hardswish))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * channels, 1024),
            nn.Hardswish(inplace=True),
            nn.Dropout(0.2),
            nn.Linear(1024, classes),
        )
        _randomize(self, torch.Generator().manual_seed(seed))

    @staticmethod
    def example_inputs() -> tuple[Tensor, ...]:
        """One image of the size that the network is meant for, (1, 3, 224, 224)."""
        return (torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)),)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to the scores of the classes, (B, classes)."""
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


@torch.no_grad()
def _randomize(model: nn.Module, generator: torch.Generator) -> None:
    """Weights that keep the signal's size, and batch statistics that are not the identity."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            fan_in = module.weight[0].numel()
            module.weight.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.normal_(0, 0.1, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.weight.uniform_(0.5, 1.5, generator=generator)
            module.bias.normal_(0, 0.1, generator=generator)
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
