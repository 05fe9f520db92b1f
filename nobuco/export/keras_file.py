"""`.keras`: a Keras model as one file that `keras.models.load_model` reads."""

from __future__ import annotations

import os

import keras

from nobuco.errors import ExportArgumentError
from nobuco.files import replacing
from nobuco.kinds import PATH, Kind, instance, takes


@takes(
    ExportArgumentError,
    model=instance("a Keras model, e.g. what pytorch_to_keras returned", keras.Model),
    path=Kind(
        "the path of a file *.keras",
        lambda given: PATH.fits(given) and str(given).endswith(".keras"),
    ),
)
def keras_file(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Write any Keras model as a `.keras` file.

    What `model.save(path)` writes, but whole or not at all: a file that is there already is replaced when the new one
    is complete. (A model that `pytorch_to_keras` returned saves itself so.)

    Raises:
        ExportArgumentError: `model` is none, or the path does not end in `.keras`.
    """
    with replacing(path) as fresh:
        model.save(fresh)
