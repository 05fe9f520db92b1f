"""The intermediate representation: plain frozen data, no TensorFlow, no knowledge of any other room."""

from nobuco.ir.graph import Condition, Graph, Guard, Node, Site, Trial, Value, ValueKind, given_out, run_gave, values
from nobuco.ir.precision import coarsest_inside, computed_in
from nobuco.ir.samples import Samples
from nobuco.ir.tree import leaves, map_leaves, map_tensors, paths, tensors

__all__ = [
    "Condition",
    "Graph",
    "Guard",
    "Node",
    "Samples",
    "Site",
    "Trial",
    "Value",
    "ValueKind",
    "coarsest_inside",
    "computed_in",
    "given_out",
    "leaves",
    "map_leaves",
    "map_tensors",
    "paths",
    "run_gave",
    "tensors",
    "values",
]
