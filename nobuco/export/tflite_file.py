"""TFLite: Keras models as a flatbuffer."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import tensorflow as tf

from nobuco.errors import ExportArgumentError, ExportError, warn
from nobuco.export.bodies import with_outputs_apart
from nobuco.export.flatbuffer import ends, in_model_order
from nobuco.export.lowering import TRIED, lowered
from nobuco.export.names import Names, output_names
from nobuco.export.quantisation import FLAGS, INTEGER, SAMPLES, Precision, Samples, quantised
from nobuco.export.refusals import refusal as refusal_of
from nobuco.export.refusals import refused_by
from nobuco.export.rounding import sizes_of_other_numbers
from nobuco.export.running import run_tflite, tflite_operations
from nobuco.export.saved_model import MODELS, Models, by_signature, write
from nobuco.export.spreading import with_tiles
from nobuco.export.weights import refuse_too_large
from nobuco.files import file_at, replacing, telling_refusals
from nobuco.kinds import FLAG, PATH, one_of, refusal, shown, takes
from nobuco.layers.output import in_order

__all__ = ["run_tflite", "tflite", "tflite_operations", "to_tflite"]


@takes(ExportArgumentError, path=PATH, overwrite=FLAG)
def tflite(model: Models, path: str | os.PathLike[str], *, overwrite: bool = True, **options: Any) -> None:
    """Write a model, or several, as a TFLite file; the options are those of `to_tflite`.

    A file that is there already is replaced when the new one is complete, and not touched by a failure. Of 64-bit
    integers at its ends a warning tells, unless `index_dtype` says that they are meant.

    Raises:
        OutputError: there is no folder for it; or what is at the path is no regular file, or is there already and
            `overwrite` is False.
        ExportError: see `to_tflite`.
    """
    file_at(path, overwrite)  # before the work
    data = to_tflite(model, **options)
    if "index_dtype" not in options:
        _hint_at_wide_ends(data)
    with replacing(path, overwrite) as fresh:
        fresh.write_bytes(data)


@takes(
    ExportArgumentError,
    model=MODELS,
    states=one_of("variables", "arguments"),
    per_channel=FLAG,
    integer_io=FLAG,
    allow_flex=FLAG,
    index_dtype=one_of("int64", "int32"),
)
def to_tflite(
    model: Models,
    states: Literal["variables", "arguments"] = "variables",
    *,
    precision: Precision = "float32",
    representative: Samples | None = None,
    per_channel: bool = True,
    integer_io: bool = False,
    allow_flex: bool = False,
    index_dtype: Literal["int32", "int64"] = "int64",
) -> bytes:
    """The model as a TFLite flatbuffer.

    Its signature names the inputs as the model does and the outputs as `output_names` says, and so are the file's
    tensors called. Of several models, what they hold alike stands in the file once.

    Args:
        model: what `pytorch_to_keras` returned, or several by the names of their signatures, e.g.
            `{"encode": encoder, "decode": decoder}`.
        states: what becomes of the state of a model that has some. `variables`: the file holds it as resource
            variables, as they are now, and an interpreter keeps them from one `invoke` to the next (a new
            interpreter starts afresh). `arguments`: it is passed in, behind the inputs, and comes out, behind the
            outputs, in the order of `nobuco.layers.state.state_layers(model)`, and the file itself keeps nothing.
        precision: `float32`; `float16`: weights of 16 bits (half the size), computed in float32, or in float16 on a
            GPU; `dynamic`: matrices and kernels of 8 bits, whose inputs are quantised as they come; `int8`: weights
            and activations of 8 bits; `int16x8`: activations of 16 bits, weights of 8.
        representative: for `int8` and `int16x8` some dozens of samples of what the model will be given, from which
            the ranges are taken: an array, a sequence of arrays in input order or a dict by input name each, in the
            channel order of the Keras model; of several models a dict of such by signature. A list or whatever
            gives the same each time that it is iterated.
        per_channel: for `int8` and `int16x8`: a scale for each channel of a kernel rather than one for it all.
        integer_io: for `int8` and `int16x8`: inputs and outputs are integers with a scale, too, rather than floats.
        allow_flex: keep operations that TFLite lacks as TensorFlow's own, which a runtime with the Flex delegate
            runs.
        index_dtype: `int32` has the file take and give, in 32 bits, the 64-bit integers of the model, which runtimes
            in a browser (LiteRT.js, tfjs-tflite) do not have at their ends. Larger numbers do not fit, then.

    Raises:
        ExportArgumentError: an argument is wrong, or does not fit the precision.
        ExportError: an operation has no TFLite form, an option does not fit, the quantiser refuses, or the weights
            take more than the 2 GB that a file may have, which is said before the work.
    """
    _check_options(precision, representative, per_channel, integer_io)
    models = by_signature(model)
    if not allow_flex:
        _refuse_complex_outputs(models)
    stored = "float16" if precision == "float32" and _has_weights_of_16_bits(models) else precision
    refuse_too_large(models, stored)
    # An infinite constant stays infinite, but where a scale of integers has to hold it.
    flags = {**FLAGS[stored], "canonicalizing_inf_as_min_max_float": precision in INTEGER}
    attempt = partial(
        _attempt, models, precision, states == "arguments", index_dtype == "int32", flags=flags, allow_flex=allow_flex
    )
    try:
        data, names = attempt(trying=True)
    except ExportError as error:
        if not set(TRIED).intersection(error.operations):
            raise
        data, names = attempt(trying=False)
    if precision in INTEGER:
        assert representative is not None
        data = quantised(data, precision, names, representative, per_channel, integer_io)
    else:
        data = with_tiles(data)
    return in_model_order(data, names)


def _attempt(
    models: Mapping[str, Any], precision: Precision, with_states: bool, narrow: bool, trying: bool, **options: Any
) -> tuple[bytes, dict[str, Names]]:
    """The models as a file of floats, and their names in it; with `trying`, as in `lowered`."""
    rounded: set[int] = set()

    def rebuild(function: Any) -> Any:
        function = lowered(function, precision, trying)
        rounded.update(sizes_of_other_numbers(function.graph))
        return function

    with tempfile.TemporaryDirectory() as folder, telling_refusals(Path(folder)):
        names = write(models, folder, with_states, narrow, rebuild)
        data = with_outputs_apart(_converted(folder, list(names), **options))
    if rounded:
        warn(
            "the file has floats of 32 bits, and a number that it makes of sizes by way of them is not PyTorch's "
            f"where a size is {min(rounded)}; the Keras model is right there"
        )
    return data, names


def _check_options(precision: Any, representative: Any, per_channel: bool, integer_io: bool) -> None:
    """Refuse options that do not fit the precision."""
    known = get_args(Precision)
    if not isinstance(precision, str) or precision not in known:
        raise ExportArgumentError(f"precision is {shown(precision)}; there are {', '.join(known)}")
    if representative is not None and not SAMPLES.fits(representative):
        raise ExportArgumentError(refusal("representative", representative, SAMPLES))
    if precision in INTEGER:
        if representative is None:
            raise ExportArgumentError(
                f"precision={precision!r} needs representative=[...]: some dozens of the model's inputs "
                "(representative is None)"
            )
        return
    for name, value, usual in (("integer_io", integer_io, False), ("per_channel", per_channel, True)):
        if value is not usual:
            raise ExportArgumentError(
                f"{name} is {value}, which is for precision='int8' and 'int16x8'; precision is {precision!r}: "
                f"leave {name} out, or give one of those two"
            )


def _has_weights_of_16_bits(models: Mapping[str, Any]) -> bool:
    """Whether a model has all its weights in float16: then they lose nothing where the file has them so, too."""
    dtypes = [tf.as_dtype(variable.dtype) for model in models.values() for variable in model.variables]
    floats = {dtype for dtype in dtypes if dtype.is_floating}
    return floats == {tf.float16}


def _refuse_complex_outputs(models: Mapping[str, Any]) -> None:
    for model in models.values():
        for name, tensor in zip(output_names(model), in_order(model.output)):
            if tf.as_dtype(tensor.dtype).is_complex:
                raise ExportError(
                    f"{name} is {tensor.dtype}; a TFLite file computes with complex numbers as pairs, and cannot give "
                    "complex ones: return torch.view_as_real(...) of it, or its .real and .imag"
                )


def _converted(folder: str, signatures: list[str], flags: Mapping[str, bool], allow_flex: bool) -> bytes:
    # `tf.lite.TFLiteConverter` ends in this function too, but first loads the SavedModel twice and afterwards
    # unpacks and packs the finished file, which takes twice the time and a third more memory; and its way
    # from concrete functions holds seven copies of the weights (6.7 GB for ViT-B/16, against 2.9 GB).
    from tensorflow.lite.python.convert import OpsSet, convert_saved_model
    from tensorflow.lite.python.convert_phase import ConverterError

    flex = {"target_ops": {OpsSet.TFLITE_BUILTINS, OpsSet.SELECT_TF_OPS}} if allow_flex else {}
    try:
        return convert_saved_model(
            saved_model_dir=folder,
            saved_model_version=1,
            saved_model_tags={"serve"},
            saved_model_exported_names=signatures,
            **flags,
            **flex,
        )
    except ConverterError as error:
        refused = refused_by(error)
        operations = tuple(sorted({one.operation for one in refused}))
        raise ExportError(refusal_of(refused, str(error), allow_flex), operations) from error


def _hint_at_wide_ends(data: bytes) -> None:
    wide = [end.name for inputs, outputs in ends(data).values() for end in (*inputs, *outputs) if end.dtype == "int64"]
    if wide:
        warn(
            f"the file takes or gives 64-bit integers ({', '.join(wide)}), which LiteRT.js and tfjs-tflite do not "
            "have: index_dtype='int32' makes it 32 bits there; index_dtype='int64' says that they are meant"
        )
