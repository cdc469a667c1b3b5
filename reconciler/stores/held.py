"""Held: a lock as rows and documents keep it, whether it still counts, and what is said of it."""

from __future__ import annotations

import os
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from reconciler.errors import Locked, ReconcilerError
from reconciler.state import Holder, Lock
from reconciler.stores.rows import Row, moment, seal


@dataclass(frozen=True, slots=True)
class Held:
    """A lock. An empty id means that nobody holds it. Times are seconds since 1970.

    `apps` are the providers whose accounts it locks, in order; None is the whole workspace.
    """

    id: str = ""
    name: str = ""
    host: str = ""
    pid: int = 0
    birth: str = ""
    operation: str = ""
    acquired: float = 0.0
    expires: float = 0.0
    fence: int = 0
    apps: tuple[str, ...] | None = None

    def holds(self, now: float, host: str) -> bool:
        """Tell whether the holder still counts at `now`, asked on `host`."""
        return (
            bool(self.id)
            and now < self.expires
            and not (self.host == host and gone(self.pid, self.birth))
        )

    def cells(self) -> Row:
        """Return all of it but which apps it is for."""
        return astuple(self)[:-1]

    def shape(self) -> dict[str, Any]:
        """Return the same by name, as documents keep the lock of a whole workspace."""
        return {name: value for name, value in asdict(self).items() if name != "apps"}

    def row(self) -> Row:
        """Return the row of the whole workspace's lock, with its seal."""
        cells = self.cells()
        return (*cells, seal(*cells))

    def told(self) -> Lock:
        """Return the lock as others see it."""
        return Lock(
            self.id,
            Holder(self.name, self.host, self.pid, self.operation),
            moment(self.acquired),
            moment(self.expires),
            self.fence,
            self.apps,
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
            **({"apps": list(lock.apps)} if lock.apps is not None else {}),
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


def locked(held: Held) -> ReconcilerError:
    """Return the error for whoever wants the lock that this holder has."""
    lock = held.told()
    return Locked.of(
        "state-locked",
        f"{_what(held)} locked by {held.name} on {held.host} (pid {held.pid}) for {held.operation}",
        detail=f"Lock {lock.id}, acquired_at {lock.acquired_at}, expires_at {lock.expires_at},"
        f" fence {lock.fence}.",
        hint=f"Wait with --lock-timeout; or, sure that this run has ended, run `reconciler"
        f" force-unlock {lock.id}`.",
    )


def _what(held: Held) -> str:
    if held.apps is None:
        return "the state is"
    return f"the accounts of {' and '.join(held.apps)} are"


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
