"""Every layer class of the packages that are installed which derives from one with a converter."""

from __future__ import annotations

import pytest
import torch

from nobuco.builtin import find_converter
from tests.inheritors import INSTALLED, example, inheritors
from tests.parity import assert_converts


@pytest.mark.parametrize("package", INSTALLED)
def test_a_class_that_is_another_than_its_base_has_no_converter(package):
    wrong = []
    for kind, base in inheritors(package):
        names = (n for c in base.__mro__ if c not in torch.nn.Module.__mro__ for n in vars(c) if n[:2] != "__")
        other = {n for n in ("forward", *names) if getattr(kind, n, None) is not getattr(base, n)}
        if (find_converter(kind) is not None) != (other <= {"reset_parameters", "extra_repr"}):
            wrong.append((kind, other))
    assert not wrong


# What holds its weights as quantised tensors, for which TensorFlow has nothing: an error that says so.
REFUSED = "torch.ao.nn.quantized.reference."


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize(
    "package",
    [pytest.param(name, marks=pytest.mark.full) if name == "transformers" else name for name in INSTALLED],
)
def test_each_is_converted_as_what_it_is(package):
    """Those that are made and called as their base is; networks of the zoos have others."""
    wrong = []
    for kind, base in inheritors(package):
        torch.manual_seed(0)
        made = example(kind, base)
        if made is None:
            continue
        try:
            assert_converts(made[0], *made[1])
        except (AssertionError, Exception) as error:
            if not (kind.__module__.startswith(REFUSED) and "torch.quantize_per_tensor is quantised" in str(error)):
                wrong.append(f"{kind.__module__}.{kind.__qualname__}: {type(error).__name__}: {error}"[:500])
    assert not wrong, "\n".join(wrong)
