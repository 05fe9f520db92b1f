"""A weight of its own: the parameter or buffer of a PyTorch module that no Keras layer owns."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nobuco.layers.loading import FromFile, declared


@keras.saving.register_keras_serializable(package="nobuco")
class WeightLayer(FromFile, keras.layers.Layer):
    """Gives its weight, whatever it is called with (the call only ties it into a functional model)."""

    def __init__(self, shape: tuple[int, ...], weight_dtype: str = "float32", **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.shape = declared(shape, weight_dtype)
        self.weight_dtype = weight_dtype
        self.weight = self.add_weight(
            shape=self.shape,
            dtype=weight_dtype,
            initializer="zeros",
            trainable=self.trainable and "float" in weight_dtype,
            name="weight",
            autocast=False,
        )
        self.built = True

    @classmethod
    def create(cls, weight: Any, trainable: bool = True, name: str | None = None) -> WeightLayer:
        """A layer that holds this array."""
        array = np.asarray(weight)
        layer = cls(array.shape, str(array.dtype), trainable=trainable, name=name)
        layer.weight.assign(array)
        return layer

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Give the weight."""
        return tf.convert_to_tensor(self.weight.value)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> keras.KerasTensor:
        """The weight's own shape and dtype."""
        return keras.KerasTensor(self.shape, self.weight_dtype)

    def get_config(self) -> dict[str, Any]:
        """Shape and dtype; the value is saved as a weight."""
        return {**super().get_config(), "shape": list(self.shape), "weight_dtype": self.weight_dtype}
