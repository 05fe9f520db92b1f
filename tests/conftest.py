"""Shared fixtures of nobuco's own tests."""

from __future__ import annotations

import importlib
import os
import sys
import zlib
from functools import partial

import pytest

# What a pytest in pytester imports is forgotten when it ends, and imported again by the next one; what stays loaded
# would then hold other copies of these classes. So they are loaded before.
import pytest_nobuco.converters.items
import pytest_nobuco.latency.items
import pytest_nobuco.latency.measure
import pytest_nobuco.models.suite
import pytest_nobuco.report.gather
import pytest_nobuco.xfails  # noqa: F401
from pytest_nobuco.session import cap_threads

# Before TensorFlow is imported: another number of threads sums in another order, so that a process which a test starts
# would give other last bits than this one.
cap_threads(os.environ)

# Cannot be imported twice, so not by a pytest in pytester either; `torch.manual_seed` imports it.
importlib.import_module("torch._dynamo")


def pytest_collectstart(collector):
    """The same random numbers in each run in what a file draws while it is imported, whatever was before it."""
    if isinstance(collector, pytest.Module):
        sys.modules["torch"].manual_seed(0)


def pytest_itemcollected(item):
    """Two processes have to find the same tests, and an address is another one in each."""
    if " at 0x" in item.nodeid:
        raise pytest.UsageError(f"{item.nodeid}: give ids= to this parametrize, whose names hold addresses")


@pytest.fixture
def no_worker(monkeypatch):
    """A session that a test starts is no worker of xdist, though the test may run on one."""
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def seeded():
    """The same random numbers in each run: some would be off by more than a bound allows, once in thousands."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].random.set_seed(0)


@pytest.fixture
def check(request):
    """`check(module_or_function, *args, **kwargs)`: convert, and compare with PyTorch in every channel order.

    Where what is marked `full` is left out, in one of them, which the test's name tells: a second conversion of each
    test would take CI minutes, and over a file's tests there are both.
    """
    from tests.parity import ORDERS, check_parity

    quick = request.config.option.markexpr == "not full"
    one = ORDERS[zlib.crc32(request.node.nodeid.encode()) % len(ORDERS)]
    return partial(check_parity, orders=(one,) if quick else ORDERS)


@pytest.fixture
def restored_registry():
    """Forget, after the test, the converters that it registers."""
    import nobuco.addons.torch.depth_to_space
    import nobuco.addons.torch.space_to_depth  # registered once, when imported: not to be forgotten
    import nobuco.converters  # noqa: F401
    from nobuco.registry import registry

    with registry.restoring():
        yield
