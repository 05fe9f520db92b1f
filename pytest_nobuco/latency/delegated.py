"""What a TFLite file consists of, and what of it the delegate takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_DELEGATE = "DELEGATE"


@dataclass(frozen=True)
class FileFacts:
    """Size in bytes, and how many operations there are, are outside XNNPACK, and only move data."""

    file_size: int
    operations: int
    outside_xnnpack: int
    transpositions: int


def file_facts(data: bytes) -> FileFacts:
    """Load the file as an app would, with XNNPACK, and look at what became of its operations."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()  # with which the delegate is applied
    nodes = interpreter._get_ops_details()
    originals = [node for node in nodes if node["op_name"] != _DELEGATE]
    return FileFacts(
        file_size=len(data),
        operations=len(originals),
        outside_xnnpack=len(originals) - len(covered(nodes)),
        transpositions=sum(node["op_name"] == "TRANSPOSE" for node in originals),
    )


def covered(nodes: Sequence[Mapping[str, Any]]) -> set[int]:
    """The original nodes that a delegate runs in their place, by index.

    The interpreter keeps the original nodes and appends one node for each part that it delegates; the part is
    what lies between that node's inputs and its outputs.
    """
    makers = {int(index): node for node in nodes if node["op_name"] != _DELEGATE for index in node["outputs"]}
    places: set[int] = set()
    for delegate in (node for node in nodes if node["op_name"] == _DELEGATE):
        sources = {int(tensor) for tensor in delegate["inputs"]}
        wanted = [int(tensor) for tensor in delegate["outputs"]]
        while wanted:
            node = makers.get(wanted.pop())
            if node is not None and node["index"] not in places:
                places.add(node["index"])
                wanted += [int(tensor) for tensor in node["inputs"] if int(tensor) not in sources]
    return places
