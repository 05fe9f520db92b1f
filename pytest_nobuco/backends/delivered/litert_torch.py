"""litert-torch: PyTorch to TFLite, by Google."""

from __future__ import annotations

from pytest_nobuco.backends import Backend, Job


def convert(job: Job) -> None:
    """Convert, with channels last where they are wanted by the converter's own wrapper."""
    import litert_torch
    import torch
    from torch.utils import _pytree as pytree

    class Flat(torch.nn.Module):
        """The model, its outputs in one tuple: the wrapper takes no other structure."""

        def __init__(self) -> None:
            super().__init__()
            self.model = job.model

        def forward(self, *args, **kwargs):  # type: ignore[no-untyped-def]
            leaves = pytree.tree_leaves(self.model(*args, **kwargs))
            return tuple(leaf for leaf in leaves if isinstance(leaf, torch.Tensor))

    model, args = Flat().eval(), list(job.args)
    with torch.no_grad():
        outputs = job.images(model(*pytree.tree_map(torch.clone, args), **job.kwargs)) if job.outputs == "nhwc" else []
    inputs = [place for place, leaf in enumerate(args) if job.inputs == "nhwc" and getattr(leaf, "ndim", 0) >= 3]
    if inputs or outputs:
        model = litert_torch.to_channel_last_io(model, args=inputs, outputs=outputs).eval()
    args = [leaf.movedim(1, -1).contiguous() if place in inputs else leaf for place, leaf in enumerate(args)]
    litert_torch.convert(model, tuple(args), dict(job.kwargs) or None).export(str(job.artifact))


BACKEND = Backend(
    "litert-torch",
    convert,
    install="litert-torch",
    modules=("torch", "litert_torch"),
    orders=("nchw-nchw", "nchw-nhwc", "nhwc-nchw", "nhwc-nhwc"),
)
