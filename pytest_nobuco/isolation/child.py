"""In the child: the same session, which runs the items that its parent names, one after another.

The parent's address and key come through the environment. Every message is a list that JSON can hold: from the parent
`[nodeid, next nodeid or null]`, or `[null, null]` to try the first model; to it `["stage", words]`, `["report", data]`
or `["mistake", words or null]`, and `["end", null]` after each of these orders.
"""

from __future__ import annotations

import json
import os
from multiprocessing.connection import Client, Connection
from typing import Any

import pytest

from pytest_nobuco.session import BENCH

ADDRESS, KEY = "NOBUCO_PARENT", "NOBUCO_PARENT_KEY"

# What other options would write, or decide on, is the parent's to do.
_LEFT_TO_PARENT: dict[str, Any] = {
    "xmlpath": None, "htmlpath": None, "report_log": None, "nobuco_report": [],
    "nobuco_results": None, "nobuco_resume": None, "nobuco_shard": None, "nobuco_durations": [],
    "lf": False, "failedfirst": False,
    "stepwise": False, "stepwise_skip": False, "maxfail": 0, "usepdb": False, "trace": False, "durations": None,
    "numprocesses": 0, "dist": "no", "tx": [],
}  # fmt: skip


def is_child() -> bool:
    """Whether this session is the child of another."""
    return ADDRESS in os.environ


def leave_to_parent(config: pytest.Config) -> None:
    """Turn off what only the parent's session is to do."""
    if config.option.nobuco_baseline_write:
        config.option.nobuco_baseline, config.option.nobuco_baseline_write = None, False
    for name, value in _LEFT_TO_PARENT.items():
        if hasattr(config.option, name):
            setattr(config.option, name, value)


def register(config: pytest.Config) -> None:
    """Take orders instead of running everything."""
    connection = Client(os.environ.pop(ADDRESS), authkey=bytes.fromhex(os.environ.pop(KEY)))
    child = Child(config, connection)
    config.stash[BENCH].tell = lambda words: child.send("stage", words)
    config.pluginmanager.register(child, "nobuco-child")


class Child:
    """Runs what it is told to, and tells how it went."""

    def __init__(self, config: pytest.Config, connection: Connection) -> None:
        self.config, self.connection = config, connection

    def send(self, kind: str, data: Any) -> None:
        """Send a message to the parent."""
        self.connection.send_bytes(json.dumps([kind, data]).encode())

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run items until the parent hangs up."""
        from pytest_nobuco.models.only_model import mistake

        items = {item.nodeid: item for item in session.items}
        while True:
            try:
                nodeid, following = json.loads(self.connection.recv_bytes())
            except EOFError:
                return True
            if nodeid is None:
                self.send("mistake", mistake(session.items))
            else:
                item = items[nodeid]
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=items.get(following))
            self.send("end", None)

    # Before the reporter, which takes from a report what has been read.
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Pass a report on."""
        self.send("report", self.config.hook.pytest_report_to_serializable(config=self.config, report=report))
