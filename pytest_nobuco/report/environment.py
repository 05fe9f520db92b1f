"""What a figure depends on besides the code: versions and the processor."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("nobuco", "torch", "tensorflow", "keras", "ai-edge-litert", "numpy", "pytest")


def environment() -> dict[str, str]:
    """Versions and processor by what they are called; what is not installed is left out."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        # Read from metadata, since importing the frameworks takes seconds that the controller has no use for.
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {**versions, "processor": _processor(), "system": platform.platform()}


def _processor() -> str:
    cores = f"{os.cpu_count()} cores"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{next(iter(names), platform.processor() or platform.machine())}, {cores}"
