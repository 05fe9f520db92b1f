"""TFLite files in every precision, of one model and of several; each file itself is compared with PyTorch."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import tensorflow as tf
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import nn

import nobuco
from nobuco import ChannelOrder
from nobuco.export import (
    quantisation_report,
    render_quantisation,
    run_tflite,
    tflite,
    to_saved_model,
    to_tflite,
    unsupported_in_tfjs,
)
from nobuco.export.running import tflite_operations
from tests.older import fails_before
from tests.parity import convert

TENSORFLOW = ChannelOrder.TENSORFLOW


class Net(nn.Module):
    """Two images in; scores and a map out, whose names are not in the alphabet's order."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.second = nn.Conv2d(16, 32, 3)
        self.head = nn.Linear(32, 300)

    def forward(self, x, y):
        z = self.second(torch.relu(self.norm(self.first(x - y))))
        return self.head(z.mean((2, 3))), torch.sigmoid(z)


@pytest.fixture(scope="module")
def converted():
    torch.manual_seed(0)
    net, images = Net().eval(), [torch.randn(1, 3, 16, 16), torch.randn(1, 3, 16, 16)]
    options = {"input_names": ["right", "left"], "output_names": ["scores", "map"], "verbose": False}
    model = nobuco.pytorch_to_keras(net, images, outputs_channel_order=TENSORFLOW, **options)
    with torch.no_grad():
        scores, maps = net(*images)
    return model, feeds_of(images), [scores.numpy(), maps.permute(0, 2, 3, 1).numpy()]


def feeds_of(images):
    return [nobuco.t_pytorch2keras(x, TENSORFLOW).numpy() for x in images]


def samples(feeds):
    rng = np.random.default_rng(0)
    return [feeds, *([rng.standard_normal(f.shape, "float32") for f in feeds] for _ in range(15))]


def snr(got, expected):
    """Decibels of signal over noise."""
    return 10 * np.log10((expected**2).sum() / ((got - expected) ** 2).sum())


# Rounding to b bits of a range of ±4 standard deviations costs about 6.02 b - 7.3 dB; two layers and the ranges of
# channels cost some more. (11 bits of float16's mantissa: about 6.02 * 11 + 7 dB for each operand.)
@pytest.mark.parametrize(
    ("precision", "decibels", "smaller"),
    [("float16", 60, 1.8), ("dynamic", 30, 2.5), ("int8", 28, 1.9), ("int16x8", 30, 1.7)],
)
def test_precisions(converted, precision, decibels, smaller):
    model, feeds, expected = converted
    data = to_tflite(model, precision=precision, representative=samples(feeds))
    assert len(to_tflite(model)) > smaller * len(data)
    for got, wanted in zip(run_tflite(data, feeds), expected, strict=True):
        assert got.dtype == wanted.dtype and snr(got, wanted) > decibels


@pytest.mark.parametrize("precision", ["float32", "float16", "dynamic", "int8", "int16x8"])
def test_names_and_their_order(converted, precision):
    model, feeds, _ = converted
    data = to_tflite(model, precision=precision, representative=samples(feeds))
    interpreter = Interpreter(model_content=data)
    assert [detail["name"] for detail in interpreter.get_input_details()] == ["right", "left"]
    assert [detail["name"] for detail in interpreter.get_output_details()] == ["scores", "map"]
    signature = interpreter.get_signature_list()["serving_default"]
    assert sorted(signature["inputs"]) == ["left", "right"] and sorted(signature["outputs"]) == ["map", "scores"]


@pytest.mark.parametrize(("precision", "dtype"), [("int8", np.int8), ("int16x8", np.int16)])
def test_integer_inputs_and_outputs(converted, precision, dtype):
    model, feeds, expected = converted
    data = to_tflite(model, precision=precision, representative=samples(feeds), integer_io=True)
    interpreter = Interpreter(model_content=data)
    details = [*interpreter.get_input_details(), *interpreter.get_output_details()]
    assert {detail["dtype"] for detail in details} == {dtype}
    assert not {"QUANTIZE", "DEQUANTIZE"} & set(tflite_operations(data))
    for got, wanted in zip(run_tflite(data, feeds), expected, strict=True):
        assert snr(got, wanted) > 25


