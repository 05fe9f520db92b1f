"""The known gaps of `COVERAGE.md`, each a strict xfail: who mends one is told to take its line away."""

from __future__ import annotations

import pytest
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db

from conformance.coverage import measured, name_of
from conformance.coverage_page import GAPS, known_gaps

_REASONS = known_gaps(GAPS.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.xfail(reason=reason)) for name, reason in _REASONS.items()]
)
def test_operation(name: str):
    (info,) = (info for info in (*op_db, *module_db) if name_of(info) == name)
    result = measured(info, None, tflite=False)
    assert result.ok, [said for said in result.keras if said != "ok"]
