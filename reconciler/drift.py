"""Drift: what the vendor holds against what is recorded, what may explain it, what is accepted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple

from reconciler.accounts import Address, Observed, flatten, is_banned, owned, split
from reconciler.changes import at_vendor
from reconciler.diagnostics import Diagnostic, Source, info, warning
from reconciler.diff import same
from reconciler.state import Entry, Intent, Record, Status
from reconciler.values import canonical, to_text

MISSING: Final = "missing"
"""What stands for the path where the whole account is missing."""

ALIKE: Final = 3
"""Accounts of one app with the same foreign value in the same field: then a program wrote it."""


class Cause(StrEnum):
    """What may have made a difference. Always a guess from recorded facts, never proof."""

    IN_DOUBT = "in_doubt"
    BAN_EXPIRED = "ban_expired"
    MUTE_EXPIRED = "mute_expired"
    ANOTHER_WRITER = "another_writer"
    USER_OR_CONSOLE = "user_or_console"
    CONSOLE = "console"


class Difference(NamedTuple):
    """One managed field that the vendor holds otherwise than recorded."""

    path: str
    recorded: Any
    observed: Any
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class Drifted:
    """One account that is not as recorded; a missing one has no changes but a cause."""

    address: Address
    kind: Literal["changed", "missing"]
    changes: tuple[Difference, ...] = ()
    cause: Cause | None = None


class Accepted(NamedTuple):
    """One difference that somebody accepts until a moment: an entry of a baseline."""

    address: Address
    path: str
    owner: str
    reason: str
    expires: datetime
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Drift:
    """The whole comparison. Coverage counts fields: checked at the vendor, or only recorded.

    `muted` holds the accepted differences that were found; an account all of whose differences
    are accepted is among neither the drifted nor the unchanged.
    """

    drifted: tuple[Drifted, ...]
    unchanged: int
    checked: int
    recorded_only: int
    unread: tuple[Address, ...] = ()
    muted: tuple[Accepted, ...] = ()

    def summary(self) -> dict[str, int]:
        """Return how many accounts changed, are missing, and are unchanged."""
        missing = sum(1 for one in self.drifted if one.kind == MISSING)
        return {
            "changed": len(self.drifted) - missing,
            "missing": missing,
            "unchanged": self.unchanged,
        }

    def accepted(self) -> Iterator[tuple[str, str, int]]:
        """Yield owner, end of the first to run out, and number of what each owner accepts."""
        for owner, count in sorted(Counter(one.owner for one in self.muted).items()):
            ends = min(one.expires for one in self.muted if one.owner == owner)
            yield owner, to_text(ends), count


@dataclass(frozen=True, slots=True)
class Clues:
    """Recorded facts that may explain differences.

    `doubtful` are the intents in doubt; `history` returns what was done to an account, oldest
    first; `lapses` names, by provider, the fields that may end by themselves at the vendor.
    """

    now: datetime
    doubtful: tuple[Intent, ...] = ()
    history: Callable[[Address], Iterable[Entry]] = lambda _: ()
    lapses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def drift(pairs: Iterable[tuple[Record, Observed | None]], clues: Clues | None = None) -> Drift:
    """Compare records with what was just read of each; only managed fields count.

    Managed are the ban and every field that was written, but for sections that were set once and
    left to the user. A record that could not be read (None) is listed as unread, never as missing
    and never as unchanged. With `clues` each difference has a cause.
    """
    doubts: dict[Address, list[Mapping[str, Any]]] = {}
    for intent in clues.doubtful if clues else ():
        doubts.setdefault(intent.address, []).extend(intent.action["changes"])
    drifted: list[Drifted] = []
    unread: list[Address] = []
    unchanged = checked = only = 0
    for record, seen in pairs:
        if seen is None:
            unread.append(record.address)
            continue
        if not seen.exists:
            drifted.append(Drifted(record.address, "missing", (), Cause.CONSOLE if clues else None))
            continue
        changes, read, kept = _compare(record, seen)
        checked, only = checked + read, only + kept
        if changes:
            if clues:
                before = _before(record.address, clues)
                doubt = doubts.get(record.address, ())
                changes = tuple(
                    one._replace(cause=_cause(record, one, doubt, before, clues)) for one in changes
                )
            drifted.append(Drifted(record.address, "changed", changes))
        else:
            unchanged += 1
    if clues:
        drifted = list(_together(drifted))
    return Drift(tuple(drifted), unchanged, checked, only, tuple(unread))


def _compare(record: Record, seen: Observed) -> tuple[tuple[Difference, ...], int, int]:
    """Return the differences of one account, the fields checked and those only recorded."""
    live = flatten({"profile": seen.profile, "configuration": seen.configuration})
    checked = only = 0
    changes: list[Difference] = []
    for path in sorted(flatten(record.document)):
        if not at_vendor(path) or not owned(record.document, path):
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


def _cause(
    record: Record,
    one: Difference,
    doubts: Iterable[Mapping[str, Any]],
    before: Mapping[str, Any],
    clues: Clues,
) -> Cause:
    """Return the likeliest cause of one difference: what is recorded of it says more than habit."""
    path, _, held, _ = one
    if any(doubt["path"] == path and same(path, doubt["after"], held) for doubt in doubts):
        return Cause.IN_DOUBT
    ended = one.recorded is True and held is False
    if path == "banned" and ended and not is_banned(record.document, clues.now):
        return Cause.BAN_EXPIRED
    if ended and path in clues.lapses.get(split(record.address)[0], ()):
        return Cause.MUTE_EXPIRED
    if before.get(path) is not None and same(path, before[path], held):
        return Cause.ANOTHER_WRITER
    return Cause.USER_OR_CONSOLE if path.startswith("profile.") else Cause.CONSOLE


def _before(address: Address, clues: Clues) -> dict[str, Any]:
    """Return what each field held before our last change of it; putting that back takes a plan."""
    return {
        change["path"]: change["before"]
        for entry in clues.history(address)
        if entry.status is Status.CONFIRMED
        for change in entry.action.get("changes", ())
        if change["path"] != "banned"
    }


def _together(drifted: Iterable[Drifted]) -> Iterator[Drifted]:
    """Yield the accounts, with another writer as the cause of what several have alike."""
    drifted = tuple(drifted)

    def key(account: Drifted, change: Difference) -> tuple[str, str, bytes]:
        return split(account.address)[0], change.path, canonical(change.observed)

    alike = Counter(key(one, change) for one in drifted for change in one.changes)
    for one in drifted:
        changes = tuple(
            change._replace(cause=Cause.ANOTHER_WRITER)
            if change.cause in (Cause.CONSOLE, Cause.USER_OR_CONSOLE)
            and alike[key(one, change)] >= ALIKE
            else change
            for change in one.changes
        )
        yield replace(one, changes=changes)


def mute(
    found: Drift, baseline: Iterable[Accepted], now: datetime
) -> tuple[Drift, tuple[Diagnostic, ...]]:
    """Return the drift without what is accepted, and findings of entries that mute nothing.

    An entry that has run out mutes nothing and is a finding, whether there is drift or not.
    """
    known = {(one.address, one.path): one for one in baseline}
    stands = {place: one for place, one in known.items() if one.expires > now}
    muted: list[Accepted] = []
    left: list[Drifted] = []
    for one in found.drifted:
        if one.kind == MISSING:
            accepted = [stands[one.address, MISSING]] if (one.address, MISSING) in stands else []
            changes: tuple[Difference, ...] = ()
        else:
            accepted = [stands[p] for c in one.changes if (p := (one.address, c.path)) in stands]
            changes = tuple(c for c in one.changes if (one.address, c.path) not in stands)
        muted += accepted
        if changes or not accepted:
            left.append(replace(one, changes=changes))
    unread = {*found.unread}
    needless = sum(1 for where, _ in stands if where not in unread) - len(muted)
    return replace(found, drifted=tuple(left), muted=tuple(muted)), (
        *(_ran_out(one) for one in known.values() if one.expires <= now),
        *((_needless(needless),) if needless else ()),
    )


def _ran_out(one: Accepted) -> Diagnostic:
    return warning(
        "baseline-expired",
        f"{one.path} of {one.address} was accepted until {to_text(one.expires)} by {one.owner}",
        detail="It is accepted no more.",
        hint="undo the difference, accept it with: reconciler refresh, or remove the entry",
        source=one.source,
        address=one.address,
    )


def _needless(count: int) -> Diagnostic:
    entries = "entry" if count == 1 else "entries"
    return info(
        "baseline-unused",
        f"{count} {entries} of the baseline met no difference",
        hint="remove what is settled, or it would hide the same difference another time",
    )