def test_a_scale_for_each_channel(converted):
    model, feeds, _ = converted

    def scales(per_channel):
        data = to_tflite(model, precision="int8", representative=samples(feeds), per_channel=per_channel)
        details = Interpreter(model_content=data).get_tensor_details()
        return {len(d["quantization_parameters"]["scales"]) for d in details}

    assert scales(True) >= {16, 32}
    assert scales(False) <= {0, 1}


def test_a_dynamic_batch_quantises():
    net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 8)).eval()
    x = torch.randn(4, 32)
    model = nobuco.pytorch_to_keras(net, [x], input_shapes={x: (None, 32)}, verbose=False)
    data = to_tflite(model, precision="int8", representative=[torch.randn(512, 32).numpy()])
    other = torch.randn(7, 32)
    assert snr(run_tflite(data, [other.numpy()])[0], net(other).detach().numpy()) > 20


def test_what_does_not_fit_is_refused(converted):
    model, feeds, _ = converted
    for options, message in [
        ({"precision": "int4"}, "there are float32, float16"),
        ({"precision": "int8"}, "needs representative"),
        ({"precision": "int8", "representative": []}, "no sample"),
        ({"precision": "int8", "representative": [feeds[:1]]}, "1 arrays for 2 inputs"),
        ({"precision": "int8", "representative": [{"left": feeds[0]}]}, "the inputs are right, left"),
        ({"precision": "int8", "representative": {"encode": [feeds]}}, "the signatures are serving_default"),
    ]:
        with pytest.raises(nobuco.ExportError, match=message):
            to_tflite(model, **options)


@nobuco.traceable
def foreign(x):
    return torch.linalg.slogdet(x).logabsdet, torch.bincount(x[0, 0].long())


@pytest.fixture
def with_foreign(restored_registry):
    """A model of two operations that neither TFLite nor TF.js has."""
    strategy = nobuco.ChannelOrderingStrategy.FORCE_PYTORCH_ORDER
    nobuco.converter(foreign, channel_ordering_strategy=strategy)(
        lambda x: (
            lambda x: (
                tf.linalg.slogdet(x)[1],
                tf.raw_ops.DenseBincount(input=tf.cast(x[0, 0], tf.int32), size=2, weights=tf.zeros([0], tf.int64)),
            )
        )
    )
    return nobuco.pytorch_to_keras(foreign, [torch.eye(4)[None] + 0.5], verbose=False)


def test_operations_that_tflite_lacks_are_named(with_foreign):
    model = with_foreign
    with pytest.raises(nobuco.ExportError, match="allow_flex=True") as caught:
        to_tflite(model)
    assert caught.value.operations == ("DenseBincount", "LogMatrixDeterminant")
    data = to_tflite(model, allow_flex=True)
    assert {name.removeprefix("Flex") for name in tflite_operations_of(data)} >= set(caught.value.operations)


def tflite_operations_of(data):
    """Names of custom operations, read from the file: the interpreter here has no Flex delegate."""
    from tensorflow.lite.python.schema_py_generated import Model

    model = Model.GetRootAs(bytearray(data), 0)
    codes = (model.OperatorCodes(i).CustomCode() for i in range(model.OperatorCodesLength()))
    return [code.decode() for code in codes if code]


