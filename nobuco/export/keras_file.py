"""`.keras`: a Keras model as one file that `keras.models.load_model` reads."""

from __future__ import annotations

import os

import keras

from nobuco.errors import ExportArgumentError
from nobuco.files import replacing
from nobuco.kinds import FLAG, PATH, Kind, instance, takes
from nobuco.layers.model import ConvertedModel


@takes(
    ExportArgumentError,
    model=instance("a Keras model, e.g. what pytorch_to_keras returned", keras.Model),
    path=Kind(
        "the path of a file *.keras",
        lambda value: PATH.fits(value) and str(value).endswith(".keras"),
    ),
    overwrite=FLAG,
)
def keras_file(model: keras.Model, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
    """Write any Keras model as a `.keras` file.

    What `model.save(path)` writes, but whole or not at all: a file that is there already is replaced when the new one
    is complete. (A model that `pytorch_to_keras` returned saves itself so.)

    Args:
        model: the model.
        path: where to; the folder must be there.
        overwrite: whether a file that is there already is replaced.

    Raises:
        ExportArgumentError: `model` is none, or the path does not end in `.keras`.
        OutputError: there is no such folder; or what is at the path is no regular file, or must not be overwritten.
    """
    if isinstance(model, ConvertedModel):
        model.save(path, overwrite=overwrite)
        return
    with replacing(path, overwrite) as fresh:
        model.save(fresh)
