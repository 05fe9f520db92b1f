"""Quantisation: which number formats a TFLite file may have, and what TFLite's own quantiser makes of a float one."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from nobuco.errors import ExportArgumentError, ExportError
from nobuco.export.apart import EndedError, apart
from nobuco.export.flatbuffer import End, ends, has_loop, with_buffers_apart
from nobuco.export.names import Names
from nobuco.export.ranges import Bounds, bounded, with_ranges
from nobuco.export.running import checked
from nobuco.kinds import Kind, shown

Precision = Literal["float32", "float16", "dynamic", "int8", "int16x8"]
Samples = Iterable[Any] | Mapping[str, Iterable[Any]]
SAMPLES = Kind(
    "a list of samples (not an iterator: the samples are read twice), or a dict of such lists by signature",
    lambda given: not isinstance(given, (str, bytes)) and iter(given) is not given,
)


# TFLite's older quantisers take weights that two signatures share twice, and give a file of wrong numbers. The newer
# ones do not; but for activations of 16 bits there is an older one only.
_WEIGHTS = {"post_training_quantize": True, "enable_mlir_dynamic_range_quantizer": True}
# What the converter itself does; integers need samples, so a quantiser makes them of the float file.
FLAGS: Mapping[str, Mapping[str, bool]] = {
    # An infinite constant stays infinite; ranges of integers want it finite.
    "float32": {"canonicalizing_inf_as_min_max_float": False},
    "float16": {**_WEIGHTS, "quantize_to_float16": True},
    "dynamic": _WEIGHTS,
    "int8": {},
    "int16x8": {},
}
INTEGER = ("int8", "int16x8")


def quantised(
    data: bytes,
    precision: str,
    names: Mapping[str, Names],
    representative: Samples,
    per_channel: bool = True,
    integer_io: bool = False,
) -> bytes:
    """A float32 file as one that computes with integers, by the ranges that its tensors have on samples.

    Arguments as `to_tflite` has them. An operation that has no integer form stays what it is, between two casts.
    """
    if has_loop(data):  # the calibrator runs some loops; others end the process
        raise ExportError(
            f"TFLite's calibrator does not look into loops, so there is no precision={precision!r} of this model; "
            f"{_OTHERS}"
        )
    taken = {key: {end.name: end for end in inputs} for key, (inputs, _) in ends(data).items()}
    samples = list(_samples(names, representative, taken))
    kind = {"int8": tf.int8, "int16x8": tf.int16}[precision] if integer_io else tf.float32
    try:
        return apart(_quantised)(data, precision, samples, per_channel, kind.as_datatype_enum)
    except EndedError as error:
        raise ExportError(
            f"TensorFlow's quantiser ended its process on this model, for {precision} ({error}); {_OTHERS}"
        ) from error


_OTHERS = "precision='dynamic' and 'float16' need no calibration"


def _quantised(
    data: bytes, precision: str, samples: Sequence[tuple[str, dict[str, np.ndarray]]], per_channel: bool, kind: int
) -> bytes:
    from tensorflow.lite.python.convert import deduplicate_readonly_buffers, mlir_quantize
    from tensorflow.lite.python.optimize.calibrator import Calibrator, add_intermediate_tensors

    signatures, ends_as = {key for key, _ in samples}, tf.as_dtype(kind)
    if precision == "int16x8" and len(signatures) > 1:
        data = with_buffers_apart(data)
    bounds = Bounds()

    def feeds() -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        return ((key, bounds.sample(key, arrays)) for key, arrays in samples)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated", UserWarning)
        try:
            data, bounds = bounded(data, feeds, 8 if precision == "int8" else 16)
            if precision == "int8":
                calibrated = bounds.applied(with_ranges(data, feeds))
                data = mlir_quantize(calibrated, not per_channel, input_data_type=ends_as, output_data_type=ends_as)
            else:
                data = Calibrator(add_intermediate_tensors(data)).calibrate_and_quantize(
                    feeds, ends_as, ends_as, True, tf.int16, tf.int64, disable_per_channel=not per_channel
                )
                data = data if len(signatures) == 1 else bytes(deduplicate_readonly_buffers(data))
            _try(data, signatures)
        except (RuntimeError, ValueError) as error:
            raise ExportError(f"TensorFlow cannot quantise this model to {precision}: {error}; {_OTHERS}") from error
    return data


def _try(data: bytes, names: Iterable[str]) -> None:
    """Run a file on zeros: the quantisers make operations of integers that the runtime does not have."""
    interpreter = tf.lite.Interpreter(model_content=data)
    for key in names:
        runner = interpreter.get_signature_runner(key)
        details = runner.get_input_details()
        runner(**{name: np.zeros(detail["shape"], detail["dtype"]) for name, detail in details.items()})


def _samples(
    names: Mapping[str, Names], representative: Samples, taken: Mapping[str, Mapping[str, End]]
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """The samples as the calibrator takes them: the signature, and arrays by name.

    `taken` are each signature's inputs by name.
    """
    by_signature = representative if isinstance(representative, Mapping) else dict.fromkeys(names, representative)
    for key in by_signature:
        if key not in names:
            raise ExportArgumentError(
                f"representative has samples for {key!r}; the signatures are {', '.join(names)}: "
                f"{shown(representative)}"
            )
    for key, own in names.items():
        has_any = False
        for sample in by_signature.get(key, ()):
            has_any = True
            yield key, _by_name(sample, own.inputs, taken[key])
        if not has_any:
            raise ExportArgumentError(f"representative has no sample for {key!r}: {shown(representative)}")


def _by_name(sample: Any, names: Sequence[str], taken: Mapping[str, End]) -> dict[str, np.ndarray]:
    by_name = dict(sample) if isinstance(sample, Mapping) else None
    if by_name is None:
        arrays = sample if isinstance(sample, (list, tuple)) else [sample]
        if len(arrays) != len(names):
            raise ExportArgumentError(
                f"a sample of representative has {len(arrays)} arrays for {len(names)} inputs: {shown(sample)}"
            )
        by_name = dict(zip(names, arrays))
    if set(by_name) != set(names):
        raise ExportArgumentError(
            f"a sample of representative has {', '.join(map(str, by_name))}; the inputs are {', '.join(names)}"
        )
    return {name: _as_taken(by_name[name], taken[name]) for name in names}


def _as_taken(array: Any, end: End) -> np.ndarray:
    return checked(array, end.shape, (np.dtype(end.dtype),), f"representative: a sample's {end.name!r}")
