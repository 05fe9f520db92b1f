"""ONNX Runtime, on what `torch.onnx` writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pytest_nobuco.backends import Backend, Job
from pytest_nobuco.backends.spec import Run


def convert(job: Job) -> None:
    """Export by `torch.onnx`, with the exporter that traces by `torch.export`."""
    import torch
    from torch.utils import _pytree as pytree

    free = iter(job.free)

    def axes(leaf):  # type: ignore[no-untyped-def]
        is_tensor = isinstance(leaf, torch.Tensor)
        return dict.fromkeys(next(free, ()), torch.export.Dim.DYNAMIC) if is_tensor else None

    dynamic = pytree.tree_map(axes, (job.args, dict(job.kwargs))) if any(job.free) else None
    torch.onnx.export(
        job.model, job.args, str(job.artifact), kwargs=dict(job.kwargs), dynamo=True, external_data=False,
        dynamic_shapes=dynamic and (dynamic[0] if not job.kwargs else dynamic), verbose=False,
    )  # fmt: skip


def load(artifact: Path) -> Run:
    """Run the file on one thread of the processor."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(artifact), options, providers=["CPUExecutionProvider"])
    names = [slot.name for slot in session.get_inputs()]

    def run(arrays):  # type: ignore[no-untyped-def]
        if len(arrays) != len(names):
            raise ValueError(f"it takes {len(names)} inputs ({', '.join(names)}), and {len(arrays)} were given")
        return session.run(None, dict(zip(names, arrays)))

    return run


def describe(artifact: Path) -> Mapping[str, int]:
    """Count the nodes of the graph."""
    import onnx

    nodes = onnx.load(str(artifact), load_external_data=False).graph.node
    return {"operations": len(nodes), "transpositions": sum(node.op_type == "Transpose" for node in nodes)}


BACKEND = Backend(
    "onnxruntime",
    convert,
    install="onnxruntime onnxscript",
    modules=("torch", "onnxscript", "onnxruntime"),
    artifact="net.onnx",
    load=load,
    dynamic=True,
    describe=describe,
)
RUNNER = Backend(
    "onnxruntime", convert, install="onnxruntime", modules=("onnxruntime",), artifact="net.onnx", load=load
)
"""For files that are there already."""
