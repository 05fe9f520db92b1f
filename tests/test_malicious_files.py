"""A `.keras` file in safe mode runs nothing, reads and writes nothing, and takes no memory that it does not hold."""

from __future__ import annotations

import contextlib
import io
import pickle
import subprocess
import sys
import warnings
import zlib

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from nobuco.errors import NobucoWarning, UnsafeFileError
from nobuco.layers import OpLayer
from nobuco.layers.packing import packed, unpacked
from tests.malicious import (
    ACTS,
    PLACES,
    Files,
    call,
    calling,
    constant,
    eagerly,
    entry,
    function,
    graph_of,
    graph_with,
    kind,
    node,
    npz,
)

# A Python function of the process that loads, by the first token that there can be.
CALLED = []
tf.numpy_function(lambda x: CALLED.append(1) or x, [1.0], tf.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("good"))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    return tmp_path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(path, message=""):
    """Load a file, which must not work, and nothing must have happened."""
    before, called = contents(path.parent), len(CALLED)
    with pytest.raises(UnsafeFileError, match=message) as caught:
        keras.models.load_model(path)
    assert contents(path.parent) == before and len(CALLED) == called
    assert "refused to load" in str(caught.value) and len(str(caught.value)) < 1000


def test_the_good_file_loads(files, tmp_path):
    model = keras.models.load_model(files.write(tmp_path / "m.keras"))
    np.testing.assert_array_equal(model.predict(np.full((2, 3), 2.0), verbose=0), np.full((2, 3), 2.0))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("act", ACTS)
def test_what_does_more_than_compute_is_refused(files, folder, act, place):
    definition, given, made = graph_of(PLACES[place](lambda: ACTS[act](folder)))
    for eager in (False, True):
        graph = entry(definition, given, made)
        path = files.write(folder / "m.keras", "last", eagerly if eager else None, **graph)
        refused(path, "holds the operation '")


@pytest.mark.parametrize("act", ["WriteFile", "PrintV2"])
def test_the_acts_are_acts(files, folder, act):
    """What is refused would have written, were it let through."""
    graph = entry(*graph_of(PLACES["nested function"](lambda: ACTS[act](folder))))
    path = files.write(folder / "m.keras", "last", **graph)
    model = keras.models.load_model(path, safe_mode=False)
    assert not (folder / "loot").exists()
    model.predict(np.ones((2, 3)), verbose=0)
    assert (folder / "loot").exists()


# Graphs that are wrong in other ways.

