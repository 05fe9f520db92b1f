"""A Python `if` on a tensor, both ways: the call that decides is run again with the decision turned round.

Each decision of a call splits what follows it in two. The calls before it are the same on both sides, so the
other side's are dropped and its values there replaced by the first side's; what comes after becomes the two
regions of a branch, joined from the last decision to the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from nobuco.ir import Node, Site, Value, map_leaves, values
from nobuco.trace.control import Side, SidesDifferError, join
from nobuco.trace.held import copied
from nobuco.trace.record import Decision
from nobuco.trace.regions import every_node, mapped
from nobuco.trace.rewind import Place, State
from nobuco.trace.session import Session
from nobuco.trace.site import call_site

# One run that decides more often than this is taken for a loop that never ends.
_MOST_DECISIONS = 64
# Rounds of a loop that are told apart: each is a branch inside the one before, and a model of its own.
_MOST_ROUNDS = 8
# How many other sides `explore_branches=True` traces in one conversion.
MOST_PATHS = 32
_COND = torch.ops.higher_order.cond


@dataclass(frozen=True)
class Run:
    """One way through a call. `assigned` are the tensors that it put into attributes of modules, by place."""

    nodes: tuple[Node, ...]
    decisions: tuple[Decision, ...]
    result: Any
    outputs: Any
    after: State
    assigned: Mapping[Place, tuple[torch.Tensor, Value]]


class BranchNotTraceableError(Exception):
    """The other side of a decision cannot be had."""


def path_limit(explore: bool | int) -> int:
    """How many other sides to trace for a value of `explore_branches`."""
    return MOST_PATHS if explore is True else int(explore)


def entry_state(session: Session, holder: Any) -> State | None:
    """The state in which a call begins, if its other sides may be traced; else None."""
    return State.of(session.memory, holder) if session.explores else None


def decided(session: Session, arguments: Any, result: bool) -> bool | None:
    """A truth value that Python asks for, the one that is forced if any is; None where it is no decision to explore.

    Raises:
        BranchNotTraceableError: it is a run the other way, which may never end.
    """
    frame, site = session.record.frame, call_site()
    if frame.entry is None or not session.record.is_live(arguments) or _is_full(frame.decisions, frame.forced, site):
        return None
    count = len(frame.decisions)
    taken = frame.forced[count] if count < len(frame.forced) else result
    before = State.of(session.memory, frame.holder)
    frame.decisions.append(Decision(values(arguments)[0], taken, len(frame.children), site, before))
    return taken


def _is_full(decisions: Sequence[Decision], forced: Sequence[bool], site: Site) -> bool:
    """Whether a run has decided so often, or so often on this line, that no more decisions are told apart."""
    rounds = sum(decision.site == site for decision in decisions)
    full = len(decisions) >= _MOST_DECISIONS or rounds >= _MOST_ROUNDS
    if full and forced:
        most = f"{_MOST_ROUNDS} times on {site}" if rounds >= _MOST_ROUNDS else f"{_MOST_DECISIONS} times"
        raise BranchNotTraceableError(f"it decided more than {most}, as if it would never end; write torch.while_loop")
    return full


def both_sides(session: Session, call: Callable[[], Any], result: Any) -> Any:
    """The result of the innermost call, `call()`, once the other sides of its decisions are traced."""
    frame = session.record.frame
    if not frame.decisions or frame.entry is None:
        return result
    with torch._C.DisableTorchFunction():
        joined = _joined(session, call, _run(session, result), frame.entry, 0)
        joined.after.restore(session.memory)
    frame.children[:] = joined.nodes
    return joined.result


def _run(session: Session, result: Any) -> Run:
    """What the innermost call has done, now that it is over."""
    frame, tensors = session.record.frame, session.tensors
    outputs = tensors.read(result)  # which may take views again: calls of its own
    assert frame.entry is not None
    assigned = frame.entry.assigned()
    kept = {place: (tensor, tensors.read(tensor)) for place, tensor in assigned.items()}
    after = frame.entry.later(tensors.memory)
    return Run(tuple(frame.children), tuple(frame.decisions), result, outputs, after, kept)


def _run_again(session: Session, call: Callable[[], Any], forced: tuple[bool, ...]) -> Run:
    """Run the innermost call again, its first decisions made for it."""
    with session.apart(forced=forced):
        with torch._C._EnableTorchFunction():
            result = call()
        return _run(session, result)


def _joined(session: Session, call: Callable[[], Any], run: Run, entry: State, settled: int) -> Run:
    """A run with all its decisions but the `settled` first ones joined to their other sides, the last one first."""
    for i in reversed(range(settled, len(run.decisions))):
        decision = run.decisions[i]
        try:
            other = _other_side(session, call, run, entry, i)
            run = _branch(session, run, other, decision, entry)
        except (BranchNotTraceableError, SidesDifferError) as error:
            session.record.warn(
                f"{decision.site}: only the side of this branch that was taken is in the model (its condition was "
                f"{decision.taken}); the other one was tried: {error}"
            )
    return run


def _other_side(session: Session, call: Callable[[], Any], run: Run, entry: State, i: int) -> Run:
    if not session.may_explore():
        raise BranchNotTraceableError("no more paths are traced; see explore_branches")
    forced = (*(d.taken for d in run.decisions[:i]), not run.decisions[i].taken)
    entry.restore(session.memory)
    try:
        other = _run_again(session, call, forced)
    except BranchNotTraceableError:
        raise
    except Exception as error:
        raise BranchNotTraceableError(f"it raised {type(error).__name__}: {error}") from error
    if len(other.decisions) <= i:
        raise BranchNotTraceableError("on running again, the call took another way")
    return _on_the_same_values(run, _joined(session, call, other, entry, i + 1), i)


def _on_the_same_values(run: Run, other: Run, i: int) -> Run:
    """The other run with its values from before decision `i` replaced by those of the first run."""
    position = run.decisions[i].position
    mine, theirs = every_node(run.nodes[:position]), every_node(other.nodes[:position])
    if other.decisions[i].position != position or [n.op for n in mine] != [n.op for n in theirs]:
        raise BranchNotTraceableError("on running again, the call did not make the same calls before the decision")
    same = {t.id: m for a, b in zip(mine, theirs) for m, t in zip(values(a.outputs), values(b.outputs))}

    def first(leaf: Any) -> Any:
        return same.get(leaf.id, leaf) if isinstance(leaf, Value) else leaf

    after = replace(other.after, slots=tuple((slot, first(value), stale) for slot, value, stale in other.after.slots))
    nodes = (*run.nodes[:position], *mapped(other.nodes[position:], first))
    assigned = {place: (tensor, first(value)) for place, (tensor, value) in other.assigned.items()}
    return Run(nodes, other.decisions, other.result, map_leaves(first, other.outputs), after, assigned)


def _branch(session: Session, run: Run, other: Run, decision: Decision, entry: State) -> Run:
    """Both runs as one that ends in a branch."""
    position = decision.position
    places = sorted({*run.assigned, *other.assigned}, key=str)

    def side(one: Run) -> Side:
        kept = [one.assigned.get(place) or one.after.held(place) for place in places]
        tensors, kept_values = [tensor for tensor, _ in kept], [value for _, value in kept]
        return Side(one.nodes[position:], (one.result, tensors), (one.outputs, kept_values), one.after)

    sides = {decision.taken: side(run), not decision.taken: side(other)}
    before = replace(decision.before, slots=decision.before.slots[: len(entry.slots)])
    run.after.restore(session.memory)
    nodes, (result, tensors), (outputs, kept_values) = session.traced(
        lambda: join(session, _COND, decision.pred, sides, decision.taken, before, decision.site), record=False
    )
    assigned = dict(zip(places, zip(tensors, kept_values)))
    attributes = tuple((shelf, copied(kept)) for shelf, kept in run.after.attributes)
    for (i, name), tensor in zip(places, tensors):
        attributes[i][1][name] = tensor
    after = replace(State.of(session.memory), random=run.after.random, attributes=attributes)
    return Run((*run.nodes[:position], *nodes), run.decisions, result, outputs, after, assigned)
