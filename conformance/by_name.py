"""The networks of conformance.models as attributes, so that any interpreter can import one by its name.

conformance.by_name.resnet18() is the network, seeded, with its inputs as `example_inputs()`.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from conformance.models import case


def __getattr__(name: str) -> Callable[[], nn.Module]:
    try:
        found = case(name)
    except KeyError:
        raise AttributeError(name) from None

    def make() -> nn.Module:
        model, inputs = found.built()
        model.example_inputs = lambda: inputs
        return model

    return make
