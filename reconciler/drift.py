"""Drift: what the vendor holds against what is recorded, and how much could be checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from reconciler.accounts import Address, Observed, flatten
from reconciler.changes import at_vendor
from reconciler.diff import same
from reconciler.state import Record


class Difference(NamedTuple):
    """One managed field that the vendor holds otherwise than recorded."""

    path: str
    recorded: Any
    observed: Any


@dataclass(frozen=True, slots=True)
class Drifted:
    """One account that is not as recorded; a missing one has no changes."""

    address: Address
    kind: Literal["changed", "missing"]
    changes: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Drift:
    """The whole comparison. Coverage counts fields: checked at the vendor, or only recorded."""

    drifted: tuple[Drifted, ...]
    unchanged: int
    checked: int
    recorded_only: int
    unread: tuple[Address, ...] = ()

    def summary(self) -> dict[str, int]:
        """Return how many accounts changed, are missing, and are unchanged."""
        missing = sum(1 for one in self.drifted if one.kind == "missing")
        return {
            "changed": len(self.drifted) - missing,
            "missing": missing,
            "unchanged": self.unchanged,
        }


def drift(pairs: Iterable[tuple[Record, Observed | None]]) -> Drift:
    """Compare records with what was just read of each; only managed fields count.

    Managed are the ban and every field that was written. A record that could not be read (None)
    is listed as unread, never as missing and never as unchanged.
    """
    drifted: list[Drifted] = []
    unread: list[Address] = []
    unchanged = checked = only = 0
    for record, seen in pairs:
        if seen is None:
            unread.append(record.address)
            continue
        if not seen.exists:
            drifted.append(Drifted(record.address, "missing"))
            continue
        changes, read, kept = _compare(record, seen)
        checked, only = checked + read, only + kept
        if changes:
            drifted.append(Drifted(record.address, "changed", changes))
        else:
            unchanged += 1
    return Drift(tuple(drifted), unchanged, checked, only, tuple(unread))


def _compare(record: Record, seen: Observed) -> tuple[tuple[Difference, ...], int, int]:
    """Return the differences of one account, the fields checked and those only recorded."""
    live = flatten({"profile": seen.profile, "configuration": seen.configuration})
    checked = only = 0
    changes: list[Difference] = []
    for path in sorted(flatten(record.document)):
        if not at_vendor(path):
            continue
        if path not in live:
            only += 1
            continue
        checked += 1
        known = record.current(path)
        if not same(path, known, live[path]):
            changes.append(Difference(path, known, live[path]))
    if seen.banned is None:
        only += 1
    else:
        checked += 1
        if seen.banned != record.is_banned:
            changes.insert(0, Difference("banned", record.is_banned, seen.banned))
    if record.document.get("token"):
        only += 1
    return tuple(changes), checked, only
