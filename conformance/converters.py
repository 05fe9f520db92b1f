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


def is_quick(item: ConverterItem) -> bool:
    """Whether CI runs it on every change: one order, static, the main dtype; what is only dynamic, dynamic."""
    case, main = item.case, item.entry.dtypes[0] if item.entry.dtypes else None
    return case.order == "nhwc" and case.shape == "static" and case.dtype == main
