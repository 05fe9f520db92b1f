"""A Python `if` on a tensor, both ways: the call that decides is run again with the decision turned round.

Each decision of a call splits what follows it in two. The calls before it are the same on both sides, so the
other side's are dropped and its values there replaced by the first side's; what comes after becomes the two
regions of a branch, joined from the last decision to the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from nobuco.ir import Node, Site, Value, map_leaves, values
from nobuco.trace.control import Side, SidesDifferError, join
from nobuco.trace.regions import every_node, mapped
from nobuco.trace.rewind import State

if TYPE_CHECKING:
    from nobuco.trace.tracer import Tracer

# One run that decides more often than this is taken for a loop that never ends.
_MOST_DECISIONS = 64
# How many other sides `explore_branches=True` traces in one conversion.
MOST_PATHS = 32
_COND = torch.ops.higher_order.cond


@dataclass(frozen=True)
class Decision:
    """One truth value that Python asked for, after so many recorded calls of its frame, and the state then."""

    pred: Value
    taken: bool
    position: int
    site: Site
    before: State


@dataclass(frozen=True)
class Run:
    """One way through a call. `assigned` are the tensors that it put into attributes of modules, by place."""

    nodes: tuple[Node, ...]
    decisions: tuple[Decision, ...]
    result: Any
    outputs: Any
    after: State
    assigned: Mapping[tuple[int, str], tuple[torch.Tensor, Value]]


class OtherwiseError(Exception):
    """The other side of a decision cannot be had."""


def path_limit(explore: bool | int) -> int:
    """How many other sides to trace for a value of `explore_branches`."""
    return MOST_PATHS if explore is True else int(explore)


def is_full(decisions: Sequence[Decision], forced: Sequence[bool]) -> bool:
    """Whether a run has decided so often that no more decisions are told apart.

    Raises:
        OtherwiseError: it is a run the other way, which may never end.
    """
    full = len(decisions) >= _MOST_DECISIONS
    if full and forced:
        raise OtherwiseError(f"it decided more than {_MOST_DECISIONS} times, as if it would never end")
    return full


def explored(tracer: Tracer, call: Callable[[], Any], first: Run, entry: State) -> tuple[tuple[Node, ...], Any]:
    """All ways through a call whose first run is done: its calls, joined by branches, and its result."""
    joined = _joined(tracer, call, first, entry, 0)
    joined.after.restore(tracer.memory)
    return joined.nodes, joined.result


def _joined(tracer: Tracer, call: Callable[[], Any], run: Run, entry: State, settled: int) -> Run:
    """A run with all its decisions but the `settled` first ones joined to their other sides, the last one first."""
    for i in reversed(range(settled, len(run.decisions))):
        decision = run.decisions[i]
        try:
            other = _other_side(tracer, call, run, entry, i)
            run = _branch(tracer, run, other, decision, entry)
        except (OtherwiseError, SidesDifferError) as error:
            tracer.warn(
                f"{decision.site}: only the side of this branch that was taken is in the model (its condition was "
                f"{decision.taken}); the other one was tried: {error}"
            )
    return run


def _other_side(tracer: Tracer, call: Callable[[], Any], run: Run, entry: State, i: int) -> Run:
    if not tracer.may_explore():
        raise OtherwiseError("no more paths are traced; see explore_branches")
    forced = (*(d.taken for d in run.decisions[:i]), not run.decisions[i].taken)
    entry.restore(tracer.memory)
    try:
        other = tracer.run_again(call, forced)
    except OtherwiseError:
        raise
    except Exception as error:
        raise OtherwiseError(f"it raised {type(error).__name__}: {error}") from error
    if len(other.decisions) <= i:
        raise OtherwiseError("on running again, the call took another way")
    return _on_the_same_values(run, _joined(tracer, call, other, entry, i + 1), i)


def _on_the_same_values(run: Run, other: Run, i: int) -> Run:
    """The other run with its values from before decision `i` replaced by those of the first run."""
    position = run.decisions[i].position
    mine, theirs = every_node(run.nodes[:position]), every_node(other.nodes[:position])
    if other.decisions[i].position != position or [n.op for n in mine] != [n.op for n in theirs]:
        raise OtherwiseError("on running again, the call did not make the same calls before the decision")
    same = {t.id: m for a, b in zip(mine, theirs) for m, t in zip(values(a.outputs), values(b.outputs))}

    def first(leaf: Any) -> Any:
        return same.get(leaf.id, leaf) if isinstance(leaf, Value) else leaf

    after = replace(other.after, slots=tuple((slot, first(value), stale) for slot, value, stale in other.after.slots))
    nodes = (*run.nodes[:position], *mapped(other.nodes[position:], first))
    assigned = {place: (tensor, first(value)) for place, (tensor, value) in other.assigned.items()}
    return Run(nodes, other.decisions, other.result, map_leaves(first, other.outputs), after, assigned)


def _branch(tracer: Tracer, run: Run, other: Run, decision: Decision, entry: State) -> Run:
    """Both runs as one that ends in a branch."""
    position = decision.position
    places = sorted({*run.assigned, *other.assigned})

    def side(one: Run) -> Side:
        kept = [one.assigned.get(place) or one.after.held(place) for place in places]
        tensors, given = [tensor for tensor, _ in kept], [value for _, value in kept]
        return Side(one.nodes[position:], (one.result, tensors), (one.outputs, given), one.after)

    sides = {decision.taken: side(run), not decision.taken: side(other)}
    before = replace(decision.before, slots=decision.before.slots[: len(entry.slots)])
    run.after.restore(tracer.memory)
    nodes, (result, tensors), (outputs, given) = tracer.traced(
        lambda: join(tracer, _COND, decision.pred, sides, decision.taken, before, decision.site), record=False
    )
    assigned = dict(zip(places, zip(tensors, given)))
    attributes = tuple((live, dict(kept)) for live, kept in run.after.attributes)
    for (i, name), tensor in zip(places, tensors):
        attributes[i][1][name] = tensor
    after = replace(State.of(tracer.memory), random=run.after.random, attributes=attributes)
    return Run((*run.nodes[:position], *nodes), run.decisions, result, outputs, after, assigned)
