"""ATen calls told as the public calls that they stand behind, whose converters they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from nobuco.ir import Node
from nobuco.layout.order import ChannelOrder
from nobuco.layout.strategy import Signature, signatures
from nobuco.ops.names import Lacking
from nobuco.registry import Converter, Named, registry

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def call(*args: Any, **kwargs: Any) -> Arguments:
    """The arguments of a public call."""
    return args, kwargs


def spelled(public: Named, *overloads: Named) -> Callable[[Callable[..., Arguments]], Callable[..., Arguments]]:
    """Have overloads converted as a public operation with other arguments.

    The decorated function has the overload's signature and gives, by `call(...)`, the arguments of the public one,
    tensors in the same order.
    """
    shared = converter_of(public)
    if shared is None:
        return lambda spell: spell

    def register(spell: Callable[..., Arguments]) -> Callable[..., Arguments]:
        def make(*args: Any, **kwargs: Any) -> Callable[..., Any]:
            given, named = spell(*args, **kwargs)
            assert shared.make is not None
            run = shared.make(*given, **named)

            def function(*args: Any, **kwargs: Any) -> Any:
                given, named = spell(*args, **kwargs)
                return run(*given, **named)

            return function

        def steps(*args: Any, **kwargs: Any) -> Any:
            given, named = spell(*args, **kwargs)
            assert shared.steps is not None
            return shared.steps(*given, **named)

        def strategy(node: Node) -> Sequence[Signature]:
            given, named = spell(*node.args, **node.kwargs)
            public = replace(node, args=given, kwargs=named)
            return [_of_all(signature, public, node) for signature in signatures(shared.strategy, public)]

        moves = shared.steps is not None
        registry.add(
            Converter(
                overloads, spell, None if moves else make, strategy, shared.autocast, steps=steps if moves else None
            )
        )
        return spell

    return register


def _of_all(signature: Signature, public: Node, node: Node) -> Signature:
    """A signature of the public call as one of the overload's, which may take more (strides) that have no order."""
    orders = {value.id: order for value, order in zip(public.inputs, signature.inputs)}
    return replace(signature, inputs=tuple(orders.get(value.id, ChannelOrder.PYTORCH) for value in node.inputs))


def converter_of(public: Named) -> Converter | None:
    """The converter of a public operation; None where this PyTorch lacks the operation."""
    found = registry.find(public)
    assert found is not None or isinstance(public, Lacking), f"{public} has no converter to share"
    return found
