"""Calls that give as many elements as their arguments' values say, and running them so that they give others.

How many pass a threshold, or stay after `nms`, is known only when a model runs. A program that is run again with
some of them left out, or with more, shows which of its sizes and decisions follow from that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from nobuco.ir import Graph, Node, Value, ValueKind, leaves, map_leaves
from nobuco.trace.calls import name_of
from nobuco.trace.sizes.numbers import size_of

# How many elements a call gives in another run, where it gives n on the example and could give as many as `most`.
Count = Callable[[int, int], int]
_OF_PLACES = {"nonzero", "argwhere"}
_OF_MASKS = {"nonzero", "argwhere", "masked_select", "where", "__getitem__", "__setitem__"}
_PACKING = "_pack_padded_sequence"  # by the lengths of sequences
_OF_RESULTS = {"nms", "unique", "unique_consecutive", "bincount"}


def counts(graph: Graph) -> bool:
    """Whether a graph has a call whose result is as large as values say."""
    return any(map(_is_counting, graph.walk()))


def sizes_behind(graph: Graph) -> frozenset[int]:
    """The ids of the sizes that may follow from how many elements such calls have given."""
    behind: set[int] = set()
    places: set[int] = set()  # (n, rank): as many columns as what is looked at has dimensions
    for node in graph.walk():
        if node.op is size_of and node.args[0].id in places and node.args[1] == 1:
            continue
        if not node.children and (_is_counting(node) or any(v.id in behind for v in node.inputs)):
            behind |= {v.id for v in node.results}
            places |= {v.id for v in node.results if _name(node.op) in _OF_PLACES and v.rank == 2}
    sizes = (v.id for node in graph.walk() for v in node.results if v.kind is ValueKind.SIZE)
    return frozenset(behind.intersection(sizes))


def _is_counting(node: Node) -> bool:
    return bool(_counted(node.op, node.args, node.kwargs, _is_varying)) or _name(node.op) in _OF_RESULTS


def recounted(func: Any, args: Any, kwargs: Mapping[str, Any], live: Callable[[Any], bool], count: Count) -> Any:
    """The arguments of such a call with another number of elements in its masks; what is not `live` stays."""
    masks = {id(mask) for mask in _counted(func, args, kwargs, live)}
    change = _shorter if _name(func) == _PACKING else _choosing
    return map_leaves(lambda leaf: change(leaf, count) if id(leaf) in masks else leaf, (tuple(args), dict(kwargs)))


def as_many(func: Any, args: Any, result: Any, count: Count) -> Any:
    """The result of a call that has no mask, with so many elements: the first of them, the last one repeated."""
    if _name(func) not in _OF_RESULTS or not isinstance(result, torch.Tensor) or not len(result):
        return result
    most = max(len(result), args[0].numel() if args and isinstance(args[0], torch.Tensor) else 0)
    wanted = max(count(len(result), most), 1)
    return torch.cat([result[:wanted], *[result[-1:]] * (wanted - len(result))])


def _name(func: Any) -> str:
    """Of an overload, the name of the operator."""
    return name_of(func).partition(".")[0]


def _counted(func: Any, args: Any, kwargs: Mapping[str, Any], live: Callable[[Any], bool]) -> list[Any]:
    """The arguments of a call whose elements decide how many its result has."""
    name = _name(func)
    if name not in _OF_MASKS and name != _PACKING:
        return []
    given = list(leaves((args, dict(kwargs))))
    if name in ("nonzero", "argwhere") or (name == "where" and len(given) == 1):
        found = given[:1]
    elif name in ("masked_select", _PACKING):
        found = given[1:2]
    else:  # indices
        found = [] if name == "where" else [leaf for leaf in given[1:] if _is_mask(leaf)]
    return [leaf for leaf in found if live(leaf)]


def _is_mask(leaf: Any) -> bool:
    return str(getattr(leaf, "dtype", "")).removeprefix("torch.") in ("bool", "uint8")


def _is_varying(leaf: Any) -> bool:
    return isinstance(leaf, Value) and leaf.kind in (ValueKind.INPUT, ValueKind.RESULT)


def _choosing(mask: torch.Tensor, count: Count) -> torch.Tensor:
    """A mask that chooses so many elements: the first that it chose, then the first that it did not."""
    flat = mask.flatten()
    chosen, left = flat.nonzero().flatten(), (flat == 0).nonzero().flatten()
    wanted = min(count(len(chosen), len(flat)), len(flat))
    kept = torch.cat([chosen, left])[:wanted]
    other = torch.zeros_like(flat)
    other[kept] = torch.where(flat[kept] == 0, 1, flat[kept]).to(flat.dtype)
    return other.reshape(mask.shape)


def _shorter(lengths: torch.Tensor, count: Count) -> torch.Tensor:
    """Lengths of sequences, the longest cut."""
    longest = int(lengths.max())
    return lengths.clamp(max=max(count(longest, longest), 1))
