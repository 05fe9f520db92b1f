"""Parity: how far a converted tensor is from PyTorch's, and the one definition of 'matches'."""

from nobuco.parity.compare import compare
from nobuco.parity.difference import Difference, Places, Tolerance, default_tolerance, tolerances, worst

__all__ = ["Difference", "Places", "Tolerance", "compare", "default_tolerance", "tolerances", "worst"]
