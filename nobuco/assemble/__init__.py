"""A plan into layers and a model."""

from nobuco.assemble.builder import Builder
from nobuco.assemble.built import Built, Checked
from nobuco.assemble.chain import Chain

__all__ = ["Builder", "Built", "Chain", "Checked"]
