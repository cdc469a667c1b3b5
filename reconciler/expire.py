"""Expire: which bans are about to end by themselves, or have ended and are not lifted yet."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from reconciler.accounts import Account, Address, targeted
from reconciler.state import Reader, Record
from reconciler.values import to_moment


class Status(StrEnum):
    """How a ban stands: what will become of it, or has."""

    ENDED = "ended"
    ENDS = "ends"
    DECLARED = "declared"
    LEFT = "left"


class Lapse(NamedTuple):
    """One ban and its end (RFC 3339 UTC), as the YAML says; one that left the YAML as recorded.

    `ban` is its record, `recorded` the end that was last applied, empty where there is none.
    """

    until: str
    address: Address
    status: Status
    ban: Mapping[str, Any]
    recorded: str = ""
    file: str = ""
    line: int = 0


def expire(
    desired: Iterable[Account],
    recorded: Reader,
    as_of: datetime,
    before: datetime,
    targets: Collection[str] = (),
) -> tuple[Lapse, ...]:
    """Return the bans that end until `before`, by time; those that ended and still stand come too.

    A ban counts as the YAML has it, as that is what plans go by: one that is lifted or has no end
    there is left out. Only records of bans with an end, and of accounts that left, are looked at.
    """
    left = {where for where, _ in recorded.index()}
    written: dict[Address, Account] = {}
    for account in desired:
        left.discard(account.address)
        if account.until:
            written[account.address] = account
    asked = [where for where in {*left, *written} if targeted(where, targets)]
    records = {record.address: record for record in recorded.records(asked)}
    found = (_lapse(where, written.get(where), records.get(where), as_of) for where in asked)
    return tuple(sorted(one for one in found if one and to_moment(one.until) <= before))


def _lapse(
    where: Address, account: Account | None, record: Record | None, as_of: datetime
) -> Lapse | None:
    """Return how a ban with an end stands; None where there is none, or where it is over."""
    kept = record.document.get("ban", {}) if record and record.is_banned else {}
    ban = kept if account is None else json.loads(account.document).get("ban", {})
    until = ban.get("until", "")
    if not until:
        return None
    over = to_moment(until) <= as_of
    if account is None:
        return Lapse(until, where, Status.LEFT, ban, until)
    if record is None or not record.is_banned:
        # What is over before it was ever applied, or was lifted in time, is nobody's concern.
        status = None if over else Status.DECLARED
    else:
        status = Status.ENDED if over else Status.ENDS
    if status is None:
        return None
    return Lapse(until, where, status, ban, kept.get("until", ""), account.file, account.line)
