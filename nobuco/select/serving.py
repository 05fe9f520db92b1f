"""Which converter serves a call.

For an operation that is the one registered for it. The converter of a module class serves a module only where that
computes what the class computes, however it came by it; otherwise the module opens into its calls. Of a class of
PyTorch's the calls are known, and a module must have made them (`replay`): so a built-in converter serves whatever did
the same, and nothing else. What a class of the user's does its code tells alone, since what it calls may differ from
run to run: the module must have all of that code (`inheritance`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from nobuco.inheritance import other_code
from nobuco.ir import Node, Samples
from nobuco.registry import Converter, operation_name
from nobuco.select.replay import did_as

Find = Callable[[Any], Converter | None]


def serving(node: Node, find: Find, samples: Samples, note: Callable[[str], None]) -> Converter | None:
    """The converter that serves a call; of a module that of the nearest class that it is like.

    `find` looks one up by operation, and `note` is told which converters of the user's do not serve a module that is
    one of their class.
    """
    if node.module is None:
        converter = find(node.op)
        return converter if converter is not None and _knows_what_is_around(converter, node) else None
    classes = [
        (base, converter)
        for base, converter in _of_classes(node.module, find)
        if _knows_what_is_around(converter, node)
    ]
    for base, converter in classes:
        other = None if converter.is_built_in else other_code(node.module, base)
        if did_as(base, node, samples) if converter.is_built_in else other is None:
            return converter
        if other is not None and (other != "forward" or other in vars(node.module)):
            note(_set_aside(node, base, converter, other))
    return None


def stands_for_all(node: Node, find: Find) -> bool:
    """Whether a converter serves a call whatever it has inside, such as loops that differ from run to run."""
    if node.module is None:
        return find(node.op) is not None
    return any(
        not converter.is_built_in and other_code(node.module, base) is None
        for base, converter in _of_classes(node.module, find)
    )


def _of_classes(module: nn.Module, find: Find) -> Iterator[tuple[type[nn.Module], Converter]]:
    """The converters that were registered for a module's class and those that it derives from, nearest first."""
    for base in type(module).__mro__:
        converter = find(base)
        if converter is not None and base in converter.operations:
            yield base, converter


def _knows_what_is_around(converter: Converter, node: Node) -> bool:
    """Whether a call ran with what its converter reads: the module's own parameters, and of ours, the dtypes it takes.

    Keras's layers hold real numbers, and do not cast as `torch.autocast` does.
    """
    if not converter.is_built_in:
        return not node.rebound
    if node.module is not None and any(v in node.inputs for v in node.results):
        return False  # part of what it gives it was given: a layer makes all that it gives
    weights = node.module.parameters() if node.module is not None else ()
    return not any(weight.is_complex() for weight in weights) and not any(n.rebound or n.autocast for n in node.walk())


def _set_aside(node: Node, base: type[nn.Module], converter: Converter, other: str) -> str:
    return (
        f"{node.site}: the module {node.path!r} has a {other!r} of its own, so that its calls are converted, and the "
        f"converter of {operation_name(base)} ({converter.location}) is not asked; if it is right here, register it "
        f"for the class of a module that has this {other!r} as a method"
    )
