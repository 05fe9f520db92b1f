"""What is said of calls that have no converter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nobuco.ir import Node
from nobuco.registry import operation_name
from nobuco.select.units import Gap


def gap_message(gaps: Sequence[Gap], refused: Mapping[int, str] | None = None) -> str:
    """One message for every operation that has no converter, each with its calls and a converter to fill in.

    `refused` tells of calls, by the node's id, why PyTorch could not open them.
    """
    by_operation: dict[str, list[Gap]] = {}
    for gap in gaps:
        by_operation.setdefault(operation_name(gap.node.op), []).append(gap)
    parts = [f"{len(by_operation)} operation(s) have no converter:"]
    for name, calls in by_operation.items():
        parts.append(f"\n{name}, called {len(calls)} time(s):")
        parts += [f"  {_place(gap)}" for gap in calls[:5]]
        reasons = (refused.get(gap.node.id) for gap in calls) if refused else ()
        parts += [f"PyTorch cannot open it into ATen calls: {why}" for why in list(filter(None, reasons))[:1]]
        parts.append("Write one and run again:\n" + _stub(name, calls[0].node))
    return "\n".join(parts)


def _place(gap: Gap) -> str:
    shapes = ", ".join(repr(v) for v in gap.node.inputs)
    scope = f"  in module {gap.scope!r}" if gap.scope else ""
    within = f"  in {operation_name(gap.within.op)}" if gap.within is not None else ""
    return f"{gap.node.site}{scope}{within}  ({shapes})"


def _stub(name: str, node: Node) -> str:
    args = [f"arg{i}" for i in range(len(node.args))] + [f"{key}=None" for key in node.kwargs]
    own = ["self", *args] if node.module is not None else args
    spoken = operation_name(getattr(node.op, "overloadpacket", node.op))
    operation = f"{name}.__get__" if type(node.op).__name__ == "method-wrapper" else name
    strategy = "nobuco.ChannelOrderingStrategy.FORCE_PYTORCH_ORDER"
    return (
        f"    @nobuco.converter({operation}, channel_ordering_strategy={strategy})\n"
        f"    def convert_{spoken.split('.')[-1].strip('_')}({', '.join(own)}):\n"
        f"        return lambda {', '.join(args)}: ...  # the same, on TensorFlow tensors"
    )
