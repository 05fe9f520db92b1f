"""The families of programs by name."""

from __future__ import annotations

from collections.abc import Callable

from conformance.fuzz import sizes, views
from conformance.fuzz.campaign import Programs

FAMILIES: dict[str, Callable[[], Programs]] = {
    "views": lambda: views.programs(dynamic=False),
    "views-dynamic": lambda: views.programs(dynamic=True),
    "sizes": sizes.programs,
}
