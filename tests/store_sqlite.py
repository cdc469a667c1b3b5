"""What the tests of the SQLite store share: a place, a clock and a filled file."""

from __future__ import annotations

import pytest
from store_conformance import Clock, holder, intent, record, run, seen

from reconciler.state import Settlement, Status
from reconciler.stores.sqlite import SqliteStore


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def place(tmp_path):
    return tmp_path / "workspace" / ".reconciler" / "state.db"


@pytest.fixture
def opens(place, clock):
    """Open the state at `place` as often as wanted; all are closed at the end."""
    opened = []

    def open_(path=place, workspace="ws", **how):
        opened.append(SqliteStore(path, workspace, **{"clock": clock, **how}))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


def fill(store, count=10):
    """Leave records, an open intent, an ambiguous one, an app and history in the store."""
    with store.lock(holder()) as writer:
        writer.begin(run())
        writer.bind({"cn": "app-1"})
        writer.save([record(n) for n in range(count)], [], "import")
        writer.intend([intent(f"i-{n}", n) for n in range(3)])
        writer.settle(
            [
                Settlement("i-0", Status.CONFIRMED, "200", "ok", record(0, "B")),
                Settlement("i-1", Status.AMBIGUOUS),
            ]
        )


@pytest.fixture
def filled(opens):
    """The file of a filled store that nobody has open; its content; its bytes."""
    store = opens()
    fill(store)
    content = seen(store)
    store.close()
    return content
