"""`MANUAL` converters: they say what order their outputs have only when they run, so they are run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from nobuco.bridge import t_pytorch2keras
from nobuco.ir import map_leaves
from nobuco.layout.order import ChannelOrder, get_channel_order
from nobuco.layout.strategy import Signature, has_order
from nobuco.plan.calling import call_converter, flat_outputs, traced_arguments
from nobuco.select import Unit


def probed_signatures(unit: Unit, samples: Mapping[int, Any]) -> list[Signature]:
    """One signature per common order of the inputs, the outputs' orders read off a trial run."""
    function = call_converter(unit, samples)
    ways = []
    for order in (ChannelOrder.TENSORFLOW, ChannelOrder.PYTORCH):
        args, kwargs = map_leaves(partial(_laid_out, order), traced_arguments(unit.node, samples))
        outputs = flat_outputs(function(*args, **kwargs))
        entering = tuple(order if has_order(v) else ChannelOrder.PYTORCH for v in unit.inputs)
        leaving = tuple(get_channel_order(t) for t in outputs)
        ways.append(Signature(entering, leaving))
    return ways


def _laid_out(order: ChannelOrder, leaf: Any) -> Any:
    return t_pytorch2keras(leaf, order) if isinstance(leaf, torch.Tensor) else leaf
