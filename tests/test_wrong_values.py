"""Every argument of every public function, given what it does not take: it works, or a line names it and the value."""

from __future__ import annotations

import inspect
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

import nobuco
from nobuco import export
from nobuco.registry import registry
from tests.public_calls import CALLS, SAMPLES, X, flatbuffer, model

VALUES = [
    None, True, -1, 0, 2.5, float("nan"), "x", "", b"x", [], {}, {0: None}, ["y"], object(), int, lambda: None,
    np.zeros(2), torch.zeros(2),
]  # fmt: skip
# Values of which an error says something else than that they are wrong.
ELSEWHERE = {
    ("locate_converter", "operation"): (int, VALUES[15]),  # they are operations, but have no converter
    ("unregister_converter", "operation"): (int, VALUES[15]),
    ("load_state_dict", "state_dict"): ({},),  # what is missing is listed
}


def words_for(value: object) -> list[str]:
    """What a message may show of a value, one of these: its `repr`, its name, its shape, or what stands in it."""
    inner = (
        list(value.values())
        if isinstance(value, dict)
        else value
        if isinstance(value, (list, np.ndarray, torch.Tensor))
        else []
    )
    shapes = [f"of shape {tuple(part.shape)}" for part in (value, *inner) if hasattr(part, "shape")]
    return [repr(value)[:60], getattr(value, "__name__", repr(value)[:60]), *shapes, *map(repr, inner)]


