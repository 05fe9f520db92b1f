"""Sizes: numbers that remember where they come from, and what other sizes than the example's would change."""

from nobuco.trace.sizes.numbers import SizeTracing, TracedFloat, TracedInt, plain, size_of, traced_number

__all__ = ["SizeTracing", "TracedFloat", "TracedInt", "plain", "size_of", "traced_number"]
