"""Whether a module, as it ran, did what a class of PyTorch's does.

The class's own `forward` goes through the recorded calls again: it is run on a stand-in that has the class's methods
and the module's attributes. Each call that it makes has to be the next one that was recorded, and gets what that gave,
so nothing is computed. Whatever made the module another one shows in its calls: a subclass, a replaced function, a
hook, other weights than it holds.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from nobuco.ir import Node, Samples, Value, ValueKind, leaves, map_leaves
from nobuco.trace.calls import is_baking, is_query, is_random, overload_of, placeless, torch_spelled
from nobuco.trace.memory import same_place
from nobuco.trace.site import is_library


def did_as(base: type[nn.Module], node: Node, samples: Samples) -> bool:
    """Whether the call of a module made the calls that `base` makes, on tensors that the module holds, and no others.

    Calls that compute a weight from others (a parametrization) may stand between, unless chance has a part in them.
    """
    replay = _Replay(node, samples)
    args, kwargs = map_leaves(replay.sample, (node.args, dict(node.kwargs)))
    try:
        with torch.no_grad(), replay:
            result = base.forward(_stand_in(base, node.module), *args, **kwargs)
    except Exception:  # whatever a `forward` raises that meets what is not its own
        return False
    return replay.is_over() and replay.are(node.outputs, result)


class _OtherCallError(Exception):
    """A call is made that was not recorded."""


class _Replay(TorchFunctionMode):
    """Answers each call with what the recorded one gave."""

    def __init__(self, node: Node, samples: Samples) -> None:
        super().__init__()
        self._samples, self._answered = samples, False
        self._blanks: dict[int, torch.Tensor] = {}
        self._place = next((p.device for p in node.module.parameters()), torch.device("cpu"))
        self._left = [inner for inner in node.walk() if not (inner.children or inner.module or _is_about_sizes(inner))]
        self._fed = {value.id for value in node.inputs}
        for inner in self._left:
            if any(value.id in self._fed for value in inner.inputs):
                self._fed |= {value.id for value in inner.results}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        func, kwargs = overload_of(func), torch_spelled(func, kwargs or {})
        if is_query(func):
            return func(*args, **kwargs)
        if is_baking(func):
            return func(*map_leaves(self._real, args), **map_leaves(self._real, kwargs))
        while self._left and _is_called_by_pytorch():
            call = self._left.pop(0)
            if call.op == func and self.are((call.args, dict(call.kwargs)), (args, placeless(func, kwargs))):
                self._answered = True
                return self._given_by(call)
            if not self._is_aside(call):
                break
        raise _OtherCallError

    def is_over(self) -> bool:
        """Whether calls were made, and no recorded one is left that matters."""
        return self._answered and all(map(self._is_aside, self._left))

    def are(self, recorded: Any, now: Any) -> bool:
        """Whether a tree holds the values that were recorded: of what depends on an input, the very same."""
        ours, theirs = list(leaves(recorded)), list(leaves(now))
        return len(ours) == len(theirs) and all(map(self._is, ours, theirs))

    def sample(self, leaf: Any) -> Any:
        """What a leaf of an argument tree was while tracing; of what was let go, a tensor that looks like it."""
        if not isinstance(leaf, Value):
            return leaf
        if leaf.id in self._samples.kept:
            return self._samples.kept[leaf.id]
        if leaf.id not in self._blanks:
            self._blanks[leaf.id] = torch.empty(leaf.shape, dtype=getattr(torch, leaf.dtype), device=self._place)
        return self._blanks[leaf.id]

    def _real(self, leaf: Any) -> Any:
        """A leaf whose elements are asked for."""
        return next((self._samples[id] for id, blank in self._blanks.items() if blank is leaf), leaf)

    def _is(self, recorded: Any, now: Any) -> bool:
        was = self.sample(recorded)
        if was is now:
            return True
        if not isinstance(now, torch.Tensor) or not isinstance(was, torch.Tensor):
            return type(now) is type(was) and bool(now == was)
        if recorded.id in self._fed or now.dtype != was.dtype:
            return False
        # Two weights of a module may be equal now and differ in its next checkpoint; what is computed has no place.
        is_held = recorded.kind is not ValueKind.RESULT
        if is_held:
            return same_place(now, was)
        return now.shape == was.shape and torch.equal(self._real(now), self._real(was))

    def _is_aside(self, call: Node) -> bool:
        """Whether a call has to do with the module's own weights alone, and gives the same each time."""
        return not (call.writes or call.regions or is_random(call) or any(v.id in self._fed for v in call.inputs))

    def _given_by(self, call: Node) -> Any:
        """What a call returned; of one that wrote to its arguments, without those."""
        written = {after.id for _, after in call.writes}
        returned = [value for value in call.results if value.id not in written] or call.results
        if call.writes:
            return self.sample(returned[0])
        return map_leaves(self.sample, call.outputs)


def _is_about_sizes(call: Node) -> bool:
    return bool(call.results) and all(value.kind is ValueKind.SIZE for value in call.results)


def _stand_in(base: type[nn.Module], module: Any) -> Any:
    """A module with the methods of `base` and all else that `module` has."""

    def attribute(self: Any, name: str) -> Any:
        with torch._C.DisableTorchFunction():  # a parametrization computes it, apart from what the class does
            if name == "_flat_weights":  # a second list that a recurrent layer keeps of its weights
                return [getattr(module, each, None) for each in module._flat_weights_names]
            return getattr(module, name)

    return object.__new__(type(base.__name__, (base,), {"__getattr__": attribute}))


def _is_called_by_pytorch() -> bool:
    """Whether the call that is being answered comes from PyTorch's code alone; `torch.nn` may have been patched."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not did_as.__code__:
        if not is_library(frame.f_code.co_filename):
            return False
        frame = frame.f_back
    return True
