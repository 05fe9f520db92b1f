"""The tool that measures how much of PyTorch converts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db

from conformance.coverage.measure import Result, measure, measured, run, run_otherwise
from conformance.coverage.verdicts import verdict_of_random
from nobuco.registry import Sample


def entry(database, name):
    return next(info for info in database if info.name == name)


def test_an_operation_and_a_module_are_measured():
    result = measured(entry(op_db, "nn.functional.softsign"), 1, tflite=True)
    assert (result.keras, result.tflite, result.ok, result.tflite_ok) == (["ok"], ["ok"], True, True)
    lazy = measured(entry(module_db, "nn.LazyConv1d"), 1, tflite=False)
    assert (lazy.name, lazy.keras) == ("nn.LazyConv1d", ["ok"])


def seeded(x):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return F.dropout(x, 0.5, training=True)


def test_of_what_draws_random_numbers_shape_and_dtype_are_compared_whatever_it_is_seeded_with():
    result = Result("seeded dropout")
    assert measure(Sample((seeded, torch.rand(50))), tflite=False, result=result) == ""
    assert result.keras == ["ok"]


def test_the_numbers_of_the_trace_are_told_where_others_could_come():
    def verdict(program, x):
        (expected, is_random), others = run(program, [x]), run_otherwise(program, [x])
        assert is_random
        return verdict_of_random(expected, expected, others)

    assert verdict(lambda x: [seeded(x)], torch.rand(50)) == "gives the numbers of the trace"
    assert verdict(lambda x: [x + 0 * seeded(x)], torch.rand(50)) == "ok"


def test_a_wrong_value_is_told():
    result = Result("drifting")
    calls = iter(range(100))
    assert measure(Sample((lambda x: x + min(next(calls), 2) // 2, torch.ones(3))), False, result) == ""
    assert result.keras == ["differs by 1"]
