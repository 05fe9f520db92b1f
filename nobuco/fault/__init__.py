"""Looking for a fault: a model converted earlier against PyTorch, its outputs and its layers."""

from nobuco.fault.bisection import Bisection, Point, bisect
from nobuco.fault.comparison import Comparison, OutputParity, compare

__all__ = ["Bisection", "Comparison", "OutputParity", "Point", "bisect", "compare"]
