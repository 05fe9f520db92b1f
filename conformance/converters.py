"""Every registered converter against PyTorch: each spelling, both channel orders, static and dynamic, Keras and TFLite.

    pytest conformance -n 2                      # all of it, with the networks
    pytest conformance -n 2 -m "not full"        # the quick slice: channels last, static, two samples each
    pytest conformance/converters.py::torch.add  # one converter

`pytest_nobuco` collects the items, from the samples of PyTorch's OpInfo, of `builtin_samples` and of `aten_samples` in
`pytest_nobuco.converters`; what is known to differ stands, with the cause, in `xfails.txt`.
"""

from __future__ import annotations

from pytest_nobuco.converters.items import ConverterItem

QUICK_SAMPLES = 2
# Files of a few thousand operations take TensorFlow's converter most of a minute each.
_LARGE_FILES = frozenset({
    "torch.grid_sampler", "torch.histogram", "torch.histogramdd", "torch.nn.functional.grid_sample",
    "torch.ops.aten.hash_tensor.default",
})  # fmt: skip


def is_quick(item: ConverterItem) -> bool:
    """Whether CI runs it on every change: one order, static, the main dtype; what is only dynamic, dynamic."""
    case, main = item.case, item.entry.dtypes[0] if item.entry.dtypes else None
    if case.runtime == "tflite" and item.entry.name in _LARGE_FILES:
        return False
    return case.order == "nhwc" and case.shape == "static" and case.dtype == main
