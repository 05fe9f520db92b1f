"""`torch.cond` and its kin: both ways at run time, against PyTorch itself."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf
import torch
from torch import nn

import nobuco
from nobuco import ChannelOrderingStrategy, ConversionError
from nobuco.builtin import registered_converters
from nobuco.registry import registry
from tests.control import TENSORFLOW, check_ways, converted


@pytest.fixture
def x() -> torch.Tensor:
    return torch.linspace(-1.0, 2.0, 12).reshape(4, 3)


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(1, 3, 6, 5, generator=torch.Generator().manual_seed(0)) + 0.1


class Branches(nn.Module):
    """Closures over modules, a parameter and an outer tensor; a layer shared with the outside; two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.shared = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3)
        self.scale = nn.Parameter(torch.rand(4, 1, 1))

    def forward(self, x: torch.Tensor) -> Any:
        outer = self.shared(self.one(x))

        def positive(x: torch.Tensor) -> Any:
            return self.shared(torch.tanh(self.one(x))) * self.scale, x + 1

        def negative(x: torch.Tensor) -> Any:
            return self.shared(self.two(x)) + outer, x - 1

        return torch.cond(x.mean() > 0, positive, negative, (x,))


def test_cond_both_ways(image, tmp_path):
    torch.manual_seed(0)
    model = check_ways(Branches(), (image,), (-image,), folder=tmp_path)
    assert not [layer for layer in model.layers if isinstance(layer, keras.layers.Permute)]


def test_both_sides_train_the_same_weights(image):
    torch.manual_seed(0)
    model = converted(Branches(), image)
    names = [variable.path for variable in model.trainable_variables]
    assert len(names) == 7  # three convolutions, and the scale
    for x in (image, -image):
        with tf.GradientTape() as tape:
            loss = tf.add_n([tf.reduce_sum(y**2) for y in model(nobuco.t_pytorch2keras(x, TENSORFLOW))])
        gradients = tape.gradient(loss, model.trainable_variables)
        assert sum(gradient is not None for gradient in gradients) == (5 if x is image else 6)


def test_cond_traced_on_the_other_side(image):
    check_ways(Branches(), (-image,), (image,))


def test_cond_on_dynamic_sizes(image):
    class Dynamic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            b, _, h, _ = x.shape
            one, two = self.one, self.two
            return torch.cond(
                x.mean() > 0, lambda x: one(x).reshape(b, -1), lambda x: torch.relu(two(x)).reshape(b, -1) * h, (x,)
            )

    larger = torch.rand(2, 3, 9, 8)
    check_ways(Dynamic(), (image,), (-image,), (larger,), (-larger,), input_shapes={image: (None, 3, None, None)})


def test_cond_that_writes_its_operand(x):
    def model(x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        row = y[0]
        torch.cond(x.sum() > 0, lambda y: (y.add_(1).sum(),), lambda y: (y.mul_(3).sum(),), (y,))
        return y + row

    check_ways(model, (x,), (-x,))


def test_cond_on_a_number_is_no_branch(x):
    def model(x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.shape[0] > 2, lambda x: x + 1, lambda x: x - 1, (x,))

    check_ways(model, (x,), tflite=False)


def test_a_wrong_converter_in_the_side_not_taken_is_found(x):
    with nobuco.registry.registry.restoring():

        @nobuco.converter(torch.erf, channel_ordering_strategy=ChannelOrderingStrategy.MINIMUM_TRANSPOSITIONS)
        def converter_erf(x: torch.Tensor) -> Any:
            return tf.sin

        def model(x: torch.Tensor) -> torch.Tensor:
            return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: torch.erf(x), (x,))

        _, report = nobuco.pytorch_to_keras(model, [x], verbose=False, return_report=True)
        assert not report.ok


def test_gaps_in_regions_are_listed(x):
    def model(x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: torch.geqrf(x)[0], (x,))

    registered_converters()
    with registry.restoring():
        nobuco.unregister_converter(torch.ops.aten.geqrf.default)
        with pytest.raises(ConversionError, match="geqrf"):
            nobuco.pytorch_to_keras(model, [x], verbose=False)


def test_while_loop_runs_as_often_as_the_data_says(x, tmp_path):
    linear = nn.Linear(3, 3)

    def model(x: torch.Tensor) -> Any:
        return torch.while_loop(
            lambda i, x: (x.abs().sum() < 100) & (i < 20), lambda i, x: (i + 1, x * 2 + linear(x)), (torch.tensor(0), x)
        )

    check_ways(model, (x,), (x / 50,), (x * 50,), folder=tmp_path)


def test_while_loop_counts_with_a_python_number(x):
    def model(x: torch.Tensor) -> torch.Tensor:
        return torch.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x * 2 + i), (0, x))[1]

    check_ways(model, (x,), (-x,))


def test_while_loop_keeps_channels_last(image):
    conv = nn.Conv2d(3, 3, 3, padding=1)

    def model(x: torch.Tensor) -> torch.Tensor:
        return torch.while_loop(lambda x: x.max() < 9, lambda x: (torch.relu(conv(x)) + x * 2,), (x,))[0]

    keras_model = check_ways(model, (image,), (image / 9,))
    assert not [layer for layer in keras_model.layers if isinstance(layer, keras.layers.Permute)]


def test_a_loop_that_writes_what_is_not_its_own_is_refused(x):
    def model(x: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(()) + x.sum() * 0
        y = torch.while_loop(lambda y: y.sum() < 9, lambda y: (y + total.add_(1),), (x,))[0]
        return y + total

    with pytest.raises(ConversionError, match="writes a tensor in place"):
        nobuco.pytorch_to_keras(model, [x], verbose=False)


def test_cond_in_while_loop_in_cond(x, tmp_path):
    def step(i: torch.Tensor, x: torch.Tensor) -> Any:
        return i + 1, torch.cond(x.sum() > 0, lambda x: x - 2, lambda x: x * x, (x,))

    def loop(x: torch.Tensor) -> torch.Tensor:
        return torch.while_loop(lambda i, x: i < 3, step, (torch.tensor(0), x))[1]

    def model(x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.max() > 1, loop, lambda x: x / 2, (x,))

    check_ways(model, (x,), (-x,), (x / 4,), (x * 3,), folder=tmp_path)


def test_map(x, tmp_path):
    from torch._higher_order_ops import map as map_rows

    linear = nn.Linear(3, 3)

    def model(x: torch.Tensor) -> Any:
        return map_rows(lambda row, total: (linear(row) + total, row.sum()), x, x.sum(0))

    check_ways(model, (x,), (-x,), folder=tmp_path)


def test_map_over_a_dynamic_length(x):
    from torch._higher_order_ops import map as map_rows

    def model(x: torch.Tensor) -> torch.Tensor:
        return map_rows(lambda row: torch.softmax(row, 0), x)

    check_ways(model, (x,), (torch.rand(7, 3),), input_shapes={x: (None, 3)}, tflite=False)


@pytest.mark.parametrize(("dim", "reverse"), [(0, False), (1, True)])
def test_scan(x, tmp_path, dim, reverse):
    scan = pytest.importorskip("torch._higher_order_ops").scan

    def model(x: torch.Tensor) -> Any:
        return scan(lambda c, a: (c * 0.5 + a, c.exp() + a), x.select(dim, 0) * 0, x, dim=dim, reverse=reverse)

    check_ways(model, (x,), (-x,), folder=tmp_path)
