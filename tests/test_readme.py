"""The Python blocks of the README and of `docs/` run as they stand there (`.ci/run` runs the shell commands)."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from conformance.torchvision_models import torchvision

README = Path(__file__).parent.parent / "README.md"
PAGES = [README, *sorted((README.parent / "docs").glob("*.md"))]
PLUGIN = README.parent / "docs" / "plugin.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
PRINTS = re.compile(r"^print\(.*\)  # (.*)$", flags=re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?\)")
BLOCKS = BLOCK.findall(README.read_text())


@pytest.mark.parametrize("block", [block for block in BLOCKS if "@pytest.mark" in block])
def test_block_for_pytest_passes(block, pytester):
    pytester.makepyfile(test_block=block)
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=32)


@pytest.mark.full
def test_the_commands_of_the_workflow_gate(pytester):
    """The workflow's own commands, on a package of that name, but for the installation."""
    (workflow,) = re.findall(r"^```yaml\n(.*?)^```", PLUGIN.read_text(), flags=re.MULTILINE | re.DOTALL)
    commands = [" ".join(run.split()) for run in re.findall(r"- run: >?(.*?)(?=\n +- |\n +if:)", workflow, re.DOTALL)]
    install, gate, summary = commands
    assert install.startswith("pip install")
    pytester.makepyfile(mypkg=NET.format(factor=1))
    assert run(gate, pytester.path).returncode == 0
    assert run(summary, pytester.path, GITHUB_STEP_SUMMARY="summary.md").returncode == 0
    assert "32 of 32" in (pytester.path / "summary.md").read_text()
    assert {file.suffix for file in pytester.path.glob("parity.*")} == {".html", ".md", ".xml"}

    pytester.makepyfile(mypkg=NET.format(factor=1.001))
    assert run(gate, pytester.path).returncode == 1
    assert "mypkg.Net" in (pytester.path / "parity.md").read_text()


# The factor stands for a converter that is slightly wrong.
NET = """
import torch
from torch import nn
import nobuco

@nobuco.traceable
def scaled(x):
    return x * 2

@nobuco.converter(scaled, channel_ordering_strategy=nobuco.ChannelOrderingStrategy.MINIMUM_TRANSPOSITIONS)
def convert_scaled(x):
    return lambda x: x * 2 * {factor}

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return scaled(self.conv(x))
"""


def run(command, folder, **environment):
    return subprocess.run(command, shell=True, cwd=folder, env={**os.environ, **environment}, check=False)


@pytest.mark.parametrize(
    "page",
    # Language models are those of `examples/language_model.py`, which runs.
    [pytest.param(page, marks=[pytest.mark.full] if page.stem == "language-models" else []) for page in PAGES],
    ids=lambda page: page.stem,
)
def test_page_runs(page, restored_registry, capsys, tmp_path, monkeypatch):
    """A page's blocks run in order, as in one session (in this process, which saves the start of another)."""
    torchvision()  # so that transformers loads with any build of PyTorch
    monkeypatch.chdir(tmp_path)
    names, text = {"__name__": page.stem}, page.read_text()
    for block in BLOCK.finditer(text):
        before = text.count("\n", 0, block.start(1))
        exec(compile("\n" * before + block[1], str(page), "exec"), names)  # so that lines are those of the page
    printed = capsys.readouterr().out.splitlines()
    for expected in PRINTS.findall(text):
        assert expected in printed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    """To files of the repository, and to headings as GitHub names them."""
    for file, heading in LINK.findall(page.read_text()):
        if file.startswith("https://"):
            continue
        target = page.parent / file if file else page
        assert target.exists(), file
        assert not heading or heading[1:] in anchors(target), file + heading


def anchors(page):
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
