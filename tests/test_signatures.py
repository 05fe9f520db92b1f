"""Several signatures of one module in one file: what one writes the others see, or it is refused with the reason."""

from __future__ import annotations

import copy

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import nn

import nobuco
from nobuco import ChannelOrder
from nobuco.errors import ExportError
from nobuco.export import to_saved_model, to_tflite
from tests.parity import convert

PYTORCH = ChannelOrder.PYTORCH


class Cached(nn.Module):
    """Keys, values and a position: begun by `prefill`, which reads no position, and gone on with by `decode`."""

    def __init__(self):
        super().__init__()
        self.proj = nn.Linear(4, 4)
        self.register_buffer("keys", torch.zeros(1, 12, 4))
        self.store = {"values": torch.zeros(1, 12, 4)}  # no buffer
        self.register_buffer("position", torch.tensor([0]))

    def attend(self, x, places):
        self.keys.index_copy_(1, places, self.proj(x))
        self.store["values"].index_copy_(1, places, x * 2)
        seen = torch.where(torch.arange(12) <= places[:, None], 0.0, -1e9)
        return (x @ self.keys.mT + seen).softmax(-1) @ self.store["values"]

    def prefill(self, x):
        self.position.fill_(x.shape[1])
        return self.attend(x, torch.arange(x.shape[1]))

    def decode(self, x):
        y = self.attend(x, self.position)
        self.position += 1
        return y


class Wrapped(nn.Module):
    """One method of another module, so that all tensors have other names."""

    def __init__(self, module, method):
        super().__init__()
        self.inner, self.method = module, method

    def forward(self, x):
        return getattr(self.inner, self.method)(x)


PROGRAMS = {
    "methods": lambda module: (module.prefill, module.decode),
    "functions": lambda module: (lambda x: module.prefill(x), lambda x: module.decode(x)),
    "modules": lambda module: (Wrapped(module, "prefill"), Wrapped(module, "decode")),
    "mixed": lambda module: (Wrapped(nn.ModuleList([module])[0], "prefill"), module.decode),
}
LENGTHS = {"prefill": 3, "decode": 1}


def _converted(program, x, **kwargs):
    return convert(program, x, input_names=["x"], output_names=["y"], **kwargs)


def _pair(programs, lengths=(3, 1)):
    """The two converted models as signatures."""
    return {
        key: _converted(program, torch.rand(1, length, 4)) for key, program, length in zip(LENGTHS, programs, lengths)
    }


def _calls(count=12):
    generator = torch.Generator().manual_seed(1)
    keys = ["prefill", "decode", "decode", "prefill", "prefill", "decode", "decode", "decode", "decode"][:count]
    return [(key, torch.randn(1, LENGTHS[key], 4, generator=generator)) for key in keys]


def _assert_pytorchs(call, module, calls):
    reference = copy.deepcopy(module)
    for number, (key, x) in enumerate(calls):
        with torch.no_grad():
            wanted = getattr(reference, key)(x)
        np.testing.assert_allclose(call(key, x.numpy()), wanted, atol=1e-5, err_msg=f"call {number}, {key}")


def _lite(data):
    interpreter = Interpreter(model_content=data)
    runners = {key: interpreter.get_signature_runner(key) for key in interpreter.get_signature_list()}
    return lambda key, x: runners[key](x=x)["y"]


@pytest.fixture(scope="module", params=PROGRAMS)
def cached(request):
    torch.manual_seed(0)
    module = Cached().eval()
    return module, _pair(PROGRAMS[request.param](module))


def test_calls_in_any_order_in_tflite(cached):
    module, models = cached
    _assert_pytorchs(_lite(to_tflite(models)), module, _calls())
    _assert_pytorchs(_lite(to_tflite(dict(reversed(models.items())))), module, _calls()[1:])


def test_calls_in_any_order_in_a_saved_model(cached, tmp_path):
    module, models = cached
    to_saved_model(models, tmp_path / "saved")
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    _assert_pytorchs(lambda key, x: loaded.signatures[key](x=tf.constant(x))["y"].numpy(), module, _calls())


