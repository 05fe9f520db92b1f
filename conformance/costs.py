"""What TFLite's operations cost: those of a file, each alone; and forms of one movement beside each other.

python -m conformance.costs net.tflite ...     # a file's operations, those that take most time first
python -m conformance.costs --write            # COSTS.md

Every form is a file of its own, run by XNNPACK on one thread, all in turns in one process. A form's cost is the least
of its times, as a multiple of what a product with a scalar takes on a tensor of that size: a pass over memory.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from conformance.cost_forms import SHAPE, movements
from pytest_nobuco.latency.delegated import covered
from pytest_nobuco.latency.runtimes import processor

PAGE = Path(__file__).parent / "COSTS.md"
ROUNDS = 15
_MOST_ROWS = 25


def main() -> None:
    """Print a profile of files, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--write", action="store_true", help=f"measure the movements and write {PAGE.name}")
    options = parser.parse_args()
    for file in options.files:
        print("\n".join(profile(file.read_bytes())), flush=True)
    if options.write:
        PAGE.write_text("\n".join(page()) + "\n")


# -- a file, operation by operation ------------------------------------------------------------------------


def profile(data: bytes) -> Iterator[str]:
    """A table of a file's operations, equal ones together: how often, what one takes, and what all of them do.

    XNNPACK joins some with their neighbours (PAD with a convolution, a RELU with what is ahead of it), so the sum is
    more than the file takes.
    """
    alone = dict(_operations_alone(data))
    counts = Counter(key for key, _ in _operations_alone(data))
    times = {key: _time_alone(file) for key, file in alone.items()}
    total = sum(times[key] * n for key, n in counts.items())
    yield "| operation | shapes | times | ms each | ms | share | XNNPACK |"
    yield "|---|---|---:|---:|---:|---:|---|"
    dearest = sorted(counts, key=lambda key: times[key] * counts[key], reverse=True)
    for key in dearest[:_MOST_ROWS]:
        name, given, made = key
        each, n = times[key] * 1e3, counts[key]
        share = times[key] * n / total
        taken = "yes" if each and is_delegated(alone[key]) else "no"
        yield f"| {name} | {given} → {made} | {n} | {each:.3f} | {each * n:.2f} | {share:.1%} | {taken} |"


def _operations_alone(data: bytes) -> Iterator[tuple[tuple[str, str, str], bytes]]:
    """Of each operation of the main graph its name and shapes, and a file with nothing else in it."""
    from tensorflow.lite.python.schema_py_generated import BuiltinOperator
    from tensorflow.lite.tools import flatbuffer_utils

    names = {value: name for name, value in vars(BuiltinOperator).items() if isinstance(value, int)}
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(data))
    graph = model.subgraphs[0]
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        shapes = [" ".join(_shape(graph, i) for i in ends) for ends in (operator.inputs, operator.outputs)]
        yield (name, shapes[0], shapes[1]), _alone(model, graph, operator)


def _shape(graph: Any, index: int) -> str:
    shape = graph.tensors[index].shape if index >= 0 else None
    return "×".join(map(str, shape)) if shape is not None and len(shape) else "–"


def _alone(model: Any, graph: Any, operator: Any) -> bytes:
    """A file of one operation; what the whole file holds as constants stays constant."""
    from tensorflow.lite.tools import flatbuffer_utils

    file, alone, own = copy.copy(model), copy.copy(graph), copy.copy(operator)
    kept = sorted({i for i in (*operator.inputs, *operator.outputs) if i >= 0})
    place = {old: new for new, old in enumerate(kept)} | {-1: -1}
    alone.tensors = [copy.copy(graph.tensors[i]) for i in kept]
    file.buffers = [model.buffers[0]]
    for tensor in alone.tensors:
        buffer = model.buffers[tensor.buffer]
        constant = buffer.data is not None and len(buffer.data) > 0
        file.buffers += [buffer] * constant
        tensor.buffer = len(file.buffers) - 1 if constant else 0
    own.inputs, own.outputs = ([place[i] for i in ends] for ends in (operator.inputs, operator.outputs))
    alone.inputs = [i for i in dict.fromkeys(own.inputs) if i >= 0 and not alone.tensors[i].buffer]
    alone.outputs, alone.operators = own.outputs, [own]
    file.subgraphs, file.signatureDefs, file.metadata = [alone], [], []
    return bytes(flatbuffer_utils.convert_object_to_bytearray(file))


