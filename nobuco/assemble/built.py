"""What a build is given and what it gives, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from nobuco.assemble.kept_sizes import KeptSize
from nobuco.ir import Value
from nobuco.layers import StateLayer
from nobuco.layout.strategy import Signature
from nobuco.parity import Difference
from nobuco.select import Selection


@dataclass(frozen=True)
class Checked:
    """What was measured of one unit: its own error on recorded inputs, and the error of the running model."""

    own: Difference | None
    accumulated: Difference | None
    seconds: float
    signature: Signature
    reused: bool
    transpositions: int
    message: str | None = None
    refused: bool = False
    """Whether the converter's own `validate_func` said that it is wrong."""
    layer: str = ""
    """The name of the unit's layer."""


@dataclass(frozen=True)
class BuiltRegion:
    """What became of a region: its units, what was measured of each by node id, and of the whole."""

    selection: Selection
    checks: Mapping[int, Any]
    difference: Difference | None


@dataclass(frozen=True)
class Built:
    """The model, and what was measured while building it, by node id.

    `order` tells for each output of the model, flattened as Keras does (dicts by key), which output of the
    program it is. `regions` are the bodies of its control-flow calls, at any depth. `layers` are those that stand
    for its units, by node id, and `is_weight` tells of a value whether a layer of its own holds it. `kept_sizes` are
    those that it has as numbers. `states` are the layers that hold state, and what they hold first.
    """

    model: keras.Model
    checks: Mapping[int, Checked]
    transpositions: int
    order: Sequence[int]
    regions: Sequence[BuiltRegion] = ()
    layers: Mapping[int, Any] = field(default_factory=dict)
    is_weight: Callable[[Value], bool] = lambda value: False
    kept_sizes: Sequence[KeptSize] = ()
    states: Sequence[tuple[StateLayer, Value]] = ()
