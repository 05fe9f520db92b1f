"""Other people's networks: a few of each zoo, which CI has; `python -m conformance.zoo` has all of them."""

from __future__ import annotations

import importlib
from functools import partial
from importlib.util import find_spec

import pytest

from conformance.zoo.gaps import GAPS, known_gaps, surprises
from conformance.zoo.measure import Row, measure

_QUICK = {
    "timm": ("test_vit", "lcnet_035"),
    "transformers": ("bert", "qwen3_moe", "clip", "wav2vec2"),
}


@pytest.mark.parametrize(("zoo", "name"), [(zoo, name) for zoo, names in _QUICK.items() for name in names])
def test_network(zoo: str, name: str):
    if find_spec(zoo) is None:  # not imported yet: they import torchvision, which needs help for that
        pytest.skip(f"{zoo} is not installed")
    networks = importlib.import_module(f"conformance.zoo.{zoo}_networks")
    row = measure(zoo, name, partial(networks.network, name))
    assert row.keras_ok, row
    assert row.tflite_ok, row


def test_a_gap_that_is_closed_and_a_failure_that_is_none_are_told():
    right = {"keras": "ok", "elsewhere": "ok", "tflite": "ok", "tflite_elsewhere": "ok", "stage": "done"}
    rows = [Row("a", "timm", **right), Row("b", "timm", **{**right, "tflite": "off"}), Row("c", "timm")]
    assert surprises(rows, {}) == ["timm b TFLite: is not right"]
    assert surprises(rows, {("timm", "b", "TFLite"): "why"}) == []
    assert surprises(rows, {("timm", "a", "Keras"): "why"})[0] == "timm a Keras: is no gap any more"


def test_known_gaps_have_reasons():
    known_gaps(GAPS.read_text(encoding="utf-8").splitlines())
    with pytest.raises(ValueError, match="a known gap is"):
        known_gaps(["timm resnet18 Keras"])
