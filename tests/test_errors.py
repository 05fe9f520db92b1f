"""Every mistake has a message of its own that names the operation, the place and the way out."""

from __future__ import annotations

import re

import pytest
import tensorflow as tf
import torch
from torch import nn

import nobuco
from nobuco import ChannelOrder, ChannelOrderingStrategy
from nobuco.registry import registry

X = torch.rand(1, 3, 8, 8)


@nobuco.traceable
def operation(x):
    return x * 2


@nobuco.traceable
def other_operation(x):
    return x * 3


@pytest.fixture
def register():
    """`register(make)`: a converter for `operation`, forgotten after the test."""
    known = []

    def add(make, target=operation, **options):
        options.setdefault("channel_ordering_strategy", ChannelOrderingStrategy.MINIMUM_TRANSPOSITIONS)
        nobuco.converter(target, **options)(make)
        known.append(target)

    yield add
    for target in dict.fromkeys(known):
        nobuco.unregister_converter(target)


def convert(model=operation, args=(X,), **options):
    return nobuco.pytorch_to_keras(model, list(args), verbose=False, **options)


def test_all_gaps_are_listed_at_once_with_their_lines_and_a_stub():
    class Odd(nn.Module):
        def forward(self, x):
            a = torch.linalg.eigvalsh(x)
            b = torch.linalg.qr(x)
            return a, b[0], torch.linalg.eigvalsh(x + 1)

    first = Odd.forward.__code__.co_firstlineno
    with pytest.raises(nobuco.ConversionError) as caught:
        convert(Odd(), args=[torch.rand(1, 3, 3)], decompose=False)
    message = str(caught.value)
    assert message.startswith("2 operation(s) have no converter:")
    for line in (first + 1, first + 2, first + 3):
        assert f'File "{__file__}", line {line}' in message
    assert re.search(r"@nobuco\.converter\(torch\.linalg\.\w*eigvalsh|@nobuco\.converter\(.*eigvalsh", message)
    assert len(caught.value.gaps) == 3
    stub = re.findall(r"    (@nobuco\.converter.*?# the same, on TensorFlow tensors)", message, re.S)[0]
    compile(stub.replace("\n    ", "\n"), "stub", "exec")


def test_what_opens_into_itself_alone_is_named_as_the_user_wrote_it():
    with registry.restoring():
        nobuco.unregister_converter(torch.ops.aten.geqrf.default)
        with pytest.raises(nobuco.ConversionError) as caught:
            convert(lambda x: torch.geqrf(x)[0], args=[torch.rand(1, 3, 3)])
    assert "\ntorch.geqrf, called 1 time(s):" in str(caught.value)
    assert "@nobuco.converter(torch.geqrf, channel_ordering_strategy=nobuco.Chann" in str(caught.value)
    assert "no converter" in [node.status.value for node in caught.value.report.walk()]


def test_a_converter_that_gives_too_many_outputs(register):
    register(lambda x: lambda x: (x, x))
    with pytest.raises(nobuco.ConverterError, match=r"PyTorch gives 1 tensor\(s\), the converted node 2"):
        convert()


def test_a_converter_that_gives_another_dtype(register):
    register(lambda x: lambda x: tf.cast(x, tf.int32))
    with pytest.raises(nobuco.ConverterError, match="output 0 has dtype int32, PyTorch gives float32; cast it"):
        convert()


def test_a_converter_that_gives_another_shape(register):
    register(lambda x: lambda x: tf.reshape(x, [1, -1, 4, 4]))
    with pytest.raises(nobuco.ConverterError, match=r"output 0 has shape \(1, 12, 4, 4\), expected"):
        convert()


def test_a_converter_that_raises_names_itself_and_the_users_line(register):
    def broken(x):
        raise KeyError("nothing here")

    register(broken)
    line = test_a_converter_that_raises_names_itself_and_the_users_line.__code__.co_firstlineno + 7
    with pytest.raises(nobuco.ConverterError, match="raised KeyError") as caught:
        convert(lambda x: operation(x))
    assert f'called at File "{__file__}", line {line}' in str(caught.value)
    assert f'converter at File "{__file__}", line {broken.__code__.co_firstlineno}' in str(caught.value)


def test_a_callable_that_raises_while_the_model_is_built(register):
    register(lambda x: lambda x: tf.reshape(x, [7]))
    with pytest.raises(nobuco.ConverterError, match=r"raised .* while the model was built"):
        convert()


def test_a_converter_that_returns_no_callable(register):
    register(lambda x: 3)
    with pytest.raises(nobuco.ConverterError, match="returned int; it must return a Keras layer or a callable"):
        convert()


def test_a_wrong_converter_is_found_at_its_own_node(register):
    register(lambda x: lambda x: x * 2.5)
    _, report = convert(lambda x: torch.relu(operation(x) + 1), return_report=True)
    bad = report.first_bad()
    assert bad.name.endswith("operation") and not report.ok
    assert bad.own.max_abs == pytest.approx(0.5 * float(X.max()), rel=1e-5)


def test_validate_func_is_asked(register):
    seen = []

    def verdict(pytorch, keras):
        seen.append((tuple(pytorch.shape), tuple(keras.shape)))
        return True

    register(lambda x: lambda x: x * 2.5, validate_func=verdict)
    _, report = convert(return_report=True)
    assert seen == [((1, 3, 8, 8), (1, 3, 8, 8))]
    assert report.first_bad() is None


