"""What surrounds a conversion: random generators, which it keeps, and modes, under which it works or says why not."""

import functools
import random

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import nobuco
from nobuco.errors import InputError
from nobuco.export.tflite_file import to_tflite

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
OUTSIDE = torch.Generator().manual_seed(1)


def converted(model, args=(X,), **options):
    return nobuco.pytorch_to_keras(
        model, args, inputs_channel_order=nobuco.ChannelOrder.PYTORCH, verbose=False, **options
    )  # fmt: skip


def parity(model, x=X):
    want = model(x).detach().numpy()
    np.testing.assert_allclose(np.asarray(converted(model, [x])(x.numpy())), want, atol=1e-5)


class Random(nn.Module):
    """Draws from every generator that there is."""

    def __init__(self):
        super().__init__()
        self.generator, self.dropout, self.linear = torch.Generator().manual_seed(2), nn.Dropout(), nn.Linear(4, 4)

    def forward(self, x):
        drawn = torch.rand(4, generator=self.generator) + torch.rand(4, generator=OUTSIDE) + torch.randn(4)
        return self.dropout(self.linear(x)) + drawn + random.random() + np.random.rand()


def fails(x):
    random.random(), np.random.rand(), torch.rand(3)
    raise ValueError("in the middle")


def branches(x):
    if x.sum() > 0:
        return x + torch.rand(4)
    return x * random.random()


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.LazyLinear(3)

    def forward(self, x):
        return F.dropout(self.linear(x)) + random.random()


class Keeping(nn.Module):
    def forward(self, x):
        self.last = x + torch.rand(4) + random.random()
        return self.last * 2


def states(*own):
    numpy = np.random.get_state(legacy=False)["state"]
    return (
        random.getstate(), numpy["pos"], numpy["key"].tolist(), torch.get_rng_state().tolist(),
        *(generator.get_state().tolist() for generator in (OUTSIDE, *own)),
    )  # fmt: skip


class TestGenerators:
    @pytest.mark.parametrize(
        ("model", "options"),
        [
            (Random().eval(), {}),
            (Random(), {}),
            (Random().eval(), {"input_shapes": {X: (None, 4)}}),
            (branches, {"explore_branches": True}),
            (fails, {}),
            (Lazy(), {}),
            (Keeping(), {}),
            (lambda x: torch.diff(torch.bernoulli(torch.sigmoid(x), generator=OUTSIDE)), {}),
            (nn.Sequential(nn.Linear(4, 4), nn.Dropout()).eval(), {}),
        ],
        ids=["eval", "train", "dynamic", "branches", "failure", "lazy", "keeping", "opened", "layers"],
    )
    def test_are_as_they_were(self, model, options):
        own = [model.generator] if isinstance(model, Random) else []
        before = states(*own)
        if model is fails:
            with pytest.raises(ValueError, match="in the middle"):
                converted(model, **options)
        else:
            converted(model, **options)
        assert states(*own) == before

    def test_after_export_and_comparison(self, tmp_path):
        model = Random().eval()
        before = states(model.generator)
        keras_model = converted(model)
        to_tflite(keras_model)
        keras_model.save(tmp_path / "m.keras")
        nobuco.compare(model, keras_model, [X])
        nobuco.bisect(model, keras_model, [X])
        nobuco.coverage(model, [X])
        assert states(model.generator) == before

    def test_of_tensorflow_and_keras(self):
        def drawn(convert):
            keras.utils.clear_session()  # before Keras 3.13 a seed leaves Keras' own generator as it is
            keras.utils.set_random_seed(5)
            if convert:
                converted(lambda x: x + torch.rand(3, 4) + torch.randn(3, 4))
            layer = keras.layers.Dense(2)
            layer.build((1, 2))
            return [tf.random.uniform([2]), tf.random.normal([2]), keras.random.normal((2,)), layer.kernel]

        for before, after in zip(drawn(False), drawn(True)):
            np.testing.assert_array_equal(np.asarray(before), np.asarray(after))


