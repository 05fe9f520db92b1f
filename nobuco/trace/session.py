"""A trace that is going on: what the parts of the tracer share, and running code under it in other ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

from torch.overrides import TorchFunctionMode

from nobuco.ir import Node
from nobuco.trace.idle import Idle
from nobuco.trace.record import Record, Settled
from nobuco.trace.sizes import SizeTracing
from nobuco.trace.tensors import Tensors


class Session:
    """One trace. `mode` records what runs under it; it is off inside its own handler, where it can be entered anew.

    `kept` are the names of held tensors that are known to be others at the next call.
    """

    def __init__(
        self, root: Any, mode: TorchFunctionMode, sizes: SizeTracing, paths: int, settled: Settled, kept: frozenset[str]
    ) -> None:
        self.mode = mode
        self.sizes = sizes
        self.record = Record(root, settled, explores=paths != 0)
        self.tensors = Tensors(self.record, kept)
        self.memory = self.tensors.memory
        self.idle = Idle(self.memory, keeps_all=paths != 0)
        self._paths_left = paths
        self._muted = 0

    @property
    def is_muted(self) -> bool:
        """Whether calls run without being recorded."""
        return self._muted > 0

    @contextmanager
    def muted(self) -> Iterator[None]:
        """Record nothing in this block."""
        self._muted += 1
        try:
            yield
        finally:
            self._muted -= 1

    def untraced(self, run: Callable[[], Any]) -> Any:
        """Run something for its values alone: the turns of a loop behind the one that is recorded."""
        with self.muted(), self.mode:
            return run()

    def traced(self, run: Callable[[], Any], record: bool = True) -> tuple[tuple[Node, ...], Any, Any]:
        """Run something with its calls recorded apart; gives them, and what it gave, as tensors and as values."""
        with self.apart(entry=None):
            with self.mode if record else nullcontext():
                result = run()
            outputs = self.tensors.read(result)  # which may take views again: calls of its own
            return tuple(self.record.frame.children), result, outputs

    @contextmanager
    def apart(self, **changes: Any) -> Iterator[None]:
        """Record in this block as if the innermost call, changed in these ways, began anew; then forget it."""
        frames = self.record.frames
        depth = len(frames)
        frames.append(replace(frames[-1], children=[], decisions=[], **changes))
        try:
            yield
        finally:
            del frames[depth:]

    @property
    def explores(self) -> bool:
        """Whether other sides of decisions may still be traced."""
        return self._paths_left != 0

    def may_explore(self) -> bool:
        """Whether another path may be traced; counts it."""
        self._paths_left -= 1
        return self._paths_left >= 0