def test_calls_in_any_order_where_the_caller_holds_the_state(cached):
    module, models = cached
    interpreter = Interpreter(model_content=to_tflite(models, states="arguments"))
    runners = {key: interpreter.get_signature_runner(key) for key in models}
    held = {}

    def call(key, x):
        details = runners[key].get_input_details()
        given = {n: held.get(_last(n), np.zeros(d["shape"], d["dtype"])) for n, d in details.items() if n != "x"}
        out = runners[key](x=x, **given)
        held.update({_last(n.removesuffix("_next")): array for n, array in out.items() if n != "y"})
        return out["y"]

    _assert_pytorchs(call, module, _calls())


def _last(name):
    return name.replace(".", "_").rsplit("_", 1)[-1].strip("'[]_")


def test_signatures_of_different_modules_stay_apart():
    module = Cached().eval()
    twin = copy.deepcopy(module)
    models = _pair((module.prefill, twin.decode))
    call = _lite(to_tflite(models))
    for key, x in _calls(4):
        with torch.no_grad():
            wanted = module.prefill(x) if key == "prefill" else twin.decode(x)
        np.testing.assert_allclose(call(key, x.numpy()), wanted, atol=1e-5)


def test_the_module_may_be_gone():
    module = Cached().eval()
    reference, models = copy.deepcopy(module), _pair((module.prefill, module.decode))
    del module
    _assert_pytorchs(_lite(to_tflite(models)), reference, _calls(4))


# -- what cannot be shared is said ----------------------------------------------------------------------------


class Memory(nn.Module):
    """A memory that one method writes, in one way or another, and the other reads."""

    def __init__(self, write, read=lambda module: module.memory):
        super().__init__()
        self.register_buffer("memory", torch.zeros(1, 3, 4))
        self.part = self.memory[:, 1:2]
        self.write, self.read = write, read

    def prefill(self, x):
        self.write(self, x)
        return x * 2

    def decode(self, x):
        return x + self.read(self)


def _assign(module, x):
    module.memory = x * 3


def _copy(module, x):
    module.memory.copy_(x * 3)


def _add(module, x):
    module.memory.add_(x)


def _read_itself(module):
    module.memory.copy_(module.memory)
    return module.memory


@pytest.mark.parametrize(
    ("write", "read", "message"),
    [
        (_copy, lambda m: m.memory, r"'prefill' writes 'memory'; 'decode' reads 'memory'.*memory\.copy_\(memory\)"),
        (_add, lambda m: m.memory * 2, "'prefill' writes 'memory'; 'decode' reads 'memory'"),
        (_add, lambda m: m.part, "'prefill' writes 'memory'; 'decode' reads 'part', which is the same memory"),
        (_assign, lambda m: m.memory, r"'prefill' puts another tensor in the place of 'memory'.*copy_\(\.\.\.\)"),
        (_assign, _read_itself, "'prefill' puts another tensor in the place of 'memory'"),
    ],
)
@pytest.mark.parametrize("states", ["variables", "arguments"])
def test_what_only_one_of_them_keeps_is_refused(write, read, message, states):
    module = Memory(write, read)
    models = _pair((module.prefill, module.decode), (3, 3))
    with pytest.raises(ExportError, match=message):
        to_tflite(models, states=states)


def test_the_way_out_of_that_works():
    module = Memory(_copy, _read_itself)
    models = _pair((module.prefill, module.decode), (3, 3))
    call, x = _lite(to_tflite(models)), torch.rand(1, 3, 4)
    call("prefill", x.numpy())
    np.testing.assert_allclose(call("decode", x.numpy()), x * 4, atol=1e-6)


def _write_part(module):
    module.part.add_(1)
    return module.part


def test_a_write_through_a_view_is_seen():
    module = Memory(_add, _write_part)
    call, x = _lite(to_tflite(_pair((module.prefill, module.decode), (3, 3)))), torch.rand(1, 3, 4)
    for key in ("decode", "prefill", "prefill", "decode"):
        np.testing.assert_allclose(call(key, x.numpy()), getattr(module, key)(x), atol=1e-6)


def test_a_view_that_only_one_of_them_knows_is_refused():
    class Part(nn.Module):
        def __init__(self, part):
            super().__init__()
            self.own = part

        def forward(self, x):
            self.own.add_(1)
            return x + self.own

    module = Memory(_add)
    with pytest.raises(ExportError, match="'memory', a state of 'prefill', and 'own', a state of 'decode'"):
        to_tflite(_pair((module.prefill, Part(module.memory[:, 1:2])), (3, 3)))


