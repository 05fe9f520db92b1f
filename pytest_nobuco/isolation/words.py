"""What a process that ended said last."""

from __future__ import annotations

import re

# Of a stack that Python dumps: the frames below the model, and the list of modules.
_SAYS_NOTHING = re.compile(r"^\s*$|File \".*\b(_?pytest|pytest_nobuco|pluggy)[/\\]|<frozen runpy>|^Extension modules:")
# How many lines are shown.
_LAST_WORDS = 25


def last_words(*texts: str) -> str:
    """The last lines that say something, each on a line of its own, behind a line break."""
    lines = [line for text in texts for line in text.splitlines() if not _SAYS_NOTHING.search(line)]
    return "".join(f"\n    {line}" for line in lines[-_LAST_WORDS:])
