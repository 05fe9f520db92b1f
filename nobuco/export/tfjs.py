"""TF.js: which operations of a SavedModel its converter would refuse."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tensorflow.python.grappler import tf_optimizer
from tensorflow.python.training.saver import export_meta_graph

from nobuco.errors import ExportArgumentError
from nobuco.export.saved_model import SIGNATURE
from nobuco.kinds import PATH, instance, shown, takes

# Those that tensorflowjs 4.22.0 knows: the `tfOpName`s of its `op_list/*.json`, but for EnsureShape, which it looks for
# the shape of in the wrong place. The package itself needs an older TensorFlow.
# fmt: off
OPERATIONS = frozenset([
    "Abs", "Acos", "Acosh", "Add", "AddN", "AddV2", "All", "Any", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan",
    "Atan2", "Atanh", "AvgPool", "AvgPool3D", "BatchMatMul", "BatchMatMulV2", "BatchToSpaceND", "BiasAdd",
    "Bincount", "BitwiseAnd", "BroadcastArgs", "BroadcastTo", "Cast", "Ceil", "ClipByValue", "Complex",
    "ComplexAbs", "Concat", "ConcatV2", "Const", "Conv1D", "Conv2D", "Conv2DBackpropInput", "Conv3D", "Cos", "Cosh",
    "CropAndResize", "Cumprod", "Cumsum", "DenseBincount", "DepthToSpace", "DepthwiseConv2d",
    "DepthwiseConv2dNative", "Dilation2D", "Div", "DivNoNan", "Einsum", "Elu", "EmptyTensorList",
    "Enter", "Equal", "Erf", "EuclideanNorm", "Exit", "Exp", "ExpandDims", "Expm1", "FFT",
    "FakeQuantWithMinMaxVars", "Fill", "Floor", "FloorDiv", "FloorMod", "FusedBatchNorm", "FusedBatchNormV2",
    "FusedBatchNormV3", "FusedDepthwiseConv2dNative", "Gather", "GatherNd", "GatherV2", "Greater", "GreaterEqual",
    "HashTable", "HashTableV2", "IFFT", "IRFFT", "Identity", "IdentityN", "If", "Imag",
    "ImageProjectiveTransformV3", "InitializeTable", "InitializeTableV2", "IsFinite", "IsInf", "IsNan", "LRN",
    "LeakyRelu", "Less", "LessEqual", "LinSpace", "ListDiff", "Log", "Log1p", "LogSoftmax", "LogicalAnd",
    "LogicalNot", "LogicalOr", "LookupTableFind", "LookupTableFindV2", "LookupTableImport", "LookupTableImportV2",
    "LookupTableSize", "LookupTableSizeV2", "LoopCond", "LowerBound", "MatMul", "MatrixBandPart", "Max", "MaxPool",
    "MaxPool3D", "MaxPoolWithArgmax", "Maximum", "Mean", "Merge", "Min", "Minimum", "MirrorPad", "Mod", "Mul",
    "Multinomial", "Neg", "NextIteration", "NoOp", "NonMaxSuppressionV2", "NonMaxSuppressionV3",
    "NonMaxSuppressionV4", "NonMaxSuppressionV5", "NotEqual", "OneHot", "Ones", "OnesLike", "Pack", "Pad", "PadV2",
    "Placeholder", "PlaceholderWithDefault", "Pow", "Prelu", "Print", "Prod", "RFFT", "RaggedGather", "RaggedRange",
    "RaggedTensorToTensor", "RandomStandardNormal", "RandomUniform", "RandomUniformInt", "Range", "Rank", "Real",
    "RealDiv", "Reciprocal", "Relu", "Relu6", "Reshape", "ResizeBilinear", "ResizeNearestNeighbor", "Reverse",
    "ReverseV2", "Round", "Rsqrt", "ScatterNd", "Select", "SelectV2", "Selu", "Shape", "ShapeN", "Sigmoid", "Sign",
    "Sin", "Sinh", "Size", "Slice", "Snapshot", "Softmax", "Softplus", "SpaceToBatchND", "SparseFillEmptyRows",
    "SparseReshape", "SparseSegmentMean", "SparseSegmentSum", "SparseToDense", "Split", "SplitV", "Sqrt", "Square",
    "SquaredDifference", "Squeeze", "StatelessIf", "StatelessWhile", "StaticRegexReplace", "StopGradient",
    "StridedSlice", "StringNGrams", "StringSplit", "StringToHashBucketFast", "Sub", "Sum", "Switch", "Tan", "Tanh",
    "TensorArrayCloseV3", "TensorArrayConcatV3", "TensorArrayGatherV3", "TensorArrayReadV3", "TensorArrayScatterV3",
    "TensorArraySizeV3", "TensorArraySplitV3", "TensorArrayV3", "TensorArrayWriteV3", "TensorListConcat",
    "TensorListConcatV2", "TensorListFromTensor", "TensorListGather", "TensorListGetItem", "TensorListLength",
    "TensorListPopBack", "TensorListPushBack", "TensorListReserve", "TensorListResize", "TensorListScatter",
    "TensorListScatterV2", "TensorListSetItem", "TensorListSplit", "TensorListStack", "TensorScatterUpdate", "Tile",
    "TopKV2", "Transpose", "TruncatedNormal", "Unique", "UniqueV2", "Unpack", "UpperBound", "Where", "While",
    "Zeros", "ZerosLike", "_FusedConv2D", "_FusedMatMul",
])
# fmt: on
# What may be fused into `_FusedConv2D` and `_FusedMatMul`; the second pass of the converter fuses.
_FUSED = frozenset(["BiasAdd", "Elu", "LeakyRelu", "Prelu", "Relu", "Relu6", "Sigmoid"])
_FIRST = ("pruning", "constfold", "arithmetic", "dependency") * 2
_SECOND = ("remap", "constfold", "arithmetic", "dependency")


@takes(ExportArgumentError, folder=PATH, signature=instance("the name of a signature", str))
def unsupported_in_tfjs(folder: str | os.PathLike[str], signature: str = SIGNATURE) -> tuple[str, ...]:
    """The operations of a SavedModel that TF.js does not have, in alphabetical order; none if it can be converted.

    Among them is what its converter itself makes of others: with oneDNN, TensorFlow fuses a matrix product with the
    exact GELU that follows it into `GeluExact`, and a convolution with `x * relu6(x + 3) / 6` into `_FusedHardSwish`.
    `TF_ENABLE_ONEDNN_OPTS=0` in the environment of `tensorflowjs_converter` prevents that; where this process has it,
    too, neither is reported.

    Args:
        folder: what `to_saved_model` wrote, or another SavedModel.
        signature: the one to read.
    """
    if not os.path.isdir(folder) or not tf.saved_model.contains_saved_model(os.fspath(folder)):
        raise ExportArgumentError(f"folder is {shown(folder)}; give the folder of a SavedModel")
    loaded = tf.saved_model.load(os.fspath(folder))
    if signature not in loaded.signatures:
        known = ", ".join(map(repr, loaded.signatures))
        raise ExportArgumentError(f"signature is {signature!r}; the SavedModel has {known}")
    # As tensorflowjs does: weights become constants and calls are inlined, and then operations are counted.
    function = convert_variables_to_constants_v2(loaded.signatures[signature])
    graph = function.graph.as_graph_def()
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    lacking = {node.op for body in bodies for node in body} - OPERATIONS
    return tuple(sorted(lacking | (_fused(function) - _FUSED)))


def _fused(function: Any) -> set[str]:
    """What TensorFlow fuses into convolutions and matrix products, as `tensorflowjs_converter` has it do."""
    outputs = [tensor.name for tensor in function.outputs]
    definition = _optimised(function.graph.as_graph_def(), outputs, _FIRST)
    for node in definition.node:
        if node.op in ("Conv2D", "MatMul"):
            node.device = "/device:CPU:0"  # elsewhere nothing is fused
    nodes = _optimised(definition, outputs, _SECOND).node
    return {name.decode() for node in nodes if "fused_ops" in node.attr for name in node.attr["fused_ops"].list.s}


def _optimised(definition: Any, outputs: Sequence[str], passes: Sequence[str]) -> Any:
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(definition, name="")
    meta = export_meta_graph(graph_def=definition, graph=graph)
    meta.collection_def["train_op"].node_list.value.extend(outputs)
    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.optimizers[:] = passes
    return tf_optimizer.OptimizeGraph(config, meta)
