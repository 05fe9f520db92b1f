"""A converted model trains: one step of `fit`, and the gradients that PyTorch computes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco import ChannelOrder

TENSORFLOW = ChannelOrder.TENSORFLOW


class Cnn(nn.Module):
    """Native layers, functional weights and a bare parameter."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.depthwise = nn.Conv2d(4, 4, 3, groups=4, bias=False)
        self.up = nn.ConvTranspose2d(4, 2, 2, stride=2)
        self.scale = nn.Parameter(torch.rand(2, 1, 1) + 0.5)
        self.kernel = nn.Parameter(torch.randn(3, 2, 1, 1))
        self.prelu = nn.PReLU(3)
        self.layer_norm = nn.LayerNorm(3)
        self.head = nn.Linear(3, 5)

    def forward(self, x):
        x = F.silu(self.norm(self.conv(x)))
        x = self.up(self.depthwise(x)) * self.scale
        x = self.prelu(F.conv2d(x, self.kernel))
        return self.head(self.layer_norm(x.mean((2, 3))))


def network():
    torch.manual_seed(0)
    module = Cnn().eval()
    with torch.no_grad():
        module.norm.running_mean.uniform_(-0.5, 0.5)
        module.norm.running_var.uniform_(0.5, 2)
    return module


def sorted_flat(gradients):
    """Gradients without names: per parameter its sorted elements, the list sorted too."""
    return sorted((np.sort(np.asarray(g).ravel()) for g in gradients), key=lambda g: (len(g), *g[:3]))


@pytest.mark.parametrize("order", list(ChannelOrder))
def test_gradients_of_inputs_and_weights(order):
    module, x = network(), torch.rand(2, 3, 8, 8, requires_grad=True)
    target = torch.rand(2, 5)
    model = nobuco.pytorch_to_keras(module, [x], inputs_channel_order=order, verbose=False)
    ((module(x) - target) ** 2).sum().backward()
    feed = tf.Variable(nobuco.t_pytorch2keras(x, order))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum((model(feed, training=False) - target.numpy()) ** 2)
    weights = [w.value for w in model.trainable_weights]
    to_input, *to_weights = tape.gradient(loss, [feed, *weights])
    np.testing.assert_allclose(nobuco.t_keras2pytorch(to_input, order), x.grad, rtol=1e-3, atol=1e-5)
    parameters = list(module.parameters())
    assert len(weights) == len(parameters)
    assert sum(int(tf.size(w)) for w in weights) == sum(p.numel() for p in parameters)
    for ours, theirs in zip(sorted_flat(to_weights), sorted_flat([p.grad for p in parameters])):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_each_weight_has_its_own_gradient():
    """By name, in the layout of the layer: not just the same numbers somewhere."""
    module, x = network(), torch.rand(2, 3, 8, 8)
    model = nobuco.pytorch_to_keras(module, [x], verbose=False)
    module(x).sum().backward()
    layers = {
        "conv": [module.conv.weight.grad.permute(2, 3, 1, 0), module.conv.bias.grad],
        "norm": [module.norm.weight.grad, module.norm.bias.grad],
        "head": [module.head.weight.grad.T, module.head.bias.grad],
        "up": [module.up.weight.grad.permute(2, 3, 1, 0), module.up.bias.grad],
    }
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(nobuco.t_pytorch2keras(x, TENSORFLOW), training=False))
    wanted = {name: [w.value for w in model.get_layer(name).trainable_weights] for name in layers}
    found = tape.gradient(loss, wanted)
    for name, gradients in layers.items():
        for ours, theirs in zip(found[name], gradients, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_one_step_of_fit_is_one_step_of_sgd():
    module = network()
    model = nobuco.pytorch_to_keras(
        module, [x := torch.rand(1, 3, 8, 8)], input_shapes={x: (None, 3, 8, 8)}, verbose=False
    )
    assert model.input_shape == (None, 8, 8, 3)
    batch, target = torch.rand(6, 3, 8, 8), torch.rand(6, 5)
    norm = model.get_layer("norm")
    norm.trainable = False  # as eval mode has it in PyTorch: the moving statistics stay
    module.norm.weight.requires_grad_(False)
    module.norm.bias.requires_grad_(False)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    history = model.fit(nobuco.t_pytorch2keras(batch, TENSORFLOW), target.numpy(), batch_size=6, epochs=1, verbose=0)
    loss = F.mse_loss(module(batch), target)
    np.testing.assert_allclose(history.history["loss"][0], loss.item(), rtol=1e-4)
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.1)
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        expected = module(batch)
    got = model(nobuco.t_pytorch2keras(batch, TENSORFLOW), training=False)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)


def test_a_recurrent_and_an_attention_model_have_gradients():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(10, 8)
            self.lstm = nn.LSTM(8, 4, bidirectional=True, batch_first=True)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, ids):
            y, _ = self.lstm(self.embed(ids))
            return self.attention(y, y, y)[0]

    torch.manual_seed(0)
    module, ids = Net().eval(), torch.randint(0, 10, (2, 5))
    model = nobuco.pytorch_to_keras(module, [ids], outputs_channel_order=ChannelOrder.PYTORCH, verbose=False)
    (module(ids) ** 2).sum().backward()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(ids.numpy(), training=False) ** 2)
    gradients = tape.gradient(loss, [w.value for w in model.trainable_weights])
    assert all(g is not None for g in gradients)
    norm = sum(float(tf.reduce_sum(tf.convert_to_tensor(g) ** 2)) for g in gradients)
    # Keras keeps one bias where PyTorch's LSTM adds two, so the two have the same gradient: counted once.
    twice = sum(float((p.grad**2).sum()) for n, p in module.named_parameters() if "bias_hh" in n)
    np.testing.assert_allclose(norm, sum(float((p.grad**2).sum()) for p in module.parameters()) - twice, rtol=1e-3)


def test_frozen_parameters_and_buffers_are_not_trained():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3)
            self.register_buffer("offset", torch.rand(3))

        def forward(self, x):
            return self.linear(x) + self.offset

    model = nobuco.pytorch_to_keras(Net().eval(), [torch.rand(2, 3)], verbose=False)
    assert len(model.trainable_weights) == 2 and len(model.non_trainable_weights) == 1


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("steps", [5, pytest.param(30, marks=pytest.mark.full)])
def test_recurrent_layers_train_where_a_policy_is_set(kind, steps):
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrent, self.head = kind(4, 8, batch_first=True), nn.Linear(8, 2)

        def forward(self, x):
            return self.head(self.recurrent(x)[0][:, -1])

    x = torch.randn(8, steps, 4)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model, report = nobuco.pytorch_to_keras(
            Last().eval(), [x], inputs_channel_order=nobuco.ChannelOrder.PYTORCH, return_report=True, verbose=False
        )
        assert report.ok and keras.config.dtype_policy().name == "mixed_float16"
        model.compile("sgd", "mse")
        losses = model.fit(x.numpy(), np.ones((8, 2), np.float32), epochs=3, verbose=0).history["loss"]
    finally:
        keras.config.set_dtype_policy(before)
    assert losses[-1] < losses[0]
