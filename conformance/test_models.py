"""Real networks through Keras and TFLite against PyTorch, with the transpositions that they may cost.

CI leaves out the large ones: `pytest conformance -m "not full"`. All of them: `pytest conformance`.
"""

from __future__ import annotations

import pytest

from conformance.measure import measure
from conformance.models import CASES, Case
from conformance.zoo import ZOO, zoo_case


@pytest.mark.parametrize("case", [pytest.param(c, id=c.name, marks=() if c.quick else pytest.mark.full) for c in CASES])
def test_network(case: Case):
    check(case)


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in ZOO if name not in {c.name for c in CASES}])
def test_torchvision(name: str):
    check(zoo_case(name))


def check(case: Case) -> None:
    """Keras, TFLite and every node match PyTorch, with no more transpositions than the case allows."""
    measured = measure(case)
    for runtime, differences in (("Keras", measured.keras), ("TFLite", measured.tflite)):
        for i, difference in enumerate(differences):
            assert difference.matches, f"{runtime}, output {i}: {difference.describe()}"
            assert difference.peak > 0, f"{runtime}, output {i} is all zero: it proves nothing"
    assert measured.report.first_bad() is None
    if case.max_transposes is not None:
        assert measured.transposes <= case.max_transposes, dict(measured.operations)
