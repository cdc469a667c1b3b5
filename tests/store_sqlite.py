"""What the tests of the SQLite store share: a place, a clock and a filled file."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from store_conformance import Clock, holder, intent, record, run, seen

from reconciler.state import Settlement, Status
from reconciler.stores.high_water import beside
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


def rows(place):
    """Return every row but the lock's, and the mark with the time of its writing."""
    mark = beside(place)
    with closing(sqlite3.connect(place)) as connection:
        tables = ("meta", "accounts", "serials", "runs", "journal")
        found = [connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables]
    return found, mark.read_bytes(), mark.stat().st_mtime_ns


@pytest.fixture
def stored(place):
    return lambda: rows(place)


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


class Fault(BaseException):
    """What a test raises to stand for a process that ends at this statement."""


WRITES = ("BEGIN I", "COMMIT", "UPDATE", "INSERT", "DELETE", "ALTER", "VACUUM", "PRAGMA wal")


def failing(at, error, what=""):
    """Return a connect function whose n-th statement raises, and a list of those done.

    Counted are those that begin with `what`, one text or several.
    """
    done = []

    class Failing(sqlite3.Connection):
        def _count(self, sql):
            if not sql.startswith(what):
                return
            done.append(sql)
            if len(done) == at:
                raise error
            if len(done) > at and isinstance(error, Fault):
                raise error

        def execute(self, sql, *more):
            self._count(sql)
            return super().execute(sql, *more)

        def executemany(self, sql, *more):
            self._count(sql)
            return super().executemany(sql, *more)

    return lambda *args, **how: sqlite3.connect(*args, factory=Failing, **how), done
