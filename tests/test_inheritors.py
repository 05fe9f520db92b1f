"""Every layer class of the libraries that are installed which derives from one with a converter."""

from __future__ import annotations

import pytest
import torch

from nobuco.registry import find_converter
from tests.inheritors import LIBRARIES, example, inheritors
from tests.parity import assert_converts

# What PyTorch itself cannot do with its own classes on this machine is not tried: see `example`.
FOUND = [pytest.param(kind, base, id=f"{kind.__module__}.{kind.__qualname__}")
         for library in LIBRARIES for kind, base in inheritors(library)]  # fmt: skip


@pytest.mark.parametrize(("kind", "base"), FOUND)
def test_a_class_with_a_forward_of_its_own_has_no_converter(kind, base):
    if kind.forward is not base.forward:
        assert find_converter(kind) is None
    elif find_converter(kind) is None:
        ours, theirs = (dict.fromkeys(n for c in k.__mro__ for n in vars(c)) for k in (kind, base))
        assert set(theirs) - {n for n in ours if getattr(kind, n, None) is getattr(base, n, None)}


@pytest.mark.parametrize(("kind", "base"), FOUND)
def test_it_is_converted_as_what_it_is(kind, base):
    torch.manual_seed(0)
    made = example(kind, base)
    if made is not None:
        module, inputs = made
        assert_converts(module, *inputs)