class TestTransformedPrograms:
    @pytest.mark.parametrize(
        "program",
        [
            torch.vmap(torch.sin),
            torch.vmap(nn.Linear(4, 2)),
            torch.vmap(lambda a: a * a.sum()),
            torch.vmap(torch.vmap(lambda a: a * 2 + 1)),
            torch.vmap(lambda a: a / a.sum(), in_dims=1, out_dims=1),
            torch.vmap(lambda a: a.cumsum(0), chunk_size=2),
            functools.partial(torch.vmap(torch.add), X),
            torch.func.grad(lambda a: (a**3).sum()),
            torch.vmap(torch.func.grad(lambda a: (a**2).sum())),
            torch.func.functionalize(lambda a: a.clone().add_(1)),
            lambda a: torch.func.jvp(torch.sin, (a,), (torch.ones_like(a),))[1],
        ],
        ids=["builtin", "module", "lambda", "nested", "dims", "chunks", "partial", "grad", "both", "function", "jvp"],
    )
    def test_convert(self, program):
        parity(program)


class TestModes:
    @pytest.mark.parametrize(
        "mode",
        [
            torch.inference_mode, torch.enable_grad, torch.autograd.detect_anomaly,
            lambda: torch.device("cpu"), lambda: torch.device("meta"), lambda: tf.device("/CPU:0"), tf.GradientTape,
            lambda: keras.name_scope("outer"), tf.distribute.OneDeviceStrategy("/CPU:0").scope, tf.init_scope,
        ],
    )  # fmt: skip
    def test_work(self, mode):
        net = nn.Linear(4, 4)
        want = torch.diff(net(X)).detach().numpy()
        with mode():
            keras_model = converted(lambda x: torch.diff(net(x)))
        np.testing.assert_allclose(np.asarray(keras_model(X.numpy())), want, atol=1e-5)

    def test_settings(self):
        torch.use_deterministic_algorithms(True)
        torch.set_default_dtype(torch.float64)
        try:
            parity(nn.Linear(4, 4).float())
            assert torch.are_deterministic_algorithms_enabled()
            assert torch.get_default_dtype() is torch.float64
        finally:
            torch.use_deterministic_algorithms(False)
            torch.set_default_dtype(torch.float32)

    @pytest.mark.parametrize("mode", [FakeTensorMode, keras.StatelessScope, lambda: tf.Graph().as_default()])
    def test_without_numbers_are_named(self, mode):
        named = {FakeTensorMode: "FakeTensorMode", keras.StatelessScope: "StatelessScope"}.get(mode, "tf.Graph")
        with pytest.raises(InputError, match=named), mode():
            converted(nn.Linear(4, 4))

    def test_inside_a_tensorflow_function(self):
        @tf.function(autograph=False)
        def inside():
            converted(torch.sin)

        @tf.function(autograph=False)
        def lifted():
            with tf.init_scope():
                converted(nn.Linear(4, 4))

        with pytest.raises(InputError, match=r"inside tf\.function"):
            inside()
        with pytest.raises(InputError, match=r"no new variables, as in tf\.init_scope"):
            lifted()

    @pytest.mark.parametrize("transform", [torch.vmap, torch.func.grad])
    def test_inside_a_transform(self, transform):
        def inside(x):
            converted(torch.sin)
            return x.sum()

        with pytest.raises(InputError, match=r"inside torch\.vmap"):
            transform(inside)(X)

    def test_fake_tensors_are_named(self):
        mode = FakeTensorMode()
        with pytest.raises(InputError, match="holds a FakeTensor"):
            converted(nn.Linear(4, 4), [mode.from_tensor(X)])
        with mode:
            net = nn.Linear(4, 4)
        with pytest.raises(InputError, match=r"weight.* (is a FakeTensor|is on the device .meta.)"):
            converted(net)


@pytest.mark.parametrize("trained", [False, True])
def test_a_backward_pass_in_a_program_leaves_no_gradients(trained):
    layer = nn.Linear(4, 4)
    if trained:
        layer(X).sum().backward()
    before = [None if p.grad is None else p.grad.clone() for p in layer.parameters()]

    def forces(x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            layer(x).square().sum().backward()
        return x.grad

    converted(forces)
    for parameter, gradient in zip(layer.parameters(), before):
        assert parameter.grad is None if gradient is None else torch.equal(parameter.grad, gradient)
