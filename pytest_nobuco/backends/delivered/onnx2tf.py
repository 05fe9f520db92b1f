"""onnx2tf: ONNX, here what `torch.onnx` writes, to TFLite."""

from __future__ import annotations

from pathlib import Path

from pytest_nobuco.backends import Backend, Job


def convert(job: Job) -> None:
    """Convert what `torch.onnx` writes; where that is wrong or not taken, what its older one does, as users would.

    (PyTorch 2.13 writes a wrong `PixelUnshuffle`, and a GRU whose weights are no constants.)
    """
    try:
        _convert(job, dynamo=True)
    except (Exception, SystemExit) as refusal:
        try:
            _convert(job, dynamo=False)
        except (Exception, SystemExit):
            raise refusal from None


def _convert(job: Job, dynamo: bool) -> None:
    """Inputs keep PyTorch's order where that is wanted."""
    import onnx
    import onnx2tf
    import torch

    folder = job.artifact.with_name(f"by_{'new' if dynamo else 'old'}_exporter")
    folder.mkdir()
    source = folder / "net.onnx"
    with torch.no_grad():
        torch.onnx.export(
            job.model, job.args, str(source), kwargs=dict(job.kwargs), dynamo=dynamo, external_data=False, verbose=False
        )
    if dynamo:
        _check(job, source)
    names = [node.name for node in onnx.load(str(source)).graph.input]
    onnx2tf.convert(
        input_onnx_file_path=str(source),
        output_folder_path=str(folder),
        keep_shape_absolutely_input_names=names if job.inputs == "nchw" else None,
        non_verbose=True,
    )
    (path,) = folder.glob("*_float32.tflite")
    path.replace(job.artifact)


def _check(job: Job, source: Path) -> None:
    """Refuse what `torch.onnx` has written wrong."""
    import numpy as np
    import torch
    from torch.utils import _pytree as pytree

    from pytest_nobuco.backends.delivered.onnxruntime import load

    args, kwargs = pytree.tree_map_only(torch.Tensor, torch.clone, (job.args, dict(job.kwargs)))
    feeds = [leaf.numpy().copy() for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    with torch.no_grad():
        expected = [leaf.numpy() for leaf in pytree.tree_leaves(job.model(*args, **kwargs))]
    for ours, theirs in zip(load(source)(feeds), expected):
        if not np.allclose(ours, theirs, rtol=1e-2, atol=1e-2 * np.abs(theirs).max(initial=0)):
            raise ValueError("torch.onnx has written a file that computes something else")


BACKEND = Backend(
    "onnx2tf",
    convert,
    install="onnx2tf torch onnxscript",
    modules=("torch", "onnx2tf"),
    orders=("nchw-nhwc", "nhwc-nhwc"),
)
