"""TFLite's file format: giving what an exported file holds its names and its order, and reading it."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nobuco.export.names import Names

_NAME = 10  # where a tensor's table says where its name is: `name` is the fourth field of Tensor in TFLite's schema


def in_model_order(data: bytes, names: Mapping[str, Names]) -> bytes:
    """The file with each signature's inputs and outputs in the model's order, and with the names that it has for them.

    What comes from a SavedModel has them in alphabetical order, its tensors called `serving_default_x:0`,
    `PartitionedCall:1`. A tensor that several signatures have by one name bears the signature's in front
    (`decode_tokens`), as tools that quantise files tell tensors apart by their names. A few bytes change, and the new
    names stand behind all else: to unpack the file and to pack it again takes several times its memory.
    """
    from tensorflow.lite.python.schema_py_generated import Model

    model, edits = Model.GetRootAs(data, 0), dict[int, bytes]()
    called: list[tuple[int, str]] = []
    shared = Counter(name for own in names.values() for name in {*own.inputs, *own.outputs})
    for i in range(model.SignatureDefsLength()):
        signature = model.SignatureDefs(i)
        key = signature.SignatureKey().decode()
        own, graph = names[key], model.Subgraphs(signature.SubgraphIndex())
        given = [signature.Inputs(k) for k in range(signature.InputsLength())]
        made = [signature.Outputs(k) for k in range(signature.OutputsLength())]
        inputs, outputs = _indices(given, own.inputs), _indices(made, own.outputs)
        for vector, entries in ((graph.InputsAsNumpy(), inputs), (graph.OutputsAsNumpy(), outputs)):
            if entries:
                edits[_place(vector, data)] = np.array([index for index, _ in entries], np.int32).tobytes()
        tables = ((graph.Tensors(index)._tab, name) for index, name in dict([*outputs, *inputs]).items())
        called += [
            (table.Pos + table.Offset(_NAME), f"{key}_{name}" if shared[name] > 1 else name) for table, name in tables
        ]
    return _renamed(data, edits, called)


def _place(vector: np.ndarray, data: bytes) -> int:
    """Where in the file a vector lies that is a view of it."""
    return vector.ctypes.data - np.frombuffer(data, np.uint8).ctypes.data


def _indices(entries: Sequence[Any], names: Sequence[str]) -> list[tuple[int, str]]:
    """The tensors of a signature's inputs or outputs, in the order of these names."""
    indices = {entry.Name().decode(): entry.TensorIndex() for entry in entries}
    return [(indices[name], name) for name in names if name in indices]


def _renamed(data: bytes, edits: Mapping[int, bytes], called: Sequence[tuple[int, str]]) -> bytes:
    """The file with these bytes at these places, and each of these fields pointing to a new string behind all else."""
    edits, names = dict(edits), bytearray()
    for field, name in called:
        names += b"\0" * (-(len(data) + len(names)) % 4)
        edits[field] = (len(data) + len(names) - field).to_bytes(4, "little")
        text = name.encode()
        names += len(text).to_bytes(4, "little") + text + b"\0"
    rest, pieces, done = memoryview(data), list[Any](), 0
    for place, new in sorted(edits.items()):
        pieces += [rest[done:place], new]
        done = place + len(new)
    return b"".join([*pieces, rest[done:], names])


def with_buffers_apart(data: bytes) -> bytes:
    """The file with a buffer of its own for each tensor."""
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(data))
    seen: set[int] = set()
    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors):
        if tensor.buffer in seen and model.buffers[tensor.buffer].data is not None:
            model.buffers.append(copy.copy(model.buffers[tensor.buffer]))
            tensor.buffer = len(model.buffers) - 1
        seen.add(tensor.buffer)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def has_loop(data: bytes) -> bool:
    """Whether a file has a loop."""
    from tensorflow.lite.python.schema_py_generated import BuiltinOperator, Model

    model = Model.GetRootAs(data, 0)
    codes = (model.OperatorCodes(i) for i in range(model.OperatorCodesLength()))
    return any(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) == BuiltinOperator.WHILE for code in codes)


@dataclass(frozen=True)
class End:
    """An input or an output of a file: its name, and the shape and type of its arrays; None is a dynamic size."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


def ends(data: bytes) -> dict[str, tuple[list[End], list[End]]]:
    """The inputs and the outputs of each signature of a file, in the order of its graph."""
    from tensorflow.lite.python.schema_py_generated import Model

    model, by_signature = Model.GetRootAs(data, 0), {}
    for i in range(model.SignatureDefsLength()):
        signature = model.SignatureDefs(i)
        graph = model.Subgraphs(signature.SubgraphIndex())
        inputs = [signature.Inputs(k) for k in range(signature.InputsLength())]
        outputs = [signature.Outputs(k) for k in range(signature.OutputsLength())]
        by_signature[signature.SignatureKey().decode()] = (
            [_end(graph, entry) for entry in inputs], [_end(graph, entry) for entry in outputs],
        )  # fmt: skip
    return by_signature


def _end(graph: Any, entry: Any) -> End:
    from tensorflow.lite.python.schema_py_generated import TensorType

    tensor = graph.Tensors(entry.TensorIndex())
    sizes = tensor.ShapeSignatureAsNumpy() if tensor.ShapeSignatureLength() else tensor.ShapeAsNumpy()
    shape = tuple(None if size < 0 else int(size) for size in sizes) if tensor.ShapeLength() else ()
    kinds = {number: name.lower() for name, number in vars(TensorType).items() if isinstance(number, int)}
    return End(entry.Name().decode(), shape, kinds[tensor.Type()])