class Pair(nn.Module):
    """An encoder and a decoder, which share a projection."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Linear(256, 256)
        self.up = nn.Linear(256, 512)
        self.down = nn.Linear(512, 256)

    def encode(self, text):
        return self.up(torch.relu(self.shared(text)))

    def decode(self, code, text):
        return self.down(torch.relu(code)) + self.shared(text)


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    module, text = Pair().eval(), torch.randn(2, 256)
    code = module.encode(text).detach()
    encoder = nobuco.pytorch_to_keras(module.encode, [text], output_names=["code"], verbose=False)
    decoder = nobuco.pytorch_to_keras(module.decode, [code, text], output_names=["reply"], verbose=False)
    return module, text, {"encode": encoder, "decode": decoder}


@pytest.mark.parametrize(
    ("precision", "decibels"), [("float32", 100), ("float16", 60), ("dynamic", 30), ("int8", 25), ("int16x8", 30)]
)
def test_signatures_share_weights(pair, tmp_path, precision, decibels):
    module, text, models = pair
    code = module.encode(text).detach()
    given = {"encode": [text.numpy()], "decode": [[code.numpy(), text.numpy()]]}
    tflite(models, tmp_path / "pair.tflite", precision=precision, representative=given)
    alone = {
        key: len(to_tflite({key: models[key]}, precision=precision, representative={key: given[key]})) for key in models
    }
    bytes_each = {"float32": 4, "float16": 2}.get(precision, 1)
    assert (tmp_path / "pair.tflite").stat().st_size < sum(alone.values()) - 0.9 * bytes_each * 256 * 256

    interpreter = Interpreter(model_path=str(tmp_path / "pair.tflite"))
    assert set(interpreter.get_signature_list()) == {"encode", "decode"}
    got = interpreter.get_signature_runner("encode")(text=text.numpy())["code"]
    assert snr(got, code.numpy()) > decibels
    got = interpreter.get_signature_runner("decode")(text=text.numpy(), code=code.numpy())["reply"]
    assert snr(got, module.decode(code, text).detach().numpy()) > decibels


def test_a_saved_model_of_several_signatures(pair, tmp_path):
    module, text, models = pair
    to_saved_model(models, tmp_path / "pair")
    loaded = tf.saved_model.load(str(tmp_path / "pair"))
    got = loaded.signatures["encode"](text=tf.constant(text.numpy()))["code"]
    np.testing.assert_allclose(got, module.encode(text).detach(), atol=1e-5)


class Count(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 64)
        self.register_buffer("total", torch.zeros(1, 64))

    def forward(self, x):
        self.total = self.total * 0.5 + self.linear(x)
        return self.total * 1.0


@pytest.mark.parametrize("precision", ["float16", "dynamic", "int8", "int16x8"])
def test_a_file_with_state_quantises(precision):
    torch.manual_seed(0)
    module, x = Count().eval(), torch.randn(1, 64)
    model = nobuco.pytorch_to_keras(module, [x], input_names=["x"], output_names=["y"], verbose=False)
    data = to_tflite(model, precision=precision, representative=[torch.randn(1, 64).numpy() for _ in range(20)])
    runner = Interpreter(model_content=data).get_signature_runner()
    for _ in range(3):
        assert snr(runner(x=x.numpy())["y"], module(x).detach().numpy()) > 20


@pytest.mark.parametrize(("precision", "lowest"), [("int8", 0.0), ("int8", -3.0), ("int16x8", 0.0)])
def test_what_is_padded_with_minus_infinity_keeps_its_range(precision, lowest):
    """A pooling pads in front of its maximum; that number must not become part of the range."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Hardtanh(lowest, 6.0), nn.MaxPool2d(3, 2, padding=1)).eval()
    x = torch.randn(1, 3, 18, 18)
    model = nobuco.pytorch_to_keras(net, [x], verbose=False)
    assert "PADV2" in tflite_operations(to_tflite(model))
    given = [torch.randn(1, 18, 18, 3).numpy() for _ in range(8)]
    data = to_tflite(model, precision=precision, representative=given)
    got = nobuco.t_keras2pytorch(run_tflite(data, feeds_of([x]))[0], TENSORFLOW)
    assert snr(got.numpy(), net(x).detach().numpy()) > 28


def test_loops_are_not_calibrated():
    net, x = nn.LSTM(8, 8, batch_first=True).eval(), torch.randn(1, 67, 8)  # more steps than are written out
    model = nobuco.pytorch_to_keras(net, [x], inputs_channel_order=ChannelOrder.PYTORCH, verbose=False)
    with pytest.raises(nobuco.ExportError, match="'dynamic' and 'float16' need no calibration"):
        to_tflite(model, precision="int8", representative=[x.numpy()])
    got = run_tflite(to_tflite(model, precision="dynamic"), [x.numpy()])
    assert snr(got[0], net(x)[0].detach().numpy()) > 25


