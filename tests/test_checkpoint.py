"""`nobuco.load_state_dict`: a converted model with a new checkpoint is the model converted anew."""

from __future__ import annotations

import copy
import subprocess
import sys

import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco import ChannelOrder, ChannelOrderingStrategy
from nobuco.layers.output import called
from nobuco.layers.weight import WeightLayer
from tests.parity import convert

PYTORCH, TENSORFLOW = ChannelOrder.PYTORCH, ChannelOrder.TENSORFLOW


class Cnn(nn.Module):
    """Every kind of convolution, a flattening that the dense layer behind it takes in, parameters of its own."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 16, 5, padding=2, groups=8)
        self.grouped = nn.Conv2d(16, 8, 3, groups=2, padding=1)
        self.slope = nn.PReLU(8)
        self.up = nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1)
        self.grouped_up = nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2)
        self.scale = nn.Parameter(torch.rand(6, 1, 1))
        self.register_buffer("offset", torch.rand(1, 6, 1, 33))
        self.norm2 = nn.GroupNorm(2, 6)
        self.head = nn.Linear(6 * 33 * 33, 5)

    def forward(self, x):
        y = self.slope(self.grouped(self.depthwise(self.norm(self.stem(x)))))
        y = self.norm2(self.grouped_up(self.up(y)) * self.scale + self.offset)
        return self.head(y.flatten(1)), y


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.cross = nn.MultiheadAttention(8, 2, kdim=6, vdim=6, batch_first=True, add_bias_kv=True)
        self.position = nn.Parameter(torch.rand(1, 5, 8))

    def forward(self, ids, memory):
        y = self.layer(self.embedding(ids) + self.position)
        y = self.cross(y, memory, memory)[0]
        return F.linear(y, self.embedding.weight)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 6, num_layers=2, bidirectional=True, batch_first=True, proj_size=3)
        self.gru = nn.GRU(6, 3, batch_first=True)
        self.rnn = nn.RNNCell(3, 4)
        self.both = nn.Bilinear(4, 3, 2)

    def forward(self, x):
        y, _ = self.gru(self.lstm(x)[0])
        return self.both(self.rnn(y[:, -1]), y[:, 0])


class Tied(nn.Module):
    """One module under two names, called twice; and one that is never called."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = self.first
        self.spare = nn.Linear(6, 2)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        y = torch.cond(x.sum() > 0, lambda x: self.left(x), lambda x: self.right(x) * 2, (x,))
        return self.left(y)


class Running(nn.Module):
    """A state that begins with what a buffer holds."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("total", torch.rand(2, 4))

    def forward(self, x):
        self.total = self.total * 0.5 + self.linear(x)
        return self.total * 1.0


class AddByMask(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3, 1, 1))
        self.inner = nn.Conv2d(3, 3, 1)

    def forward(self, x, mask):
        return self.inner(x + self.weight * mask)


def convert_add_by_mask(self, x, mask):
    """As a user writes it: weights turned by hand, a layer filled by hand, a conversion inside."""
    weight = WeightLayer.create(self.weight.detach().permute(1, 2, 0).numpy())
    options = {"inputs_channel_order": TENSORFLOW, "outputs_channel_order": TENSORFLOW, "verbose": False}
    inner = nobuco.pytorch_to_keras(self.inner, [x], **options)
    return lambda x, mask: inner(x + weight(x) * mask)


class Hand(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(x)


def convert_hand(self, x):
    dense = keras.layers.Dense(3)
    dense.build((None, 4))
    dense.set_weights([self.linear.weight.detach().numpy().T, self.linear.bias.detach().numpy()])
    return dense


CASES = {
    "cnn": (Cnn, lambda: [torch.randn(2, 3, 16, 16)]),
    "attention": (Attention, lambda: [torch.randint(0, 11, (2, 5)), torch.randn(2, 4, 6)]),
    "recurrent": (Recurrent, lambda: [torch.randn(2, 5, 4)]),
    "tied": (Tied, lambda: [torch.randn(2, 6)]),
    "branches": (Branches, lambda: [torch.randn(2, 4)]),
    "state": (Running, lambda: [torch.randn(2, 4)]),
    "user's converter": (AddByMask, lambda: [torch.randn(1, 3, 4, 4), torch.randn(1, 3, 4, 4)]),
    "user's layer": (Hand, lambda: [torch.randn(2, 4)]),
}


@torch.no_grad()
def trained(module):
    """The module with other weights and statistics."""
    new = copy.deepcopy(module)
    for tensor in new.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.2, 1.2)
    return new


@pytest.fixture(scope="module")
def converted():
    torch.manual_seed(0)
    with_converters = [(AddByMask, convert_add_by_mask), (Hand, convert_hand)]
    import nobuco.converters
    from nobuco.registry import registry

    found = {}
    with registry.restoring():
        for kind, function in with_converters:
            strategy = ChannelOrderingStrategy.FORCE_TENSORFLOW_ORDER
            nobuco.converter(kind, channel_ordering_strategy=strategy)(function)
        for name, (make, draw) in CASES.items():
            module, inputs = make().eval(), draw()
            found[name] = module, inputs, convert(module, *inputs)
    return found


def results(model, inputs):
    nobuco.reset_states(model)
    return called(model, [x.numpy() for x in inputs])


def expected(module, inputs):
    with torch.no_grad():
        outputs = copy.deepcopy(module)(*inputs)
    return outputs if isinstance(outputs, tuple) else [outputs]


def check_loads(model, module, inputs):
    new = trained(module)
    nobuco.load_state_dict(model, new.state_dict())
    for got, wanted in zip(results(model, inputs), expected(new, inputs), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_a_checkpoint_loads(converted, tmp_path, name):
    module, inputs, model = converted[name]
    model.save(tmp_path / "m.keras")
    check_loads(model, module, inputs)
    loaded = keras.models.load_model(tmp_path / "m.keras")
    check_loads(loaded, module, inputs)
    nobuco.load_state_dict(loaded, module.state_dict())
    for got, wanted in zip(results(loaded, inputs), expected(module, inputs), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_each_tensor_of_the_checkpoint_is_a_weight(converted, name):
    module, _, model = converted[name]
    spare = {key for key in module.state_dict() if key.startswith(("spare.", "second.")) or "num_batches" in key}
    assert model.checkpoint.loaded == set(module.state_dict()) - spare
    assert not model.checkpoint.fixed


def test_without_pytorch(converted, tmp_path):
    module, inputs, model = converted["recurrent"]
    new = trained(module)
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "new.npz", **{key: tensor.numpy() for key, tensor in new.state_dict().items()})
    np.savez(tmp_path / "io.npz", x=inputs[0].numpy(), y=expected(new, inputs)[0])
    program = """
