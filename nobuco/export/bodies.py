"""The bodies of branches and loops in a TFLite file, where one gives a tensor more than once.

TFLite then fills one of these outputs and leaves in the others what was in their memory. TensorFlow's converter makes
such bodies of calls that come to the same (`x + 1`, `1 + x`), too, so it is seen in the file alone.
"""

from __future__ import annotations

import copy
from typing import Any


def with_outputs_apart(data: bytes) -> bytes:
    """The file with a tensor of its own for each output of a body."""
    from tensorflow.lite.python.schema_py_generated import Model
    from tensorflow.lite.tools import flatbuffer_utils

    file = Model.GetRootAs(data, 0)
    signatures = {file.SignatureDefs(i).SubgraphIndex() for i in range(file.SignatureDefsLength())}
    bodies = [i for i in range(file.SubgraphsLength()) if i not in signatures]
    if not any(_repeat(list(file.Subgraphs(i).OutputsAsNumpy())) for i in bodies if file.Subgraphs(i).OutputsLength()):
        return data
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(data))
    for graph in (model.subgraphs[i] for i in bodies):
        outputs = list(graph.outputs)
        for place, index in enumerate(outputs):
            if index in outputs[:place]:
                outputs[place] = _copied(model, graph, index)
        graph.outputs = outputs
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _repeat(indices: list[int]) -> bool:
    return len(set(indices)) < len(indices)


def _copied(model: Any, graph: Any, index: int) -> int:
    """A copy of a tensor, made by what TFLite has for any type: joining one tensor, or shaping one without axes."""
    from tensorflow.lite.python import schema_py_generated as schema

    has_axes = graph.tensors[index].shape is not None and len(graph.tensors[index].shape) > 0
    tensor, operator = copy.copy(graph.tensors[index]), schema.OperatorT()
    tensor.buffer, tensor.name = 0, tensor.name + b"_again"
    graph.tensors.append(tensor)
    operator.inputs, operator.outputs = [index], [len(graph.tensors) - 1]
    if has_axes:
        operator.opcodeIndex = _code(model, schema.BuiltinOperator.CONCATENATION)
        operator.builtinOptionsType = schema.BuiltinOptions.ConcatenationOptions
        operator.builtinOptions = schema.ConcatenationOptionsT()
    else:
        operator.opcodeIndex = _code(model, schema.BuiltinOperator.RESHAPE)
        operator.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
        operator.builtinOptions = schema.ReshapeOptionsT()
        operator.builtinOptions.newShape = [0]  # TFLite's way to say: without axes
    graph.operators.append(operator)
    return len(graph.tensors) - 1


def _code(model: Any, operation: int) -> int:
    """Where in the file's list of operations one stands, which is added if need be."""
    from tensorflow.lite.python.schema_py_generated import OperatorCodeT

    places = [i for i, code in enumerate(model.operatorCodes) if code.builtinCode == operation]
    if not places:
        code = OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = operation
        code.version = 1
        model.operatorCodes.append(code)
    return places[0] if places else len(model.operatorCodes) - 1
