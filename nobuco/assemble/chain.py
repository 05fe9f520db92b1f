"""Several Keras layers in a row, as the converted form of one module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Chain:
    """Layers applied one after the other; a model shows each under its own name."""

    layers: tuple[keras.layers.Layer, ...]

    @property
    def main(self) -> keras.layers.Layer:
        """The layer that bears the module's name: the one with weights, else the last."""
        return next((layer for layer in self.layers if layer.weights), self.layers[-1])

    @property
    def name(self) -> str:
        """The module's name, as that layer has it."""
        return str(self.main.name)

    def __call__(self, x: Any) -> Any:
        """Apply them."""
        for layer in self.layers:
            x = layer(x)
        return x
