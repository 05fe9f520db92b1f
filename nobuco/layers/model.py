"""The model that a conversion gives: Keras's functional model, which knows its checkpoint and saves itself whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras

from nobuco.files import replacing, replacing_folder
from nobuco.layers.checkpoint import Checkpoint


@keras.saving.register_keras_serializable(package="nobuco")
class ConvertedModel(keras.Model):
    """A functional model made from a PyTorch programme."""

    checkpoint: Checkpoint | None = None

    def save(self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any) -> None:
        """`keras.Model.save`, but what is there already is only replaced when the new one is complete.

        With `overwrite=False` it is an error that something is there, and not a question at the prompt. A folder
        (`zipped=False`) is replaced only if it holds a Keras model and nothing else.

        Raises:
            OutputError: there is something at the path that is not replaced.
        """
        if not isinstance(filepath, (str, os.PathLike)) or "://" in str(filepath):  # a stream, or Keras' remote file
            super().save(filepath, overwrite=overwrite, zipped=zipped, **kwargs)
            return
        unzipped = zipped is False
        writing = replacing_folder(filepath, _foreign, overwrite) if unzipped else replacing(filepath, overwrite)
        with writing as fresh:
            super().save(fresh, zipped=zipped, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """A functional model's, and the checkpoint.

        Keras shows the config, from its beginning, where it does not know the class: so what to do comes first.
        """
        checkpoint = None if self.checkpoint is None else self.checkpoint.to_config()
        return {"before loading": "import nobuco.layers", **super().get_config(), "checkpoint": checkpoint}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> ConvertedModel:
        """What `get_config` gave."""
        config = {key: value for key, value in config.items() if key != "before loading"}
        checkpoint = config.pop("checkpoint", None)
        model = super().from_config(config, custom_objects)
        model.checkpoint = None if checkpoint is None else Checkpoint.from_config(checkpoint)
        return model


_PARTS = ("config.json", "metadata.json", "model.weights.h5", "model.weights.npz", "assets")


def _foreign(folder: Path) -> str:
    """What in a folder is no part of a Keras model; "" where all is."""
    names = sorted(path.name for path in folder.iterdir())
    if "config.json" not in names or "metadata.json" not in names:
        return f"{names[0]}, and no metadata.json"
    inside = [f"assets/{path.name}" for path in (folder / "assets").glob("*")]  # which our layers do not have
    return next((name for name in [*names, *inside] if name not in _PARTS or (folder / name).is_symlink()), "")
