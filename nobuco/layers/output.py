"""The outputs of a model: how to get them, their order, and a layer that gives one the name that the user asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def in_order(outputs: Any) -> list[Any]:
    """The tensors of a model's outputs as the program gives them; `keras.tree.flatten` sorts a dict by its keys."""
    if isinstance(outputs, Mapping):
        outputs = outputs.values()
    elif not isinstance(outputs, (list, tuple)):
        return [outputs]
    return [leaf for part in outputs for leaf in in_order(part)]


def called(model: Any, feeds: Sequence[Any]) -> list[Any]:
    """The outputs of a model, in that order, for tensors in the order of its inputs; not in training."""
    return in_order(model(feeds[0] if len(feeds) == 1 else list(feeds), training=False))
