"""An item that ended its process: what its report says, and when its model is given up."""

from __future__ import annotations

import re

import pytest

# `Net[nhwc-nchw-dynHW-tflite]` shares a graph with what differs in runtime, and most often in outputs' order;
# `torch.add[nhwc-static-float32-tflite]`, of a converter, with what differs in runtime.
CASE = re.compile(r"(nchw|nhwc)-(?:(?:nchw|nhwc)-)?([\w-]+)-\w+\]$")
MOST_DEATHS = 2
"""After so many the other items of a model fail without being run: each costs a new process."""
GIVEN_UP = f"not run: {MOST_DEATHS} items of this model ended their process"


def model_of(nodeid: str) -> str | None:
    """What the items of one model have in common; None for anybody else's item."""
    match = CASE.search(nodeid)
    return nodeid[: match.start()] if match else None


def failing(
    nodeid: str, location: tuple[str, int | None, str], message: str, seconds: float = 0, when: str = "call"
) -> pytest.TestReport:
    """The report of an item that did not come to an end of its own; `when` as xdist has it, "???", is the only one."""
    return pytest.TestReport(
        nodeid=nodeid, location=location, keywords={}, outcome="failed", longrepr=message, when=when,  # type: ignore[arg-type]
        duration=seconds,
    )  # fmt: skip
