"""The tracer: runs a programme once, eagerly, and records each public PyTorch call with its real values."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from nobuco.errors import NobucoWarning
from nobuco.ir import Baked, Graph, Node, Site, Value, ValueKind, leaves, map_leaves, values
from nobuco.registry import operation_name
from nobuco.trace.control import compiled_code_runs_eagerly, dynamo_is_loaded, handler
from nobuco.trace.explore import Decision, Run, explored, is_full
from nobuco.trace.held import held_nones, held_numbers, held_tensors, modules_with_pre_hooks, restoring
from nobuco.trace.memory import Memory, Slot, View, WriteWatch, same_place, storage
from nobuco.trace.regions import closed, refuse_leaks
from nobuco.trace.rewind import State
from nobuco.trace.site import call_site
from nobuco.trace.sizes import Kept, TracedFloat, TracedInt, plain, size_of, traced_number
from nobuco.trace.states import changed_numbers, changed_tensors, depending, lost_state, observed
from nobuco.trace.traceable import asks_for_sizes, is_traceable
from nobuco.trace.views import aliasing, fill, is_basic, overlaps, rewriting

_BAKING = {
    "__bool__",
    "__int__",
    "__float__",
    "__index__",
    "__complex__",
    "item",
    "tolist",
    "numpy",
    "__array__",
}


@dataclass
class _Frame:
    """A call that is going on: what it was given, and the calls that it has made so far."""

    id: int
    op: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    site: Site
    module: nn.Module | None = None
    path: str = ""
    children: list[Node] = field(default_factory=list)
    owner: Any = None
    entry: State | None = None
    forced: tuple[bool, ...] = ()
    decisions: list[Decision] = field(default_factory=list)


def trace(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    sizes: Kept = Kept.NONE,
    paths: int = 0,
) -> Graph:
    """Run `function(*args, **kwargs)` once and record it.

    Every tensor among the arguments, in order, is an input of the graph, also one that stands there twice:
    each place gets a copy of its own, so that nothing of the caller's is written.

    Args:
        function: a module or any callable.
        args: positional arguments, nested as the programme takes them.
        kwargs: keyword arguments, likewise.
        sizes: of which sizes to record what becomes of them.
        paths: how many other sides of decisions that Python makes on tensors (`if x.sum() > 0`) to trace, too.
    """
    loaded, random = dynamo_is_loaded(), torch.get_rng_state()
    try:
        graph = _trace(function, args, kwargs, sizes, paths)
    except Exception:
        if loaded == dynamo_is_loaded():
            raise
    if loaded != dynamo_is_loaded():  # `torch.cond` and its kin have just imported it: now they can be kept from it
        torch.set_rng_state(random)
        graph = _trace(function, args, kwargs, sizes, paths)
    return graph


def _trace(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], sizes: Kept, paths: int
) -> Graph:
    tracer = Tracer(function, sizes, paths)
    own_args, own_kwargs = map_leaves(tracer.admit, (tuple(args), dict(kwargs)))
    with restoring(function), tracer.putting_back(), compiled_code_runs_eagerly(), tracer.running():
        result = tracer.run_root(lambda: function(*own_args, **own_kwargs))
        outputs = tracer.read(result)
        tracer.keep_states(outputs)
    return tracer.graph(outputs)


class Tracer(TorchFunctionMode):
    """Records calls while `running()`; a mode of PyTorch's own, so nothing of torch is touched."""

    def __init__(self, root: Any, sizes: Kept = Kept.NONE, paths: int = 0) -> None:
        super().__init__()
        self._sizes = sizes
        self._paths_left = paths
        self._muted = 0
        self._baked_sizes: dict[Baked, None] = {}
        self._memory = Memory()
        self._frames: list[_Frame] = [_Frame(0, root, (), {}, Site("", 0))]
        self._inputs: list[Value] = []
        self._counter = 0
        self._warnings: dict[str, None] = {}
        self._live: set[int] = set()
        self._paths: dict[int, str] = {}
        self._named: dict[int, tuple[ValueKind, str]] = {}
        self._first: dict[int, Value] = {}
        self._hooked: set[int] = set()
        self._held = held_tensors(root)
        self._numbers, self._nones = held_numbers(root), held_nones(root)
        self._aliases: dict[int, list[torch.Tensor]] = {}
        self._states: list[tuple[Value, Value]] = []
        self._baked: list[tuple[tuple[Value, ...], str]] = []
        self._noted: dict[str, set[frozenset[int]]] = {}
        self._learn_names(root)

    # -- what the rest of the package asks of it ---------------------------------------------------

    def admit(self, leaf: Any) -> Any:
        """Make an argument tensor an input of the graph; returns the copy that the programme shall see."""
        if not isinstance(leaf, torch.Tensor):
            return leaf
        copy = leaf.detach().clone()
        if leaf.requires_grad:
            copy.requires_grad_()
        value = self._new_value(copy, ValueKind.INPUT, f"input_{len(self._inputs)}")
        self._memory.hold(copy, value)
        self._inputs.append(value)
        self._live.add(value.id)
        return copy

    @contextmanager
    def running(self) -> Iterator[None]:
        """Record all that runs in this block; whatever happens, nothing stays behind."""
        with ExitStack() as stack:
            enter = register_module_forward_pre_hook(self._enter_module)
            stack.callback(enter.remove)
            for module in modules_with_pre_hooks(self._frames[0].op):
                # A hook for all modules runs before a module's own; what those compute belongs to the caller.
                stack.callback(module.register_forward_pre_hook(self._enter_after_hooks).remove)
                self._hooked.add(id(module))
            leave = register_module_forward_hook(self._leave_module, with_kwargs=True)
            stack.callback(leave.remove)
            stack.enter_context(torch.no_grad())
            stack.enter_context(WriteWatch(self._memory))
            stack.enter_context(self)
            yield

    def read(self, tree: Any) -> Any:
        """An argument tree with each tensor and traced size replaced by the value that it has now."""

        def value(leaf: Any) -> Any:
            if isinstance(leaf, torch.Tensor):
                return self._value_of(leaf)
            return leaf.value if isinstance(leaf, (TracedInt, TracedFloat)) else leaf

        return map_leaves(value, tree)

    def record_number(self, op: Callable[..., Any], args: tuple[Any, ...], number: int | float) -> Value:
        """Record arithmetic on sizes."""
        dtype = "float32" if isinstance(number, float) else "int32"
        value = Value(self._next_id(), ValueKind.SIZE, (), dtype)
        self._live.add(value.id)
        self._memory.samples[value.id] = plain(number)
        self._frames[-1].children.append(Node(self._next_id(), op, self.read(args), {}, value, call_site()))
        return value

    def note_baked_size(self, value: Value, what: str, chooses: bool = False) -> None:
        """Note that Python has looked at a size; whether it matters is known once dynamic sizes are."""
        message = (
            f"{call_site()}: {what} bakes a dynamic size into the model as it was while tracing "
            f"({self._memory.samples[value.id]})"
        )
        self._baked_sizes.setdefault(Baked(value.id, message, chooses))
        self._note_where(message)

    def keep_states(self, outputs: Any) -> None:
        """Note what the call has left in the tensors that modules hold; to be called when it is over."""
        (root,) = self._frames
        with _suspended(self):
            held = (self._held, held_tensors(root.op))
            changes = changed_tensors(*held, self._memory.is_written, self._first_value, self._value_of)
            read = observed(changes, tuple(root.children), outputs)
            for changed in changes:
                if changed.before is not None and changed.before.id not in read:
                    continue  # each call makes it anew (a weight that a hook computes, kept features)
                if changed.before is not None and not changed.lost:
                    self._states.append((changed.before, changed.after))
                elif changed.before is not None or (changed.after.id in self._live and changed.name in self._nones):
                    self._warnings.setdefault(lost_state(changed, tuple(root.children)))
            self._warnings.update(dict.fromkeys(changed_numbers(self._numbers, held_numbers(root.op))))
            for kept in self._held.values():  # they are about to be put back, and views of them with them
                if self._memory.is_written(kept.tensor):
                    self._memory.about_to_write(kept.tensor)

    @contextmanager
    def putting_back(self) -> Iterator[None]:
        """Afterwards, the tensors that modules hold are what they were before."""
        try:
            yield
        finally:
            for held in self._held.values():
                first = self._first.get(id(held.tensor))
                if first is None or not self._memory.is_written(held.tensor):
                    continue
                if not any(other is held.tensor for other in self._aliases.get(storage(held.tensor), ())):
                    held.tensor.data = self._memory.samples[first.id]
                elif not overlaps(held.tensor):
                    held.tensor.data.copy_(self._memory.samples[first.id])

    def graph(self, outputs: Any) -> Graph:
        """What was recorded."""
        (root,) = self._frames
        nodes = closed(root.children, [before for before, _ in self._states])
        refuse_leaks(nodes, [*values(outputs), *(after for _, after in self._states)])
        graph = Graph(
            nodes, tuple(self._inputs), outputs, self._memory.samples,
            baked=tuple(self._baked_sizes), states=tuple(self._states),
        )  # fmt: skip
        varying = depending(graph) | self._live
        for given, message in self._baked:
            if any(value.id in varying for value in given):
                self._warnings.setdefault(message)
        return replace(graph, warnings=tuple(self._warnings), noted=self._noted)

    # -- control flow: what `control` and `explore` need ----------------------------------------------

    @property
    def memory(self) -> Memory:
        """All live tensors."""
        return self._memory

    @property
    def is_muted(self) -> bool:
        """Whether calls run without being recorded."""
        return self._muted > 0

    def untraced(self, run: Callable[[], Any]) -> Any:
        """Run something for its values alone: the turns of a loop behind the one that is recorded."""
        self._muted += 1
        try:
            with self:
                return run()
        finally:
            self._muted -= 1

    def traced(self, run: Callable[[], Any], record: bool = True) -> tuple[tuple[Node, ...], Any, Any]:
        """Run something with its calls recorded apart; gives them, and what it gave, as tensors and as values."""
        depth = len(self._frames)
        self._frames.append(replace(self._frames[-1], children=[], entry=None, decisions=[]))
        try:
            with self if record else nullcontext():
                result = run()
            outputs = self.read(result)  # which may take views again: calls of its own
            return tuple(self._frames[-1].children), result, outputs
        finally:
            del self._frames[depth:]

    def run_root(self, call: Callable[[], Any]) -> Any:
        """Run the programme."""
        if self._paths_left:
            with _suspended(self):
                self.meet_held_tensors()
                self._frames[0].entry = State.of(self._memory, self._frames[0].op)
        return self._both_sides(call, call())

    def run_again(self, call: Callable[[], Any], forced: tuple[bool, ...]) -> Run:
        """Run the innermost call again, its first decisions made for it."""
        depth = len(self._frames)
        self._frames.append(replace(self._frames[-1], children=[], forced=forced, decisions=[]))
        try:
            with torch._C._EnableTorchFunction():
                result = call()
            return self._run(result)
        finally:
            del self._frames[depth:]

    def may_explore(self) -> bool:
        """Whether another path may be traced; counts it."""
        self._paths_left -= 1
        return self._paths_left >= 0

    def meet_held_tensors(self) -> None:
        """Give each tensor that modules hold its value now, not first inside a branch."""
        for held in self._held.values():
            self._value_of(held.tensor)

    def placeholder(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor that stands for one which a region is given, with the elements of `tensor`."""
        copy = tensor.detach().clone()
        self._memory.hold(copy, self._new_value(copy, ValueKind.INPUT, live=True))
        return copy

    def new_result(self, tensor: torch.Tensor, live: bool) -> Value:
        """The value of a tensor that a call has just made."""
        return self._memory.hold(tensor, self._new_value(tensor, live=live)).value

    def new_value(self, tensor: torch.Tensor, live: bool) -> Value:
        """A value that looks like this tensor."""
        return self._new_value(tensor, live=live)

    def is_live(self, tree: Any) -> bool:
        """Whether any value of the tree depends on an input."""
        return self._is_live(tree)

    def warn(self, message: str) -> None:
        """Add a warning to the graph."""
        self._warnings.setdefault(message)

    def add_node(self, op: Any, args: Any, outputs: Any, site: Site, regions: Any, writes: Any = ()) -> None:
        """Record a call with regions."""
        node = Node(self._next_id(), op, args, {}, outputs, site, writes=writes, regions=regions)
        self._frames[-1].children.append(node)

    def _run(self, result: Any) -> Run:
        frame = self._frames[-1]
        outputs = self.read(result)  # which may take views again: calls of its own
        assigned = frame.entry.assigned() if frame.entry is not None else {}
        given = {place: (tensor, self.read(tensor)) for place, tensor in assigned.items()}
        after = State.of(self._memory, self._owner(frame))
        return Run(tuple(frame.children), tuple(frame.decisions), result, outputs, after, given)

    def _owner(self, frame: _Frame) -> Any:
        """The module whose attributes a call may assign."""
        return frame.module if frame.module is not None else frame.owner

    def _both_sides(self, call: Callable[[], Any], result: Any) -> Any:
        """The result of the innermost call, once the other sides of its decisions are traced."""
        frame = self._frames[-1]
        if not frame.decisions or frame.entry is None:
            return result
        with _suspended(self):
            nodes, result = explored(self, call, self._run(result), frame.entry)
        frame.children[:] = nodes
        return result

    def _decided(self, func: Any, given: Any, result: bool) -> bool:
        """A truth value that Python asks for: the one that is forced, if any is."""
        frame = self._frames[-1]
        if frame.entry is None or not self._is_live(given) or is_full(frame.decisions, frame.forced):
            self._note_baked(func, given)
            return result
        count = len(frame.decisions)
        taken = frame.forced[count] if count < len(frame.forced) else result
        before = State.of(self._memory, self._owner(frame))
        frame.decisions.append(Decision(values(given)[0], taken, len(frame.children), call_site(), before))
        return taken

    # -- calls ----------------------------------------------------------------------------------------

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = _torch_spelled(func, kwargs or {})
        control = handler(func)
        if control is not None:
            return control(self, func, (*args, *kwargs.values()))
        if self._muted:
            with self if is_traceable(func) else nullcontext():
                return (func.__wrapped__ if is_traceable(func) else func)(*args, **kwargs)
        if is_traceable(func):
            return self._run_scope(func, args, kwargs)
        return self._run_leaf(func, args, kwargs)

    def _run_leaf(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        tensors = [leaf for leaf in leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        if is_query(func):
            return self._query(func, args, kwargs)
        if func == torch.Tensor.data.__set__:  # type: ignore[attr-defined]
            return self._set_data(*args)
        if getattr(func, "__name__", "") == "as_strided":
            args, kwargs = self._on_root(*args, **kwargs), {}
        if getattr(func, "__name__", "") == "__setitem__" and overlaps(args[0]) and is_basic(args[1]):
            with self:  # the part that is written shows up in several places
                return fill(args[0][args[1]], args[2])
        given, given_kwargs = self.read((tuple(args), {k: v for k, v in kwargs.items() if k != "out"}))
        targets = self._refreshed(kwargs.get("out"))
        self._memory.take_writes()
        result = func(*args, **kwargs)
        written = self._written_slots(func, [*targets, *tensors], self._memory.take_writes())
        produced = [leaf for leaf in leaves(result) if isinstance(leaf, torch.Tensor)]
        if not produced and not written:
            if isinstance(result, bool) and getattr(func, "__name__", "") in ("__bool__", "item"):
                return self._decided(func, given, result)
            self._note_baked(func, given)
            return result
        if not written and all(self._is_current(t) for t in produced):
            return result  # it gave back what it was given: `contiguous`, `to` the same dtype, dropout at rest
        self._record(func, (args, kwargs), (given, given_kwargs), result, written)
        return result

    def _set_data(self, tensor: torch.Tensor, new: torch.Tensor) -> None:
        """`x.data = y`: from now on, x is what y is."""
        self._value_of(tensor)
        value = self._value_of(new)
        self._memory.leave(tensor)
        tensor.data = new
        view = View(self._memory.slots[id(new)], torch.Tensor.detach, (new,), {}, 0)
        self._memory.hold(tensor, value, view)
        self._memory.mark_written(tensor)

    def _on_root(self, input: torch.Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Any:
        """The arguments of `as_strided`, which speak of memory, for the tensor that the memory was made for."""
        start = input.storage_offset() if storage_offset is None else storage_offset
        self._value_of(input)
        slot = self._memory.slots[id(input)]
        while slot.view is not None:
            slot = slot.view.base
        return slot.tensor, size, stride, start

    def _query(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Answer a question about a tensor, with sizes that remember where they come from."""
        answer = func(*args, **kwargs)
        if not self._keeps_sizes() or not args or not isinstance(args[0], torch.Tensor):
            return answer
        slot = self._memory.find(args[0])
        if slot is None or slot.value.id not in self._live:
            return answer
        if isinstance(answer, torch.Size):
            return torch.Size([self._size(args[0], dim, n) for dim, n in enumerate(answer)])
        name = getattr(func, "__name__", "")
        if name == "size":
            dim = args[1] if len(args) > 1 else kwargs["dim"]
            return self._size(args[0], dim % args[0].dim(), answer)
        if name in ("numel", "nelement"):
            return math.prod(self._size(args[0], dim, n) for dim, n in enumerate(args[0].shape))
        return answer

    def _keeps_sizes(self) -> bool:
        asked = self._sizes is Kept.ASKED and asks_for_sizes(self._frames[-1].op)
        return asked or self._sizes is Kept.ALL

    def _size(self, tensor: torch.Tensor, dim: int, number: int) -> TracedInt:
        return traced_number(number, self.record_number(size_of, (tensor, dim), number), self)

    def _record(self, func: Any, call: Any, given: Any, result: Any, written: list[Slot]) -> None:
        frame, live = self._frames[-1], self._is_live(given)
        before = [slot.value for slot in written]
        for slot in written:
            self._memory.hold(slot.tensor, self._new_value(slot.tensor, live=live))
        index = 0

        def result_value(leaf: Any) -> Any:
            nonlocal index
            if not isinstance(leaf, torch.Tensor):
                return leaf
            index += 1
            known = self._memory.find(leaf)
            if known is not None:
                return self._value_of(leaf)
            view = self._as_view(leaf, func, call, index - 1)
            return self._memory.hold(leaf, self._new_value(leaf, live=live), view).value

        outputs = map_leaves(result_value, result)
        after = [slot.value for slot in written]
        returned = {id(v) for v in leaves(outputs)}
        silent = tuple(v for v in after if id(v) not in returned)
        if silent:
            # `x[i] = y` returns None but makes a new x; batch norm returns one tensor and writes two.
            made = (*values(outputs), *silent)
            outputs = made[0] if len(made) == 1 else made
        frame.children.append(
            Node(
                self._next_id(),
                func,
                given[0],
                given[1],
                outputs,
                call_site(),
                writes=tuple(zip(before, after)),
            )
        )
        for slot in written:
            self._spread(slot)

    def _run_scope(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        given, given_kwargs = self.read((tuple(args), kwargs))
        owner = args[0] if args and isinstance(args[0], nn.Module) else None
        entry = State.of(self._memory, owner) if self._paths_left else None
        frame = _Frame(self._next_id(), func, given, given_kwargs, call_site(), owner=owner, entry=entry)
        self._frames.append(frame)

        came = {value.id for value in values((given, given_kwargs))}

        def apart(leaf: Any) -> Any:
            as_it_came = isinstance(leaf, torch.Tensor) and self._value_of(leaf).id in came
            return leaf.view_as(leaf) if as_it_came else leaf

        def call() -> Any:
            with self:
                # What is returned as it came becomes a value of its own: whoever marks a tensor this way (as
                # `force_pytorch_order` does) wants a step of the model.
                return map_leaves(apart, func.__wrapped__(*args, **kwargs))

        result = self._both_sides(call, call())
        self._close_frame(result)
        return result

    # -- modules --------------------------------------------------------------------------------------

    def _enter_module(self, module: nn.Module, args: Any) -> None:
        if id(module) not in self._hooked:
            self._enter_after_hooks(module, args)

    def _enter_after_hooks(self, module: nn.Module, args: Any) -> None:
        if self._muted:
            return
        with torch._C.DisableTorchFunctionSubclass(), _suspended(self):
            path = self._paths.get(id(module), type(module).__name__)
            given = self.read(tuple(args))
            entry = State.of(self._memory, module) if self._paths_left else None
            frame = _Frame(self._next_id(), type(module), given, {}, call_site(), module, path, entry=entry)
            self._frames.append(frame)

    def _leave_module(self, module: nn.Module, args: Any, kwargs: Any, result: Any) -> Any:
        if self._muted:
            return None
        joined = self._both_sides(lambda: module.forward(*args, **kwargs), result)
        with _suspended(self):
            frame = self._frames[-1]
            frame.kwargs = self.read(dict(kwargs))
            self._close_frame(joined)
        return None if joined is result else joined

    def _close_frame(self, result: Any) -> None:
        outputs = self.read(result)
        frame = self._frames.pop()
        self._frames[-1].children.append(
            Node(
                frame.id,
                frame.op,
                frame.args,
                frame.kwargs,
                outputs,
                frame.site,
                frame.module,
                frame.path,
                children=tuple(frame.children),
            )
        )

    # -- values ---------------------------------------------------------------------------------------

    def _value_of(self, tensor: torch.Tensor) -> Value:
        slot = self._memory.find(tensor)
        if slot is None:
            for met in self._aliases.get(storage(tensor), (tensor,)):
                self._first_value(met)
            self._first_value(tensor)
            slot = self._memory.slots[id(tensor)]
        self._refresh(slot)
        return slot.value

    def _first_value(self, tensor: torch.Tensor) -> Value:
        """The value that a tensor which the programme did not make had when the trace first met it."""
        if id(tensor) not in self._first:
            kind, name = self._named.get(id(tensor), (ValueKind.CONSTANT, ""))
            value = self._first[id(tensor)] = self._new_value(tensor, kind, name)
            self._memory.hold(tensor, value)
        return self._first[id(tensor)]

    def _refresh(self, slot: Slot) -> None:
        """Take a stale view again from its base."""
        if not slot.stale or slot.view is None:
            return
        self._refresh(slot.view.base)
        slot.stale = False
        view = slot.view
        given = self.read((view.args, view.kwargs))
        live = self._is_live(given)
        with torch._C.DisableTorchFunction():
            results = view.function(*view.args, **view.kwargs)
        index = 0

        def taken(leaf: Any) -> Any:
            nonlocal index
            if not isinstance(leaf, torch.Tensor):
                return leaf
            index += 1
            value = self._new_value(leaf, live=live)
            if index - 1 == view.index:
                self._memory.hold(slot.tensor, value)
            else:
                self._memory.samples[value.id] = leaf.clone()
            return value

        outputs = map_leaves(taken, results)
        self._frames[-1].children.append(Node(self._next_id(), view.function, given[0], given[1], outputs, call_site()))

    def _refreshed(self, target: Any) -> list[torch.Tensor]:
        return [t for t in leaves(target) if isinstance(t, torch.Tensor) and self._value_of(t)]

    def _spread(self, slot: Slot) -> None:
        """After a write to `slot`: rewrite the bases that it is a view of, and mark all other views stale."""
        fresh = {id(slot)}
        current = slot
        self._adopt(current)
        while current.view is not None:
            views = [current.view]
            while overlaps(views[0].base.tensor) and views[0].base.view is not None:
                views.insert(0, views[0].base.view)
            base = views[0].base
            fresh.add(id(base))
            rewrite = rewriting(views, current.tensor, self._sizes is not Kept.NONE)
            before = self._memory.samples[base.value.id]
            self._memory.hold(before, base.value)
            with self:
                rewritten = rewrite(before, current.tensor)
            value = self._value_of(rewritten)
            base.value, base.stale = value, False
            self._memory.samples[value.id] = base.tensor
            current = base
            self._adopt(current)
        for other in self._memory.sharing(slot.tensor):
            if id(other) not in fresh:
                other.stale = other.view is not None

    def _adopt(self, root: Slot) -> None:
        """Find the views among tensors that share the memory of `root` by other ways than a call that was seen."""
        if root.view is not None:
            return
        loose = [slot for slot in self._memory.sharing(root.tensor) if slot.view is None and slot is not root]
        for other in sorted(loose, key=lambda slot: -slot.tensor.numel()):
            for base, tensor in ((other, root), (root, other)):
                args = aliasing(base.tensor, tensor.tensor)
                if args is not None and tensor.view is None and base.view is None:
                    tensor.view = View(base, torch.as_strided, args, {}, 0)
                    break

    def _as_view(self, tensor: torch.Tensor, func: Any, call: Any, index: int) -> View | None:
        for leaf in leaves(call):
            if isinstance(leaf, torch.Tensor) and leaf is not tensor and storage(leaf) == storage(tensor):
                base = self._memory.find(leaf)
                return View(base, func, call[0], call[1], index) if base else None
        return None

    def _written_slots(self, func: Any, tensors: list[torch.Tensor], writes: list[torch.Tensor]) -> list[Slot]:
        """Which of a call's tensors it wrote: per written memory its very elements, else the first in order."""
        found: dict[int, Slot] = {}
        for target in writes:
            there = [t for t in tensors if storage(t) == storage(target)]
            exact = [t for t in there if same_place(t, target)]
            chosen = there if getattr(func, "__name__", "") == "__setitem__" else exact or there
            slot = self._memory.find(chosen[0]) if chosen else None
            if slot is not None:
                found[id(slot)] = slot
        return list(found.values())

    def _new_value(
        self, tensor: torch.Tensor, kind: ValueKind = ValueKind.RESULT, name: str = "", live: bool = False
    ) -> Value:
        dtype = str(tensor.dtype).removeprefix("torch.")
        value = Value(self._next_id(), kind, tuple(tensor.shape), dtype, name)
        if live:
            self._live.add(value.id)
        return value

    def _is_current(self, tensor: torch.Tensor) -> bool:
        slot = self._memory.find(tensor)
        return slot is not None and not slot.stale

    def _is_live(self, tree: Any) -> bool:
        """Whether any value of the tree depends on an input."""
        return any(isinstance(leaf, Value) and leaf.id in self._live for leaf in leaves(tree))

    def _note_baked(self, func: Any, given: Any) -> None:
        if getattr(func, "__name__", "") in _BAKING:
            message = (
                f"{call_site()}: {operation_name(func)} takes a value that depends on the input into Python; "
                "the converted model keeps what it was while tracing (a branch stays the branch taken). "
                "Use torch.where or torch.cond, or give the enclosing module a converter."
            )
            self._baked.append((values(given), message))
            self._note_where(message)

    def _note_where(self, message: str) -> None:
        """Note in which calls a warning arose; a converter for one of them answers it."""
        self._noted.setdefault(message, set()).add(frozenset(frame.id for frame in self._frames[1:]))

    def _learn_names(self, root: Any) -> None:
        if isinstance(root, nn.Module):
            self._paths = {id(module): path for path, module in root.named_modules()}
        for name, held in self._held.items():
            self._named.setdefault(id(held.tensor), (held.kind, name))
            self._aliases.setdefault(storage(held.tensor), []).append(held.tensor)

    def _next_id(self) -> int:
        self._counter += 1
        return self._counter


_QUERIES = {
    "size", "dim", "numel", "stride", "is_contiguous", "storage_offset", "data_ptr", "nelement", "ndimension",
    "element_size", "is_floating_point", "is_complex", "get_device", "untyped_storage", "__len__", "__hash__",
    "__repr__", "__format__", "is_same_size", "has_names", "__dir__",
}  # fmt: skip
_QUERY_GETTERS = {
    "shape", "dtype", "device", "ndim", "is_cuda", "is_nested", "requires_grad", "grad_fn", "grad", "layout",
    "is_sparse", "is_quantized", "is_leaf", "is_mkldnn", "is_meta", "is_mps", "itemsize", "nbytes", "names",
}  # fmt: skip


def _torch_spelled(func: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """NumPy's `axis` and `keepdims`, which PyTorch's own parser of arguments takes too, as `dim` and `keepdim`."""
    if hasattr(func, "__code__"):
        return dict(kwargs)
    spelled = {"axis": "dim", "keepdims": "keepdim"}
    return {spelled.get(name, name): value for name, value in kwargs.items()}


def is_query(func: Any) -> bool:
    """Whether a call only asks about a tensor: nothing to record."""
    if type(func).__name__ == "method-wrapper":
        return getattr(func.__self__, "__name__", "") in _QUERY_GETTERS
    return getattr(func, "__name__", "") in _QUERIES


@contextmanager
def _suspended(mode: TorchFunctionMode) -> Iterator[None]:
    """Run a hook of our own without recording it (hooks run with the mode active)."""
    with torch._C.DisableTorchFunction():
        yield


def warn_all(graph: Graph) -> None:
    """Issue the warnings that a trace collected."""
    for message in graph.warnings:
        warnings.warn(message, NobucoWarning, stacklevel=3)
