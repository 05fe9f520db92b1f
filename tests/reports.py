"""Reports written out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from nobuco.ir import Site
from nobuco.parity import Difference, Tolerance, compare
from nobuco.report import NodeReport, Report, Status

TOLERANCE = Tolerance(0.1, None, "this test")


def off_by(error: float, peak: float = 2.0) -> Difference:
    return compare(np.array([peak + error]), np.array([peak]), TOLERANCE)


def call(name: str, path: str = "", *children: NodeReport, **given: Any) -> NodeReport:
    given.setdefault("direct", not children)
    status = given.pop("status", Status.DONE)
    return NodeReport(name, path, status, Site("net.py", given.pop("line", 1)), children=children, **given)


def report(*nodes: NodeReport, **given: Any) -> Report:
    return Report("Net", nodes, **given)
