"""Control flow: both ways at run time, in Keras, in a reloaded model and in TFLite, against PyTorch itself."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from torch import nn
from torch.utils import _pytree as pytree

import nobuco
from nobuco import ChannelOrder, ChannelOrderingStrategy, ConversionError, NobucoWarning
from nobuco.builtin import registered_converters
from nobuco.export.tflite_file import run_tflite, to_tflite
from nobuco.registry import registry

TENSORFLOW = ChannelOrder.TENSORFLOW
Tensors = tuple[torch.Tensor, ...]


def converted(model: Any, *args: torch.Tensor, **options: Any) -> Any:
    model = model.eval() if isinstance(model, nn.Module) else model
    keras_model, report = nobuco.pytorch_to_keras(model, list(args), verbose=False, return_report=True, **options)
    assert report.ok
    return keras_model


def compare(model: Any, run: Any, inputs: Sequence[Tensors]) -> None:
    """`run(feeds) -> tensors`, one after the other, on the same inputs as a fresh copy of the PyTorch model."""
    model = copy.deepcopy(model)
    for args in inputs:
        got = run([nobuco.t_pytorch2keras(x, TENSORFLOW) for x in args])
        # PyTorch's own eager mode, without the compiler that `torch.cond` would call.
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            wanted = [t for t in pytree.tree_leaves(model(*copy.deepcopy(args))) if isinstance(t, torch.Tensor)]
        assert len(got) == len(wanted)
        for ours, theirs in zip(got, wanted):
            ours = nobuco.t_keras2pytorch(ours, TENSORFLOW)
            assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-4, atol=1e-5)


def check(
    model: Any, traced: Tensors, *others: Tensors, folder: Any = None, tflite: bool = True, **options: Any
) -> Any:
    """Convert on the first inputs; compare on all."""
    keras_model = converted(model, *traced, **options)
    inputs = [traced, *others]

    def runner(made: Any) -> Any:
        return lambda feeds: keras.tree.flatten(made(feeds[0] if len(feeds) == 1 else feeds))

    compare(model, runner(keras_model), inputs)
    if folder is not None:
        keras_model.save(folder / "model.keras")
        compare(model, runner(keras.models.load_model(folder / "model.keras")), inputs)
    if tflite:
        data = to_tflite(keras_model)
        assert b"Flex" not in data
        compare(model, lambda feeds: run_tflite(data, feeds), inputs)
    return keras_model


@pytest.fixture
def x() -> torch.Tensor:
    return torch.linspace(-1.0, 2.0, 12).reshape(4, 3)


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(1, 3, 6, 5, generator=torch.Generator().manual_seed(0)) + 0.1


# -- torch.cond and its kin --------------------------------------------------------------------------------


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
    model = check(Branches(), (image,), (-image,), folder=tmp_path)
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
    check(Branches(), (-image,), (image,))


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
    check(Dynamic(), (image,), (-image,), (larger,), (-larger,), input_shapes={image: (None, 3, None, None)})


def test_cond_that_writes_its_operand(x):
    def model(x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        row = y[0]
        torch.cond(x.sum() > 0, lambda y: (y.add_(1).sum(),), lambda y: (y.mul_(3).sum(),), (y,))
        return y + row

    check(model, (x,), (-x,))


def test_cond_on_a_number_is_no_branch(x):
    def model(x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.shape[0] > 2, lambda x: x + 1, lambda x: x - 1, (x,))

    check(model, (x,), tflite=False)


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

    check(model, (x,), (x / 50,), (x * 50,), folder=tmp_path)


def test_while_loop_counts_with_a_python_number(x):
    def model(x: torch.Tensor) -> torch.Tensor:
        return torch.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x * 2 + i), (0, x))[1]

    check(model, (x,), (-x,))


def test_while_loop_keeps_channels_last(image):
    conv = nn.Conv2d(3, 3, 3, padding=1)

    def model(x: torch.Tensor) -> torch.Tensor:
        return torch.while_loop(lambda x: x.max() < 9, lambda x: (torch.relu(conv(x)) + x * 2,), (x,))[0]

    keras_model = check(model, (image,), (image / 9,))
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

    check(model, (x,), (-x,), (x / 4,), (x * 3,), folder=tmp_path)


def test_map(x, tmp_path):
    from torch._higher_order_ops import map as map_rows

    linear = nn.Linear(3, 3)

    def model(x: torch.Tensor) -> Any:
        return map_rows(lambda row, total: (linear(row) + total, row.sum()), x, x.sum(0))

    check(model, (x,), (-x,), folder=tmp_path)


def test_map_over_a_dynamic_length(x):
    from torch._higher_order_ops import map as map_rows

    def model(x: torch.Tensor) -> torch.Tensor:
        return map_rows(lambda row: torch.softmax(row, 0), x)

    check(model, (x,), (torch.rand(7, 3),), input_shapes={x: (None, 3)}, tflite=False)


@pytest.mark.parametrize(("dim", "reverse"), [(0, False), (1, True)])
def test_scan(x, tmp_path, dim, reverse):
    scan = pytest.importorskip("torch._higher_order_ops").scan

    def model(x: torch.Tensor) -> Any:
        return scan(lambda c, a: (c * 0.5 + a, c.exp() + a), x.select(dim, 0) * 0, x, dim=dim, reverse=reverse)

    check(model, (x,), (-x,), folder=tmp_path)


# -- a Python `if` on a tensor -----------------------------------------------------------------------------


class ControlIf(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_pre = nn.Conv2d(3, 16, kernel_size=(1, 1))
        self.conv_true = nn.Conv2d(16, 32, kernel_size=(1, 1))
        self.conv_false = nn.Conv2d(16, 32, kernel_size=(1, 1))
        self.conv_shared = nn.Conv2d(32, 32, kernel_size=(1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv_pre(x)
        if x.mean() > 0:
            x = self.conv_true(x)
            x = torch.tanh(x)
            x = self.conv_shared(x)
            x = x + 1
        else:
            x = self.conv_false(x)
            x = torch.sigmoid(x)
            x = self.conv_shared(x)
            x = x - 1
        return self.conv_shared(x)


class Enclosing(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.inner(x))


def test_explored_if_in_a_module(image, tmp_path):
    check(Enclosing(ControlIf()), (image,), (-image,), (image * 9,), folder=tmp_path, explore_branches=True)


def test_without_exploring_the_branch_taken_stays(image):
    with pytest.warns(NobucoWarning, match="a branch stays the branch taken"):
        converted(ControlIf(), image)


def several(x: torch.Tensor) -> torch.Tensor:
    y = x + 1
    if x.sum() > 0:
        y = y * 2
        if x.max() > 2:
            y = y - 5
    else:
        y.neg_()
    if y.mean() > 1 or y.min() < -9:
        return y * 3
    return y / 2


def test_explored_decisions_of_a_function(x):
    check(several, (x,), (-x,), (x * 3,), (x / 9,), (-9 * x,), (x - 3,), explore_branches=True)


def test_explored_any_item(x):
    check(lambda x: x + 1 if (x > 1).any().item() else x - 1, (x,), (-x,), explore_branches=True)


def test_explored_while(x):
    def model(x: torch.Tensor) -> torch.Tensor:
        count = 0
        while x.abs().sum() < 60 and count < 3:
            x, count = x * 2, count + 1
        return x

    check(model, (x,), (x * 3,), (x * 9,), (x / 9,), explore_branches=True)


def test_explored_write_to_an_argument(x):
    class Write(nn.Module):
        def forward(self, x: torch.Tensor) -> None:
            if x.sum() > 0:
                x[0] = 7.0

    def model(x: torch.Tensor) -> Any:
        y = x * 1.5
        row = y[0]
        write(y)
        return y + 1, row

    write = Write()
    check(model, (x,), (-x,), explore_branches=True)
    check(model, (-x,), (x,), explore_branches=True)


def test_explored_write_to_a_buffer(x):
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.zeros(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.sum() > 0:
                self.mean += x[0]
            else:
                self.mean *= 0.5
            return x + self.mean

    model = Gated()
    check(model, (x,), (-x,), (-x,), (x * 2,), explore_branches=True, tflite=False)
    assert torch.equal(model.mean, torch.zeros(3))


class Reassigning(nn.Module):
    """One side puts another tensor in the buffer's place; a view outlives the branch and the write behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> Any:
        y = x * 2
        row = y[1]
        if y.mean() > 0:
            self.total.add_(y.mean())
            self.total = self.total * 0.5
        else:
            row = y[:, 1]
        y[1] *= 3
        return y, row[:3], x + self.total


