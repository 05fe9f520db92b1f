"""The tool that measures how much of PyTorch converts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db

from conformance.coverage import Result, _measure, measured
from nobuco.registry import Sample


def entry(database, name):
    return next(info for info in database if info.name == name)


def test_an_operation_and_a_module_are_measured():
    result = measured(entry(op_db, "nn.functional.softsign"), 1, tflite=True)
    assert (result.keras, result.tflite, result.ok, result.tflite_ok) == (["ok"], ["ok"], True, True)
    lazy = measured(entry(module_db, "nn.LazyConv1d"), 1, tflite=False)
    assert (lazy.name, lazy.keras) == ("nn.LazyConv1d", ["ok"])


def test_what_draws_random_numbers_is_left_out_whatever_it_is_seeded_with():
    def seeded(x):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return F.dropout(x, 0.5, training=True)

    result = Result("seeded dropout")
    assert _measure(Sample((seeded, torch.ones(50))), tflite=False, result=result) == "random"
    assert result.keras == []


def test_a_wrong_value_is_told():
    result = Result("drifting")
    calls = iter(range(100))
    assert _measure(Sample((lambda x: x + min(next(calls), 2) // 2, torch.ones(3))), False, result) == ""
    assert result.keras == ["differs by 1"]