@pytest.mark.parametrize("precision", ["int8", "int16x8"])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_short_sequence_is_quantised(kind, precision):
    torch.manual_seed(0)
    net, x = kind(8, 8, batch_first=True).eval(), torch.randn(1, 20, 8)
    model = convert(net, x)
    data = to_tflite(model, precision=precision, representative=[torch.randn(1, 20, 8).numpy() for _ in range(16)])
    assert "WHILE" not in tflite_operations(data)
    assert snr(run_tflite(data, [x.numpy()])[0], net(x)[0].detach().numpy()) > 20


def test_what_the_runtime_cannot_run_is_refused():
    net, x = nn.MaxPool2d(3, 2, padding=1), torch.randn(1, 3, 16, 16)  # padded with a number below zero
    model = nobuco.pytorch_to_keras(net, [x], verbose=False)
    with pytest.raises(nobuco.ExportError, match="INT16 != FLOAT32"):
        to_tflite(model, precision="int16x8", representative=feeds_of([x]))


class Outlier(nn.Module):
    """In the middle, one channel of a hundred times the others' size, which takes the range of all."""

    def __init__(self):
        super().__init__()
        self.first, self.middle, self.last = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 3)
        with torch.no_grad():
            self.middle.weight[0] *= 300
            self.last.weight[:, 0] = 0  # so that what the others hold decides

    def forward(self, x):
        return self.last(torch.tanh(self.middle(torch.tanh(self.first(x))) * 0.01))


def test_to_run_a_file_without_litert_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(nobuco.ExportError, match="pip install ai-edge-litert"):
        run_tflite(b"", [])


@fails_before("tensorflow", "2.21", "its TFLite converter forgets the name of the last operation")
def test_the_report_names_what_hurts():
    torch.manual_seed(0)
    net, x = Outlier().eval(), torch.randn(1, 3, 12, 12)
    model = nobuco.pytorch_to_keras(net, [x], output_names=["y"], verbose=False)
    report = quantisation_report(model, [torch.randn(1, 12, 12, 3).numpy() for _ in range(8)], inputs=feeds_of([x]))
    assert [step.layer for step in report.steps] == ["first", "tanh", "mul, middle", "tanh_1", "last"]
    assert [step.layer for step in report.worst(2)] == ["last", "mul, middle"]
    assert all(step.snr < 60 for step in report.steps) and report.steps[-1].snr == pytest.approx(
        report.outputs["y"], abs=0.01
    )
    data = to_tflite(model, precision="int8", representative=[torch.randn(1, 12, 12, 3).numpy() for _ in range(8)])
    got = nobuco.t_keras2pytorch(run_tflite(data, feeds_of([x]))[0], TENSORFLOW)
    assert abs(report.outputs["y"] - snr(got.numpy(), net(x).detach().numpy())) < 6
    text = render_quantisation(report, count=2)
    assert text.startswith("int8: y ") and len(text.splitlines()) == 4 and "CONV_2D (last)" in text


def test_what_tfjs_lacks(tmp_path, with_foreign):
    class Depthwise(nn.Module):
        """Of which the earlier converter's depthwise convolutions did not convert."""

        def __init__(self):
            super().__init__()
            self.convs = nn.Sequential(
                nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.Hardswish(),
                nn.Conv2d(8, 8, 5, padding=2, groups=8), nn.ReLU6(), nn.Conv2d(8, 16, 3, dilation=2, groups=8),
                nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1), nn.MaxPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(1),
                nn.Flatten(), nn.Linear(8, 8),
            )  # fmt: skip

        def forward(self, x):
            return self.convs(x).softmax(-1)

    model = nobuco.pytorch_to_keras(Depthwise().eval(), [torch.randn(1, 3, 32, 32)], verbose=False)
    to_saved_model(model, tmp_path / "net")
    assert unsupported_in_tfjs(tmp_path / "net") == ()

    to_saved_model(with_foreign, tmp_path / "other")
    assert "LogMatrixDeterminant" in unsupported_in_tfjs(tmp_path / "other")
