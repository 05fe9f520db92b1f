"""Triton, which PyTorch imports of itself, beside TensorFlow: whatever is imported first, no process dies."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

# What has PyTorch import Triton: opening, an operation of somebody's own, checkpoints, control flow; once all is
# converted, `torch.compile` and `torch.export`.
PROGRAM = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)

import torch
from torch.utils.checkpoint import checkpoint
import nobuco

@torch.library.custom_op("symbols::swirl", mutates_args=())
def swirl(x: torch.Tensor) -> torch.Tensor:
    return torch.sin(x) + x.mean(-1, keepdim=True)

x = torch.randn(2, 4)
for program in (
    torch.diff,
    lambda x: swirl(x),
    lambda x: checkpoint(torch.sin, x, use_reentrant=False),
    lambda x: torch.cond(x.sum() > 0, torch.sin, torch.cos, (x,)),
):
    model, report = nobuco.pytorch_to_keras(program, [x], return_report=True, verbose=False)
    assert report.ok
torch.compile(torch.sin, backend="eager")(x)
torch.export.export(torch.nn.Linear(4, 4), (x,))
assert "triton" in sys.modules and "tensorflow" in sys.modules
"""

COMPILED = """
import nobuco.export
import tensorflow as tf
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

def exponentials(x, y, n, size: tl.constexpr):
    i = tl.program_id(0) * size + tl.arange(0, size)
    tl.store(y + i, tl.exp(tl.load(x + i, mask=i < n)), mask=i < n)

signature = {"x": "*fp32", "y": "*fp32", "n": "i32", "size": "constexpr"}
source = ASTSource(triton.JITFunction(exponentials), signature, constexprs={(3,): 128})
assert "ex2" in triton.compile(source, target=GPUTarget("cuda", 80, 32)).asm["ptx"]
assert tf.function(lambda x: tf.exp(x) @ x, jit_compile=True)(tf.ones((2, 2))).shape == (2, 2)
"""

with_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed: PyPI has it for Linux only"
)


def run(source: str, folder: Path, *args: str, path: Path | None = None) -> str:
    """Run a program in a Python of its own, which must not die; gives what it prints."""
    file = folder / "program.py"
    file.write_text(source)
    found = [str(path)] if path else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*found, *sys.path]), "TRITON_CACHE_DIR": str(folder)}
    done = subprocess.run([sys.executable, str(file), *args], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
    return done.stdout


@with_triton
@pytest.mark.parametrize(
    "first",
    [("tensorflow",), ("torch",), pytest.param(("triton", "tensorflow"), marks=pytest.mark.full)],
    ids=" ".join,
)
def test_whatever_is_imported_first(first, tmp_path):
    run(PROGRAM, tmp_path, *first)


@pytest.mark.full
@with_triton
def test_both_compile_with_an_llvm_of_their_own(tmp_path):
    run(COMPILED, tmp_path)


@pytest.mark.skipif(not hasattr(os, "RTLD_DEEPBIND"), reason="the linker of this system binds by library")
def test_its_library_alone_is_bound_to_itself(tmp_path):
    """With a Triton that says how it was loaded, where the real one is not installed."""
    library = tmp_path / "triton" / "_C"
    library.mkdir(parents=True)
    (library / "__init__.py").touch()
    (tmp_path / "triton" / "__init__.py").write_text("import sys, triton._C.libtriton\nFLAGS = sys.getdlopenflags()\n")
    (library / "libtriton.py").write_text("import sys\nFLAGS = sys.getdlopenflags()\n")
    source = """
import os, sys
before = sys.getdlopenflags()
import nobuco.export
assert "tensorflow" in sys.modules and "triton" not in sys.modules
import triton
assert triton._C.libtriton.FLAGS == before | os.RTLD_DEEPBIND
assert triton.FLAGS == sys.getdlopenflags() == before
"""
    run(source, tmp_path, path=tmp_path)
