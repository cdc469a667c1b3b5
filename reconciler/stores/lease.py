"""Lease: the rows of the locks, one of the workspace and one an app, and the heartbeat of a lock.

The workspace's row is always there and counts the fences; an app's is there while it is locked.
Every transaction that writes begins with the workspace's row, so that all of them take turns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from reconciler.errors import Locked, StateError
from reconciler.state import Holder, Scope, overlap
from reconciler.stores.held import Held, birth, lost
from reconciler.stores.rows import Broken, Row, seal, unsealed
from reconciler.stores.tables import Place, Tables


class Standing(NamedTuple):
    """A lock that holds: the newest fence of all, the lock as its rows have it, its last write."""

    fence: int
    held: Held
    wrote: bytes


def read_lock(tables: Tables) -> Held:
    """Return the workspace's row. Raises Broken where it is missing or does not match its seal."""
    row = tables.lock()
    if row is None:
        raise Broken("the row of the lock is missing")
    return Held(*unsealed(row, "the row of the lock"))


def read_locks(tables: Tables) -> tuple[Held, ...]:
    """Return every lock, also one that counts no more, oldest first. Raises Broken."""
    whole = read_lock(tables)
    found = {whole.id: whole} if whole.id else {}
    for app, held, _ in _app_rows(tables):
        before = found[held.id].apps or () if held.id in found else ()
        found[held.id] = replace(held, apps=(*before, app))
    return tuple(sorted(found.values(), key=lambda held: held.fence))


def _app_rows(tables: Tables) -> Iterator[tuple[str, Held, bytes]]:
    """Yield each app that is locked, by name, its row, and the seal of the last meta row of it."""
    for row in tables.app_locks():
        app, *cells, wrote = unsealed(row, f"the row of the lock of {row[0]}")
        yield app, Held(*cells), wrote


def take(
    tables: Tables, holder: Holder, lease: float, id: str, apps: tuple[str, ...] | None = None
) -> Held:
    """Return the lock, taken for `lease` seconds under the next fence, or one that is in its way.

    `id` is a new one for every acquisition: who asks again with it may have the lock already.
    Locks that count no more are taken away.
    """
    with tables.transaction():
        fence, now = read_lock(tables).fence, tables.now()
        lapsed: list[Held] = []
        for held in read_locks(tables):
            if held.id == id:
                return held
            if not held.holds(now, holder.host):
                lapsed.append(held)
            elif overlap(held.apps, apps):
                return held
        mine = Held(
            id,
            holder.name,
            holder.host,
            holder.pid,
            birth(holder.pid),
            holder.operation,
            float(now),
            float(now + lease),
            fence + 1,
            apps,
        )
        for held in lapsed:
            give_up(tables, held)
        if apps is not None:
            count(tables, mine.fence)
        put(tables, mine)
        return mine


def put(tables: Tables, held: Held, wrote: bytes = b"") -> None:
    """Write the rows of a lock, inside a transaction."""
    if held.apps is None:
        tables.put_lock(held.row())
        return
    rows: list[Row] = [(app, *held.cells(), wrote) for app in held.apps]
    tables.put_app_locks([(*cells, seal(*cells)) for cells in rows])


def count(tables: Tables, fence: int) -> None:
    """Free the workspace's row, inside a transaction; the next lock has a fence above this one."""
    tables.put_lock(Held(fence=fence).row())


def give_up(tables: Tables, held: Held) -> None:
    """Take a lock's rows away, inside a transaction; the next lock gets a new fence."""
    if held.apps is None:
        count(tables, held.fence)
    else:
        tables.drop_app_locks(held.id)


class Lease:
    """The lock while it is held: renewed by a thread, checked before every write.

    Heartbeats come four times a lease. `check` is sure until a sixth of the lease is left.
    """

    def __init__(self, held: Held, seconds: float, place: Place) -> None:
        self._held = held
        self._seconds = seconds
        self._place = place
        self._until = time.monotonic() + seconds * 5 / 6
        self._lost = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lock-heartbeat", daemon=True)

    @property
    def scope(self) -> Scope:
        """The providers whose accounts are locked."""
        return self._held.apps

    @property
    def fence(self) -> int:
        """The fence of every write under this lease."""
        return self._held.fence

    def start(self) -> None:
        """Start the heartbeat."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the heartbeat and wait for its thread to end."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._place.rest()

    def check(self) -> bool:
        """Tell whether the lease is surely held, without asking the store.

        Raises Locked if it is known to be lost.
        """
        if self._lost:
            raise lost(self._held)
        spare = self._seconds / 6
        return time.monotonic() < self._until and self._place.clock() < self._held.expires - spare

    def found(self, tables: Tables) -> Standing | None:
        """Return the lock where its rows are still there, whether or not its lease has ended."""
        mine, whole = self._held, read_lock(tables)
        if mine.apps is None:
            rows = [("", whole, b"")]
        else:
            # An older version knows only the workspace's row, and may have taken it meanwhile.
            rows = [] if whole.id else list(_app_rows(tables))
        own = [row for row in rows if (row[1].id, row[1].fence) == (mine.id, mine.fence)]
        if len(own) != (1 if mine.apps is None else len(mine.apps)):
            return None
        _, held, wrote = own[0]
        return Standing(whole.fence, replace(held, apps=mine.apps), wrote)

    def demand(self, tables: Tables) -> Standing:
        """Return the lock; raise Locked unless its lease holds. Call it inside a transaction."""
        found = self.found(tables)
        if found is None or found.held.expires <= tables.now():
            self._lost = True
        if found is None or self._lost:
            raise lost(self._held)
        return found

    def note(self, tables: Tables, found: Standing, wrote: bytes) -> None:
        """Write down which meta row this lock wrote last, where others may write after it."""
        if found.held.apps is not None:
            put(tables, found.held, wrote)

    def renew(self, tables: Tables) -> None:
        """Prolong the lease. Raises Locked if it has ended or the fence has moved."""
        started = time.monotonic()
        with tables.transaction():
            found = self.demand(tables)
            renewed = replace(found.held, expires=float(tables.now() + self._seconds))
            put(tables, renewed, found.wrote)
        self._held, self._until = renewed, started + self._seconds * 5 / 6

    def _beat(self) -> None:
        while not self._stop.wait(self._seconds / 4):
            # A busy or failing database is asked again; `check` sees that the lease is not fresh.
            with suppress(StateError), self._place.told(), self._place.beat() as tables:
                try:
                    self.renew(tables)
                except Locked:
                    return
