"""A plan into layers and a model."""

from nobuco.build.builder import Builder
from nobuco.build.built import Built, Checked, InputSpec
from nobuco.build.chain import Chain

__all__ = ["Builder", "Built", "Chain", "Checked", "InputSpec"]
