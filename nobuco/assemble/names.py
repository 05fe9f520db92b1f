"""Names of layers, as Keras takes them, each once in a model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


def plain_name(name: str) -> str:
    """A name as Keras takes it, and TensorFlow for a scope: a slash would open one."""
    return re.sub(r"[^A-Za-z0-9_.>-]", "_", name)


@dataclass
class Names:
    """The names that a model has used."""

    _used: Counter[str] = field(default_factory=Counter)

    def reserve(self, names: Iterable[str]) -> None:
        """Keep these for later."""
        self._used.update(map(plain_name, names))

    def unique(self, name: str) -> str:
        """This name, or one like it that nothing has yet."""
        name = plain_name(name)
        self._used[name] += 1
        count = self._used[name]
        return name if count == 1 else self.unique(f"{name}_{count - 1}")
