"""The ranges that tensors have on samples, and numbers far beyond all others, which integers do not hold beside them.

Such numbers stand around a maximum, and as masks in front of a softmax. The range that they take would leave nothing of
all other numbers. As an integer a tensor has none beyond its own range, so a bound of it does the same.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_LOWEST = -1e30
Feeds = Callable[[], Iterator[tuple[str, dict[str, np.ndarray]]]]  # samples, by signature


def with_ranges(data: bytes, feeds: Feeds) -> bytes:
    """A float32 file with the ranges that its tensors have on samples.

    Meanwhile all of them are outputs. Else one that an operation overwrites with its result, as a sum does, gets the
    range of that as well, and all residual connections lose digits.
    """
    from tensorflow.lite.python.optimize.calibrator import Calibrator, add_intermediate_tensors

    model = _unpacked(data)
    outputs = {s.subgraphIndex: list(model.subgraphs[s.subgraphIndex].outputs) for s in model.signatureDefs}
    for place, own in outputs.items():
        graph = model.subgraphs[place]
        computed = dict.fromkeys(int(index) for operator in graph.operators for index in operator.outputs)
        graph.outputs = [*own, *(index for index in computed if index not in own)]
    calibrated = _unpacked(Calibrator(add_intermediate_tensors(_packed(model))).calibrate(feeds))
    for place, own in outputs.items():
        calibrated.subgraphs[place].outputs = own
    return _packed(calibrated)


@dataclass(frozen=True)
class Bounds:
    """How low what a file computes may go.

    lowest: that of any mask; `inputs` are those, by signature, that are masks.
    tensors: that of tensors, by subgraph and place.
    """

    lowest: float = -math.inf
    inputs: Mapping[str, frozenset[str]] = field(default_factory=dict)
    tensors: Mapping[tuple[int, int], float] = field(default_factory=dict)

    def sample(self, signature: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A sample whose masks are bounded."""
        masks = self.inputs.get(signature, frozenset())
        return {n: np.maximum(a, np.float32(self.lowest)) if n in masks else a for n, a in arrays.items()}

    def applied(self, data: bytes) -> bytes:
        """A calibrated file whose ranges begin there."""
        if not self.tensors:
            return data
        model = _unpacked(data)
        for (place, index), lowest in self.tensors.items():
            ranges = model.subgraphs[place].tensors[index].quantization
            if ranges is not None and ranges.min is not None:
                ranges.min = [max(ranges.min[0], lowest)]
        return _packed(model)


def bounded(data: bytes, feeds: Feeds, bits: int) -> tuple[bytes, Bounds]:
    """A float32 file without numbers far below all others where they have no effect, and what goes with it.

    Args:
        data: the file.
        feeds: samples, which it is run on if need be.
        bits: those of activations to come.
    """
    model = _unpacked(data)
    paddings, softmaxes = list(_lowest_paddings(model)), list(_masked_softmaxes(model))
    if not paddings and not softmaxes:
        return data, Bounds()
    measured, peaks = _with_peaks(data, softmaxes)
    seen = _unpacked(with_ranges(measured, feeds))
    for place, operator in paddings:
        _bound_padding(model, place, operator, _range(seen, place, operator.inputs[0])[0])
    bounds = _bound_masks(model, softmaxes, peaks, seen, bits)
    _drop_unused_codes(model)
    return _packed(model), bounds


# -- paddings in front of a maximum --------------------------------------------------------------------------


def _lowest_paddings(model: Any) -> Iterator[tuple[int, Any]]:
    """The operations that pad with minus infinity, or the like, and in which subgraph they stand."""
    for place, operator in _operators(model, "PADV2"):
        number = _constant(model, place, operator.inputs[2])
        if number is not None and number[0] < _LOWEST:
            yield place, operator


def _bound_padding(model: Any, place: int, operator: Any, least: float) -> None:
    if least >= 0:  # then zeros do, for which TFLite has an operation in any format
        operator.inputs, operator.opcodeIndex = operator.inputs[:2], _code(model, "PAD", version=2)
    else:
        (before,) = _constant(model, place, operator.inputs[2])  # type: ignore[misc]
        number = np.float32(least if before < _LOWEST else min(before, least))
        model.buffers[model.subgraphs[place].tensors[operator.inputs[2]].buffer].data = np.array([number]).tobytes()


# -- masks in front of a softmax -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Softmax:
    """A softmax of sums and choices.

    place: the subgraph that it stands in.
    argument: the tensor that it is of.
    sums: that, and what it is made of by sums, choices and movements.
    leaves: what those are of, each as an input of an operation.
    """

    place: int
    argument: int
    sums: tuple[int, ...]
    leaves: tuple[tuple[Any, int], ...]


