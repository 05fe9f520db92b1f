"""The tracer: runs a program once, eagerly, and records each public PyTorch call with its real values."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from nobuco.ir import Graph, Guard, Value, leaves, map_tensors, tensors, values
from nobuco.trace.autocasting import Autocast, autocast_on, has_cast
from nobuco.trace.calls import (
    counting,
    gives_back_by_size,
    is_baking,
    is_decision,
    is_query,
    is_repeatable,
    is_uninitialised,
    name_of,
    only_aten_is_meaningful,
    original_of,
    overload_of,
    placeless,
    question,
    speaking,
    torch_spelled,
)
from nobuco.trace.control import calls_are_seen, dynamo_is_loaded, forget_compiled, given_to_body, handler
from nobuco.trace.explore import both_sides, decided, entry_state
from nobuco.trace.forms import Form, form_after
from nobuco.trace.held import restoring
from nobuco.trace.later import LaterCalls
from nobuco.trace.memory import Slot, View, WriteWatch
from nobuco.trace.randomness import generators, keeping_random
from nobuco.trace.record import NOTHING_SETTLED, TRUTH, Settled
from nobuco.trace.scopes import Scopes
from nobuco.trace.session import Session
from nobuco.trace.site import in_check_of_arguments
from nobuco.trace.sizes import SizeTracing
from nobuco.trace.sizes.counting import Count, as_many, recounted
from nobuco.trace.sizes.recorder import SizeRecorder
from nobuco.trace.states import States
from nobuco.trace.traceable import is_traceable
from nobuco.trace.views import fill, is_basic, is_onto_itself, overlaps
from nobuco.trace.writes import propagate_write, view_by, write_places, written_slots


@dataclass(frozen=True)
class Failure:
    """A run that PyTorch, or the program itself, ended with an error: with the decisions by sizes until then."""

    error: Exception
    guards: tuple[Guard, ...] = ()


def trace(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    sizes: SizeTracing = SizeTracing.OFF,
    paths: int = 0,
    count: Count | None = None,
    settled: Settled = NOTHING_SETTLED,
) -> Graph:
    """Run `function(*args, **kwargs)` once and record it.

    Every tensor among the arguments, in order, is an input of the graph, also one that stands there twice:
    each place gets a copy of its own, so that nothing of the caller's is written. A program that puts what it
    computes into its modules is run a few times more, unrecorded, to see whether later calls read it.

    Args:
        function: a module or any callable.
        args: positional arguments, nested as the program takes them.
        kwargs: keyword arguments, likewise.
        sizes: the sizes that are followed.
        paths: how many other sides of decisions that Python makes on tensors (`if x.sum() > 0`) to trace, too.
        count: how many elements those calls shall give that choose some by their values; None: as many as they do.
        settled: decisions that shall go one way in any case.

    Raises:
        Exception: whatever the program raises.
    """
    result = traced(function, args, kwargs, sizes, paths, count, settled)
    if isinstance(result, Failure):
        raise result.error
    return result


def traced(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    sizes: SizeTracing = SizeTracing.OFF,
    paths: int = 0,
    count: Count | None = None,
    settled: Settled = NOTHING_SETTLED,
) -> Graph | Failure:
    """What `trace` gives; where the program raises, what was seen until then."""
    loaded = dynamo_is_loaded()
    run = partial(_traced, function, args, kwargs, sizes, paths, count, settled)
    result = run()
    if loaded != dynamo_is_loaded():  # `torch.cond` and its kin have just imported it: now they can be kept from it
        forget_compiled()
        result = run()
    return _explored_by_state(run, result) if paths else result


def _explored_by_state(run: Callable[[frozenset[str]], Graph | Failure], result: Graph | Failure) -> Graph | Failure:
    """What the program gives once its decisions by what it keeps from call to call are explored, too.

    That a buffer is written shows at the end of a run only, and a side that was not taken may write more of them.
    """
    kept: frozenset[str] = frozenset()
    while isinstance(result, Graph) and not kept.issuperset(names := {before.name for before, _ in result.states}):
        kept |= names
        result = run(kept)
    return result


def _traced(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    sizes: SizeTracing,
    paths: int,
    count: Count | None,
    settled: Settled,
    kept: frozenset[str] = frozenset(),
) -> Graph | Failure:
    tracer = Tracer(function, sizes, paths, count, settled, kept)
    session = tracer.session
    try:
        session.memory.meet(generators(function, (args, kwargs)))
        own_args, own_kwargs = map_tensors(lambda t, _: session.tensors.add_input(t), (tuple(args), dict(kwargs)))
        with (
            restoring(function) as before,
            session.tensors.putting_back(),
            keeping_random(),
            session.memory.putting_generators_back(),
            calls_are_seen(),
            tracer.running(),
        ):
            result = tracer.run_root(lambda: function(*own_args, **own_kwargs))
            outputs = session.tensors.read(result)
            tracer.states.keep(outputs, LaterCalls(function, args, kwargs, before))
            session.idle.let_go()
        return session.record.graph(outputs, session.memory.samples)
    except Exception as error:
        return Failure(error, tuple(session.record.guards))


class Tracer(TorchFunctionMode):
    """Records calls while `running()`; a mode of PyTorch's own, so nothing of torch is touched."""

    def __init__(
        self,
        root: Any,
        sizes: SizeTracing = SizeTracing.OFF,
        paths: int = 0,
        count: Count | None = None,
        settled: Settled = NOTHING_SETTLED,
        kept: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__()
        self._count = count
        self.session = Session(root, self, sizes, paths, settled, kept)
        self.states = States(self.session)
        self._sizes = SizeRecorder(self.session)
        self._scopes = Scopes(self.session)
        self._watch = WriteWatch(self.session.memory, self)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Record all that runs in this block; whatever happens, nothing stays behind."""
        with torch.no_grad(), self._scopes.watched(), self._watch, self:
            yield

    def run_root(self, call: Callable[[], Any]) -> Any:
        """Run the program."""
        if self.session.explores:
            with torch._C.DisableTorchFunction():
                self.session.tensors.register_held()
                self.session.record.frame.entry = entry_state(self.session, self.session.record.root)
        return both_sides(self.session, call, call())

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        own = speaking(types)
        if own is not None and not self.session.is_muted:
            with self:  # what a tensor class of the user's makes of the call, which it may hand on to PyTorch's own
                return own.__torch_function__(func, types, args, kwargs or {})
        func = overload_of(original_of(func, sys._getframe(1)), (*args[1:], *(kwargs or {}).values()))
        kwargs = torch_spelled(func, kwargs or {})
        control = handler(func)
        if control is not None:
            self.session.idle.keeps_all = True  # a region is run on what was there before
            return control(self.session, func, (*args, *given_to_body(kwargs)))
        if self.session.is_muted:
            with self if is_traceable(func) else nullcontext():
                return (func.__wrapped__ if is_traceable(func) else func)(*args, **kwargs)
        if is_query(func):
            return self._sizes.answer(func, args, kwargs)
        if only_aten_is_meaningful(func):
            return self._run_below(func, args, kwargs)
        asked = question(func)
        if asked is not None:
            with self:
                return bool(asked(*args, **kwargs))
        if is_traceable(func):
            return self._scopes.run_function(func, args, kwargs)
        form = form_after(self.session.memory, func, args, kwargs)
        if form is not None:
            return self._take_form(args[0], form)
        return self._run(func, args, kwargs)

    def _run_below(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run a call that only its ATen calls describe, and have those recorded."""
        if is_traceable(func):
            with self:
                return func.__wrapped__(*args, **kwargs)
        with self._watch.telling():
            return func(*args, **kwargs)

    def _run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run a call that has no others inside, and record it unless it neither makes nor writes a tensor."""
        if name_of(func) == "as_strided":
            args, kwargs = self._on_root(*args, **kwargs), {}
        if name_of(func) == "__setitem__" and is_onto_itself(*args):
            return None
        if name_of(func) == "__setitem__" and overlaps(args[0]) and is_basic(args[1]):
            with self:  # the part that is written shows up in several places
                return fill(args[0][args[1]], args[2])
        if name_of(func) == "__setitem__" and overlaps(args[0]) and write_places(self.session, *args):
            return None
        args, kwargs = self._sizes.gated(func, args, kwargs)
        self._sizes.note_squeeze(func, args, kwargs)
        self._sizes.note_pieces(func, args, kwargs)
        known, memory = self.session.tensors, self.session.memory
        given = known.read((tuple(args), {k: v for k, v in placeless(func, kwargs).items() if k != "out"}))
        targets = tensors(kwargs.get("out"))
        known.read(targets)  # which takes them again if they are stale views
        self._watch.take_calls()
        state = torch.get_rng_state()
        autocast = autocast_on([*tensors(args), *tensors(kwargs)])
        result = self._result(func, args, kwargs)
        calls = self._watch.take_calls()
        cast = autocast if has_cast(calls) else None
        written = written_slots(memory, func, [*targets, *tensors((args, kwargs))], memory.take_writes())
        if gives_back_by_size(func) and self.session.sizes is not SizeTracing.OFF:
            with torch._C.DisableTorchFunction():  # a call of its own at each size
                result = map_tensors(lambda t, _: t.view_as(t) if known.is_current(t) else t, result)
        produced = tensors(result)
        if not produced and not written:
            return self._taken_into_python(func, given, result, calls)
        if not written and all(known.is_current(t) for t in produced):
            return result  # it gave back what it was given: `to` the same dtype, dropout at rest
        repeatable = is_repeatable(func, (args, kwargs)) and self._count is None
        repeatable = repeatable and torch.equal(state, torch.get_rng_state())
        self._record(func, (args, kwargs), given, result, written, cast, repeatable)
        counted_by = counting(func, given)
        if counted_by:
            self.session.record.note_baked(func, counted_by)
        return result

    def _result(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """What a call gives, or would if it chose so many elements; with the writes since, those of the call alone.

        Memory that was not written to yet holds zeros, as it does in the converted model: else what is compared
        would be chance.
        """
        if self._count is not None:
            args, kwargs = recounted(func, args, kwargs, self._is_live, self._count)
        self.session.memory.take_writes()
        result = func(*args, **kwargs)
        if is_uninitialised(func):
            result.detach().zero_()
        return result if self._count is None else as_many(func, args, result, self._count)

    def _is_live(self, leaf: Any) -> bool:
        return isinstance(leaf, torch.Tensor) and self.session.record.is_live(self.session.tensors.value_of(leaf))

    def _taken_into_python(self, func: Any, given: Any, result: Any, calls: Sequence[Any]) -> Any:
        """What a call that gives no tensor gives; noted if it is something of a tensor's elements.

        Args:
            func: the function.
            given: its arguments.
            result: what it gave.
            calls: the ATen calls that it made.
        """
        record = self.session.record
        if is_decision(func, result) and record.is_live(given):
            settled = record.settled(TRUTH)
            decision = decided(self.session, given, result) if settled is None else settled
            if decision is not None:
                return decision
            record.note_truth(values(given)[0], result)
        if is_baking(func, calls) and not in_check_of_arguments():
            record.note_baked(func, given)
        return result

    def _record(
        self,
        func: Any,
        call: Any,
        given: Any,
        result: Any,
        written: list[Slot],
        autocast: Autocast | None,
        repeatable: bool,
    ) -> None:
        record, known, memory = self.session.record, self.session.tensors, self.session.memory
        idle = self.session.idle
        live = record.is_live(given)
        before = [slot.value for slot in written]
        after = [known.hold(slot.tensor, live) for slot in written]
        new = list(zip(after, (slot.tensor for slot in written)))

        def made(tensor: torch.Tensor, position: int) -> Value:
            if memory.find(tensor) is not None:
                return known.value_of(tensor)
            value = known.hold(tensor, live, view_by(memory, tensor, func, call, position))
            new.append((value, tensor))
            return value

        outputs = map_tensors(made, result)
        returned = {id(leaf) for leaf in leaves(outputs)}
        silent = tuple(v for v in after if id(v) not in returned)
        if silent:
            # `x[i] = y` returns None but makes a new x; batch norm returns one tensor and writes two.
            every = (*values(outputs), *silent)
            outputs = every[0] if len(every) == 1 else every
        record.add(func, given[0], given[1], outputs, writes=tuple(zip(before, after)), autocast=autocast)
        if live and repeatable:
            for value, tensor in new:
                idle.note(value, tensor)
        with idle.held_back():
            for slot in written:
                propagate_write(self.session, slot)
        idle.let_go_now_and_then()

    def _take_form(self, tensor: torch.Tensor, form: Form) -> torch.Tensor:
        """`x.t_()`, `x.data = y`: from now on x is another view; what x was stays, for those that are views of it."""
        known, memory = self.session.tensors, self.session.memory
        with self:
            new = form()
        if new is tensor:
            return tensor
        known.set_aside(tensor)
        slot = known.slot_of(new)
        tensor.data = new
        memory.hold(tensor, slot.value, View(slot, torch.Tensor.detach, (new,), {}, 0))
        memory.mark_written(tensor)
        return tensor

    def _on_root(self, input: torch.Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Any:
        """The arguments of `as_strided`, which speak of memory, for the tensor that the memory was made for."""
        start = input.storage_offset() if storage_offset is None else storage_offset
        slot = self.session.tensors.slot_of(input)
        while slot.view is not None:
            slot = slot.view.base
        return slot.tensor, size, stride, start


def without(graph: Graph, messages: Collection[str]) -> Graph:
    """The graph without these conditions, and without the warnings that say them."""
    return replace(
        graph,
        conditions=tuple(c for c in graph.conditions if c.message not in messages),
        warnings=tuple(w for w in graph.warnings if w not in messages),
    )
