"""The picture of a report for the documentation: `python -m tools.report_picture docs/images/report.png`.

Three models are really converted and compared (one well, one by a converter that is a little wrong, one by a
converter that makes NaN), and headless Chromium draws the page.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.browser import quantize, screenshot

WIDTH, HEIGHT = 1200, 2150
NETS = """
import keras
import torch
from torch import nn

import nobuco


@nobuco.traceable
def scale(x):
    return 0.5 * x


@nobuco.converter(scale)
def convert_scale(x):
    return lambda x: 0.52 * x


@nobuco.traceable
def entropy(p):
    return torch.special.entr(p)


@nobuco.converter(entropy)
def convert_entropy(p):
    return lambda p: -p * keras.ops.log(p)


class Block(nn.Sequential):
    def __init__(self, inputs, outputs):
        super().__init__(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.Hardswish())


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = Block(3, 16)
        self.stages = nn.Sequential(*(Block(16, 16) for _ in range(3)))
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        return self.head(self.stages(self.stem(x)).mean((2, 3)))


class Scaled(Classifier):
    def forward(self, x):
        x = self.stem(x)
        x = self.stages[0](x) + scale(self.stages[1](x))
        return self.head(self.stages[2](x).mean((2, 3)))


class Entropy(Classifier):
    def forward(self, x):
        return entropy(super().forward(x).relu())
"""


def main(picture: Path) -> None:
    """Convert, report, draw."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        project.mkdir()
        (project / "nets.py").write_text(NETS, encoding="utf-8")
        models = [word for name in ("Classifier", "Scaled", "Entropy") for word in ("--nobuco-model", f"nets.{name}")]
        options = ["--nobuco-input", "1,3,32,32", "--nobuco-report", "report.html"]
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "--tb=no", *models, *options], cwd=project)
        assert done.returncode == 1, "two of the models are made to fail"
        screenshot(project / "report.html", picture, WIDTH, HEIGHT)
    quantize(picture)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