_MOVEMENTS = ("RESHAPE", "TRANSPOSE", "EXPAND_DIMS", "SQUEEZE", "BROADCAST_TO", "SLICE", "STRIDED_SLICE", "GATHER")
_SUMMANDS: Mapping[str, tuple[int, ...]] = {
    "ADD": (0, 1),
    "SELECT": (1, 2),
    "SELECT_V2": (1, 2),
    **dict.fromkeys(_MOVEMENTS, (0,)),
}


def _masked_softmaxes(model: Any) -> Iterator[_Softmax]:
    for place, operator in _operators(model, "SOFTMAX"):
        makers = {index: one for one in model.subgraphs[place].operators for index in one.outputs}
        sums, leaves = [], []
        waiting = [(operator, 0)]
        while waiting:
            reader, side = waiting.pop()
            index = reader.inputs[side]
            maker = makers.get(index)
            sides = _SUMMANDS.get(_kind(model, maker)) if maker is not None else None
            if sides is None:
                leaves.append(_number_within(model, place, maker) or (reader, side))
            else:
                sums.append(index)
                waiting += [(maker, side) for side in sides]
        if len(leaves) > 1:
            yield _Softmax(place, operator.inputs[0], tuple(sums), tuple(leaves))


def _number_within(model: Any, place: int, maker: Any) -> tuple[Any, int] | None:
    """The constant of a product, if that makes a mask of zeros and ones."""
    if maker is None or _kind(model, maker) != "MUL":
        return None
    for side in (0, 1):
        number = _constant(model, place, maker.inputs[side])
        if number is not None and number.size == 1 and number.item() < _FAR:
            return maker, side
    return None


# A number below it is a mask, whatever the scores are.
_FAR = -1e3


def _with_peaks(data: bytes, softmaxes: Sequence[_Softmax]) -> tuple[bytes, list[int]]:
    """The file with the largest element of each row that a softmax is taken of, in further tensors."""
    from tensorflow.lite.python import schema_py_generated as schema

    model, peaks = _unpacked(data), list[int]()
    for softmax in softmaxes:
        graph = model.subgraphs[softmax.place]
        axis, peak, operator = schema.TensorT(), copy.copy(graph.tensors[softmax.argument]), schema.OperatorT()
        axis.name, axis.type, axis.shape = b"last", schema.TensorType.INT32, [1]
        axis.buffer = _new_buffer(model, np.array([-1], np.int32))
        peak.name, peak.buffer = b"peak_" + peak.name, 0
        peak.shape = peak.shape[:-1]
        peak.shapeSignature = None if peak.shapeSignature is None else peak.shapeSignature[:-1]
        graph.tensors += [axis, peak]
        peaks.append(len(graph.tensors) - 1)
        operator.inputs, operator.outputs = [softmax.argument, peaks[-1] - 1], [peaks[-1]]
        operator.opcodeIndex = _code(model, "REDUCE_MAX", version=1)
        operator.builtinOptionsType = schema.BuiltinOptions.ReducerOptions
        operator.builtinOptions = schema.ReducerOptionsT()
        graph.operators.append(operator)
    return _packed(model), peaks


def _bound_masks(model: Any, softmaxes: Sequence[_Softmax], peaks: Sequence[int], seen: Any, bits: int) -> Bounds:
    """Bound all masks, and tell below what the argument of each softmax makes no difference."""
    floors, depth = list[tuple[_Softmax, float]](), 0.0
    for softmax, peak in zip(softmaxes, peaks, strict=True):
        ranges = [_range_of(seen, softmax.place, operator.inputs[side]) for operator, side in softmax.leaves]
        scores = [low for low, _ in ranges if low > _FAR]
        columns = _columns(seen.subgraphs[softmax.place].tensors[softmax.argument])
        # Beside the largest of its row, a smaller one by this much is nothing in so many bits.
        gap = (bits - 2) * math.log(2) + math.log(columns) + 2
        # Of a row that is masked as a whole, the largest is a mask, too.
        floor = max(_range_of(seen, softmax.place, peak)[0], min(scores, default=_FAR)) - gap
        own = max(high for _, high in ranges) - floor
        if any(low < -own for low, _ in ranges):
            floors.append((softmax, floor))
            depth = max(depth, own)
    masks = _Masks(model, -depth)
    tensors = dict[tuple[int, int], float]()
    for softmax, floor in floors:
        tensors.update({(softmax.place, index): floor for index in softmax.sums})
        for operator, side in softmax.leaves:
            masks.bound(softmax.place, operator, side)
    return Bounds(-depth, {key: frozenset(names) for key, names in masks.inputs.items()}, tensors)


