"""A layer that gives an output of the model the name that the user asked for."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from nobuco.layers.loading import FromFile


@keras.saving.register_keras_serializable(package="nobuco")
class OutputLayer(FromFile, keras.layers.Layer):
    """Gives back its input; its name is the name of a model's output, in Keras and in a TFLite signature."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.built = True

    def call(self, inputs: Any) -> Any:
        """The input itself."""
        return tf.identity(inputs)