def test_validate_func_can_fail_a_node(register):
    register(lambda x: lambda x: x * 2, validate_func=lambda pytorch, keras: False)
    _, report = convert(return_report=True)
    assert report.first_bad() is not None
    assert "validate_func" in report.first_bad().message


def test_a_model_in_training_mode_is_warned_about():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()).train()
    with pytest.warns(nobuco.NobucoWarning, match=r"training mode, so '0' .* call model\.eval\(\)"):
        convert(model)


def test_a_branch_on_data_is_warned_about_with_its_line():
    def program(x):
        if x.mean() > 0:
            return x + 1
        return x - 1

    with pytest.warns(nobuco.NobucoWarning, match=f"line {program.__code__.co_firstlineno + 1}: .*branch taken"):
        convert(program)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": 3}, "model is int, which cannot be called"),
        ({"args": 3.0}, "args is float"),
        ({"args": X}, r"args is Tensor; give a list"),
        ({"args": [1, 2]}, "hold no torch.Tensor"),
        ({"kwargs": [1]}, "kwargs is list; give a dict"),
        (
            {"input_shapes": {torch.rand(2): (None,)}},
            "input_shapes names a tensor of shape .* none of the inputs",
        ),
        ({"input_shapes": {X: (None, 4, 8, 8)}}, "repeat the tensor's sizes"),
        ({"input_shapes": {X: (None, 3)}}, "repeat the tensor's sizes"),
        ({"input_names": {torch.rand(2): "a"}}, "input_names names a tensor of shape .* none of the inputs"),
        ({"input_names": ["a", "b"]}, "input_names has 2 entries; the model has 1 input"),
        ({"inputs_channel_order": "hwc"}, "inputs_channel_order is 'hwc'; give a dict by input tensor"),
        (
            {"outputs_channel_order": {3: ChannelOrder.PYTORCH}},
            "names output 3; the model has outputs 0 to 0",
        ),
        ({"outputs_channel_order": {0: "chw"}}, "outputs_channel_order holds 'chw'"),
        ({"output_names": {0: "a", 1: "b"}}, "names output 1"),
    ],
)
def test_wrong_arguments(options, message):
    given = {"model": torch.relu, "args": [X], **options}
    with pytest.raises(nobuco.InputError, match=message):
        nobuco.pytorch_to_keras(given.pop("model"), given.pop("args"), verbose=False, **given)


def test_one_name_for_two_inputs():
    with pytest.raises(nobuco.InputError, match="the name 'a' is given to more than one tensor"):
        convert(torch.add, [X, X + 1], input_names=["a", "a"])


def test_one_name_for_two_outputs():
    with pytest.raises(nobuco.InputError, match="the name 'a' is given to more than one tensor"):
        convert(lambda x: (x + 1, x + 2), output_names=["a", "a"])


def test_a_model_that_returns_no_tensor():
    with pytest.raises(nobuco.InputError, match="returned no tensor"):
        convert(lambda x: 3)


def test_outputs_that_are_no_tensors_are_left_out_with_a_warning():
    with pytest.warns(nobuco.NobucoWarning, match=r"output .* is float, no tensor: left out"):
        model = convert(lambda x: {"y": x + 1, "loss": 0.5})
    assert set(model.output) == {"y"}


class TestRegistration:
    def test_a_second_converter_names_both_places(self, register):
        def mine(x):
            return lambda x: x * 2

        def yours(x):
            return lambda x: x * 2

        register(mine)
        with pytest.raises(nobuco.ConverterRegistrationError) as caught:
            register(yours)
        for function in (mine, yours):
            assert f"line {function.__code__.co_firstlineno}" in str(caught.value)
        register(yours, override=True)
        assert "yours" in nobuco.locate_converter(operation)[1]

    def test_the_same_function_again_replaces_itself(self, register):
        def define(factor):
            def cell(x):
                return lambda x: x * factor

            return cell

        register(define(1))
        register(define(2))
        assert convert()(tf.ones((1, 8, 8, 3))).numpy().max() == 2

    def test_a_built_in_gives_way(self):
        import torch.nn.functional as F

        with registry.restoring():
            nobuco.converter(F.hardsigmoid)(_mine)
            assert "_mine" in nobuco.locate_converter(F.hardsigmoid)[1]

    @pytest.mark.parametrize(
        ("target", "message"),
        [(nn.ReLU(), "instance of ReLU; register the class"), (3, "cannot be called"), (int, "no nn.Module")],
    )
    def test_what_cannot_be_registered(self, target, message):
        with pytest.raises(nobuco.ConverterRegistrationError, match=message):
            nobuco.converter(target)(_mine)

    def test_no_operation(self):
        with pytest.raises(nobuco.ConverterRegistrationError, match="needs the operation"):
            nobuco.converter()(_mine)

    def test_unknown(self):
        for ask in (nobuco.locate_converter, nobuco.unregister_converter):
            with pytest.raises(nobuco.UnknownConverterError, match="no converter is registered for"):
                ask(other_operation)

    def test_locate(self):
        link, source = nobuco.locate_converter(torch.Tensor.repeat)
        assert re.fullmatch(r'File ".*\.py", line \d+', link)
        assert source.startswith("@") and "repeat" in source


def _mine(x):
    return lambda x: x
