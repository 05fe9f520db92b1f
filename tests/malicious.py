"""Malicious `.keras` files: what TensorFlow, run on what a file holds, would do to a machine."""

from __future__ import annotations

import base64
import copy
import io
import json
import zipfile
import zlib
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from nobuco.layers import OpLayer, StateLayer, WeightLayer

raw = tf.raw_ops


# What operations can do. Each is given a folder with `secret.txt` in it, and returns an operation or a tensor.


def table(folder):
    handle = raw.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64, container="", shared_name="t")
    return raw.InitializeTableFromTextFileV2(
        table_handle=handle, filename=f"{folder}/secret.txt", key_index=-2, value_index=-1
    )


def dataset(folder):
    lines = raw.TextLineDataset(filenames=[f"{folder}/secret.txt"], compression_type="", buffer_size=0)
    return raw.DatasetToTFRecord(input_dataset=lines, filename=f"{folder}/loot", compression_type="")


def reader(folder):
    queue = raw.FIFOQueueV2(component_types=[tf.string], shapes=[[]])
    with tf.control_dependencies([raw.QueueEnqueueV2(handle=queue, components=[f"{folder}/secret.txt"])]):
        return raw.ReaderReadV2(reader_handle=raw.WholeFileReaderV2(), queue_handle=queue)[1]


def summary(folder):
    writer = raw.SummaryWriter()
    make = raw.CreateSummaryFileWriter(
        writer=writer, logdir=f"{folder}/loot", max_queue=1, flush_millis=1, filename_suffix="x"
    )
    with tf.control_dependencies([make]):
        return raw.FlushSummaryWriter(writer=writer)


def variable(folder):
    handle = raw.VarHandleOp(dtype=tf.float32, shape=[], shared_name="theirs")
    return raw.AssignVariableOp(resource=handle, value=1.0)


ACTS = {
    "WriteFile": lambda folder: raw.WriteFile(filename=f"{folder}/loot", contents="x"),
    "ReadFile": lambda folder: raw.ReadFile(filename=f"{folder}/secret.txt"),
    "MatchingFiles": lambda folder: raw.MatchingFiles(pattern=f"{folder}/*"),
    "PrintV2": lambda folder: raw.PrintV2(input="x", output_stream=f"file://{folder}/loot"),
    "Print": lambda folder: raw.Print(input=1.0, data=[1.0]),
    "SaveV2": lambda folder: raw.SaveV2(
        prefix=f"{folder}/loot", tensor_names=["x"], shape_and_slices=[""], tensors=[1.0]
    ),
    "Save": lambda folder: raw.Save(filename=f"{folder}/loot", tensor_names=["x"], data=[1.0]),
    "RestoreV2": lambda folder: raw.RestoreV2(
        prefix=f"{folder}/x", tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32]
    ),
    "PyFunc": lambda folder: raw.PyFunc(input=[1.0], token="pyfunc_0", Tout=[tf.float32]),
    "PyFuncStateless": lambda folder: raw.PyFuncStateless(input=[1.0], token="pyfunc_0", Tout=[tf.float32]),
    "EagerPyFunc": lambda folder: raw.EagerPyFunc(input=[1.0], token="pyfunc_0", Tout=[tf.float32]),
    "DebugIdentity": lambda folder: raw.DebugIdentity(
        input=1.0, tensor_name="x:0", debug_urls=[f"file://{folder}/loot"]
    ),
    "ImmutableConst": lambda folder: raw.ImmutableConst(
        dtype=tf.float32, shape=[1], memory_region_name=f"{folder}/secret.txt"
    ),
    "InitializeTableFromTextFileV2": table,
    "DatasetToTFRecord": dataset,
    "WholeFileReaderV2": reader,
    "CreateSummaryFileWriter": summary,
    "AssignVariableOp": variable,
    "Abort": lambda folder: raw.Abort(error_msg="", exit_without_error=True),
    "InplaceAdd": lambda folder: raw.InplaceAdd(x=[1.0], i=[0], v=[1.0]),
    "Timestamp": lambda folder: raw.Timestamp(),
}


# Where an operation can stand. Each makes a function of one tensor from an act.


def acting(act):
    def run(x):
        with tf.control_dependencies([act()]):
            return tf.identity(x)

    return run


def function(run):
    return tf.function(run, autograph=False)


PLACES = {
    "top": lambda act: acting(act),
    "function": lambda act: function(acting(act)),
    "nested function": lambda act: function(function(function(acting(act)))),
    "branch": lambda act: lambda x: tf.cond(tf.size(x) > 100, lambda: x, lambda: acting(act)(x)),
    "loop": lambda act: lambda x: tf.while_loop(lambda i, x: i < 1, lambda i, x: (i + 1, acting(act)(x)), (0, x))[1],
    "case": lambda act: lambda x: tf.switch_case(tf.size(x) % 2, [lambda: x, lambda: acting(act)(x)]),
}


