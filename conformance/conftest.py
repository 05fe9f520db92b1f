"""Makes items of `converters.py`, tells the quick ones, and names the file of known gaps."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.converters import QUICK_SAMPLES, quick_of
from pytest_nobuco.converters.items import ConverterItem, ConverterModule
from pytest_nobuco.xfails import XFAILS

HERE = Path(__file__).parent


# Before the plugin reads its options.
@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.option.nobuco_xfails.append(str(HERE / "xfails.txt"))
    if config.option.markexpr == "not full" and config.option.nobuco_samples is None:
        config.option.nobuco_samples = QUICK_SAMPLES


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path != HERE / "converters.py":
        return None
    # Registered when they are imported, and ours, too.
    import nobuco.addons.torch.depth_to_space
    import nobuco.addons.torch.space_to_depth  # noqa: F401

    return ConverterModule.from_parent(parent, path=file_path)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    converters = [item for item in items if isinstance(item, ConverterItem)]
    quick = set(quick_of(converters, config.stash[XFAILS]))
    for item in converters:
        if item not in quick:
            item.add_marker("full")
