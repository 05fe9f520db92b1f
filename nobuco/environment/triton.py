"""Triton beside TensorFlow, each with its own LLVM.

Both export the symbols of the LLVM that they were built with. Where TensorFlow is loaded first, the dynamic linker
binds Triton (3.7 and later) to TensorFlow's, of another version, and the process dies in `import triton`. PyTorch
imports it with `torch._dynamo`: for `make_fx`, `torch.cond`, `torch.utils.checkpoint`, operations of somebody's own,
in `import torchvision` and for much else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_LIBRARY = "triton._C.libtriton"


def keep_triton_apart() -> None:
    """From now on, Triton is loaded with its own symbols, whoever imports it; it is not loaded by this.

    This stays: some of our modules import TensorFlow, which cannot be unloaded, and the program may go on with
    `import torchvision` or `torch.compile` at any time.
    """
    if hasattr(os, "RTLD_DEEPBIND") and not any(isinstance(finder, _TritonFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TritonFinder())


class _TritonFinder(MetaPathFinder):
    """Finds Triton's library where Python does, to be loaded by `_BoundToItself`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname == _LIBRARY else None
        if spec is not None and spec.loader is not None:
            spec.loader = _BoundToItself(spec.loader)
        return spec


class _BoundToItself(Loader):
    """Has the dynamic linker look for the symbols of a library in itself first."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        with _deep_binding():
            return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with _deep_binding():
            self._loader.exec_module(module)


@contextmanager
def _deep_binding() -> Iterator[None]:
    before = sys.getdlopenflags()
    # Without TensorFlow there is nothing to be kept from, and an allocator that was preloaded keeps its say.
    sys.setdlopenflags(before | (os.RTLD_DEEPBIND if "tensorflow" in sys.modules else 0))
    try:
        yield
    finally:
        sys.setdlopenflags(before)
