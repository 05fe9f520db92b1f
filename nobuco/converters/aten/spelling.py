"""ATen calls told as the public calls that they stand behind, whose converters they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from nobuco.converters import (  # noqa: F401  their converters are what is shared
    activation,
    arithmetic,
    casting,
    comparison,
    convolution,
    creation,
    cumulative,
    embedding,
    gathering,
    indexing,
    interpolation,
    joining,
    linear,
    math,
    memory,
    norm,
    normalization,
    padding,
    pixel,
    pooling,
    recurrent,
    reduction,
    repeating,
    sampling,
    shaping,
    sorting,
)
from nobuco.ir import Node
from nobuco.layout.order import ChannelOrder
from nobuco.layout.strategy import Signature, signatures
from nobuco.names import F, Lacking, Tensor, aten, torch
from nobuco.registry import Converter, Named, Operation, registry

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def call(*args: Any, **kwargs: Any) -> Arguments:
    """The arguments of a public call."""
    return args, kwargs


def functional(packet: torch._ops.OpOverloadPacket | Lacking) -> tuple[Named, ...]:
    """The overloads of an ATen operation that give tensors, write to nothing and take dimensions by number."""
    if isinstance(packet, Lacking):
        return (packet,)
    overloads = [getattr(packet, name) for name in packet.overloads()]
    return tuple(op for op in overloads if not op._schema.is_mutable and _gives_tensors(op) and not _by_name(op))


def _gives_tensors(overload: torch._ops.OpOverload) -> bool:
    """Some overloads are TorchScript's own, of numbers, strings or dicts."""
    types = [str(result.type) for result in overload._schema.returns]
    return bool(types) and all(type_ in ("Tensor", "List[Tensor]") for type_ in types)


def _by_name(overload: torch._ops.OpOverload) -> bool:
    return any("Dimname" in str(argument.real_type) for argument in overload._schema.arguments)


def share(public: Named, *overloads: Named) -> None:
    """Have overloads converted as the public operation, whose arguments theirs are, in the same order."""
    found = converter_of(public)
    if found is not None:
        registry.extend(found, overloads)


def share_by_name(names: str) -> None:
    """Have all overloads of these ATen operations, in place too, converted as the public one of the same name."""
    for name in names.split():
        share(_public(name), *functional(getattr(aten, name)))
        method = getattr(Tensor, f"{name}_")  # it may have a converter of its own, which keeps the dtype
        share(_public(name) if registry.find(method) is None else method, *_in_place(name))


def _in_place(name: str) -> tuple[Operation, ...]:
    """The overloads that write their result to the first argument: a converter gives the new value all the same."""
    packet = getattr(aten, f"{name}_")
    overloads = () if isinstance(packet, Lacking) else (getattr(packet, overload) for overload in packet.overloads())
    return tuple(op for op in overloads if not _by_name(op))


def _public(name: str) -> Named:
    """The public operation of that name, or what is left of it in this PyTorch: the one that works in place."""
    spaces = ((torch, ""), (Tensor, ""), (F, ""), (torch.special, "special_"), (torch.linalg, "linalg_"))
    for ending in ("", "_"):
        for space, prefix in spaces:
            found = getattr(space, name.removeprefix(prefix) + ending)
            if registry.find(found) is not None:
                return found
    raise LookupError(f"no public operation {name} has a converter")


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
