"""How the inputs of the Keras model look, as the user wants them."""

from __future__ import annotations

from dataclasses import dataclass

from nobuco.layout.order import ChannelOrder


@dataclass(frozen=True)
class InputSpec:
    """How an input of the Keras model looks: its name, its logical shape (None: dynamic) and its order."""

    name: str
    shape: tuple[int | None, ...]
    order: ChannelOrder
