"""The worked example of another place for state passes the suite of every store."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from store_conformance import Clock, StoreConformance
from store_conformance_journal import JournalConformance
from store_conformance_lock import LockConformance

from reconciler.stores.object import ObjectRemote
from reconciler.stores.remote import RemoteStore

FILE = Path(__file__).parents[1] / "examples/store/table.py"


@pytest.fixture(scope="module")
def example():
    """The example's module, which is in no package."""
    spec = importlib.util.spec_from_file_location("table", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def opens(example, clock, tmp_path):
    """Open the state as often as wanted."""
    place = example.TableObjects(tmp_path / "objects.db")

    def open_(root=tmp_path, sleep=clock.sleep, lease=60.0):
        remote = ObjectRemote("table:objects", place, clock=clock)
        return RemoteStore(remote, root, "ws", sleep=sleep, lease=lease)

    return open_


@pytest.fixture
def stored(opens, example, tmp_path):
    """Tell what lies in the table but the lock."""
    place = example.TableObjects(tmp_path / "objects.db")
    return lambda: {name: place.get(name) for name in place.names("") if name != "lock.json"}


class TestStore(StoreConformance):
    """What every store keeps, in the example's table."""


class TestJournal(JournalConformance):
    """The journal of every store, in the example's table."""


class TestLock(LockConformance):
    """The lock of every store, in the example's table; no process can open it by its settings."""

    test_ended_process_is_taken_over = None
