"""The model that a conversion gives: Keras's functional model, which knows its checkpoint and saves itself whole."""

from __future__ import annotations

import os
from typing import Any

import keras

from nobuco.files import replacing
from nobuco.layers.checkpoint import Checkpoint


@keras.saving.register_keras_serializable(package="nobuco")
class ConvertedModel(keras.Model):
    """A functional model made from a PyTorch programme."""

    checkpoint: Checkpoint | None = None

    def save(self, filepath: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """`keras.Model.save`, but a file that is there already is only replaced when the new one is complete."""
        if not str(filepath).endswith(".keras") or "://" in str(filepath):
            super().save(filepath, *args, **kwargs)
            return
        with replacing(filepath) as fresh:
            super().save(fresh, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """A functional model's, and the checkpoint."""
        checkpoint = None if self.checkpoint is None else self.checkpoint.to_config()
        return {**super().get_config(), "checkpoint": checkpoint}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> ConvertedModel:
        """What `get_config` gave."""
        config = dict(config)
        checkpoint = config.pop("checkpoint", None)
        model = super().from_config(config, custom_objects)
        model.checkpoint = None if checkpoint is None else Checkpoint.from_config(checkpoint)
        return model
