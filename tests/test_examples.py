"""Each file of `examples/` runs, and so holds to PyTorch what it asserts of itself."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch

from conformance.torchvision_models import torchvision

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.filterwarnings("error::nobuco.NobucoWarning")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example, restored_registry, capsys):
    torch.manual_seed(0)
    torchvision()  # so that transformers loads with any build of PyTorch
    # In this process, which has PyTorch and TensorFlow loaded already.
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out, "an example prints what it shows"


def test_there_are_examples():
    assert len(EXAMPLES) > 10
