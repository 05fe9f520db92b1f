"""Small programs for tests of the kinds of programs that there are, and their inputs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

IMAGE = torch.rand(2, 3, 8, 8)
ROW = torch.rand(2, 4) - 0.4


class Net(nn.Module):
    """A small classifier; with a write in place, so that more than calls is to be seen."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.bn, self.pool = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.MaxPool2d(2)
        self.head = nn.Sequential(nn.Linear(8, 4), nn.LayerNorm(4))
        with torch.no_grad():
            self.bn.running_mean.uniform_()
            self.bn.running_var.uniform_(0.5, 2)
            self.bn.weight.uniform_(0.5, 2)

    def forward(self, x):
        y = self.pool(F.relu(self.bn(self.conv(x)))).mean((2, 3))
        y += 1
        return self.head(y)


class Counter(nn.Module):
    """A module with a buffer that each call changes."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x):
        self.count.add_(1)
        return x * self.count


def layer_names(keras_model):
    return [layer.name for layer in keras_model.layers]