GRAPHS = {
    "a function that is not there": (lambda: graph_with(node("n", "PartitionedCall", "x", **call("theirs"))), "theirs"),
    "a function by its name": (lambda: graph_with(node("n", "__inference_theirs_1", "x")), "__inference_theirs_1"),
    "a circle": (lambda: graph_with(functions=[calling("a", "b"), calling("b", "a")]), "circle"),
    "itself": (lambda: graph_with(functions=[calling("a", "a")]), "circle"),
    "a tower": (
        lambda: graph_with(functions=[calling(f"f{i}", *([f"f{i + 1}"] if i < 99 else [])) for i in range(100)]),
        "too deep",
    ),
    "a billion laughs": (
        lambda: graph_with(functions=[calling(f"f{i}", *([f"f{i + 1}"] * 10 if i < 9 else [])) for i in range(10)]),
        "once they are expanded",
    ),
    "an unknown operation": (lambda: graph_with(node("n", "NotAnOperation", "x")), "NotAnOperation"),
    "a nameless operation": (lambda: graph_with(node("n", "")), "operation ''"),
    "a handle": (lambda: graph_with(constant([1], tf.resource.as_datatype_enum)), "handle"),
    "an object": (lambda: graph_with(constant([1], tf.variant.as_datatype_enum)), "variant"),
    "an input that is a handle": (
        lambda: graph_with(node("n", "Placeholder", dtype=kind(tf.resource.as_datatype_enum))),
        "handle",
    ),
    "a constant of two types": (
        lambda: graph_with(node("c", "Const", dtype=kind(3), value=constant([1]).attr["value"])),
        "one type with a value of another",
    ),
    "an unknown type": (lambda: graph_with(constant([1], 999)), "type 999"),
    "a vast constant": (lambda: graph_with(constant([10**6, 10**6])), "holds constants of more than"),
    "many large constants": (
        lambda: graph_with(*(constant([2**20], name=f"c{i}") for i in range(100))),
        "holds constants of more than",
    ),
    "a constant of a negative size": (lambda: graph_with(constant([-1])), "shape"),
    "an import that fails": (lambda: graph_with(node("n", "Relu", "nothing")), "cannot be imported"),
    "a circle of nodes": (
        lambda: graph_with(node("y", "Relu", "z"), node("z", "Relu", "y")),
        "circle",
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_that_are_refused(files, tmp_path, name):
    make, message = GRAPHS[name]
    refused(files.write(tmp_path / "m.keras", "last", **entry(make())), message)


FORMS = {
    "no text": {"definition": 5},
    "no base64": {"definition": "???"},
    "not compressed": {"definition": "aGVsbG8="},
    "cut short": {"definition": packed(graph_with())[:40]},
    "no graph": entry(b"\xff" * 40),
    "no outputs": {"outputs": None},
    "another output": {"outputs": ["nothing:0"]},
    "numbers for names": {"inputs": [1]},
    "no weights": {"weights": "all"},
    "a weight of nothing": {"weights": [{}]},
    "a vast weight": {"weights": [{"shape": [10**6, 10**6], "dtype": "float32", "trainable": True, "name": "w"}]},
    "a weight of a wrong shape": {"weights": [{"shape": ["a"], "dtype": "float32", "trainable": True, "name": "w"}]},
    "a weight of a wrong type": {"weights": [{"shape": [1], "dtype": "file", "trainable": True, "name": "w"}]},
}


@pytest.mark.parametrize("name", FORMS)
def test_forms_that_are_refused(files, tmp_path, name):
    refused(files.write(tmp_path / "m.keras", "last", **FORMS[name]))


def config(**changes):
    return lambda found: found["config"].update(changes)


LAYERS = {
    "a vast weight": ("weight", config(shape=[10**6, 10**6])),
    "a weight of no shape": ("weight", config(shape=[[2]])),
    "a weight of a negative size": ("weight", config(shape=[-1])),
    "a vast state": ("state", config(shape=[10**6, 10**6])),
    "no graph": ("last", config(graph=None, function="os.system")),
    "text for a graph": ("last", config(graph="os.system")),
    "numbers for a weight": ("weight", eagerly),
    "numbers for a state": ("state", eagerly),
    "numbers for an operation": ("last", eagerly),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_that_are_refused(files, tmp_path, name):
    layer, change = LAYERS[name]
    refused(files.write(tmp_path / "m.keras", layer, change))


def registered(name, config):
    """Another of our layers in the place of one, on numbers of its own."""

    def change(found):
        found.update(class_name=name, module="nobuco.layers", registered_name=f"nobuco>{name}", build_config=None)
        found["config"] = {"name": found["config"]["name"], **config}
        eagerly(found)

    return change


OURS = {
    "SpatialPadding": {"padding": [[10**6, 10**6]]},
    "ZeroInsertion": {"strides": [10**6]},
    "OutputLayer": {},
    "Waypoints": {},
    "Dense": {"units": 2},
    "Conv1D": {"filters": 1, "kernel_size": 1},
    "Conv2D": {"filters": 1, "kernel_size": 1},
    "Conv3D": {"filters": 1, "kernel_size": 1},
    "Conv2DTranspose": {"filters": 1, "kernel_size": 1},
}


@pytest.mark.parametrize("name", OURS)
def test_no_layer_of_ours_runs_while_it_is_loaded(files, tmp_path, name):
    refused(files.write(tmp_path / "m.keras", "last", registered(name, OURS[name])), "numbers to run on")


# What Keras itself refuses; it must do so around our layers, too.


class Bomb:
    def __reduce__(self):
        return CALLED.append, (1,)


def lambda_layer(found):
    found.update(class_name="Lambda", module="keras.layers", registered_name=None, build_config=None)
    function = {"class_name": "__lambda__", "config": {"value": "4wEAAAA=", "defaults": None, "closure": None}}
    found["config"] = {"name": found["config"]["name"], "function": function}


def foreign_class(found):
    found.update(class_name="Popen", module="subprocess", registered_name=None)


@pytest.mark.parametrize("change", [lambda_layer, foreign_class])
def test_python_code_is_refused_by_keras(files, tmp_path, change):
    before = contents(tmp_path)
    path = files.write(tmp_path / "m.keras", "last", change)
    with pytest.raises((TypeError, ValueError)):
        keras.models.load_model(path)
    assert contents(tmp_path) == {**before, "m.keras": path.read_bytes()}


def test_pickles_are_not_read_and_paths_are_not_followed(files, tmp_path):
    pickled = {"model.weights.h5": None, "model.weights.npz": npz(x=[Bomb()])}
    outside = {"../outside.txt": b"x", "assets/../../outside.txt": b"x", "/tmp/outside.txt": b"x"}
    count = len(CALLED)
    (tmp_path / "inside").mkdir()
    with pytest.raises(Exception):  # noqa: B017, PT011 (whichever error Keras has for it)
        keras.models.load_model(files.write(tmp_path / "inside/p.keras", members=pickled))
    with contextlib.suppress(AttributeError):  # Keras 3.12 fails while it says that it skips the path
        keras.models.load_model(files.write(tmp_path / "inside/m.keras", members=outside))
    assert len(CALLED) == count and not list(tmp_path.glob("*.txt"))
    assert pickle.loads(pickle.dumps(1)) == 1


def hollow(files, end):
    """Weights, one of which claims to be 1 GB; HDF5 holds no element of it."""
    stream = io.BytesIO(files.members["model.weights.h5"])
    with h5py.File(stream, "r+") as file:
        found = []
        file.visit(lambda name: found.append(name) if name.endswith(end) else None)
        del file[found[0]]
        file.create_dataset(found[0], (2**14, 2**14), "float32", chunks=(1024, 1024))
    return stream.getvalue()


@pytest.mark.parametrize(("end", "message"), [("/initial", r"not \(2, 3\)"), ("vars/0", "larger than any weight")])
def test_what_a_layer_holds_is_as_large_as_it_says(files, tmp_path, end, message):
    path = files.write(tmp_path / "m.keras", members={"model.weights.h5": hollow(files, end)})
    with pytest.raises(ValueError, match=rf"an array of \(16384, 16384\), {message}"):
        keras.models.load_model(path)


# Memory, in a process that has not used any.

_MEASURE = """
import pathlib, resource, sys
import keras, nobuco.layers
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kB on Linux
paths = sorted(pathlib.Path(sys.argv[1]).glob("*.keras"))
keras.models.load_model(sys.argv[2])
for path in paths:
    before = peak()
    try:
        keras.models.load_model(path)
        told = "loaded"
    except Exception as error:
        told = type(error).__name__
    print(path.stem, told, int(peak() - before), flush=True)
"""


def nested_text(size):
    graph = graph_with()
    graph.node[0].attr["_text"].s = b"x" * size
    return entry(graph)


def vast(run):
    """The graph of a function in which constants of three by five have 2**28 elements."""
    definition, given, made = graph_of(run)
    few, many = (np.int32(sizes).tobytes() for sizes in ([3, 5], [2**14, 2**14]))
    data = definition.SerializeToString()
    assert few in data
    return entry(tf.compat.v1.GraphDef.FromString(data.replace(few, many)), given, made)


def shaped_by(x, dims):
    """A tensor in a shape that TensorFlow computes with as many numbers as that is."""
    return tf.reshape(x, tf.stack([tf.reduce_sum(tf.raw_ops.Fill(dims=dims, value=1)) * 0 - 1, 3]))


def dims():
    return tf.identity([3, 5])


def one_after_another(count):
    """Constants of four million elements, each of which depends on the one before."""
    nodes, size = [number("size", [2**11, 2**11 - 1]), number("one", 1), number("axes", [0, 1])], "size"
    for i in range(count):
        nodes += [
            node(f"many{i}", "Fill", size, "one", T=kind(3), index_type=kind(3)),
            node(f"least{i}", "Min", f"many{i}", "axes", T=kind(3), Tidx=kind(3)),
            node(f"size{i}", "Mul", "size", f"least{i}", T=kind(3)),
        ]
        size = f"size{i}"
    return graph_with(*nodes)


def number(name, value):
    proto = tf.compat.v1.AttrValue(tensor=tf.make_tensor_proto(np.int32(value)))
    return node(name, "Const", dtype=kind(3), value=proto)


def test_a_small_file_does_not_take_much_memory(files, tmp_path):
    bombs = {
        "zeros": entry(bytes(5 * 10**8)),
        "text": nested_text(5 * 10**8),
        "nodes": entry(b"\n\0" * 10**8),
        "splat": entry(graph_with(constant([2**14, 2**14]))),
        "shape": vast(lambda x: shaped_by(x, dims())),
        "function": vast(lambda x: function(lambda x: shaped_by(x, dims()))(x)),
        "argument": vast(lambda x: function(lambda x: function(shaped_by)(x, dims()))(x)),
        "chain": entry(one_after_another(300)),
        "empty": entry(graph_with(*(node(f"n{i}", "NoOp") for i in range(100_000)))),
    }
    (tmp_path / "bombs").mkdir()
    for name, graph in bombs.items():
        path = files.write(tmp_path / "bombs" / f"{name}.keras", "last", **graph)
        assert path.stat().st_size < 2 * 10**6
    for end in ("/initial", "vars/0"):
        name = f"hollow-{end.strip('/').replace('/', '-')}"
        files.write(tmp_path / "bombs" / f"{name}.keras", members={"model.weights.h5": hollow(files, end)})
    good = files.write(tmp_path / "good.keras")
    told = subprocess.run(
        [sys.executable, "-c", _MEASURE, tmp_path / "bombs", good],
        capture_output=True,
        text=True,
        check=True,
        timeout=500,
    )
    rows = {name: (error, int(grown)) for name, error, grown in map(str.split, told.stdout.splitlines())}
    others = {"function": "loaded", "argument": "loaded", "hollow-initial": "ValueError", "hollow-vars-0": "ValueError"}
    assert {name: error for name, (error, _) in rows.items()} == dict.fromkeys(bombs, "UnsafeFileError") | others
    assert max(grown for _, grown in rows.values()) < 200, rows


# What is ours is not refused.


def test_what_compresses_well_is_stored_so_that_it_loads():
    mask = graph_of(lambda x: x + tf.constant(np.tril(np.ones((2000, 2000), np.float32))[:1, :3]))[0]
    large = graph_of(lambda x: tf.concat([x, tf.constant(np.tile(np.float32([[1, 0, 1]]), (4000, 1)))], 0))[0]
    for graph in (mask, large):
        again, size = unpacked(packed(graph))
        assert again == graph and size == graph.ByteSize()
    data = graph_with(constant([2**20], tensor_content=bytes(2**22))).SerializeToString()
    assert len(zlib.compress(data, 9)) * 100 < len(data)  # it would not load so
    assert unpacked(packed(tf.compat.v1.GraphDef.FromString(data)))[1] == len(data)


def test_a_function_with_constants_keeps_its_shapes(tmp_path):
    inputs = keras.Input((3,))
    layer = OpLayer(lambda x: function(lambda x: function(shaped_by)(x, dims()) + 1)(x))
    keras.Model(inputs, layer(inputs)).save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.output.shape == layer.output.shape == (None, 3)
    np.testing.assert_array_equal(loaded(np.ones((2, 3), np.float32)), np.full((2, 3), 2.0))


def test_saving_what_will_not_load_is_said(tmp_path):
    inputs = keras.Input((3,))
    layer = OpLayer(lambda x: tf.ensure_shape(tf.numpy_function(np.sin, [x], tf.float32), (None, 3)), name="odd")
    layer(inputs)
    with pytest.warns(NobucoWarning, match=r"'odd' holds the operation 'PyFunc'.*safe_mode=False"):
        layer.get_config()
    other = OpLayer(tf.sin)
    other(inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NobucoWarning)
        other.get_config()
