"""The built-in converters; importing this package registers them.

A file per family. The functions are meant to be read: `nobuco.locate_converter(operation)` finds them.
"""

from nobuco.environment.keras_settings import require_tensorflow

require_tensorflow()  # before Keras is loaded

from nobuco.converters import (  # noqa: F401
    activation,
    arithmetic,
    attention,
    bins,
    casting,
    comparison,
    control,
    convolution,
    creation,
    ctc,
    cumulative,
    deformable,
    dropout,
    embedding,
    fourier,
    fractional,
    gathering,
    grouped,
    indexing,
    interpolation,
    joining,
    linear,
    losses,
    math,
    memory,
    norm,
    normalization,
    ordering,
    packing,
    padding,
    pixel,
    pooling,
    quantising,
    random,
    recurrent,
    reduction,
    regions,
    repeating,
    runs,
    sampling,
    shaping,
    sizes,
    sorting,
    spectra,
    tapering,
    transposed_convolution,
)
from nobuco.registry import registry

# isort: split
from nobuco.converters import aten  # noqa: F401  it shares converters that are registered by now

registry.complete()
