"""The known gaps of `COVERAGE.md`, each a strict xfail: who mends one is told to take its line away."""

from __future__ import annotations

from typing import Any

import pytest
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db

from conformance.coverage.entries import name_of
from conformance.coverage.measure import measured
from conformance.coverage_page import GAPS, known_gaps

_REASONS = known_gaps(GAPS.read_text(encoding="utf-8").splitlines())
_INFOS = {name_of(info): info for info in (*op_db, *module_db)}


def _gap(name: str, reason: str):
    """Looked up here, since an entry that is not there must fail and not pass for a gap."""
    marks = [pytest.mark.xfail(reason=reason, raises=AssertionError)]
    marks += [pytest.mark.full] if name == "nn.Transformer" else []  # more than a minute
    return pytest.param(_INFOS[name], id=name, marks=marks)


@pytest.mark.parametrize("info", [_gap(name, reason) for name, reason in _REASONS.items()])
def test_operation(info: Any):
    result = measured(info, None, tflite=False)
    assert result.ok, [said for said in result.keras if said != "ok"]
