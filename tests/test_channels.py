"""Movements of channels that are part of the weights around them, whatever lies between."""

from __future__ import annotations

import random
from collections import Counter

import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nobuco
from nobuco import ChannelOrder
from nobuco.export import run_tflite, to_tflite
from nobuco.select.channels import _Network
from tests.lite import tflite_ops
from tests.parity import convert
from tests.sizes import check_dynamic

TENSORFLOW = ChannelOrder.TENSORFLOW


def image(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Random(nn.Module):
    """Calls of many kinds on tensors of one size, each on results of earlier ones; some results are outputs."""

    def __init__(self, seed, length=14):
        super().__init__()
        rng = random.Random(seed)
        torch.manual_seed(seed)
        self.layers = nn.ModuleDict()
        self.plan, widths = [], [6]
        for i in range(length):
            kind, at = rng.choice(KINDS), rng.randrange(max(0, len(widths) - 4), len(widths))
            width = widths[at]
            others = [j for j, n in enumerate(widths) if n == width]
            self.plan.append((kind, at, rng.choice(others), rng.choice([2, 3])))
            made = self._layer(kind, width, rng)
            if made is not None:
                self.layers[str(i)] = made
            widths += self._widths(kind, width, widths[self.plan[-1][2]], made)
        self.outputs = sorted({len(widths) - 1, *(rng.randrange(1, len(widths)) for _ in range(rng.randrange(3)))})

    @staticmethod
    def _layer(kind, n, rng):
        if kind == "conv":
            return nn.Conv2d(n, rng.choice([4, 6, 12]), 3, padding=1, bias=rng.random() < 0.7)
        if kind == "grouped":
            return nn.Conv2d(n, n, 1, groups=2 if n % 2 == 0 else 1)
        makers = {
            "depthwise": lambda: nn.Conv2d(n, n, 3, padding=1, groups=n),
            "norm": lambda: nn.BatchNorm2d(n),
            "prelu": lambda: nn.PReLU(n),
            "constant": lambda: nn.ParameterList([torch.randn(n, 1, 1)]),
            "squeezed": lambda: nn.Linear(n, n),
        }
        return makers[kind]() if kind in makers else None

    @staticmethod
    def _widths(kind, width, other, layer):
        if kind == "conv":
            return [layer.out_channels]
        if kind == "cat":
            return [width + other]
        if kind in ("halves", "strided") and width % 2 == 0 and width > 2:
            return [width // 2, width // 2]
        return [width]

    def forward(self, x):
        values = [x]
        for i, (kind, at, other, groups) in enumerate(self.plan):
            x, y = values[at], values[other]
            n, layer = x.shape[1], dict(self.layers.items()).get(str(i))
            if kind == "shuffle" and n % groups == 0:
                values.append(F.channel_shuffle(x, groups))
            elif kind == "halves" and n % 2 == 0 and n > 2:
                values += x.chunk(2, 1)
            elif kind == "strided" and n % 2 == 0 and n > 2:
                values += [x[:, ::2], x[:, 1::2]]
            elif kind == "cat":
                values.append(torch.cat([x, y], 1))
            elif kind == "add":
                values.append(x + y)
            elif kind == "constant":
                values.append(x * layer[0] + 1)
            elif kind == "squeezed":
                values.append(x * torch.sigmoid(layer(x.mean((2, 3))))[..., None, None])
            elif kind == "pool":
                values.append(F.max_pool2d(x, 3, 1, 1))
            elif kind == "relu":
                values.append(F.relu(x))
            elif layer is not None:
                values.append(layer(x))
            else:
                values.append(x * 2)
        return [values[i] for i in self.outputs]


KINDS = (
    "conv", "conv", "conv", "grouped", "depthwise", "norm", "prelu", "constant", "squeezed",
    "shuffle", "shuffle", "shuffle", "halves", "strided", "strided", "cat", "cat", "add", "pool", "relu",
)  # fmt: skip


def randomised(module):
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.5, 2)
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
    return module.eval()


def converted(module, x, **options):
    """The Keras model and the report; the model gives what PyTorch gives."""
    model, report = convert(module.eval(), x, return_report=True, order=TENSORFLOW, **options)
    assert report.ok
    agree(model(nobuco.t_pytorch2keras(x, TENSORFLOW)), module(x))
    return model, report


def agree(ours, theirs):
    ours, theirs = ([x] if not isinstance(x, (list, tuple)) else x for x in (ours, theirs))
    for got, expected in zip(ours, theirs, strict=True):
        logical = nobuco.t_keras2pytorch(got, TENSORFLOW)
        assert (logical - expected.detach()).abs().max() <= 1e-5 * expected.abs().max()


def operations(module, x):
    """Those of the TFLite file, which gives what PyTorch gives."""
    data = to_tflite(converted(module, x)[0])
    agree(run_tflite(data, [nobuco.t_pytorch2keras(x, TENSORFLOW).numpy()]), module(x))
    return tflite_ops(data)


class Calls(nn.Module):
    """A function of layers and a tensor."""

    def __init__(self, function, *layers):
        super().__init__()
        self.layers, self.function = nn.ModuleList(layers), function

    def forward(self, x):
        return self.function(self.layers, x)


def halved(layers, x):
    """The seed's README."""
    x = F.hardsigmoid(layers[0](x))
    return 1 - x[:, ::2] * x[:, 1::2]


def shuffled(layers, x):
    first, *between, last = layers
    x = first(x)
    for layer in between:
        x = layer(x)
    return last(F.channel_shuffle(x, 4))


def classified(layers, x):
    return layers[1](F.adaptive_avg_pool2d(F.channel_shuffle(layers[0](x), 4), 1).flatten(1))


def excited(layers, x):
    x = F.channel_shuffle(layers[0](x), 4)
    return layers[2](x * torch.sigmoid(layers[1](x.mean((2, 3))))[..., None, None])


def residual(layers, x):
    """A block of GhostNet with a shuffle; what is joined lies as the sum wants it, and nothing is cut."""
    x, inner = layers[0](x), layers[1](x)
    return layers[3](x + F.channel_shuffle(torch.cat([inner, layers[2](inner)], 1), 2))


CASES = {
    "halves": (halved, [nn.Conv2d(4, 8, 1)], ["CONV_2D", "MUL", "SPLIT", "MUL", "SUB"]),
    "activations": (shuffled, [nn.Conv2d(4, 8, 1), nn.PReLU(8), nn.Hardswish(), nn.Conv2d(8, 4, 1)],
                    ["CONV_2D", "PRELU", "HARD_SWISH", "CONV_2D"]),
    "depthwise": (shuffled, [nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1)],
                  ["CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D"]),
    "transposed": (shuffled, [nn.ConvTranspose2d(4, 8, 2, 2), nn.MaxPool2d(2), nn.ConvTranspose2d(8, 4, 1)],
                   ["TRANSPOSE_CONV", "MAX_POOL_2D", "TRANSPOSE_CONV"]),
    "classified": (classified, [nn.Conv2d(4, 8, 1), nn.Linear(8, 3)], ["CONV_2D", "MEAN", "FULLY_CONNECTED"]),
    "excited": (excited, [nn.Conv2d(4, 8, 1), nn.Linear(8, 8), nn.Conv2d(8, 4, 1)],
                ["CONV_2D", "MEAN", "FULLY_CONNECTED", "LOGISTIC", "RESHAPE", "MUL", "CONV_2D"]),
    "residual": (residual, [nn.Conv2d(4, 8, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1, groups=4),
                            nn.Conv2d(8, 2, 1)],
                 ["CONV_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "CONCATENATION", "ADD", "CONV_2D"]),
    "unshuffled": (lambda layers, x: shuffled(layers, F.pixel_unshuffle(x, 2)),
                   [nn.Conv2d(16, 8, 1), nn.Conv2d(8, 4, 1)], ["CONV_2D", "CONV_2D"]),
    "shuffled to pixels": (lambda layers, x: F.pixel_shuffle(shuffled(layers, x), 2),
                           [nn.Conv2d(4, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1)],
                           ["CONV_2D", "CONV_2D", "DEPTH_TO_SPACE"]),
    "flipped": (lambda layers, x: layers[0](x.flip(1)), [nn.Conv2d(4, 8, 1)], ["CONV_2D"]),
    "chosen": (lambda layers, x: layers[0](x[:, [3, 2, 1, 0]]), [nn.Conv2d(4, 8, 1)], ["CONV_2D"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_no_channel_is_turned(case):
    function, layers, expected = CASES[case]
    assert sorted(operations(randomised(Calls(function, *layers)), image(2, 4, 16, 16))) == sorted(expected)


class ShuffleUnit(nn.Module):
    """A block of ShuffleNet v2; at a stride of two both branches read all channels."""

    def __init__(self, inputs, width, stride=1):
        super().__init__()
        self.stride = stride
        if stride > 1:
            self.left = nn.Sequential(*self._down(inputs, stride), nn.Conv2d(inputs, width // 2, 1), nn.ReLU())
        inputs = inputs if stride > 1 else width // 2
        self.right = nn.Sequential(
            nn.Conv2d(inputs, width // 2, 1, bias=False), nn.BatchNorm2d(width // 2), nn.ReLU(),
            *self._down(width // 2, stride), nn.Conv2d(width // 2, width // 2, 1), nn.ReLU(),
        )  # fmt: skip

    @staticmethod
    def _down(width, stride):
        return nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False), nn.BatchNorm2d(width)

    def forward(self, x):
        left, right = x.chunk(2, 1) if self.stride == 1 else (self.left(x), x)
        joined = torch.cat([left, self.right(right)], 1)
        b, c, h, w = joined.shape
        return joined.view(b, 2, c // 2, h, w).transpose(1, 2).contiguous().view(b, c, h, w)


def shufflenet():
    torch.manual_seed(0)
    units = [ShuffleUnit(8, 24, 2), ShuffleUnit(24, 24), ShuffleUnit(24, 24), ShuffleUnit(24, 48, 2)]
    return randomised(nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), *units, nn.Conv2d(48, 16, 1)))


def test_a_network_of_shuffles_turns_nothing():
    """Each tensor that a branch reads is put together of runs of what the branches before it gave."""
    found = operations(shufflenet(), image(1, 4, 32, 32))
    assert Counter(found) == {
        "CONV_2D": 12, "DEPTHWISE_CONV_2D": 6, "PAD": 4, "CONCATENATION": 4, "SPLIT": 1, "STRIDED_SLICE": 6,
    }  # fmt: skip


def test_quantised():
    """Scales by channel go with their channels."""
    module, x = shufflenet(), image(1, 4, 32, 32)
    model, _ = converted(module, x)
    samples = [nobuco.t_pytorch2keras(image(1, 4, 32, 32, seed=n), TENSORFLOW).numpy() for n in range(8)]
    data = to_tflite(model, precision="int8", representative=samples)
    assert "TRANSPOSE" not in tflite_ops(data)
    got = nobuco.t_keras2pytorch(run_tflite(data, samples[:1])[0], TENSORFLOW)
    expected = module(image(1, 4, 32, 32, seed=0)).detach()
    assert (got - expected).norm() < 0.05 * expected.norm()


def test_another_checkpoint_and_training_and_a_file(tmp_path):
    x = image(2, 4, 32, 32)
    model, other = converted(shufflenet(), x)[0], shufflenet()
    for parameter in other.parameters():
        nn.init.normal_(parameter, std=0.3)
    nobuco.load_state_dict(model, other.state_dict())
    given = nobuco.t_pytorch2keras(x, TENSORFLOW)
    agree(model(given), other(x))
    model.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    agree(loaded(given), other(x))
    nobuco.load_state_dict(loaded, shufflenet().state_dict())
    agree(loaded(given), shufflenet()(x))
    loaded.compile("sgd", "mse")
    before = [variable.numpy() for variable in loaded.trainable_variables]
    loaded.fit(given.numpy(), np.zeros((2, *loaded.output_shape[1:]), np.float32), verbose=0)
    assert all((a != b.numpy()).any() for a, b in zip(before, loaded.trainable_variables))


def test_layers_are_found_whatever_order_they_give():
    module, x = shufflenet(), image(1, 4, 32, 32)
    found = nobuco.bisect(module, converted(module, x)[0], [x])
    assert found.first is None
    assert not found.unmatched


def both(layers, x):
    x = F.relu(layers[0](x))
    return F.channel_shuffle(x, 4), x


def twice(layers, x):
    return layers[1](F.channel_shuffle(layers[0](F.channel_shuffle(layers[0](x), 2)), 2))


def grouped(layers, x):
    return layers[1](F.channel_shuffle(layers[0](x), 2))


def repeated(layers, x):
    x = F.channel_shuffle(layers[0](x), 2)
    return layers[1](torch.cat([x, x], 1))


SAME = {
    "an output": (both, [nn.Conv2d(4, 8, 1)]),
    "a module called twice": (twice, [nn.Conv2d(4, 4, 1), nn.Conv2d(4, 8, 1)]),
    "groups": (grouped, [nn.Conv2d(4, 8, 1, groups=2), nn.Conv2d(8, 8, 1, groups=4)]),
    "joined with itself": (repeated, [nn.Conv2d(4, 4, 1), nn.Conv2d(8, 8, 1)]),
    "weights of two layers": (lambda layers, x: layers[2](F.channel_shuffle(layers[1](F.relu(layers[0](x))), 2)),
                              [nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 3, 1)]),
    "a flip of all": (lambda layers, x: layers[0](x.flip(1, 2)), [nn.Conv2d(4, 4, 3)]),
    "chosen rows": (lambda layers, x: layers[0](x[[1, 0]][:, :, [True] * 15 + [False]]), [nn.Conv2d(4, 4, 3)]),
}  # fmt: skip


@pytest.mark.parametrize("case", SAME)
def test_what_has_one_order_keeps_it(case):
    function, layers = SAME[case]
    if case == "weights of two layers":
        layers[1].weight = layers[0].weight
    operations(Calls(function, *layers), image(2, 4, 16, 16))


def test_where_all_cost_more_nothing_changes():
    """In few rounds, however many there are."""

    def stream(layers, x):
        for _ in range(60):
            x = F.channel_shuffle(F.relu(x), 2) + x
        return x

    _, report = converted(Calls(stream), image(2, 8, 16, 16))
    assert report.transpositions == 60


def test_parts_of_unlike_sizes_are_no_shares():
    """Seven channels of which two runs of three are read."""
    layers = [nn.Conv2d(4, 7, 1), nn.Conv2d(3, 2, 1)]
    found = operations(Calls(lambda layers, x: layers[1](thirds(layers[0](x))), *layers), image(2, 4, 16, 16))
    assert found.count("STRIDED_SLICE") == 2


def thirds(x):
    return x[:, :6:2] * x[:, 1:6:2]


def test_dynamic_sizes():
    module = Calls(halved, nn.Conv2d(4, 8, 3))
    check_dynamic(module, image(2, 4, 16, 16), image(1, 4, 9, 12), free=(0, 2, 3))
    strided = Calls(lambda layers, x: F.relu(x[:, ::2]) * x[:, 1::2])
    check_dynamic(strided, image(2, 4, 16, 16), image(1, 10, 16, 16), free=(0, 1))


@pytest.mark.parametrize("seed", [*range(4), 413, *(pytest.param(n, marks=pytest.mark.full) for n in range(4, 40))])
@pytest.mark.parametrize("whatever_it_costs", [False, True])
def test_random_programs(monkeypatch, seed, whatever_it_costs):
    """Of any calls on any results; also with another checkpoint."""
    if whatever_it_costs:
        monkeypatch.setattr(_Network, "dear", lambda *_: set())
    module, x = randomised(Random(seed)), image(2, 6, 12, 10)
    model, _ = converted(module, x)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    nobuco.load_state_dict(model, module.state_dict())
    agree(model(nobuco.t_pytorch2keras(x, TENSORFLOW)), module(x))
