"""The lock of Terraform's HTTP protocol: what is said with it, and who is named by a refusal."""

from __future__ import annotations

from typing import Any, Final

from reconciler import __version__
from reconciler.stores.held import Held
from reconciler.stores.remote_copy import LEASE_SECONDS, MARK, NEVER
from reconciler.stores.rows import moment
from reconciler.values import canonical, loads, to_moment

OURS: Final = "reconciler"
PROBE: Final = f"{MARK}probe"
"""The id of a lock that is taken for a moment, as the protocol tells only so who has it."""


def lock_info(held: Held) -> bytes:
    """Return Terraform's LockInfo, all of its seven keys, as GitLab demands."""
    more = {
        "tool": OURS,
        "lock": held.id,
        "host": held.host,
        "pid": held.pid,
        "birth": held.birth,
        "acquired": held.acquired,
        "expires": held.expires,
        "fence": held.fence,
    }
    return canonical(
        {
            "ID": held.id,
            "Operation": held.operation,
            "Info": canonical(more).decode(),
            "Who": held.name,
            "Version": __version__,
            "Created": moment(held.acquired),
            "Path": "",
        }
    )


def lock_holder(body: bytes) -> Held:
    """Return the holder that a refusal names, as far as it does.

    GitLab answers with the `Info` and `Operation` of whoever asks and only the `ID`, `Who` and
    `Created` of the holder, so `Info` counts only where it names the same lock. A lock that is
    not a reconciler's, such as one that a person took, has no lease.
    """
    try:
        shape = loads(body)
        told: dict[str, Any] = shape if isinstance(shape, dict) else {}
    except ValueError:
        told = {}
    id, who = str(told.get("ID", "")), str(told.get("Who", ""))
    try:
        acquired = to_moment(str(told.get("Created", ""))).timestamp()
    except ValueError:
        acquired = 0.0
    ends = acquired + LEASE_SECONDS if acquired and id.startswith(MARK) else NEVER
    unknown = Held(id, who, acquired=acquired, expires=ends)
    try:
        info = loads(str(told.get("Info", "")))
        if not isinstance(info, dict) or info["tool"] != OURS or info["lock"] != id:
            return unknown
        return Held(
            id,
            who,
            str(info["host"]),
            int(info["pid"]),
            str(info["birth"]),
            str(told.get("Operation", "")),
            float(info["acquired"]),
            float(info["expires"]),
            int(info["fence"]),
        )
    except (ValueError, TypeError, KeyError):
        return unknown
