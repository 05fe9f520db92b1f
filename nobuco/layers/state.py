"""State: what a model keeps from one call to the next, as a variable that the model itself updates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nobuco.errors import UnsafeFileError
from nobuco.kinds import instance, takes
from nobuco.layers.loading import FromFile, declared, shapes_held
from nobuco.layers.origin import Origin


@keras.saving.register_keras_serializable(package="nobuco")
class StateLayer(FromFile, keras.layers.Layer):
    """Holds a tensor that lives longer than a call.

    Called with one tensor it gives the state. Called as `layer(output, new, state)` it keeps `new` for the next
    call and gives `output`; `state`, what the first call gave, only says that reading comes before writing.
    So both calls stand in the functional model, and neither is dropped. `origin` is the tensor of the program, which
    no file keeps.
    """

    origin: Origin | None = None

    def __init__(self, shape: tuple[int, ...], state_dtype: str = "float32", **kwargs: Any) -> None:
        super().__init__(autocast=False, **{**kwargs, "trainable": False})
        self.shape, self.state_dtype = declared(shape, state_dtype), state_dtype
        self.state = self.add_weight(
            shape=self.shape, dtype=state_dtype, initializer="zeros", trainable=False, name="state", autocast=False
        )
        self._initial = np.zeros(self.shape, self.state.numpy().dtype)
        self.built = True

    @classmethod
    def create(cls, initial: Any, name: str | None = None) -> StateLayer:
        """A layer whose state is this array until the model is first called, and again after a reset."""
        array = np.asarray(initial)
        layer = cls(array.shape, array.dtype.name, name=name)
        layer._initial = np.array(array)
        layer.reset()
        return layer

    def call(self, tensor: Any, new: Any = None, state: Any = None) -> Any:
        """Give the state; or keep a new one and give the tensor."""
        if new is None:
            return tf.identity(self.state.value)
        self.state.assign(tf.reshape(new, self.shape))
        return tf.identity(tensor)

    def compute_output_spec(self, tensor: Any, new: Any = None, state: Any = None) -> keras.KerasTensor:
        """The state's shape and dtype, or the tensor's; nothing is written while a model is built."""
        if new is None:
            return keras.KerasTensor(self.shape, self.state_dtype)
        return keras.KerasTensor(tensor.shape, tensor.dtype)

    @property
    def initial(self) -> np.ndarray:
        """What a reset puts back."""
        return self._initial

    def reset(self) -> None:
        """Put the state back to what it was at conversion."""
        self.state.assign(self._initial)

    def begin(self) -> None:
        """Take the state as it is now for that which a reset puts back."""
        self._initial = np.array(self.state.numpy())

    def save_own_variables(self, store: Any) -> None:
        """Save the state as it is now, and as it is after a reset."""
        store["state"], store["initial"] = self.state.numpy(), self._initial

    def load_own_variables(self, store: Any) -> None:
        """Load both."""
        for key, shape in shapes_held(store).items():
            if shape != self.shape:
                raise UnsafeFileError(f"holds for {self.name!r} as {key} an array of {shape}, not {self.shape}")
        self.state.assign(store["state"])
        self._initial = np.array(store["initial"])

    def get_config(self) -> dict[str, Any]:
        """Shape and dtype; the values are saved as weights are."""
        return {**super().get_config(), "shape": list(self.shape), "state_dtype": self.state_dtype}


def state_layers(model: keras.Model) -> Iterator[StateLayer]:
    """The layers of a model, and of models inside it, that hold state."""
    return (layer for layer in model._flatten_layers(include_self=False) if isinstance(layer, StateLayer))


@takes(model=instance("a Keras model", keras.Model))
def reset_states(model: keras.Model) -> None:
    """Put the state of a converted model back to what it was at conversion.

    Args:
        model: what `pytorch_to_keras` returned or `keras.models.load_model` loaded, or a model that holds one.
    """
    for layer in state_layers(model):
        layer.reset()