def _columns(tensor: Any) -> int:
    """How many elements a row has; of a dynamic size, more than most have."""
    is_dynamic = tensor.shapeSignature is not None and tensor.shapeSignature[-1] < 0
    return 4096 if is_dynamic else int(tensor.shape[-1])


def _range_of(seen: Any, place: int, index: int) -> tuple[float, float]:
    """The least and the largest number of a constant, or of what a tensor has had."""
    number = _constant(seen, place, index)
    return _range(seen, place, index) if number is None else (number.min().item(), number.max().item())


@dataclass
class _Masks:
    """Bounds masks: a constant in a copy, since others may read it; an input in what is given for it."""

    model: Any
    lowest: float
    copies: dict[tuple[int, int], int] = field(default_factory=dict)
    inputs: dict[str, set[str]] = field(default_factory=dict)

    def bound(self, place: int, operator: Any, side: int) -> None:
        """Have what an operation reads be no lower."""
        index, tensors = operator.inputs[side], self.model.subgraphs[place].tensors
        number = _constant(self.model, place, index)
        if number is not None and number.min() < self.lowest:
            if (place, index) not in self.copies:
                tensors.append(copy.copy(tensors[index]))
                tensors[-1].buffer = _new_buffer(self.model, np.maximum(number, np.float32(self.lowest)))
                self.copies[place, index] = len(tensors) - 1
            operator.inputs[side] = self.copies[place, index]
        for signature in self.model.signatureDefs or ():
            names = {entry.name.decode() for entry in signature.inputs if entry.tensorIndex == index}
            if signature.subgraphIndex == place and names:
                self.inputs.setdefault(signature.signatureKey.decode(), set()).update(names)


# -- the file -------------------------------------------------------------------------------------------------


def _unpacked(data: bytes) -> Any:
    from tensorflow.lite.tools import flatbuffer_utils

    return flatbuffer_utils.convert_bytearray_to_object(bytearray(data))


def _packed(model: Any) -> bytes:
    from tensorflow.lite.tools import flatbuffer_utils

    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _operators(model: Any, kind: str) -> Iterator[tuple[int, Any]]:
    """All operations of a kind, and in which subgraph they stand."""
    for place, graph in enumerate(model.subgraphs):
        yield from ((place, operator) for operator in graph.operators if _kind(model, operator) == kind)


def _kind(model: Any, operator: Any) -> str:
    return _kinds()[model.operatorCodes[operator.opcodeIndex].builtinCode]


@functools.cache
def _kinds() -> dict[int, str]:
    from tensorflow.lite.python.schema_py_generated import BuiltinOperator

    return {number: name for name, number in vars(BuiltinOperator).items() if isinstance(number, int)}


def _constant(model: Any, place: int, index: int) -> np.ndarray | None:
    """The numbers of a constant tensor of float32."""
    from tensorflow.lite.python.schema_py_generated import TensorType

    tensor = model.subgraphs[place].tensors[index]
    held = model.buffers[tensor.buffer].data
    if held is None or tensor.type != TensorType.FLOAT32:
        return None
    return np.frombuffer(bytes(held), np.float32)


def _range(calibrated: Any, place: int, index: int) -> tuple[float, float]:
    """What a tensor has had; a weight and a place have none."""
    ranges = calibrated.subgraphs[place].tensors[index].quantization
    if ranges is None or ranges.min is None or len(ranges.min) == 0:
        return 0.0, 0.0
    return float(ranges.min[0]), float(ranges.max[0])


def _new_buffer(model: Any, numbers: np.ndarray) -> int:
    from tensorflow.lite.python.schema_py_generated import BufferT

    buffer = BufferT()
    buffer.data = np.frombuffer(numbers.tobytes(), np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def _code(model: Any, kind: str, version: int) -> int:
    """Where in the file's list of operations one stands, which is added if need be."""
    from tensorflow.lite.python.schema_py_generated import OperatorCodeT

    known = [_kinds()[code.builtinCode] for code in model.operatorCodes]
    if kind in known:
        return known.index(kind)
    code = OperatorCodeT()
    code.builtinCode = next(number for number, name in _kinds().items() if name == kind)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = version
    model.operatorCodes.append(code)
    return len(known)


def _drop_unused_codes(model: Any) -> None:
    """Leave out kinds of operations that do not occur: the calibrator refuses them."""
    operators = [operator for graph in model.subgraphs for operator in graph.operators]
    used = sorted({operator.opcodeIndex for operator in operators})
    model.operatorCodes = [model.operatorCodes[index] for index in used]
    for operator in operators:
        operator.opcodeIndex = used.index(operator.opcodeIndex)
