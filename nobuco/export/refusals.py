"""What TFLite's converter refuses, told in the terms of the model: the operation, the layer, the cause, the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MOST_LAYERS = 3
_LONGEST = 400
# By a type in the refused operation, as MLIR writes it: the cause and the way out.
_WAYS: Mapping[str, str] = {
    r"complex<f64>": "TFLite has complex numbers of two float32 at most: compute in complex64",
    r"resource<.*xb?f16>": "a TFLite file keeps no state of 16 bits: register the buffer in float32, or export with "
    "states='arguments'",
    r"xf64>|<f64>": "TFLite computes in float32 at most: convert `model.float()`, on inputs in float32",
}
_FLEX = "allow_flex=True keeps them as TensorFlow's, for a runtime with the Flex delegate"


@dataclass(frozen=True)
class Refused:
    """An operation without a TFLite form: its name, the layer that it stands in, and what MLIR says of its types."""

    operation: str
    layer: str
    types: str


def refused_by(error: Any) -> tuple[Refused, ...]:
    """The operations that TFLite's converter names in an error."""
    refused = [_read(data) for data in error.errors if data.operator.name]
    listed = re.search(r"TF Select ops: (.*)", str(error))
    names = {one.operation for one in refused}
    return (
        *refused,
        *(Refused(name, "", "") for name in (listed[1].split(", ") if listed else ()) if name not in names),
    )


def _read(data: Any) -> Refused:
    place = next((call.name for call in data.location.call), "")
    # "converted_model_1/encoder.0_1/MatMul@__inference_serve_76": the model, the layer, the operation.
    within = place.partition("@")[0].split("/")
    layer = re.sub(r"_\d+$", "", within[-2]) if len(within) > 2 else ""
    return Refused(data.operator.name.removeprefix("tf."), layer, data.error_message)


def refusal(refused: Sequence[Refused], details: str, allow_flex: bool) -> str:
    """The message; `details` are the converter's own words, whose beginning is repeated as help."""
    if not refused:
        return f"the model has no TFLite form: {_first_lines(details)}"
    names = ", ".join(sorted({one.operation for one in refused}))
    layers = list(dict.fromkeys(one.layer for one in refused if one.layer))
    more = f" and {len(layers) - _MOST_LAYERS} more" if len(layers) > _MOST_LAYERS else ""
    where = f" (in {', '.join(layers[:_MOST_LAYERS])}{more})" if layers else ""
    ways = [*_ways(refused), *([] if allow_flex else [_FLEX])]
    return "; ".join([f"TFLite does not have {names}{where}", *ways])


def _ways(refused: Sequence[Refused]) -> Iterator[str]:
    for types, way in _WAYS.items():
        if any(re.search(types, one.types) for one in refused):
            yield way
            return


def _first_lines(details: str) -> str:
    text = " ".join(details.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… (the whole is in this error's __cause__)"
