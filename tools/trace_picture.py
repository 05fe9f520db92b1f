"""The pictures of the HTML trace for the documentation: `python -m tools.trace_picture docs/images`.

A real conversion, with a converter that is a little wrong and a softmax that wants its image channels first, drawn by
headless Chromium.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch
from torch import nn

import nobuco
from nobuco.report import report_to_dict, save_html
from tests.browser import quantize, screenshot

GRAPH = "document.getElementById('tab-graph').click();"
OPEN = (
    "document.querySelector('.lesson a').click(); await new Promise((done) => setTimeout(done, 100)); scrollTo(0, 0);"
)


@nobuco.traceable
def scale(x):
    return 0.5 * x


@nobuco.converter(scale, channel_ordering_strategy=nobuco.ChannelOrderingStrategy.MINIMUM_TRANSPOSITIONS)
def convert_scale(x):
    return lambda x: 0.52 * x


class Block(nn.Sequential):
    def __init__(self, inputs, outputs):
        super().__init__(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.Hardswish())


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.query, self.key = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        weights = self.query(x).flatten(2).transpose(1, 2) @ self.key(x).flatten(2)
        return (x.flatten(2) @ weights.softmax(-1)).view(x.shape)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = Block(3, 16)
        self.stages = nn.Sequential(*(Block(16, 16) for _ in range(2)))
        self.attention = Attention(16)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = self.stem(x)
        x = self.stages[0](x) + scale(self.stages[1](x))
        x = x + self.attention(x)
        return self.head(x.mean((2, 3)))


def main(folder: Path) -> None:
    """Convert, render, draw."""
    torch.manual_seed(0)
    _, report = nobuco.pytorch_to_keras(
        Net().eval(), args=[torch.randn(1, 3, 16, 16)], return_report=True, verbose=False
    )
    with tempfile.TemporaryDirectory() as scratch:
        page = Path(scratch) / "trace.html"
        save_html(json.loads(anywhere(json.dumps(report_to_dict(report)))), page)
        for name, script, height, dark in (("trace", OPEN, 980, False), ("trace-graph", GRAPH, 1000, True)):
            picture = folder / f"{name}.png"
            screenshot(page, picture, 1280, height, dark, script)
            quantize(picture)


def anywhere(text: str) -> str:
    """The report without the folders of the machine that made the picture."""
    for module, said in ((__file__, "net.py"), (nobuco.__file__, "nobuco"), (torch.__file__, "torch")):
        place = Path(module)
        text = text.replace(str(place if said.endswith(".py") else place.parent), f"/home/me/{said}")
    return text


if __name__ == "__main__":
    main(Path(sys.argv[1]))
