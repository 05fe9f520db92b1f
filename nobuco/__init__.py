"""nobuco turns a PyTorch program into a Keras 3 model, and proves it node by node.

Names load when they are first used, so that `import nobuco.layers` (all that a saved model needs) and a
pytest that only collects import neither PyTorch nor what they do not need. All that an import does beside is to keep
Triton from TensorFlow's libraries (`nobuco.environment.triton`), which it must before either is loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nobuco.environment.keras_settings import require_tensorflow
from nobuco.environment.triton import keep_triton_apart

if TYPE_CHECKING:
    from nobuco.bridge import t_keras2pytorch, t_pytorch2keras
    from nobuco.convert import pytorch_to_keras
    from nobuco.covered import coverage
    from nobuco.errors import (
        CheckpointError,
        ConversionError,
        ConverterError,
        ConverterRegistrationError,
        ExportError,
        InputError,
        NobucoError,
        NobucoWarning,
        UnknownConverterError,
    )
    from nobuco.fault import bisect, compare
    from nobuco.functions import force_pytorch_order, force_tensorflow_order, length, shape
    from nobuco.layers.checkpoint import load_state_dict
    from nobuco.layers.state import reset_states
    from nobuco.layout.order import ChannelOrder, get_channel_order, set_channel_order
    from nobuco.layout.strategy import ChannelOrderingStrategy
    from nobuco.registry import Sample
    from nobuco.report.data import Report, TraceLevel
    from nobuco.trace.traceable import traceable

_HOME = {
    "ChannelOrder": "nobuco.layout.order",
    "ChannelOrderingStrategy": "nobuco.layout.strategy",
    "CheckpointError": "nobuco.errors",
    "ConversionError": "nobuco.errors",
    "ConverterError": "nobuco.errors",
    "ConverterRegistrationError": "nobuco.errors",
    "ExportError": "nobuco.errors",
    "InputError": "nobuco.errors",
    "NobucoError": "nobuco.errors",
    "NobucoWarning": "nobuco.errors",
    "Report": "nobuco.report.data",
    "Sample": "nobuco.registry",
    "TraceLevel": "nobuco.report.data",
    "UnknownConverterError": "nobuco.errors",
    "bisect": "nobuco.fault",
    "compare": "nobuco.fault",
    "converter": "nobuco.builtin",
    "coverage": "nobuco.covered",
    "force_pytorch_order": "nobuco.functions",
    "force_tensorflow_order": "nobuco.functions",
    "get_channel_order": "nobuco.layout.order",
    "length": "nobuco.functions",
    "load_state_dict": "nobuco.layers.checkpoint",
    "locate_converter": "nobuco.builtin",
    "pytorch_to_keras": "nobuco.convert",
    "reset_states": "nobuco.layers.state",
    "set_channel_order": "nobuco.layout.order",
    "shape": "nobuco.functions",
    "t_keras2pytorch": "nobuco.bridge",
    "t_pytorch2keras": "nobuco.bridge",
    "traceable": "nobuco.trace.traceable",
    "unregister_converter": "nobuco.builtin",
}

__all__ = [
    "ChannelOrder",
    "ChannelOrderingStrategy",
    "CheckpointError",
    "ConversionError",
    "ConverterError",
    "ConverterRegistrationError",
    "ExportError",
    "InputError",
    "NobucoError",
    "NobucoWarning",
    "Report",
    "Sample",
    "TraceLevel",
    "UnknownConverterError",
    "bisect",
    "compare",
    "converter",
    "coverage",
    "force_pytorch_order",
    "force_tensorflow_order",
    "get_channel_order",
    "length",
    "load_state_dict",
    "locate_converter",
    "pytorch_to_keras",
    "reset_states",
    "set_channel_order",
    "shape",
    "t_keras2pytorch",
    "t_pytorch2keras",
    "traceable",
    "unregister_converter",
]

# Modules that need neither Keras nor what it stands on.
_PLAIN = ("nobuco.errors", "nobuco.layout", "nobuco.report", "nobuco.trace.traceable")


keep_triton_apart()


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'nobuco' has no attribute {name!r}")
    if not _HOME[name].startswith(_PLAIN):
        require_tensorflow()
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
