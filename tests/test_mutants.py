"""Wrong converters are caught: by the converter's own items, and by those of a model that has the layer.

A slice of `conformance.mutants`, which tries them all (`conformance/MUTANTS.md`).
"""

from __future__ import annotations

import fnmatch
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.mutants import __main__ as command
from conformance.mutants.in_models import names_it
from conformance.mutants.rules import Mutant
from conformance.mutants.run import verdicts
from conformance.mutants.table import MUTANTS
from pytest_nobuco.options import Options

SLICE = (
    "torch.nn.Conv2d: half of every value where * is not its default",
    "torch.nn.ConvTranspose2d: output_padding is 0 *",
    "torch.round: half is rounded up",
    "torch.log1p: *",
    "torch.pixel_shuffle: *",
    "torch.nn.Embedding: *",
    "torch.nn.functional.batch_norm: momentum *",
    "torch.Tensor.__getitem__: wrong for a step",
    "torch.einsum: wrong for three operands",
    "torch.cdist: wrong for equal rows",
    "torch.index_put: wrong for places from the end",
    "torch.gather: wrong for a dimension from the end",
    "torch.add: wrong for int64 by way of float32",
    "torch.sqrt: wrong for a number below 1e-12",
    "torch.nn.BatchNorm2d: wrong for a module in training",
    "torch.exp: wrong for other sizes than the example's",
)
SLOW = ("torch.topk: *", "torch.nn.functional.scaled_dot_product_attention: scale *")


def chosen(pattern: str) -> list[Mutant]:
    return [mutant for mutant in MUTANTS if fnmatch.fnmatch(mutant.name, pattern)]


@pytest.mark.parametrize("pattern", [*SLICE, *(pytest.param(name, marks=pytest.mark.full) for name in SLOW)])
def test_an_item_of_the_converter_fails(pattern):
    mutants = chosen(pattern)
    assert mutants
    found = list(verdicts(mutants, Options()))
    assert [verdict.mutant.name for verdict in found if not verdict.caught or verdict.raised] == []


IN_MODELS = (
    "torch.nn.Conv2d: circular *",
    "torch.nn.LSTM: the *",
    "torch.round: half is rounded up",
    "torch.argmax: *",
    "torch.clamp: *",
    "torch.nn.functional.pad: reflected *",
)


@pytest.mark.full
def test_a_model_s_test_fails_and_names_it():
    """In a session of its own, since a pytest inside this one would share its modules."""
    code = f"""
import fnmatch

import torch

from conformance.mutants.in_models import found_by_models
from conformance.mutants.rules import Mutant
from conformance.mutants.run import verdicts
from conformance.mutants.table import MUTANTS
from nobuco.registry import Sample
from pytest_nobuco.converters.calls import attempt
from pytest_nobuco.options import Options

chosen = [m for m in MUTANTS if any(fnmatch.fnmatch(m.name, pattern) for pattern in {IN_MODELS!r})]
found = found_by_models((verdict.mutant, verdict.calls) for verdict in verdicts(chosen, Options()))
assert len(found) >= 9, found
assert not any(found.values()), found
right = Mutant(torch.relu, "nothing is wrong", lambda converter: converter)
found = found_by_models([(right, [attempt(torch.relu, Sample((torch.ones(2, 3),)))])])
assert list(found.values()) == ["passes"], found
"""
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_failure_that_names_another_call_does_not_count():
    (mutant,) = chosen("torch.round: half is rounded up")
    assert names_it("  culprit: torch.round, off by 1.0e+00", mutant)
    assert names_it("  culprit: head (torch.Tensor.round), off by 1.0e+00", mutant)
    assert names_it("x: the model cannot be converted: torch.round at line 3: the converter at raised", mutant)
    assert not names_it("  culprit: torch.floor, off by 1.0e+00", mutant)
    assert not names_it("  output 0: torch.round differs", mutant)


def test_those_without_a_row_are_tried_and_rows_stay_where_a_run_is_stopped(tmp_path, monkeypatch):
    names = [mutant.name for mutant in MUTANTS[:25]]
    table = tmp_path / "MUTANTS.md"
    table.write_text("\n".join(command.page({names[0]: row_of(names[0])}, 1, 1.0)))
    tried: list[str] = []

    def try_some(mutants, options):
        if tried:
            raise KeyboardInterrupt
        tried.extend(mutant.name for mutant in mutants)
        return {mutant.name: row_of(mutant.name) for mutant in mutants}

    monkeypatch.setattr(command, "TABLE", table)
    monkeypatch.setattr(command, "MUTANTS", MUTANTS[:25])
    monkeypatch.setattr(command, "tried_rows", try_some)
    monkeypatch.setattr(sys, "argv", ["mutants", "--missing"])
    with pytest.raises(KeyboardInterrupt):
        command.main()
    assert names[0] not in tried
    assert [row_of(name) in table.read_text() for name in names] == [name in (names[0], *tried) for name in names]


def row_of(name: str) -> str:
    operation, _, fault = name.partition(": ")
    return f"| `{operation}` | {fault} | caught | named | here |"


def test_there_are_many_and_no_two_of_one_name():
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) > 700
    assert len(set(names)) == len(names)


MODEL = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3)
            self.down = nn.Conv2d(4, 4, 3, stride=2, groups=2)
            self.act = nn.Sigmoid()

        def forward(self, x):
            return self.act(self.down(self.stem(x)))

        def example_inputs(self):
            return [torch.randn(2, 3, 13, 11)]
"""
MUTATED = """
    import pytest

    from conformance.mutants.run import installed
    from conformance.mutants.table import MUTANTS
    from nobuco.builtin import find_converter


    @pytest.fixture(autouse=True)
    def wrong():
        name = "torch.nn.Conv2d: half of every value where stride is not its default"
        (mutant,) = [m for m in MUTANTS if m.name == name]
        with installed(mutant.change(find_converter(mutant.operation))):
            yield
"""


def test_an_item_of_a_model_fails_and_names_the_layer(pytester: pytest.Pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))  # where conformance is found
    pytester.makepyfile(mypkg=MODEL)
    pytester.makeconftest(MUTATED)
    options = ["--nobuco-model=mypkg.Net", "--nobuco-runtime=keras", "--nobuco-order=nhwc", "--nobuco-dynamic=none"]
    result = pytester.runpytest_subprocess(*options)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*keras differs from PyTorch*", "*culprit: down (torch.nn.Conv2d)*"])