def test_explored_reassignment_and_aliases(x):
    check(Reassigning(), (x,), (-x,), (x * 2,), explore_branches=True, tflite=False)


def test_exploring_leaves_attributes_and_random_numbers_alone(x):
    class Counting(nn.Module):
        calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            seen.append(self.calls)
            return x + 1 if x.sum() > 0 else x - 1

    seen: list[int] = []
    model = Counting()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NobucoWarning)
        converted(model, x, explore_branches=True)
    assert seen[:2] == [1, 1]  # the other side began where the first one did; calls in a row come later, and count
    assert model.calls == 0
    assert torch.equal(torch.get_rng_state(), before)


def test_a_side_that_raises_is_reported(x):
    def model(x: torch.Tensor) -> torch.Tensor:
        if x.sum() < -1000:
            raise ValueError("too small")
        return x * 2

    with pytest.warns(NobucoWarning, match=r"test_control_flow\.py.*it raised ValueError: too small"):
        check(model, (x,), (-x,), explore_branches=True)


def test_sides_of_different_shapes_are_reported(x):
    with pytest.warns(NobucoWarning, match="return different things"):
        converted(lambda x: x[:2] if x.sum() > 0 else x, x, explore_branches=True)


def test_the_number_of_paths_is_limited(x):
    with pytest.warns(NobucoWarning, match="no more paths are traced"):
        converted(several, x, explore_branches=1)


