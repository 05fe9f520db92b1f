"""The harness of random programs itself: what it calls right, told, silent, raw and a hang, and how it shrinks."""

from __future__ import annotations

import contextlib
import warnings

import pytest
import torch

from conformance.fuzz import judging, shrinking
from conformance.fuzz.campaign import Result, drawn
from conformance.fuzz.families import FAMILIES, Run
from conformance.fuzz.gaps import unknown_failures
from conformance.fuzz.grammar import Sketch
from conformance.fuzz.judging import Verdict, judge
from conformance.fuzz.outcome import Outcome
from conformance.fuzz.program import Input, Program, Trial
from conformance.fuzz.running import Converted, in_pytorch
from conformance.fuzz.table import summary
from nobuco import ChannelOrder
from nobuco.errors import ConversionError, NobucoWarning

ORDERS = {"inputs_channel_order": ChannelOrder.PYTORCH, "outputs_channel_order": ChannelOrder.PYTORCH}


def program(*lines: str, sizes: tuple[int, ...] = (), dims: tuple[int | str, ...] = (2, 3)) -> Program:
    """A program of these lines; `sizes` are those of its dynamic axis `n`, the example's first."""
    source = "\n".join(["def f(x):", *(f"    {line}" for line in lines), ""])
    trials = [Trial(f"n={n}", {"n": n}) for n in sizes] or [Trial("example"), Trial("other", variants=(1,))]
    return Program(source, (Input("x", dims),), tuple(trials), ORDERS, tflite=not sizes)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_number_is_a_program_and_programs_run_in_pytorch(family):
    programs = [drawn(Run(family, 3), i) for i in range(4)]
    assert [p.text for p in programs] == [drawn(Run(family, 3), i).text for i in range(4)]
    assert len({p.key for p in programs}) > 1
    for each in programs:
        judging.in_pytorch(each, each.trials[0])


def test_a_line_that_is_refused_leaves_no_name():
    sketch = Sketch.begun([Input("x", ("n",))], [Trial("example", {"n": 2}), Trial("far", {"n": 20})])
    assert not sketch.take("x.new_zeros(100, 100)", "v")
    assert not sketch.take("x[:2].view(-1)[9]", "v")
    assert sketch.take("x * 2", "v")
    assert sketch.tensors == ["v0", "x"]


def test_right():
    assert judge(program("return x * 2 + x.sum(0)")).outcome is Outcome.RIGHT
    assert judge(program("return x.flip(0)", sizes=(2, 5, 1), dims=("n", 3))).outcome is Outcome.RIGHT


def test_a_size_that_pytorch_cannot_take_does_not_count():
    assert judge(program("return x.view(-1, 2)", sizes=(4, 3, 6), dims=("n",))).outcome is Outcome.RIGHT


@pytest.fixture
def off_by_one(monkeypatch):
    """Keras gives one more than PyTorch."""

    def in_keras(self, trial):
        return [[t + 1 for t in tensors] for tensors in judging.in_pytorch(self.program, trial)]

    monkeypatch.setattr(Converted, "in_keras", in_keras)


def test_silently_wrong(off_by_one):
    verdict = judge(program("return x * 2"))
    assert verdict.outcome is Outcome.SILENT
    assert verdict.signature == "Keras, example: values"


def test_wrong_but_warned_of(off_by_one):
    assert judge(program("return x * 2 if x.sum() > 0 else x")).outcome is Outcome.TOLD


def test_what_is_told_of_one_size_excuses_no_other(monkeypatch):
    """Wrong inside of the region that a condition tells is silently wrong, also behind a refusal."""
    mine = Converted.in_keras

    def in_keras(self, trial):
        got = mine(self, trial)
        return [[t + 1 for t in tensors] for tensors in got] if trial.sizes["n"] == 7 else got

    monkeypatch.setattr(Converted, "in_keras", in_keras)
    lines = ("return x * 2 if x.shape[0] > 2 else x",)
    assert judge(program(*lines, sizes=(4, 1, 6), dims=("n",))).outcome is Outcome.REFUSED
    assert judge(program(*lines, sizes=(4, 1, 7), dims=("n",))).outcome is Outcome.SILENT


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(TypeError("a stumble"), Outcome.RAW), (ConversionError("no converter"), Outcome.REFUSED)],
)
def test_a_conversion_that_fails(monkeypatch, error, outcome):
    def failing(given):
        raise error

    monkeypatch.setattr(judging, "converted", failing)
    assert judge(program("return x")).outcome is outcome


def test_a_hang(monkeypatch):
    def endless(given):
        while True:
            with contextlib.suppress(Exception):
                warnings.warn("still at it", NobucoWarning, stacklevel=1)

    monkeypatch.setattr(judging, "converted", endless)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert judge(program("return x"), seconds=0.3).outcome is Outcome.HANG


def test_where_rounding_decides_nothing_is_said(off_by_one):
    """In double precision that is another number, so what Keras makes of it proves nothing."""
    assert judge(program("return x / 3 + 1e8 - 1e8")).outcome is Outcome.RIGHT


def test_in_double_precision_the_values_are_the_same():
    """Else whatever a model gives would be excused by rounding."""
    given = Program("def f(x):\n    return x\n", (Input("x", (2, 3), values="normal"),), (Trial("example"),), ORDERS)
    (single,), (double,) = (in_pytorch(given, given.trials[0], kind)[0] for kind in (torch.float32, torch.float64))
    assert torch.equal(single.double(), double)


def test_lines_outputs_and_trials_that_do_not_matter_are_left_out(monkeypatch):
    def fails_with_relu(given, seconds):
        return Verdict(Outcome.SILENT if "relu" in given.source else Outcome.RIGHT, "values")

    monkeypatch.setattr(shrinking, "judge", fails_with_relu)
    whole = program("y = x * 2", "if y.sum() > 0:", "    y = y + 1", "z = y.relu()", "return y, z")
    result = Result(Run("views", 0), 0, whole, Verdict(Outcome.SILENT, "values"), 0.0)
    smaller = shrinking.shrunk(result, seconds=0)
    assert smaller.source.splitlines() == ["def f(x):", "    z = y.relu()", "    return z"]
    assert [trial.name for trial in smaller.trials] == ["example"]


def test_failures_that_are_known():
    entry = {"family": "views", "signature": "values", "detail": "", "source": "x.t_()", "outcome": "SILENT"}
    assert unknown_failures([entry], [r"\.t_\(\)"]) == []
    assert unknown_failures([entry], [r"\.squeeze_\("]) == [entry]
    assert unknown_failures([{**entry, "outcome": "TOLD"}], []) == []


def test_table():
    entries = [{"family": "views", "outcome": name} for name in ("RIGHT", "RIGHT", "SILENT", "VOID")]
    assert summary(entries).splitlines()[-1] == "| views | 3 | 2 | 0 | 0 | 0 | 1 | 0 | 0 |"
