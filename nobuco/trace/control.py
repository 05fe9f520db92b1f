"""Control flow as data: `torch.cond`, `while_loop`, `map` and `scan` with their bodies traced into regions.

PyTorch hands these to Dynamo. Under the stance `force_eager`, its public switch, they stay plain calls of a
`HigherOrderOperator`, which a `TorchFunctionMode` sees like any other call. Each body then runs under the
tracer, with its nodes kept apart. Of the other operators, `flex_attention` among them, the kernel that PyTorch
writes in its own calls is traced.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils import _pytree as pytree

from nobuco.errors import ConversionError, InputError
from nobuco.ir import Graph, Node, Samples, Site, Value, ValueKind, leaves, map_tensors, tensors, values
from nobuco.trace.rewind import State
from nobuco.trace.session import Session
from nobuco.trace.site import call_site
from nobuco.trace.sizes import TracedFloat, TracedInt

# Under which PyTorch keeps the kernel that it writes in its own calls.
_COMPOSITE = torch._C.DispatchKey.CompositeExplicitAutograd


def dynamo_is_loaded() -> bool:
    """Whether `torch.compile`, and with it Dynamo (2 s, 70 MB), is in use in this process."""
    return "torch._dynamo" in sys.modules


def forget_compiled() -> None:
    """Drop what Dynamo compiled while a trace was going on; elsewhere it would fail (`torch.cond` does)."""
    importlib.import_module("torch._dynamo").reset()


@contextmanager
def calls_are_seen() -> Iterator[None]:
    """What `torch.compile` wraps, and the higher-order operators with it, runs as plain Python in this block.

    And TorchScript makes each of its calls by itself, rather than several fused into one.
    """
    with torch.jit.optimized_execution(False), _compiled_code_runs_eagerly():
        yield


@contextmanager
def _compiled_code_runs_eagerly() -> Iterator[None]:
    set_stance = getattr(torch.compiler, "set_stance", None)
    if set_stance is None or not dynamo_is_loaded():
        yield
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(set_stance("force_eager"))
        except RuntimeError as error:  # which PyTorch raises where compiled code is being made
            raise InputError(f"nobuco is called inside torch.compile ({error}); convert outside") from error
        yield


class SidesDifferError(ConversionError):
    """The two sides of a branch cannot be joined."""


@dataclass(frozen=True)
class Side:
    """One side of a branch: the calls it makes, what it returns (as tensors and as values), the state it leaves."""

    nodes: tuple[Node, ...]
    result: Any
    outputs: Any
    after: State


def handler(operation: Any) -> Callable[[Session, Any, Sequence[Any]], Any] | None:
    """What traces a call of this higher-order operator: `(session, operation, args) -> result`."""
    if not isinstance(operation, torch._ops.HigherOrderOperator):
        return None
    return _HANDLERS.get(operation.name(), _kernel if _COMPOSITE in operation.py_kernels else None)


def join(
    session: Session, operation: Any, pred: Value, sides: dict[bool, Side], taken: bool, entry: State, site: Site
) -> Any:
    """Record a branch whose two sides were traced from the state `entry`; gives its result, as new tensors.

    The memory must hold what the side taken left. Tensors that either side wrote are outputs of the branch too.

    Raises:
        SidesDifferError: the sides do not return the same structure of tensors of the same shapes and dtypes; where a
            size decides, of as many dimensions.
    """
    _check_alike(sides, site, pred.kind is ValueKind.SIZE)
    changed = entry.changed(*(side.after for side in sides.values()))
    regions = []
    for side in (sides[True], sides[False]):
        written = tuple(side.after.slots[i][1] for i in changed)
        regions.append(Graph(side.nodes, (), (*values(side.outputs), *written), Samples(session.memory.samples)))
    live = session.record.is_live((pred, [r.outputs for r in regions]))
    entry.restore_values()
    result = map_tensors(lambda tensor, _: _fresh(tensor), sides[taken].result)
    outputs = [session.tensors.hold(t, live) for t in tensors(result)]
    writes = []
    for i in changed:
        slot, before, _ = entry.slots[i]
        value = session.record.new_value(slot.tensor, live=live)
        entry.set_value(session.memory, i, value)
        writes.append((before, value))
    outputs += [after for _, after in writes]
    session.record.add(operation, (pred, ()), {}, tuple(outputs), site, writes, tuple(regions))
    return result


def _check_alike(sides: dict[bool, Side], site: Site, by_size: bool) -> None:
    def described(side: Side) -> list[Any]:
        return [(v.rank if by_size else v.shape, v.dtype) if isinstance(v, Value) else v for v in leaves(side.outputs)]

    one, other = described(sides[True]), described(sides[False])
    if one != other:
        raise SidesDifferError(f"{site}: the two sides of a branch return different things: {one} and {other}")
    numbers = [
        leaf for side in sides.values() for leaf in leaves(side.result) if isinstance(leaf, TracedInt | TracedFloat)
    ]
    if numbers:
        raise SidesDifferError(f"{site}: a branch returns a dynamic size; return a tensor")


def _fresh(tensor: torch.Tensor) -> torch.Tensor:
    """The elements of a tensor as a new one, which no earlier value is."""
    with torch._C.DisableTorchFunction():
        return tensor.detach().clone()


# -- the operators -------------------------------------------------------------------------------------


def _cond(session: Session, operation: Any, args: Sequence[Any]) -> Any:
    pred, true_fn, false_fn, operands = args
    bodies = {True: true_fn, False: false_fn}
    if session.is_muted or not isinstance(pred, torch.Tensor):
        with session.mode:
            return bodies[bool(pred)](*operands)
    site, condition, taken = call_site(), session.tensors.read(pred), bool(pred)
    session.tensors.register_held()
    entry, sides = State.of(session.memory), {}
    for side in (not taken, taken):
        sides[side] = Side(*session.traced(partial(bodies[side], *operands)), State.of(session.memory))
        if side is not taken:
            entry.restore(session.memory)
    return join(session, operation, condition, sides, taken, entry, site)


def given_to_body(kwargs: Mapping[str, Any]) -> list[Any]:
    """The arguments by keyword but for what PyTorch 2.14 tells itself: which a body writes to."""
    if kwargs.get("mutated_arg_indices"):
        raise ConversionError(
            "a body of torch.cond or of a loop writes to its arguments: give what it writes as a result"
        )
    return [value for name, value in kwargs.items() if name != "mutated_arg_indices"]


def _while_loop(session: Session, operation: Any, args: Sequence[Any]) -> Any:
    cond_fn, body_fn, carried, additional = args
    initial = [t if isinstance(t, torch.Tensor) else torch.tensor(t) for t in carried]

    def run() -> list[torch.Tensor]:
        current = [_fresh(t) for t in initial]
        while cond_fn(*current, *additional):
            current = [torch.as_tensor(t) for t in body_fn(*current, *additional)]
        return current

    if session.is_muted:
        return tuple(session.untraced(run))
    inputs = tuple(session.tensors.read(initial))
    first = [session.tensors.placeholder(t) for t in initial]
    test = _body(session, first, lambda: cond_fn(*first, *additional))
    step = _body(session, first, lambda: body_fn(*first, *additional))
    return tuple(_recorded(session, operation, (inputs,), session.untraced(run), (test, step)))


def _map(session: Session, operation: Any, args: Sequence[Any]) -> Any:
    function, xs, shared = args

    def run() -> Any:
        results = [function(*(x[i] for x in xs), *shared) for i in range(xs[0].shape[0])]
        return pytree.tree_map(lambda *steps: torch.stack(steps), *results)

    stacked = session.untraced(run)
    if not session.is_muted:
        inputs = tuple(session.tensors.read(list(xs)))
        first = [session.tensors.placeholder(x[0]) for x in xs]
        body = _body(session, first, lambda: function(*first, *shared))
        _recorded(session, operation, (inputs,), list(leaves(stacked)), (body,))
    return stacked


def _scan(session: Session, operation: Any, args: Sequence[Any]) -> Any:
    function, init, xs, additional = args
    count = len(init)

    def run() -> list[torch.Tensor]:
        carry, steps = list(init), list[Any]()
        for i in range(xs[0].shape[0]):
            result = list(function(*carry, *(x[i] for x in xs), *additional))
            carry, steps = result[:count], [*steps, result[count:]]
        return [_fresh(t) for t in carry] + [torch.stack(column) for column in zip(*steps)]

    if session.is_muted:
        return session.untraced(run)
    inputs = (tuple(session.tensors.read(list(init))), tuple(session.tensors.read(list(xs))))
    first = [session.tensors.placeholder(t) for t in (*init, *(x[0] for x in xs))]
    body = _body(session, first, lambda: function(*first, *additional))
    return _recorded(session, operation, inputs, session.untraced(run), (body,))


def _kernel(session: Session, operation: Any, args: Sequence[Any]) -> Any:
    """The calls that PyTorch's own kernel of an operator makes, the functions that it was given among them."""
    with session.mode:
        return operation.py_kernels[_COMPOSITE](*args)