def test_a_side_that_never_ends_is_reported(x):
    def model(x: torch.Tensor) -> torch.Tensor:
        if x.sum() < -1000:
            while x.abs().sum() > -1:
                x = x + 1
        return x * 2

    with pytest.warns(NobucoWarning, match="as if it would never end"):
        check(model, (x,), (-x,), explore_branches=True)


# -- by hand -----------------------------------------------------------------------------------------------

BY_HAND: dict[str, Any] = {"inputs_channel_order": TENSORFLOW, "outputs_channel_order": TENSORFLOW, "verbose": False}
FORCE_TENSORFLOW = ChannelOrderingStrategy.FORCE_TENSORFLOW_ORDER


class ByTraceables(nn.Module):
    """The branches and the loop's body as methods of their own, joined in a converter."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    @nobuco.traceable
    def positive(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.one(x))

    @nobuco.traceable
    def negative(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(x) - 1

    @nobuco.traceable
    def body(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.three(y)) + x

    @nobuco.traceable
    def branch(self, x: torch.Tensor) -> torch.Tensor:
        return self.positive(x) if x.mean() > 0 else self.negative(x)

    @nobuco.traceable
    def repeat(self, x: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
        y = x
        for _ in range(int(count)):
            y = self.body(y, x)
        return y

    @nobuco.traceable
    def until(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        while y.abs().sum() < 100:
            y = self.body(y, x) + y * 2
        return y

    def forward(self, x: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
        return self.until(torch.relu(self.repeat(self.branch(x), count)) + 1)


@nobuco.converter(ByTraceables.branch, channel_ordering_strategy=FORCE_TENSORFLOW)
def converter_branch(self: Any, x: torch.Tensor) -> Any:
    positive = nobuco.pytorch_to_keras(self.positive, [x], **BY_HAND)
    negative = nobuco.pytorch_to_keras(self.negative, [x], **BY_HAND)
    return lambda self, x: tf.cond(tf.reduce_mean(x) > 0, lambda: positive(x), lambda: negative(x))


@nobuco.converter(ByTraceables.repeat, channel_ordering_strategy=FORCE_TENSORFLOW)
def converter_repeat(self: Any, x: torch.Tensor, count: torch.Tensor) -> Any:
    body = nobuco.pytorch_to_keras(self.body, [x, x], **BY_HAND)

    def func(self: Any, x: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        count = tf.cast(count, tf.int32)
        return tf.while_loop(lambda i, y: i < count, lambda i, y: (i + 1, body([y, x])), (tf.constant(0), x))[1]

    return func


@nobuco.converter(ByTraceables.until, channel_ordering_strategy=FORCE_TENSORFLOW)
def converter_until(self: Any, x: torch.Tensor) -> Any:
    body = nobuco.pytorch_to_keras(self.body, [x, x], **BY_HAND)

    def func(self: Any, x: tf.Tensor) -> tf.Tensor:
        return tf.while_loop(lambda y: tf.reduce_sum(tf.abs(y)) < 100, lambda y: (body([y, x]) + y * 2,), (x,))[0]

    return func


class Seed(ControlIf):
    """`ControlIf` with a converter of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)


