"""Marks for what an older version of a framework does otherwise."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pytest
from packaging.version import Version


def is_older(package: str, first: str) -> bool:
    """Whether the installed package is older than this version."""
    return Version(version(package)) < Version(first)


def fails_before(package: str, first: str, reason: str, **more: Any) -> pytest.MarkDecorator:
    """A strict known gap where the package is older than its first version that does it."""
    return pytest.mark.xfail(
        is_older(package, first), reason=f"{package} before {first}: {reason}", strict=True, **more
    )
