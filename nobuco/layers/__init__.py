"""The Keras layers that a converted model may hold. Importing this registers them; it needs no PyTorch.

A process that only loads a saved model does `import nobuco.layers` and then `keras.models.load_model(path)`.
"""

from nobuco.environment.keras_settings import require_tensorflow

require_tensorflow()  # before Keras is loaded

from nobuco.layers.convolution import (
    Conv1D,
    Conv1DTranspose,
    Conv2D,
    Conv2DTranspose,
    Conv3D,
    Conv3DTranspose,
    ZeroInsertion,
)
from nobuco.layers.dense import Dense
from nobuco.layers.model import ConvertedModel
from nobuco.layers.op import OpLayer
from nobuco.layers.output import OutputLayer
from nobuco.layers.padding import SpatialPadding
from nobuco.layers.state import StateLayer
from nobuco.layers.waypoints import Waypoints
from nobuco.layers.weight import WeightLayer

__all__ = [
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Conv3DTranspose",
    "ConvertedModel",
    "Dense",
    "OpLayer",
    "OutputLayer",
    "SpatialPadding",
    "StateLayer",
    "Waypoints",
    "WeightLayer",
    "ZeroInsertion",
]