def error_of(call, given) -> nobuco.NobucoError | None:
    """The error of nobuco's that a call raises; any other one is raised here."""
    with registry.restoring(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call.function(**given)
        except nobuco.NobucoError as error:
            return error
    return None


@pytest.mark.parametrize(("name", "argument"), [(name, a) for name, call in CALLS.items() for a in call.arguments])
def test_a_wrong_value_is_refused_by_name(name, argument, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call = CALLS[name]
    for value in VALUES:
        error = error_of(call, {**call.given(), argument: value})
        if error is not None and repr(value) not in map(repr, ELSEWHERE.get((name, argument), ())):
            assert argument in str(error), value
            assert any(words in str(error) for words in words_for(value)), (value, str(error))
            assert error.__suppress_context__ or error.__context__ is None, (value, "told twice")


def test_every_public_name_is_tried():
    public = {name for name in nobuco.__all__ if not isinstance(getattr(nobuco, name), type)} | set(export.__all__)
    assert public <= set(CALLS)


class Contrary:
    """Raises, whatever is asked of it."""

    def __getattr__(self, name):
        raise RuntimeError(name)

    __repr__ = __iter__ = __fspath__ = __len__ = __hash__ = lambda self: self.no

    def __eq__(self, other):
        return self.no


AROUND: list = []
AROUND.append(AROUND)

# One row: a call, what is given in place of its arguments, and what the message must say.
TABLE = [
    ("pytorch_to_keras", {"trace_shape": "no"}, "trace_shape is 'no'; give True or False, or None"),
    ("pytorch_to_keras", {"explore_branches": -1}, "explore_branches is -1; give True or False, or a whole number"),
    ("pytorch_to_keras", {"validation_tolerance": "small"}, "validation_tolerance is 'small'; give a number from 0"),
    ("pytorch_to_keras", {"validation_tolerance": float("nan")}, "validation_tolerance is nan; give a number from 0"),
    ("pytorch_to_keras", {"output_names": "y"}, "output_names is 'y'; give a list of names"),
    ("pytorch_to_keras", {"input_names": "x"}, "input_names is 'x'; give a dict by input tensor"),
    ("pytorch_to_keras", {"input_names": [""]}, "input_names holds ''; give a text"),
    ("pytorch_to_keras", {"input_shapes": {5: (None, 3, 4, 4)}}, "input_shapes names input 5; the model has inputs 0"),
    ("pytorch_to_keras", {"input_shapes": {X: (None, 3)}}, "repeat the tensor's sizes and put None"),
    ("pytorch_to_keras", {"inputs_channel_order": "hwc"}, "inputs_channel_order is 'hwc'"),
    ("pytorch_to_keras", {"outputs_channel_order": {1: "nhwc"}}, "outputs_channel_order names output 1"),
    ("pytorch_to_keras", {"debug_traces": "always"}, "debug_traces is 'always'; give nobuco.TraceLevel.NEVER or"),
    ("pytorch_to_keras", {"save_trace_html": 3}, "save_trace_html is 3; give True or False, or a path"),
    ("pytorch_to_keras", {"model": torch.nn.ReLU}, "model is the class <class '.*ReLU'>; give an instance, e.g. ReLU"),
    ("pytorch_to_keras", {"model": "none.pt2"}, "model is the path 'none.pt2', where no file is"),
    ("pytorch_to_keras", {"model": torch.nn.ReLU(), "args": [X, X]}, "args and kwargs do not fit the model, ReLU"),
    ("pytorch_to_keras", {"model": torch.nn.ReLU(), "args": None}, "a required argument: 'input'"),
    ("pytorch_to_keras", {"args": [X.numpy()]}, r"args\[0\] holds an ndarray of shape .* give torch.from_numpy\(x\)"),
    ("pytorch_to_keras", {"args": X.numpy()}, "args is ndarray; give a list of the positional arguments"),
    ("pytorch_to_keras", {"args": [X.to("meta")]}, r"args\[0\] .* holds no numbers"),
    ("pytorch_to_keras", {"args": [X.to_sparse()]}, r"args\[0\] .* is sparse .* give x.to_dense\(\)"),
    ("pytorch_to_keras", {"args": [X.to(torch.float8_e4m3fn)]}, r"is of torch.float8_e4m3fn.* give x.to\(torch"),
    ("pytorch_to_keras", {"args": [torch.quantize_per_tensor(X, 0.1, 0, torch.qint8)]}, r"is quantised .*dequantize"),
    ("pytorch_to_keras", {"args": [torch.nested.nested_tensor([X[0]])]}, "is nested; give a padded one"),
    ("pytorch_to_keras", {"args": [X.to_mkldnn()]}, "lies in memory in oneDNN's own way"),
    ("pytorch_to_keras", {"args": [X * float("nan")]}, "the example 'input.*' holds NaN in 48 of its 48 elements"),
    ("pytorch_to_keras", {"kwargs": {0: X}}, "kwargs is {0: .*; give a dict by the names"),
    ("pytorch_to_keras", {"args": AROUND}, r"args is \[\[...\]\]"),
    ("pytorch_to_keras", {"model": model()}, "model is <ConvertedModel .*, of Keras; give the PyTorch program"),
    ("pytorch_to_keras", {"inputs_channel_order": tf.ones(2)}, "inputs_channel_order is an EagerTensor of shape"),
    ("pytorch_to_keras", {"inputs_channel_order": Contrary()}, "inputs_channel_order is a Contrary; give"),
    ("pytorch_to_keras", {"verbose": Contrary()}, "verbose is a Contrary; give True or False"),
    ("compare", {"inputs_channel_order": "nchw"}, "inputs_channel_order has .*PYTORCH for input 0 of"),
    ("compare", {"tolerance": "small"}, "tolerance is 'small'"),
    ("compare", {"keras_model": "net.keras"}, "keras_model is str; give the functional model"),
    ("compare", {"outputs_channel_order": "hwc"}, "outputs_channel_order holds 'hwc'"),
    ("bisect", {"save": 3}, "save is 3; give a path, or None"),
    ("coverage", {"subject": "torch.nn.functional.no_such"}, "subject: there is no 'torch.nn.functional.no_such'"),
    ("to_tflite", {"states": "argument"}, "states is 'argument'; give 'variables' or 'arguments'"),
    ("to_tflite", {"integer_io": True}, "integer_io is True, which is for precision='int8' and 'int16x8'"),
    ("to_tflite", {"per_channel": False}, "per_channel is False, which is for precision='int8' and 'int16x8'"),
    ("to_tflite", {"precision": "int4"}, "precision is 'int4'; there are float32, float16"),
    ("to_tflite", {"precision": "int8"}, "needs representative"),
    ("to_tflite", {"index_dtype": "int16"}, "index_dtype is 'int16'; give 'int64' or 'int32'"),
    ("to_tflite", {"model": torch.nn.ReLU()}, r"model is ReLU\(\); give a Keras model that has inputs"),
    ("to_tflite", {"model": keras.Sequential([keras.layers.Dense(1)])}, "model is <Sequential .*; give a Keras model"),
    ("tflite", {"path": Contrary()}, "path is a Contrary; give a path"),
    ("to_tflite, int8", {"representative": Contrary()}, "representative is a Contrary; give a list of samples"),
    ("to_tflite", {"model": {}}, "model is {}; give"),
    ("to_tflite, int8", {"representative": iter(SAMPLES)}, "representative is <list_iterator .*not an iterator"),
    ("to_tflite, int8", {"representative": [SAMPLES[0][0]]}, r"sample's 'input_0' is an ndarray of shape \(4, 4, 3"),
    ("to_tflite, int8", {"representative": [SAMPLES[0].astype(float)]}, r"float64; .* give x.astype\(np.float32\)"),
    ("run_tflite", {"feeds": []}, "feeds has 0 arrays; the file has 1 inputs, input_0"),
    ("run_tflite", {"feeds": SAMPLES * 2}, "feeds has 2 arrays; the file has 1 inputs, input_0"),
    ("run_tflite", {"feeds": [SAMPLES[0][..., :2]]}, r"of shape \(1, 4, 4, 2\) .* takes \(1, 4, 4, 3\) of float32"),
    ("run_tflite", {"feeds": [SAMPLES[0][0]]}, r"of shape \(4, 4, 3\) .* takes \(1, 4, 4, 3\) of float32"),
    ("run_tflite", {"feeds": [SAMPLES[0].astype(float)]}, r"feeds\[0\] .* float64; .* give x.astype\(np.float32\)"),
    ("run_tflite", {"feeds": [[1, None]]}, r"feeds\[0\] .* is \[1, None\]; the file takes .* give an array"),
    ("tflite_operations", {"data": "net.tflite"}, "data is 'net.tflite'; give the bytes of a TFLite file"),
    ("run_tflite", {"data": "net.tflite"}, "data is 'net.tflite'; give the bytes of a TFLite file"),
    ("run_tflite", {"data": b"PK\3\4 and so on"}, "data is no TFLite file"),
    ("run_tflite", {"num_threads": 0}, "num_threads is 0; give a whole number from 1 up"),
    ("unsupported_in_tfjs", {"folder": "nowhere"}, "folder is 'nowhere'; give the folder of a SavedModel"),
    ("unsupported_in_tfjs", {"folder": "http://x/y"}, "folder is 'http://x/y'; give the folder of a SavedModel"),
    ("unsupported_in_tfjs", {"signature": "encode"}, "signature is 'encode'; the SavedModel has 'serving_default'"),
    ("keras_file", {"path": "net.h5"}, r"path is 'net.h5'; give the path of a file \*.keras"),
    ("converter", {"channel_ordering_strategy": "nhwc"}, "channel_ordering_strategy is 'nhwc'; give nobuco.Channel"),
    ("converter", {"samples": [nobuco.Sample((X,))]}, "samples is .*; give a function, or None"),
    ("load_state_dict", {"state_dict": {"weight": None}}, "state_dict holds None for 'weight'"),
    ("set_channel_order", {"channel_order": "hwc"}, "channel_order is 'hwc'; give nobuco.ChannelOrder.TENSORFLOW"),
    ("shape", {"x": (1, 2)}, r"x is \(1, 2\); give a torch.Tensor"),
    ("length", {"x": torch.tensor(1.0)}, "x is a Tensor of shape .* give a torch.Tensor of one dimension at least"),
    ("DepthToSpace", {"block_size": 0}, "block_size is 0; give a whole number from 1 up"),
    ("render_text", {"width": 3}, "width is 3; give a whole number from 20 up"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "message"), TABLE, ids=[f"{n}-{'-'.join(g)}" for n, g, _ in TABLE])
def test_the_message_names_the_value_and_the_way_out(name, given, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call = CALLS[name]
    with registry.restoring(), pytest.raises(nobuco.NobucoError, match=message):
        call.function(**{**call.given(), **given})


@pytest.mark.parametrize("spelling", ["nchw", "NCHW", "channels_first", "pytorch", nobuco.ChannelOrder.PYTORCH])
def test_a_channel_order_goes_by_the_names_that_others_use(spelling):
    keras_model = nobuco.pytorch_to_keras(
        torch.relu, [X], inputs_channel_order=spelling, outputs_channel_order={0: "nhwc"}, verbose=False
    )
    assert keras_model.inputs[0].shape == (1, 3, 4, 4)
    np.testing.assert_array_equal(keras_model(X.numpy()), torch.relu(X).permute(0, 2, 3, 1))
    assert nobuco.compare(torch.relu, keras_model, [X], inputs_channel_order=spelling, outputs_channel_order="nhwc").ok


def test_nothing_runs_before_the_arguments_are_looked_at():
    def program(x):
        raise AssertionError("it ran")

    with pytest.raises(nobuco.InputError, match="verbose is 'no'"):
        nobuco.pytorch_to_keras(program, [X], verbose="no")
    assert inspect.signature(nobuco.pytorch_to_keras).parameters["verbose"].default is True


def test_inside_a_program_what_tensorflow_lacks_is_named_with_its_line():
    def program(x):
        return torch.mm(torch.eye(4).to_sparse(), x)

    line = program.__code__.co_firstlineno + 1
    with pytest.raises(nobuco.ConversionError, match=rf"line {line}: a tensor of .* is sparse .*give x.to_dense\(\)"):
        nobuco.pytorch_to_keras(program, [torch.ones(4, 4)], verbose=False)


def test_a_model_without_numbers():
    with pytest.raises(nobuco.InputError, match="'weight' is on the device 'meta'; load its weights"):
        nobuco.pytorch_to_keras(torch.nn.Linear(4, 2, device="meta"), [torch.ones(1, 4)], verbose=False)


def test_an_example_with_some_nan_is_warned_about_and_one_that_the_model_copes_with_is_not():
    x = torch.tensor([[1.0, float("nan")]])
    with pytest.warns(nobuco.NobucoWarning, match="the example 'input_0' holds NaN in 1 of its 2 elements"):
        nobuco.pytorch_to_keras(torch.relu, [x], verbose=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", nobuco.NobucoWarning)
        nobuco.pytorch_to_keras(torch.nan_to_num, [x], verbose=False)
        nobuco.pytorch_to_keras(torch.isnan, [x], verbose=False)


def test_weights_that_are_nan_are_warned_about():
    net = torch.nn.Linear(2, 2).eval()
    net.weight.data.fill_(float("nan"))
    with pytest.warns(nobuco.NobucoWarning, match="the outputs are nothing but NaN although the example is finite"):
        nobuco.pytorch_to_keras(net, [torch.ones(1, 2)], verbose=False)


def test_lists_of_numbers_are_arrays_of_the_files_type():
    (got,) = export.run_tflite(flatbuffer(), [SAMPLES[0].tolist()])
    np.testing.assert_array_equal(got, np.maximum(SAMPLES[0], 0))
    assert model().inputs[0].dtype == got.dtype.name == "float32"
