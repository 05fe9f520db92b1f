"""Real networks through Keras and TFLite against PyTorch, with the transpositions that they may cost.

CI leaves out the large ones: `pytest conformance -m "not full"`. All of them: `pytest conformance`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from conformance.detectors import Detector
from conformance.measure import measure
from conformance.models import CASES, Case
from conformance.torchvision_zoo import ZOO, zoo_case


@pytest.mark.parametrize("case", [pytest.param(c, id=c.name, marks=() if c.quick else pytest.mark.full) for c in CASES])
def test_network(case: Case):
    check(case)


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in ZOO if name not in {c.name for c in CASES}])
def test_torchvision(name: str):
    check(zoo_case(name))


LOOPS = {
    "maskrcnn_resnet50_fpn": "torchvision pastes one mask after the other, each resized to its box, in a Python loop",
    "keypointrcnn_resnet50_fpn": "torchvision resizes one heat map after the other to its box, in a Python loop",
}


@pytest.mark.full
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.xfail(reason=f"{why}: no end is known")) for n, why in LOOPS.items()]
)
def test_loops_over_what_was_found(name: str):
    """Whole, to pixels of the image; `test_torchvision` has what goes into these loops."""
    check(replace(zoo_case(name), make=partial(Detector, name)))


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
