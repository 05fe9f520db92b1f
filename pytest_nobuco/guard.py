"""Loaded beside the plugin: under `-p no:nobuco` a marked model fails, since pytest would take its factory for a test.

A function that returns a model passes in pytest whatever the model is, or is not collected at all.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_nobuco.models.cases import marked_factory, marks_of

_TOLD = (
    "-p no:nobuco turned off the plugin that compares this model with PyTorch; -m 'not convert' leaves such models out"
)


def pytest_configure(config: pytest.Config) -> None:
    """Watch over the marker where the plugin does not."""
    if config.pluginmanager.is_blocked("nobuco"):
        config.addinivalue_line("markers", "convert: of the plugin nobuco, which is turned off")
        config.pluginmanager.register(_Guard(), "nobuco-guard-hooks")


class _Guard:
    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makeitem(self, collector: pytest.Collector, name: str, obj: object) -> pytest.Item | None:
        factory = marked_factory(obj)
        if factory is None:
            return None
        item = _UncomparedItem.from_parent(collector, name=name)
        for mark in marks_of(factory):
            item.add_marker(mark.name)
        return item


class _UncomparedItem(pytest.Item):
    def runtest(self) -> None:
        pytest.fail(_TOLD, pytrace=False)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.name
