"""Every registered converter against PyTorch: each spelling, both channel orders, static and dynamic, Keras and TFLite.

    pytest conformance -n 2                      # all of it, with the networks
    pytest conformance -n 2 -m "not full"        # the quick slice: channels last, static, two samples, Keras or TFLite
    pytest conformance/converters.py::torch.add  # one converter

`pytest_nobuco` collects the items, from the samples of PyTorch's OpInfo, of `builtin_samples` and of `aten_samples` in
`pytest_nobuco.converters`; what is known to differ stands, with the cause, in `xfails.txt`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

from pytest_nobuco.converters.items import ConverterItem
from pytest_nobuco.xfails import Gap

QUICK_SAMPLES = 2
# Files of a few thousand operations take TensorFlow's converter most of a minute each.
_LARGE_FILES = frozenset({
    "torch.grid_sampler", "torch.histogram", "torch.histogramdd", "torch.nn.functional.grid_sample",
    "torch.ops.aten.hash_tensor.default",
})  # fmt: skip


def quick_of(items: Sequence[ConverterItem], gaps: Sequence[Gap]) -> Iterator[ConverterItem]:
    """What CI runs on every change: one order, static, the main dtype; of a third of the converters the TFLite file.

    That is made of the Keras model. Of the others the Keras model itself, and where the file is known to differ or
    takes long.
    """
    known = {id(item) for gap in gaps for item in gap.matching(items)}
    forms = {(item.entry.name, item.case.runtime): item for item in items if _is_of_main_form(item)}
    for (name, runtime), item in forms.items():
        files = forms.get((name, "tflite"))
        is_third = not zlib.crc32(name.encode()) % 3
        in_file = is_third and name not in _LARGE_FILES and files is not None and id(files) not in known
        if in_file == (runtime == "tflite"):
            yield item


def _is_of_main_form(item: ConverterItem) -> bool:
    case, main = item.case, item.entry.dtypes[0] if item.entry.dtypes else None
    return case.order == "nhwc" and case.shape == "static" and case.dtype == main
