"""The Python blocks of the README and of `docs/` run as they stand there (`.ci/run` runs the shell commands)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
PAGES = sorted((README.parent / "docs").glob("*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
PRINTS = re.compile(r"^print\(.*\)  # (.*)$", flags=re.MULTILINE)
BLOCKS = BLOCK.findall(README.read_text())


@pytest.mark.parametrize("block", [block for block in BLOCKS if "@pytest.mark" not in block])
def test_block_runs(block, tmp_path):
    script = tmp_path / "block.py"
    script.write_text(block)
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for expected in PRINTS.findall(block):
        assert expected in done.stdout.splitlines()


@pytest.mark.parametrize("block", [block for block in BLOCKS if "@pytest.mark" in block])
def test_block_for_pytest_passes(block, pytester):
    pytester.makepyfile(test_block=block)
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=4)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_runs(page, restored_registry, capsys, tmp_path, monkeypatch):
    """A page's blocks run in order, as in one session (in this process, which saves the start of another)."""
    monkeypatch.chdir(tmp_path)
    names, text = {"__name__": page.stem}, page.read_text()
    for block in BLOCK.finditer(text):
        before = text.count("\n", 0, block.start(1))
        exec(compile("\n" * before + block[1], str(page), "exec"), names)  # so that lines are those of the page
    printed = capsys.readouterr().out.splitlines()
    for expected in PRINTS.findall(text):
        assert expected in printed
