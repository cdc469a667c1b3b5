"""The lock: one row with holder, lease and fence, and the heartbeat that prolongs it."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

from reconciler.errors import Locked, ReconcilerError, StateError
from reconciler.state import Holder, Lock
from reconciler.stores.rows import Broken, Row, moment, seal, unsealed
from reconciler.stores.tables import Place, Tables


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

    def row(self) -> Row:
        """Return the cells of the row with their seal."""
        cells = astuple(self)
        return (*cells, seal(*cells))

    def told(self) -> Lock:
        """Return the lock as others see it."""
        return Lock(
            self.id,
            Holder(self.name, self.host, self.pid, self.operation),
            moment(self.acquired),
            moment(self.expires),
            self.fence,
        )


def breaking(held: Held) -> dict[str, Any]:
    """Return the action of the line of history that tells that a lock was broken."""
    lock = held.told()
    return {
        "action": "force-unlock",
        "lock": {
            "id": lock.id,
            "holder": held.name,
            "host": held.host,
            "pid": held.pid,
            "operation": held.operation,
            "acquired_at": lock.acquired_at,
            "fence": lock.fence,
        },
    }


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


def read_lock(tables: Tables) -> Held:
    """Return the lock row. Raises Broken where it is missing or does not match its seal."""
    row = tables.lock()
    if row is None:
        raise Broken("the row of the lock is missing")
    return Held(*unsealed(row, "the row of the lock"))


def take(tables: Tables, holder: Holder, lease: float, id: str) -> Held | None:
    """Take the lock for `lease` seconds, under the next fence; None if somebody holds it.

    `id` is a new one for every acquisition: who asks again with it may have the lock already.
    """
    with tables.transaction():
        held, now = read_lock(tables), tables.now()
        if held.id == id:
            return held
        if held.holds(now, holder.host):
            return None
        mine = Held(
            id,
            holder.name,
            holder.host,
            holder.pid,
            birth(holder.pid),
            holder.operation,
            float(now),
            float(now + lease),
            held.fence + 1,
        )
        tables.put_lock(mine.row())
        return mine


def clear(tables: Tables, held: Held) -> None:
    """Give up the lock, inside a transaction; the next holder gets a new fence."""
    tables.put_lock(Held(fence=held.fence).row())


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
        self._place.rest()

    def check(self) -> bool:
        """Tell whether the lease is surely held, without asking the store.

        Raises Locked if it is known to be lost.
        """
        if self._lost:
            raise lost(self._held)
        spare = self._seconds / 6
        return time.monotonic() < self._until and self._place.clock() < self._held.expires - spare

    def demand(self, tables: Tables) -> None:
        """Raise Locked unless the row says that this lease holds; call it inside a transaction."""
        found, mine = read_lock(tables), self._held
        if (found.id, found.fence) != (mine.id, mine.fence) or found.expires <= tables.now():
            self._lost = True
        if self._lost:
            raise lost(mine)

    def renew(self, tables: Tables) -> None:
        """Prolong the lease. Raises Locked if it has ended or the fence has moved."""
        started = time.monotonic()
        with tables.transaction():
            self.demand(tables)
            renewed = replace(self._held, expires=float(tables.now() + self._seconds))
            tables.put_lock(renewed.row())
        self._held, self._until = renewed, started + self._seconds * 5 / 6

    def _beat(self) -> None:
        while not self._stop.wait(self._seconds / 4):
            # A busy or failing database is asked again; `check` sees that the lease is not fresh.
            with suppress(StateError), self._place.told(), self._place.beat() as tables:
                try:
                    self.renew(tables)
                except Locked:
                    return
