"""onnx2tf: ONNX, here what `torch.onnx` writes, to TFLite."""

from __future__ import annotations

from pytest_nobuco.backends import Backend, Job


def convert(job: Job) -> None:
    """Export to ONNX, and convert that; inputs keep PyTorch's order where that is wanted."""
    import onnx2tf
    import torch

    folder = job.artifact.with_suffix("")
    source = job.artifact.with_suffix(".onnx")
    torch.onnx.export(
        job.model, job.args, str(source), kwargs=dict(job.kwargs), dynamo=True, external_data=False, verbose=False
    )
    names = [node.name for node in onnx2tf_inputs(source)] if job.inputs == "nchw" else None
    onnx2tf.convert(
        input_onnx_file_path=str(source),
        output_folder_path=str(folder),
        keep_shape_absolutely_input_names=names,
        non_verbose=True,
    )
    (made,) = folder.glob("*_float32.tflite")
    made.replace(job.artifact)


def onnx2tf_inputs(source):  # type: ignore[no-untyped-def]
    """The inputs of an ONNX file."""
    import onnx

    return onnx.load(str(source), load_external_data=False).graph.input


BACKEND = Backend(
    "onnx2tf",
    convert,
    install="onnx2tf torch onnxscript",
    modules=("torch", "onnx2tf"),
    orders=("nchw-nhwc", "nhwc-nhwc"),
)
