"""What `pytorch_to_keras` takes beside tensors and files: it can be checked without PyTorch, which the plugin does."""

from __future__ import annotations

from collections.abc import Mapping

from nobuco.kinds import BOUND, FLAG, NOTHING, Kind, whole

SWITCHES: Mapping[str, Kind] = {
    "trace_shape": FLAG | NOTHING,
    "enable_torch_tracing": FLAG,
    "explore_branches": FLAG | whole(0),
    "decompose": FLAG,
    "constants_to_variables": FLAG,
    "full_validation": FLAG,
    "validation_tolerance": BOUND | NOTHING,
}
