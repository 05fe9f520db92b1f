"""nobuco itself, as other backends run: in a process of its own, so that its seconds and memory can be told."""

from __future__ import annotations

from pytest_nobuco.backends import Backend, Job


def convert(job: Job) -> None:
    """Convert, checking every node as it always does, and write TFLite."""
    import nobuco
    from nobuco.export import tflite

    orders = {"nchw": nobuco.ChannelOrder.PYTORCH}
    keras_model = nobuco.pytorch_to_keras(
        job.model,
        args=list(job.args),
        kwargs=dict(job.kwargs) or None,
        inputs_channel_order=orders.get(job.inputs, nobuco.ChannelOrder.TENSORFLOW),
        outputs_channel_order=orders.get(job.outputs, nobuco.ChannelOrder.TENSORFLOW),
        verbose=False,
    )
    tflite(keras_model, job.artifact)


BACKEND = Backend(
    "nobuco",
    convert,
    install="nobuco",
    modules=("torch", "nobuco.export"),
    orders=("nchw-nchw", "nchw-nhwc", "nhwc-nchw", "nhwc-nhwc"),
)
