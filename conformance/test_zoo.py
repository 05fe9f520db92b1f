"""Other people's networks: a few of each zoo, which CI has; `python -m conformance.zoo` has all of them."""

from __future__ import annotations

import importlib
from functools import partial
from importlib.util import find_spec

import pytest
import torch

from conformance.zoo import dynamic
from conformance.zoo.gaps import GAPS, known_gaps, surprises
from conformance.zoo.measure import Row, measure
from conformance.zoo.network import Network
from nobuco import ChannelOrder

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


@pytest.mark.parametrize(("zoo", "name"), [("timm", "lcnet_035"), ("transformers", "bert"), ("transformers", "llama")])
def test_network_at_other_sizes_and_with_padding(zoo, name):
    if find_spec(zoo) is None:
        pytest.skip(f"{zoo} is not installed")
    networks = importlib.import_module(f"conformance.zoo.{zoo}_networks")
    row = dynamic.measure(zoo, name, partial(networks.network, name))
    assert row.word == dynamic.RIGHT, row
    assert len(row.axes) == len({"timm": "BHW", "transformers": "BL"}[zoo])


class Scaled(torch.nn.Module):
    """Wrong where it is not as in the example, in ways that a conversion tells of, or raises of its own."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind, self.weight = kind, torch.nn.Parameter(torch.randn(12, 3))

    def forward(self, x):
        if self.kind == "static":
            return x @ self.weight
        return x * 2 if self.kind == "told" and x.shape[1] > 12 else x + 1


@pytest.mark.parametrize("kind", ["right", "told", "static"])
def test_the_word_of_a_network(kind):
    x = torch.randn(2, 12)
    model = Scaled(kind)
    network = Network(model, {"x": x}, {"x": x + 1}, ChannelOrder.PYTORCH)
    row = dynamic.measure("", kind, lambda: network)
    assert row.word == ("right" if kind == "static" else kind), row
    assert row.axes == (("batch",) if kind == "static" else ("batch", "length"))


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