_HANDLERS: dict[str, Callable[[Session, Any, Sequence[Any]], Any]] = {
    "cond": _cond,
    "while_loop": _while_loop,
    "map_impl": _map,
    "scan": _scan,
}


def _body(session: Session, placeholders: Sequence[torch.Tensor], run: Callable[[], Any]) -> Graph:
    """One step of a loop as a region."""
    session.tensors.register_held()
    entry = State.of(session.memory)
    nodes, _, outputs = session.traced(
        lambda: [t if isinstance(t, torch.Tensor) else torch.tensor(t) for t in leaves(run())]
    )
    if entry.changed(State.of(session.memory)):
        raise ConversionError(
            f"{call_site()}: the body of a loop writes a tensor in place that is not its own; carry it through "
            "the loop and return the new one instead"
        )
    entry.restore_values()
    inputs = tuple(session.memory.slots[id(t)].value for t in placeholders)
    return Graph(nodes, inputs, values(outputs), Samples(session.memory.samples))


def _recorded(
    session: Session, operation: Any, inputs: tuple[Any, ...], results: list[torch.Tensor], regions: tuple[Graph, ...]
) -> list[torch.Tensor]:
    """Record a loop whose results, tensors of its own, are these."""
    outputs = tuple(session.tensors.hold(t, live=True) for t in results)
    session.record.add(operation, (*inputs, ()), {}, outputs, regions=regions)
    return results
