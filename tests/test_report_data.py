"""The report as data: its order, its worst node, its JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from nobuco.parity import Difference, compare
from nobuco.report import (
    NodeReport,
    Status,
    report_to_dict,
)
from tests.reports import TOLERANCE, call, off_by, report


class TestData:
    bad_leaf = call("sin", "b.act", status=Status.IMPRECISE, own=off_by(1.0), accumulated=off_by(1.0))
    fine_leaf = call("conv2d", "b.conv", accumulated=off_by(0.05))
    block = call("Block", "b", fine_leaf, bad_leaf, status=Status.IMPRECISE, accumulated=off_by(1.0))
    last = call("relu", "", status=Status.IMPRECISE, own=off_by(0.0), accumulated=off_by(1.5))
    net = report(call("Net", "", block, last), outputs=(off_by(1.5),))

    def test_walk_meets_the_outermost_first(self) -> None:
        assert [node.name for node in self.net.walk()] == ["Net", "Block", "conv2d", "sin", "relu"]

    def test_in_order_meets_them_as_they_returned(self) -> None:
        assert [node.name for node in self.net.in_order()] == ["conv2d", "sin", "Block", "relu", "Net"]

    def test_first_bad_is_the_cause_and_not_the_block_around_it(self) -> None:
        assert self.net.first_bad() is self.bad_leaf
        assert report(self.fine_leaf).first_bad() is None

    def test_worst_node_has_the_largest_accumulated_error(self) -> None:
        assert self.net.worst_node() is self.last
        assert report(self.block).worst_node() is self.bad_leaf, "of equals, the one that returned first"
        assert report(call("relu")).worst_node() is None

    def test_counts_leave_out_what_was_opened_or_is_not_in_the_model(self) -> None:
        nodes = (*self.net.nodes, call("zeros", constant=True))
        assert report(*nodes).counts() == {Status.DONE: 1, Status.IMPRECISE: 2}

    @pytest.mark.parametrize(
        ("nodes", "outputs", "ok"),
        [
            ((call("relu"),), (off_by(0.0),), True),
            ((call("relu"),), (off_by(0.0), off_by(1.0)), False),
            ((call("sin", status=Status.IMPRECISE, own=off_by(1.0)),), (off_by(0.0),), True),
            ((call("sin", status=Status.FAILED),), (off_by(0.0),), False),
            ((call("Net", "", call("sin", status=Status.NO_CONVERTER)),), (), False),
        ],
    )
    def test_ok(self, nodes: tuple[NodeReport, ...], outputs: tuple[Difference, ...], ok: bool) -> None:
        assert report(*nodes, outputs=outputs).ok is ok

    def test_a_report_is_strict_json(self) -> None:
        broken = compare(np.array([np.nan, 1 + 2j]), np.array([1j, 1 + 2j]), TOLERANCE)
        shapes = compare(np.zeros(2), np.zeros(3), TOLERANCE)
        data = report_to_dict(replace(self.net, outputs=(broken, shapes), stages={"build": 0.5}))
        back = json.loads(json.dumps(data, allow_nan=False))
        assert back["ok"] is False
        assert back["stages"] == {"build": 0.5}
        assert back["nodes"][0]["children"][0]["children"][1]["status"] == "IMPRECISE"
        assert back["nodes"][0]["invoked"] == {"file": "net.py", "line": 1}
        assert back["outputs"][0]["nan"]["expected_there"] == "1j"
        assert back["outputs"][0]["matches"] is False
        assert back["outputs"][1]["max_abs"] == "inf"
        assert back["outputs"][1]["text"] == "Shape is (2,), expected (3,)."

    def test_reading_reports_needs_neither_torch_nor_tensorflow(self) -> None:
        code = "import sys, nobuco.report; print([m for m in ('torch', 'tensorflow') if m in sys.modules])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"
