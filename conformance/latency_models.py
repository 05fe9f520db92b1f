"""The networks of `conformance.models` as one suite, to be timed: `python -m conformance.latency` runs it.

Not named `test_*`: their parity is `conformance/test_models.py`'s business.
"""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from conformance.models import CASES, PYTORCH, Case, case


def _orders(network: Case) -> list[str]:
    names = ["nchw" if order is PYTORCH else "nhwc" for order in (network.order, network.outputs_order)]
    return ["-".join(names)]


@pytest.mark.convert(dynamic=False)
@pytest.mark.parametrize(
    "network", [pytest.param(c.name, id=c.name, marks=pytest.mark.convert(orders=_orders(c))) for c in CASES]
)
def network(network: str) -> Any:
    model, inputs = case(network).built()
    assert isinstance(model, nn.Module)
    model.example_inputs = lambda: inputs  # type: ignore[assignment]
    return model