import sys
sys.modules["torch"] = None
import keras, numpy as np
import nobuco.layers
model = keras.models.load_model(sys.argv[1] + "/m.keras")
nobuco.load_state_dict(model, np.load(sys.argv[1] + "/new.npz"))
io = np.load(sys.argv[1] + "/io.npz")
np.testing.assert_allclose(model(io["x"]), io["y"], rtol=1e-4, atol=1e-4)
"""
    subprocess.run([sys.executable, "-c", program, tmp_path], check=True, timeout=200)


def test_everything_wrong_is_listed_at_once(converted):
    module, _, model = converted["cnn"]
    before = model.get_weights()
    state = trained(module).state_dict()
    del state["stem.weight"], state["norm.running_var"], state["norm.num_batches_tracked"]
    state |= {"head.bias": torch.rand(7), "extra.weight": torch.rand(2), "neck": torch.rand(2)}
    with pytest.raises(nobuco.CheckpointError) as caught:
        nobuco.load_state_dict(model, state)
    assert str(caught.value).splitlines()[1:] == [
        "  missing: stem.weight, norm.running_var",
        "  unexpected: extra.weight, neck",
        "  of another shape: head.bias (is (7,), must be (5,))",
    ]
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


class Computed(nn.Module):
    """A buffer that the conversion folds, a number that it embeds, a weight that is computed from others."""

    def __init__(self):
        super().__init__()
        self.linear = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
        self.register_buffer("angles", torch.rand(4))
        self.register_buffer("factor", torch.tensor(0.5))

    def forward(self, x):
        return self.linear(x) * torch.sin(self.angles) + self.factor


def test_what_the_conversion_has_computed_with_must_not_change(tmp_path):
    module, x = Computed().eval(), torch.randn(2, 4)
    model = nobuco.pytorch_to_keras(module, [x], verbose=False)
    model.save(tmp_path / "m.keras")
    for each in (model, keras.models.load_model(tmp_path / "m.keras")):
        weight = {f"linear.parametrizations.weight.original{i}" for i in (0, 1)}
        assert set(each.checkpoint.fixed) == {"angles", "factor", *weight}
        new = trained(module)
        with pytest.raises(nobuco.CheckpointError, match=r"convert again: angles, factor, linear\.param"):
            nobuco.load_state_dict(each, new.state_dict())
        new.load_state_dict({key: module.state_dict()[key] for key in each.checkpoint.fixed}, strict=False)
        nobuco.load_state_dict(each, new.state_dict())
        np.testing.assert_allclose(each(x.numpy()), new(x).detach(), rtol=1e-4, atol=1e-4)


def test_embedded_parameters_must_not_change():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.rand(4))

        def forward(self, x):
            return x * self.scale

    module, x = Scale(), torch.randn(2, 4)
    model = nobuco.pytorch_to_keras(module, [x], constants_to_variables=False, verbose=False)
    with pytest.raises(nobuco.CheckpointError, match="convert again: scale"):
        nobuco.load_state_dict(model, trained(module).state_dict())


def test_functions_take_the_checkpoint_of_their_modules():
    linear, other, x = nn.Linear(4, 4), nn.Linear(4, 4), torch.randn(2, 4)
    model = nobuco.pytorch_to_keras(lambda x: linear(x) * 2, [x], verbose=False)
    new = trained(linear)
    nobuco.load_state_dict(model, new.state_dict())
    np.testing.assert_allclose(model(x.numpy()), new(x).detach() * 2, rtol=1e-4, atol=1e-5)

    model = nobuco.pytorch_to_keras(lambda x: linear(other(x)), [x], verbose=False)
    assert model.checkpoint.loaded == {"linear.weight", "linear.bias", "other.weight", "other.bias"}


def test_a_model_without_a_checkpoint_says_so():
    inputs = keras.Input((3,))
    with pytest.raises(nobuco.CheckpointError, match="does not know its checkpoint"):
        nobuco.load_state_dict(keras.Model(inputs, keras.layers.ReLU()(inputs)), {})


def test_half_precision():
    module, x = nn.Linear(4, 4).to(torch.bfloat16), torch.randn(2, 4, dtype=torch.bfloat16)
    model = nobuco.pytorch_to_keras(module, [x], verbose=False)
    new = trained(module)
    nobuco.load_state_dict(model, new.state_dict())
    np.testing.assert_array_equal(model.weights[0].numpy().astype("float32").T, new.weight.detach().float())
