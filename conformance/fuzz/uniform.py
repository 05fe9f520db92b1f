"""Hypothesis' choices, each alternative as likely as the others, and from the seed alone.

Its own provider prefers numbers that stand in modules of the project, whichever are loaded, so that the same seed would
give other programs after an edit; and it prefers numbers near zero, and so the first rules of a family.
"""

from __future__ import annotations

from typing import Any

from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, HypothesisProvider

NAME = "conformance.fuzz"


class UniformProvider(HypothesisProvider):
    """Draws whole numbers of a range, which is all that programs are drawn from."""

    def draw_integer(self, min_value: int | None = None, max_value: int | None = None, **_: Any) -> int:
        assert self._random is not None
        assert min_value is not None
        assert max_value is not None
        return self._random.randint(min_value, max_value)


def registered() -> str:
    """The name to give to `settings(backend=...)`."""
    AVAILABLE_PROVIDERS.setdefault(NAME, f"{UniformProvider.__module__}.{UniformProvider.__qualname__}")
    return NAME
