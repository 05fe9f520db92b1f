"""Every class of the libraries that are installed which derives from a module class with a converter."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nobuco.builtin import registered_converters

PACKAGES = ("torch.nn", "torch.ao.nn", "torchvision", "timm", "torchaudio", "transformers")
INSTALLED = [name for name in PACKAGES if importlib.util.find_spec(name.partition(".")[0]) is not None]


def module_classes() -> list[type[nn.Module]]:
    """PyTorch's module classes that have a built-in converter."""
    operations = [op for found in registered_converters() if found.is_built_in for op in found.operations]
    return [op for op in operations if isinstance(op, type)]


def inheritors(package: str) -> list[tuple[type[nn.Module], type[nn.Module]]]:
    """Those of a package, each with the nearest class that has a converter."""
    if package in ("torchvision", "timm") and importlib.util.find_spec("torchvision") is not None:
        from conformance.torchvision_models import torchvision

        torchvision()  # whatever build of PyTorch it was linked for
    bases = module_classes()
    for name in _modules(package, bases):
        _imported(name)
    found = {kind: base for base in bases for kind in _derived(base) if _belongs(kind, package)}
    nearest = {kind: next(base for base in kind.__mro__[1:] if base in bases) for kind in found}
    return sorted(nearest.items(), key=lambda pair: (pair[0].__module__, pair[0].__qualname__))


def _belongs(kind: type, package: str) -> bool:
    """Whether it is a class of a module of the package, not one that it made while it ran."""
    inside = f"{kind.__module__}.".startswith(f"{package}.")
    return inside and getattr(sys.modules[kind.__module__], kind.__qualname__, None) is kind


def _derived(base: type) -> Iterator[type]:
    for kind in base.__subclasses__():
        yield kind
        yield from _derived(kind)


def _modules(package: str, bases: list[type]) -> Iterator[str]:
    """The modules of a package whose source has a class with one of these names among its bases."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return
    home = Path(spec.origin).parent
    names = "|".join(base.__name__ for base in bases)
    pattern = re.compile(rf"^class \w+\([^)]*\b({names})\b", re.MULTILINE)
    for file in sorted(home.rglob("*.py")):
        if pattern.search(file.read_text(errors="ignore")):
            yield ".".join((package, *file.relative_to(home).with_suffix("").parts)).removesuffix(".__init__")


def _imported(name: str) -> Any:
    """A module, or None where it asks for what is not installed, or for another machine."""
    try:
        return importlib.import_module(name)
    except Exception:
        return None


IMAGE = torch.rand(2, 4, 9, 9)
# What each base can be made with, and called with; derived classes often take a few arguments more.
EXAMPLES: dict[type[nn.Module], tuple[tuple[Any, ...], tuple[torch.Tensor, ...]]] = {
    nn.Linear: ((4, 6), (torch.rand(3, 4),)),
    nn.Bilinear: ((4, 4, 6), (torch.rand(3, 4), torch.rand(3, 4))),
    nn.Embedding: ((12, 6), (torch.tensor([[1, 5, 3]]),)),
    nn.PReLU: ((4,), (IMAGE - 0.5,)),
    nn.Conv1d: ((4, 6, 3), (torch.rand(2, 4, 9),)),
    nn.Conv2d: ((4, 6, 3), (IMAGE,)),
    nn.Conv3d: ((4, 6, 3), (torch.rand(1, 4, 5, 5, 5),)),
    nn.ConvTranspose1d: ((4, 6, 3), (torch.rand(1, 4, 5),)),
    nn.ConvTranspose2d: ((4, 6, 3), (IMAGE,)),
    nn.ConvTranspose3d: ((4, 6, 3), (torch.rand(1, 4, 5, 5, 5),)),
    nn.BatchNorm1d: ((4,), (torch.rand(2, 4, 5),)),
    nn.BatchNorm2d: ((4,), (IMAGE,)),
    nn.BatchNorm3d: ((4,), (torch.rand(1, 4, 5, 5, 5),)),
    nn.SyncBatchNorm: ((4,), (IMAGE,)),
    nn.LSTM: ((4, 6), (torch.rand(2, 3, 4),)),
    nn.GRU: ((4, 6), (torch.rand(2, 3, 4),)),
    nn.RNN: ((4, 6), (torch.rand(2, 3, 4),)),
    nn.LSTMCell: ((4, 6), (torch.rand(3, 4),)),
    nn.GRUCell: ((4, 6), (torch.rand(3, 4),)),
    nn.RNNCell: ((4, 6), (torch.rand(3, 4),)),
    nn.MultiheadAttention: ((4, 2), (torch.rand(2, 3, 4),) * 3),
}


MORE: tuple[tuple[Any, ...], ...] = ((), (1,), (0, 2.0))


def example(kind: type[nn.Module], base: type[nn.Module]) -> tuple[nn.Module, tuple[torch.Tensor, ...]] | None:
    """An instance with statistics that matter, and inputs; None where it is not made or called as its base is."""
    made_with, inputs = EXAMPLES[base]
    for more in MORE:
        try:
            module = kind(*made_with, *more).eval()
            with torch.no_grad():
                _fill(module)
                module(*(x.clone() for x in inputs))
        except Exception:
            continue
        return module, inputs
    return None


def _fill(module: nn.Module) -> None:
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.is_floating_point():
            tensor.uniform_(0.5 if "var" in name else -1, 2)
