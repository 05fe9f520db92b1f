"""How long a browser takes for the HTML trace of a network of 2,002 calls: `python -m tools.trace_lag [runs]`.

Prints milliseconds, each with layout, by headless Chromium's own clock.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from torch import nn

import nobuco
from nobuco.report import Status, save_html
from tests.browser import probe

SCRIPT = """
    const timed = (name, act) => {
        const started = performance.now();
        act();
        document.querySelector("main").getBoundingClientRect();
        said[name] = Math.round(performance.now() - started);
    };
    const id = (name) => document.getElementById(name);
    const filter = () => document.querySelector("[data-filter=DONE]").click();
    const key = (name) =>
        document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
    said.opened = Math.round(performance.now());
    said.calls = document.querySelectorAll("#tree .node").length;
    timed("filter", filter);
    id("search").value = "stages.7 bn";
    timed("search", filter);
    id("search").value = "";
    timed("clear", () => { filter(); filter(); });
    timed("unfold", () => id("unfold").click());
    document.querySelector("#tree summary[tabindex='0']").focus();
    timed("arrow", () => key("ArrowDown"));
    timed("end", () => key("End"));
    timed("fold", () => id("fold").click());
    timed("graph", () => id("tab-graph").click());
    timed("tree", () => id("tab-tree").click());
"""


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.act = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Hardswish()

    def forward(self, x):
        return x + self.act(self.bn(self.conv(x))) * 0.1


class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList(nn.Sequential(*(Block() for _ in range(20))) for _ in range(20))
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        for stage in self.stages:
            x = stage(x)
        return self.head(x.mean((2, 3)))


def main(runs: int) -> None:
    """Convert, render, open."""
    _, report = nobuco.pytorch_to_keras(
        Deep().eval(), args=[torch.randn(1, 8, 8, 8)], return_report=True, verbose=False
    )
    with tempfile.TemporaryDirectory() as folder:
        page = save_html(report, Path(folder) / "trace.html")
        print(f"{report.counts()[Status.DONE]} calls, {page.stat().st_size / 1e6:.1f} MB")
        for _ in range(runs):
            print(probe(page, SCRIPT, 1280))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
