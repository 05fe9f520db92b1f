"""Print what a bug report needs of this machine: versions, settings and processor.

python -m nobuco env
"""

from __future__ import annotations

import argparse
import os
import platform
import runpy
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

LIBRARIES = (
    "nobuco", "torch", "triton", "tensorflow", "keras", "numpy", "ai-edge-litert", "torchvision", "timm",
    "transformers", "pytest", "pytest-benchmark", "pytest-xdist",
)  # fmt: skip
SETTINGS = ("KERAS_BACKEND", "TF_ENABLE_ONEDNN_OPTS", "TF_USE_LEGACY_KERAS", "ONEDNN_MAX_CPU_ISA", "OMP_NUM_THREADS")


def add_options(parser: argparse.ArgumentParser) -> None:
    """`env` has none."""


def run(options: argparse.Namespace) -> int:
    """Print a line for each; nothing is imported, so that it works where an import fails."""
    print(f"python            {platform.python_version()} ({platform.python_implementation()})")
    print(f"machine           {platform.platform()}, {platform.machine()}, {os.cpu_count()} processors")
    for name in LIBRARIES:
        print(f"{name:17} {_version(name)}")
    for name in SETTINGS:
        if name in os.environ:
            print(f"{name}={os.environ[name]}")
    return 0


def _version(name: str) -> str:
    try:
        return (_build_of_torch() if name == "torch" else None) or version(name)
    except PackageNotFoundError:
        return "not installed"


def _build_of_torch() -> str | None:
    """Its version with what it is built for, which its metadata may not tell."""
    spec = find_spec("torch")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        file = Path(folder, "version.py")
        if file.is_file():
            return str(runpy.run_path(str(file))["__version__"])
    return None
