"""TF.js: which operations of a SavedModel its converter would refuse."""

from __future__ import annotations

import os

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from nobuco.errors import ExportArgumentError
from nobuco.export.saved_model import SIGNATURE
from nobuco.kinds import PATH, instance, shown, takes

# Those that tensorflowjs 4.22.0 knows: the `tfOpName`s of its `op_list/*.json`. The package itself needs an older
# TensorFlow.
# fmt: off
OPERATIONS = frozenset([
    "Abs", "Acos", "Acosh", "Add", "AddN", "AddV2", "All", "Any", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan",
    "Atan2", "Atanh", "AvgPool", "AvgPool3D", "BatchMatMul", "BatchMatMulV2", "BatchToSpaceND", "BiasAdd",
    "Bincount", "BitwiseAnd", "BroadcastArgs", "BroadcastTo", "Cast", "Ceil", "ClipByValue", "Complex",
    "ComplexAbs", "Concat", "ConcatV2", "Const", "Conv1D", "Conv2D", "Conv2DBackpropInput", "Conv3D", "Cos", "Cosh",
    "CropAndResize", "Cumprod", "Cumsum", "DenseBincount", "DepthToSpace", "DepthwiseConv2d",
    "DepthwiseConv2dNative", "Dilation2D", "Div", "DivNoNan", "Einsum", "Elu", "EmptyTensorList", "EnsureShape",
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


@takes(ExportArgumentError, folder=PATH, signature=instance("the name of a signature", str))
def unsupported_in_tfjs(folder: str | os.PathLike[str], signature: str = SIGNATURE) -> tuple[str, ...]:
    """The operations of a SavedModel that TF.js does not have, in alphabetical order; none if it can be converted.

    Args:
        folder: what `to_saved_model` wrote, or another SavedModel.
        signature: of which.
    """
    if not tf.saved_model.contains_saved_model(os.fspath(folder)):
        raise ExportArgumentError(f"folder is {shown(folder)}; give the folder of a SavedModel")
    loaded = tf.saved_model.load(os.fspath(folder))
    if signature not in loaded.signatures:
        known = ", ".join(map(repr, loaded.signatures))
        raise ExportArgumentError(f"signature is {signature!r}; the SavedModel has {known}")
    # As tensorflowjs does: weights become constants and calls are inlined, and then operations are counted.
    graph = convert_variables_to_constants_v2(loaded.signatures[signature]).graph.as_graph_def()
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    return tuple(sorted({node.op for body in bodies for node in body} - OPERATIONS))
