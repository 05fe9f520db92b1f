"""Parity: how far a converted tensor is from PyTorch's, and the one definition of 'matches'."""

from nobuco.parity.compare import compare
from nobuco.parity.difference import Difference, Places, Tolerance, Tried, default_tolerance, tolerances, worst
from nobuco.parity.fidelity import Fidelity, fidelity

__all__ = [
    "Difference",
    "Fidelity",
    "Places",
    "Tolerance",
    "Tried",
    "compare",
    "default_tolerance",
    "fidelity",
    "tolerances",
    "worst",
]
