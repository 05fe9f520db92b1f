"""A fully connected layer that stays one operation whatever is dynamic."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from nobuco.layers.loading import FromFile


@keras.saving.register_keras_serializable(package="nobuco")
class Dense(FromFile, keras.layers.Dense):
    """`keras.layers.Dense` by `tf.matmul`.

    Keras flattens inputs of rank three and more around a matrix product. With a dynamic batch, TFLite then
    computes shapes before and after; a batched product with a shared matrix is FULLY_CONNECTED as it stands.
    """

    def call(self, inputs: Any, training: Any = None) -> Any:
        """(..., in) to (..., out)."""
        if self.quantization_mode is not None:
            return super().call(inputs, training=training)
        x = tf.matmul(inputs, self.kernel)
        return self.activation(x if self.bias is None else tf.add(x, self.bias))
