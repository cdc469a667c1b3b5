"""The lock of the SQLite store: one row with holder, lease and fence, and the heartbeat."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from reconciler.errors import Locked, ReconcilerError
from reconciler.state import Holder, Lock
from reconciler.stores.sqlite_migrate import transaction
from reconciler.stores.sqlite_rows import Broken, moment, opened, seal


@dataclass(frozen=True, slots=True)
class Held:
    """The lock row. An empty id means that nobody holds it. Times are seconds since 1970."""

    id: str = ""
    name: str = ""
    host: str = ""
    pid: int = 0
    birth: str = ""
    operation: str = ""
    acquired: float = 0.0
    expires: float = 0.0
    fence: int = 0

    def holds(self, now: float, host: str) -> bool:
        """Tell whether the holder still counts at `now`, asked on `host`."""
        return (
            bool(self.id)
            and now < self.expires
            and not (self.host == host and gone(self.pid, self.birth))
        )

    def told(self) -> Lock:
        """Return the lock as others see it."""
        return Lock(
            self.id,
            Holder(self.name, self.host, self.pid, self.operation),
            moment(self.acquired),
            moment(self.expires),
            self.fence,
        )


def birth(pid: int) -> str:
    """Return what tells a process from a later one with its number; empty if it is not there.

    Boot, pid namespace and start ticks; empty also where there is no /proc.
    """
    try:
        # The command name stands in parentheses and may hold anything, also parentheses.
        status = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        if status[0] in (b"Z", b"X"):
            return ""
        return f"{_here()}/{int(status[19])}"
    except (OSError, IndexError, ValueError):
        return ""


def _here() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"


def gone(pid: int, born: str) -> bool:
    """Tell whether the process has surely ended: false where that cannot be seen from here.

    Containers may share a host name, so pids are compared only within one boot and namespace.
    """
    try:
        here = _here()
    except OSError:
        return False
    return born.startswith(f"{here}/") and birth(pid) != born


def first_lock(connection: sqlite3.Connection) -> None:
    """Write the row of a lock that nobody ever held."""
    _write(connection, Held())


def read_lock(connection: sqlite3.Connection) -> Held:
    """Return the lock row. Raises Broken where it is missing or does not match its seal."""
    row = connection.execute("SELECT * FROM lock").fetchone()
    if row is None:
        raise Broken("the row of the lock is missing")
    return Held(*opened(row[1:], "the row of the lock"))


def _write(connection: sqlite3.Connection, held: Held) -> None:
    cells = astuple(held)
    connection.execute(
        "INSERT OR REPLACE INTO lock VALUES (1,?,?,?,?,?,?,?,?,?,?)", (*cells, seal(*cells))
    )


def take(connection: sqlite3.Connection, holder: Holder, now: float, lease: float) -> Held | None:
    """Take the lock for `lease` seconds, under the next fence; None if somebody holds it."""
    with transaction(connection):
        held = read_lock(connection)
        if held.holds(now, holder.host):
            return None
        mine = Held(
            str(uuid.uuid4()),
            holder.name,
            holder.host,
            holder.pid,
            birth(holder.pid),
            holder.operation,
            float(now),
            float(now + lease),
            held.fence + 1,
        )
        _write(connection, mine)
        return mine


def clear(connection: sqlite3.Connection, held: Held) -> None:
    """Give up the lock, inside a transaction; the next holder gets a new fence."""
    _write(connection, Held(fence=held.fence))


def locked(held: Held) -> ReconcilerError:
    """Return the error for whoever wants the lock that this holder has."""
    lock = held.told()
    return Locked.of(
        "state-locked",
        f"the state is locked by {held.name} on {held.host} (pid {held.pid}) for {held.operation}",
        detail=f"Lock {lock.id}, acquired_at {lock.acquired_at}, expires_at {lock.expires_at},"
        f" fence {lock.fence}.",
        hint=f"Wait with --lock-timeout; or, sure that this run has ended, run `reconciler"
        f" force-unlock {lock.id}`.",
    )


def lost(held: Held) -> ReconcilerError:
    """Return the error for a holder that lost the lock."""
    lock = held.told()
    return Locked.of(
        "state-lock-lost",
        f"this run has lost the state lock {lock.id} and must not write",
        detail=f"Held by {held.name} on {held.host} (pid {held.pid}) for {held.operation},"
        f" acquired_at {lock.acquired_at}, fence {lock.fence}; its lease ended or it was"
        f" broken.",
        hint="Run again: what is in doubt is settled first.",
    )


class Lease:
    """The lock while it is held: renewed by a thread, checked before every write.

    Heartbeats come four times a lease. `fresh` holds until a sixth of the lease is left.
    `clock` is the store's, in seconds since 1970.
    """

    def __init__(
        self,
        held: Held,
        seconds: float,
        clock: Callable[[], float],
        connection: Callable[[], sqlite3.Connection],
    ) -> None:
        self._held = held
        self._seconds = seconds
        self._clock = clock
        self._connection = connection
        self._until = time.monotonic() + seconds * 5 / 6
        self._lost = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lock-heartbeat", daemon=True)

    @property
    def id(self) -> str:
        """The id of the lock."""
        return self._held.id

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

    def check(self) -> bool:
        """Tell whether the lease is surely held, without asking the disk.

        Raises Locked if it is known to be lost.
        """
        if self._lost:
            raise lost(self._held)
        spare = self._seconds / 6
        return time.monotonic() < self._until and self._clock() < self._held.expires - spare

    def demand(self, connection: sqlite3.Connection) -> None:
        """Raise Locked unless the row says that this lease holds; call it inside a transaction."""
        held = self._held
        row = connection.execute(
            "SELECT 1 FROM lock WHERE fence = ? AND id = ? AND expires > ?",
            (held.fence, held.id, self._clock()),
        ).fetchone()
        if row is None:
            self._lost = True
        if self._lost:
            raise lost(held)

    def renew(self, connection: sqlite3.Connection) -> None:
        """Prolong the lease. Raises Locked if it has ended or the fence has moved."""
        started = time.monotonic()
        with transaction(connection):
            self.demand(connection)
            renewed = replace(self._held, expires=float(self._clock() + self._seconds))
            _write(connection, renewed)
        self._held, self._until = renewed, started + self._seconds * 5 / 6

    def _beat(self) -> None:
        while not self._stop.wait(self._seconds / 4):
            # A busy or failing disk is tried again; `check` sees that the lease is not fresh.
            with suppress(sqlite3.Error, OSError), closing(self._connection()) as connection:
                try:
                    self.renew(connection)
                except Locked:
                    return
