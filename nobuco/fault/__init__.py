"""Looking for a fault: a model converted earlier against PyTorch, its outputs and its layers."""

from nobuco.environment.keras_settings import require_tensorflow

require_tensorflow()  # before Keras is loaded

from nobuco.fault.bisection import Bisection, Point, bisect
from nobuco.fault.comparison import Comparison, OutputParity, compare

__all__ = ["Bisection", "Comparison", "OutputParity", "Point", "bisect", "compare"]
