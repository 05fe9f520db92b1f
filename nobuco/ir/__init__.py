"""The intermediate representation: plain frozen data, no TensorFlow, no knowledge of any other room."""

from nobuco.ir.graph import Baked, Graph, Node, Site, Value, ValueKind, values
from nobuco.ir.tree import leaves, map_leaves, map_tensors, paths, tensors

__all__ = [
    "Baked",
    "Graph",
    "Node",
    "Site",
    "Value",
    "ValueKind",
    "leaves",
    "map_leaves",
    "map_tensors",
    "paths",
    "tensors",
    "values",
]