def test_two_values_of_one_state_are_refused():
    module = Cached().eval()
    models = _pair((module.prefill, module.decode))
    models["prefill"](np.ones((1, 3, 4), np.float32))
    with pytest.raises(ExportError, match=r"'prefill' and 'decode' share the state.*nobuco\.reset_states"):
        to_tflite(models)
    nobuco.reset_states(models["prefill"])
    _assert_pytorchs(_lite(to_tflite(models)), module, _calls(4))
    module.keys.add_(1)
    models["decode"] = _converted(module.decode, torch.rand(1, 1, 4))
    with pytest.raises(ExportError, match="convert both again"):
        to_tflite(models)


def test_models_from_files_are_refused_where_one_has_state(tmp_path):
    module = Cached().eval()
    models = _pair((module.prefill, module.decode))
    models["decode"].save(tmp_path / "decode.keras")
    loaded = {**models, "decode": keras.models.load_model(tmp_path / "decode.keras")}
    with pytest.raises(ExportError, match="'decode' comes from a file"):
        to_tflite(loaded)
    inputs = keras.Input((3,))
    plain = {"decode": loaded["decode"], "plain": keras.Model(inputs, keras.layers.Dense(2)(inputs))}
    assert len(Interpreter(model_content=to_tflite(plain)).get_signature_list()) == 2


class SizeTracing(nn.Module):
    """What each call makes anew and nothing reads: a feature, and the weight that a hook computes beside its memory."""

    def __init__(self):
        super().__init__()
        self.linear = nn.utils.spectral_norm(nn.Linear(4, 4))
        self.feature = torch.zeros(1, 3, 4)

    def prefill(self, x):
        self.feature = self.linear(x)
        return self.feature * 2

    def decode(self, x):
        self.feature = self.linear(x * 2)
        return self.feature + 1


def test_what_nothing_reads_is_no_obstacle():
    module = SizeTracing().eval()
    _assert_pytorchs(_lite(to_tflite(_pair((module.prefill, module.decode)))), module, _calls(4))


# -- weights ------------------------------------------------------------------------------------------------


class Wide(nn.Module):
    """A weight that is too large to go into the graph as a constant, read by two methods."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(200, 200)

    def forward(self, x):
        return self.linear(x)

    def twice(self, x):
        return self.linear(self.linear(x))


def _wide():
    module, x = Wide(), torch.rand(1, 200)
    return module, x, {"once": _converted(module, x), "twice": _converted(module.twice, x)}


def test_a_weight_of_two_signatures_is_written_once(tmp_path):
    module, x, models = _wide()
    to_saved_model(models, tmp_path / "saved")
    written = sum(file.stat().st_size for file in (tmp_path / "saved" / "variables").iterdir())
    assert written < 1.2 * 200 * 200 * 4
    call = _lite(to_tflite(models))
    np.testing.assert_allclose(call("once", x.numpy()), module(x).detach(), atol=1e-5)
    np.testing.assert_allclose(call("twice", x.numpy()), module.twice(x).detach(), atol=1e-5)


def test_a_weight_that_was_trained_in_one_of_them_is_two():
    module, x, models = _wide()
    (layer,) = (layer for layer in models["twice"].layers if hasattr(layer, "kernel"))
    layer.kernel.assign(layer.kernel.numpy() * 2)
    call = _lite(to_tflite(models))
    np.testing.assert_allclose(call("once", x.numpy()), module(x).detach(), atol=1e-5)
    np.testing.assert_allclose(call("twice", x.numpy()), models["twice"](x.numpy()), atol=1e-4)


@pytest.mark.parametrize(("count", "precision", "ways"), [
    (14, "float32", ["float16", "dynamic"]), (14, "int8", ["float16", "dynamic"]), (21, "float16", ["dynamic"]),
    (41, "dynamic", []),
])  # fmt: skip
def test_weights_beyond_two_gigabytes_are_refused_before_the_work(monkeypatch, count, precision, ways):
    monkeypatch.setattr("nobuco.export.weights._ROOM", 4 * 10 * 200 * 200)
    module, x = nn.Sequential(*(nn.Linear(200, 200, bias=False) for _ in range(count))), torch.rand(1, 200)
    model = _converted(module, x)
    samples = {"representative": [x.numpy()]} if precision == "int8" else {}
    with pytest.raises(ExportError, match=r"a TFLite file holds less than 2 GB: .*parts") as caught:
        to_tflite(model, precision=precision, **samples)
    assert [way for way in ("float16", "dynamic") if f"precision={way!r} (" in str(caught.value)] == ways