class ControlIfKeras(tf.keras.layers.Layer):
    def __init__(self, conv_pre, conv_true, conv_false, conv_shared, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.conv_pre = conv_pre
        self.conv_true = conv_true
        self.conv_false = conv_false
        self.conv_shared = conv_shared

    @tf.function
    def call(self, x):
        x = self.conv_pre(x)
        if tf.reduce_mean(x) > 0:
            x = self.conv_true(x)
            x = tf.tanh(x)
            x = self.conv_shared(x)
            x = x + 1
        else:
            x = self.conv_false(x)
            x = tf.sigmoid(x)
            x = self.conv_shared(x)
            x = x - 1
        return self.conv_shared(x)


@nobuco.converter(Seed, channel_ordering_strategy=FORCE_TENSORFLOW)
def converter_seed(self: Any, x: torch.Tensor) -> Any:
    kwargs = {**BY_HAND, "return_outputs_pt": True}
    conv_pre, out_pre = nobuco.pytorch_to_keras(self.conv_pre, [x], **kwargs)
    conv_true, out_true = nobuco.pytorch_to_keras(self.conv_true, [out_pre], **kwargs)
    conv_false, _ = nobuco.pytorch_to_keras(self.conv_false, [out_pre], **kwargs)
    conv_shared, _ = nobuco.pytorch_to_keras(self.conv_shared, [out_true], **kwargs)
    return ControlIfKeras(conv_pre, conv_true, conv_false, conv_shared)


def test_a_keras_layer_with_autograph(image, tmp_path):
    torch.manual_seed(0)
    model = Seed()
    assert model(image).mean() * model(-image).mean() < 0
    check(Enclosing(model), (image,), (-image,), folder=tmp_path)


def test_branches_and_loops_as_traceable_methods(image, tmp_path):
    two, five, none = (torch.tensor(n) for n in (2, 5, 0))
    check(ByTraceables(), (image, two), (-image, five), (image * 2, none), folder=tmp_path)


def test_a_loop_of_many_rounds_is_not_explored_for_ever():
    def halved(x: torch.Tensor) -> torch.Tensor:
        while x.sum() > 9:
            x = x / 2 - 1
        return x

    x = torch.tensor([[3.0, 1.0, 0.0], [2.0, 8.0, 4.0]])
    with pytest.warns(NobucoWarning, match=r"test_control_flow\.py.*decided more than 8 times on .*torch.while_loop"):
        check(halved, (x,), (-x,), explore_branches=True)


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0], [1.0, 2.0, 4.0]])
def test_whether_a_tensor_contains_a_number_is_a_question(values):
    def program(x):
        return x * 2 if 3 in x else x

    given = torch.tensor(values)
    with pytest.warns(nobuco.NobucoWarning, match="takes a value"):
        nobuco.pytorch_to_keras(program, [given], verbose=False)
    model = nobuco.pytorch_to_keras(program, [given], explore_branches=True, verbose=False)
    for x in (torch.tensor([3.0, 1.0, 0.0]), torch.tensor([4.0, 1.0, 0.0])):
        np.testing.assert_array_equal(model(x.numpy()), program(x))


def test_a_copy_by_python_is_a_copy(check):
    def program(x):
        y = copy.deepcopy(x)
        y += 1
        return x, y

    check(program, torch.rand(3))
