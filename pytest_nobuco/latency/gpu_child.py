"""The process that compiles and times one model on a GPU: `python -m pytest_nobuco.latency.gpu_child REQUEST`.

A process of its own, since some models end it (a compiler of shaders meets an illegal instruction), and since
what the accelerator has to say it writes to the process's own stderr. REQUEST is a JSON file; the answer is one
JSON object on stdout, and the outputs are in the `.npz` file that the request names. Imports NumPy and LiteRT only.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

MISSING, REFUSED = 3, 4  # exit statuses: no LiteRT here; the model was not compiled


def main(request_path: str) -> int:
    """Do what the request says."""
    request = json.loads(Path(request_path).read_text())
    # Whatever a library prints goes to stderr: stdout is for the answer alone.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        import ai_edge_litert.compiled_model  # noqa: F401
    except ImportError as error:
        print(error, file=sys.stderr)
        return MISSING
    model = request["model"]
    if model is None:
        model = f"{request_path}.tflite"
        Path(model).write_bytes(one_addition())
    started = time.perf_counter()
    try:
        compiled = _compile(model, request["fp16"], request["allow_cpu"])
    except Exception as error:
        # Its text is generic; what LiteRT wrote to stderr before says why.
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return REFUSED
    compile_seconds = time.perf_counter() - started
    with answer:
        json.dump({"compile_seconds": compile_seconds, **_run(compiled, model, request)}, answer)
    return 0


def _compile(path: str, fp16: bool, allow_cpu: bool) -> Any:
    from ai_edge_litert.compiled_model import CompiledModel, GpuOptions, HardwareAccelerator, Options

    accelerators = HardwareAccelerator.GPU
    if allow_cpu:
        accelerators |= HardwareAccelerator.CPU
    # In benchmark mode a run returns when it is done; without it, when it is queued.
    options = Options(
        hardware_accelerators=accelerators, gpu_options=GpuOptions(enforce_f32=not fp16, benchmark_mode=True)
    )
    return CompiledModel.from_file(path, options=options)


def _run(compiled: Any, path: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Time runs from arrays to arrays, so that no work is left out, wherever the driver does it."""
    inputs, outputs = compiled.create_input_buffers(0), compiled.create_output_buffers(0)
    given, made = _graph_order(compiled, path)
    if request["feeds"] is None:
        feeds = [np.ones(inputs[i].get_tensor_details()["shape"], np.float32) for i in given]
    else:
        with np.load(request["feeds"]) as archive:
            feeds = [archive[f"arr_{i}"] for i in range(len(archive.files))]
    details = [outputs[i].get_tensor_details() for i in made]

    def once() -> list[np.ndarray]:
        for i, feed in zip(given, feeds, strict=True):
            inputs[i].write(feed)
        compiled.run_by_index(0, inputs, outputs)
        arrays = [outputs[i].read(int(np.prod(d["shape"])), np.dtype(d["dtype"])) for i, d in zip(made, details)]
        return [array.reshape(d["shape"]) for array, d in zip(arrays, details)]

    results = once()  # the first run also uploads weights and builds shaders: no measurement
    if request["outputs"] is not None:
        np.savez(request["outputs"], *results)
    seconds: list[float] = []
    deadline = time.perf_counter() + request["max_seconds"]
    while len(seconds) < request["min_rounds"] or time.perf_counter() < deadline:
        started = time.perf_counter()
        once()
        seconds.append(time.perf_counter() - started)
    requirements = [compiled.get_input_buffer_requirements(i) for i in given]
    requirements += [compiled.get_output_buffer_requirements(i) for i in made]
    return {"seconds": seconds, "buffer_types": [r["supported_types"] for r in requirements]}


def _graph_order(compiled: Any, path: str) -> tuple[Sequence[int], Sequence[int]]:
    """Where the graph's inputs and outputs stand among the signature's, whose order is by name."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_path=path, experimental_op_resolver_type=plain)
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    signatures = interpreter._get_full_signature_list()
    if not signatures:
        return range(len(inputs)), range(len(outputs))
    signature, names = next(iter(signatures.values())), compiled.get_signature_by_index(0)
    return (
        [names["inputs"].index(_name_of(d["index"], signature["inputs"])) for d in inputs],
        [names["outputs"].index(_name_of(d["index"], signature["outputs"])) for d in outputs],
    )


def _name_of(index: int, tensors: Mapping[str, int]) -> str:
    return next(name for name, tensor in tensors.items() if tensor == index)


def one_addition() -> bytes:
    """A TFLite file that adds its input to itself: what any GPU takes."""
    import flatbuffers  # type: ignore[import-untyped]
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name: bytes) -> Any:
        result = schema.TensorT()
        result.shape, result.type, result.buffer, result.name = [1, 4], schema.TensorType.FLOAT32, 0, name
        return result

    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    code.version = 1
    add = schema.OperatorT()
    add.opcodeIndex, add.inputs, add.outputs = 0, [0, 0], [1]
    add.builtinOptionsType, add.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = [tensor(b"x"), tensor(b"y")], [0], [1], [add]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