# -- running -----------------------------------------------------------------------------------------------


def least_times(files: Mapping[str, bytes]) -> dict[str, float]:
    """The least time of each file in seconds, all in turns."""
    interpreters = {name: _ready(data) for name, data in files.items()}
    times: dict[str, list[float]] = {name: [] for name in files}
    for _ in range(ROUNDS):
        for name, interpreter in interpreters.items():
            start = time.perf_counter()
            interpreter.invoke()
            times[name].append(time.perf_counter() - start)
    return {name: min(measured) for name, measured in times.items()}


def _time_alone(data: bytes) -> float:
    """The least time of a file; 0 of an operation that does not run on any numbers."""
    try:
        return least_times({"": data})[""]
    except RuntimeError:
        return 0.0


def is_delegated(data: bytes) -> bool:
    """Whether XNNPACK takes every operation of a file."""
    nodes = _ready(data)._get_ops_details()
    return len(covered(nodes)) == sum(node["op_name"] != "DELEGATE" for node in nodes)


def _ready(data: bytes) -> Any:
    """An interpreter with random inputs that has run once."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter, random = Interpreter(model_content=data, num_threads=1), np.random.default_rng(0)
    interpreter.allocate_tensors()
    for entry in interpreter.get_input_details():
        is_float = np.issubdtype(entry["dtype"], np.floating)  # 0 is a place in any tensor
        value = random.standard_normal(entry["shape"]) if is_float else np.zeros(entry["shape"])
        interpreter.set_tensor(entry["index"], value.astype(entry["dtype"]))
    interpreter.invoke()
    return interpreter


# -- forms of one movement ---------------------------------------------------------------------------------


def page() -> Iterator[str]:
    """COSTS.md."""
    from tensorflow import __version__ as tensorflow

    yield "# What movement costs in TFLite"
    yield ""
    yield f"`python -m conformance.costs --write`, {datetime.date.today()}, TensorFlow {tensorflow}, {processor()},"
    yield "one thread, all forms in turns in one process. A cost is the least time of a form, as a multiple of what a"
    yield f"product with a scalar takes on {'×'.join(map(str, SHAPE))} numbers in float32: a pass over memory."
    yield "What nobuco writes is **bold**. An operation that XNNPACK does not take runs in a kernel of TFLite's own,"
    yield "and splits what XNNPACK has."
    files = {("", "product"): _converted(lambda x: x * 1.5)}
    for movement in movements():
        files |= {(movement.name, form): _converted(function) for form, function in movement.forms.items()}
    times = least_times({"\0".join(key): data for key, data in files.items()})
    unit = times["\0product"]
    for movement in movements():
        yield from ("", f"## {movement.name}", "", "| form | cost | XNNPACK takes all |", "|---|---:|---|")
        for form in movement.forms:
            name = f"**{form}**" if form == movement.ours else form
            taken = "yes" if is_delegated(files[movement.name, form]) else "no"
            yield f"| {name} | {times[movement.name + chr(0) + form] / unit:.1f} | {taken} |"


def _converted(function: Callable[[Any], Any]) -> bytes:
    import tensorflow as tf

    traced = tf.function(function, [tf.TensorSpec(SHAPE, tf.float32)], autograph=False).get_concrete_function()
    return bytes(tf.lite.TFLiteConverter.from_concrete_functions([traced]).convert())


if __name__ == "__main__":
    main()