def graph_of(run, shape=(None, 3)):
    """A GraphDef of a function, and the names of its input and output."""
    traced = tf.function(run, autograph=False).get_concrete_function(tf.TensorSpec(shape, tf.float32))
    return traced.graph.as_graph_def(), traced.inputs[0].name, traced.outputs[0].name


def entry(definition, given="x:0", made="y:0", weights=()):
    """A layer's graph as `OpLayer` takes it; a definition may be bytes that are no graph."""
    data = definition if isinstance(definition, bytes) else definition.SerializeToString()
    text = base64.b64encode(zlib.compress(data, 9)).decode()
    return {"definition": text, "inputs": [given], "outputs": [made], "single": True, "weights": list(weights)}


class Files:
    """Makes files out of a good one, by changes to the config of one of its layers, or to the file itself."""

    def __init__(self, folder: Path) -> None:
        inputs = keras.Input((3,), name="x")
        weight = WeightLayer.create(np.ones(3, np.float32), name="weight")(inputs)
        state = StateLayer.create(np.ones((2, 3), np.float32), name="state")
        kept = state(inputs)
        x = OpLayer(lambda a, b: a * b, name="op")(inputs, weight)
        x = state(x, x + kept, kept)
        keras.Model(inputs, OpLayer(tf.nn.relu, name="last")(x)).save(folder / "good.keras")
        with zipfile.ZipFile(folder / "good.keras") as good:
            self.members = {name: good.read(name) for name in good.namelist()}
        self.config = json.loads(self.members["config.json"])

    def write(self, path, layer=None, change=None, members=(), **graph):
        """Write a file whose layer of this name has what `change(whole entry)` makes of it, or another graph."""
        config = copy.deepcopy(self.config)
        for found in config["config"]["layers"]:
            if found["config"]["name"] == layer:
                if graph:
                    found["config"]["graph"].update(graph)
                if change:
                    change(found)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in {**self.members, "config.json": json.dumps(config).encode(), **dict(members)}.items():
                if data is not None:
                    file.writestr(name, data)
        return path


def tensor(values):
    return {"class_name": "__tensor__", "config": {"value": values, "dtype": "float32"}}


def eagerly(found):
    """Give a layer numbers in place of the model's tensors."""
    found["inbound_nodes"] = [{"args": [tensor([[1.0, 2.0, 3.0]])], "kwargs": {}}, *found["inbound_nodes"]]


def node(name, op, *inputs, **attributes):
    made = tf.compat.v1.NodeDef(name=name, op=op, input=inputs)
    for key, value in attributes.items():
        made.attr[key].CopyFrom(value)
    return made


def kind(number):
    return tf.compat.v1.AttrValue(type=number)


def graph_with(*nodes, functions=()):
    """A graph `x` to `y` with further nodes in it."""
    graph = tf.compat.v1.GraphDef()
    graph.versions.producer = 1882
    shape = tf.compat.v1.AttrValue(shape=tf.TensorShape((None, 3)).as_proto())
    graph.node.append(node("x", "Placeholder", dtype=kind(1), shape=shape))
    graph.node.extend(nodes)
    if not any(each.name == "y" for each in nodes):
        graph.node.append(node("y", "Identity", "x", T=kind(1)))
    for definition in functions:
        graph.library.function.append(definition)
    return graph


def constant(shape, number=1, name="c", **fields):
    proto = tf.make_tensor_proto(0.0)
    proto.dtype = number
    proto.ClearField("tensor_shape")
    for size in shape:
        proto.tensor_shape.dim.add().size = size
    for key, value in fields.items():
        setattr(proto, key, value)
    return node(name, "Const", dtype=kind(number), value=tf.compat.v1.AttrValue(tensor=proto))


def calling(name, *called):
    """A function that calls others."""
    body = [node(f"n{i}", "PartitionedCall", "x", **call(other)) for i, other in enumerate(called)]
    proto = tf.function(lambda x: x + 1).get_concrete_function(tf.TensorSpec((), tf.float32)).function_def
    definition = type(proto)()
    definition.CopyFrom(proto)
    definition.signature.name = name
    definition.node_def.extend(body)
    return definition


def call(name):
    value = tf.compat.v1.AttrValue()
    value.func.name = name
    kinds = tf.compat.v1.AttrValue()
    kinds.list.type.append(1)
    return {"f": value, "Tin": kinds, "Tout": kinds}


def npz(**arrays):
    """A weights file of the other form, with pickled objects."""
    stream = io.BytesIO()
    np.savez(stream, **{name: np.array(value, object) for name, value in arrays.items()})
    return stream.getvalue()
