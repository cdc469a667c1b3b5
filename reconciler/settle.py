"""Settle: what earlier runs left in doubt, decided by reading the vendor before anything new."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import groupby

from reconciler.accounts import Address, Observed, flatten, split, unflatten
from reconciler.carry import Link, awaiting_ban, holds, look, made
from reconciler.changes import (
    Action,
    Block,
    Create,
    Kind,
    Unblock,
    Update,
    at_vendor,
    calls_vendor,
    from_json,
)
from reconciler.conversation import ReadFailed
from reconciler.errors import ReconcilerError
from reconciler.events import Settled
from reconciler.state import Intent, Reader, Record, Settlement, Status, Writer, doubts
from reconciler.values import to_moment


@dataclass(frozen=True, slots=True)
class _Decided:
    settlements: tuple[Settlement, ...]
    events: tuple[Settled, ...]


LATE = timedelta(minutes=10)
"""How long after its intent a create may still be carried out that is not found yet.

NetEase takes no signature that is older than five minutes; a network keeps no request for longer.
"""


def settle(
    recorded: Reader, writer: Writer, links: Mapping[str, Link], now: str
) -> Iterator[Settled]:
    """Decide what is in doubt of the writer's apps and can be asked about; yield what was found.

    Reading tells facts and changes nothing: what is found there is recorded as done, what is not
    is recorded as not done and planned again. A provider that cannot be read now leaves its
    intents in doubt, and so does a ban at a vendor that never tells. A create that may yet arrive
    stays in doubt too, so that an account which comes to be late is known to be ours. `now` is
    RFC 3339 UTC.
    """
    found = sorted(doubts(recorded, writer.scope), key=lambda intent: split(intent.address)[0])
    noted = [intent for intent in found if not calls_vendor(from_json(intent.action))]
    if noted:
        # Nobody else can have done these: what is not recorded is not done.
        writer.settle([Settlement(one.id, Status.NOT_SENT, "", "not recorded") for one in noted])
        yield from (
            Settled(one.address, from_json(one.action).kind, held=False, run=one.run)
            for one in noted
        )
    ids = {intent.id for intent in noted}
    found = [intent for intent in found if intent.id not in ids]
    for provider, group in groupby(found, key=lambda intent: split(intent.address)[0]):
        intents = tuple(group)
        link = links.get(provider)
        if link is None:
            continue
        try:
            sights = look(link, list(dict.fromkeys(intent.address for intent in intents)))
        except (ReadFailed, ReconcilerError):
            continue
        records = {
            record.address: record
            for record in recorded.records({intent.address for intent in intents})
        }
        decided = _decide(link, intents, records, sights, now)
        writer.settle(decided.settlements)
        yield from decided.events


def _decide(
    link: Link,
    intents: tuple[Intent, ...],
    records: dict[Address, Record],
    sights: Mapping[Address, Observed],
    now: str,
) -> _Decided:
    settlements: list[Settlement] = []
    events: list[Settled] = []
    coming: set[Address] = set()
    for intent in intents:
        seen = sights.get(intent.address)
        if seen is None:
            continue
        action, record = from_json(intent.action), records.get(intent.address)
        if isinstance(action, Create) and _may_come(intent, seen, now):
            coming.add(intent.address)
        if intent.address in coming:
            # What was to follow the create stays with it: should that come, so does its ban.
            continue
        if record and seen.exists and isinstance(action, Block | Unblock) and seen.banned is None:
            # Whether a ban that cannot be read took effect stays in doubt, until a plan asks for
            # the desired one again.
            continue
        # What is not recorded is held only by its create: another's account may be banned too.
        held = _held(intent, seen) and (record is not None or isinstance(action, Create))
        status = Status.CONFIRMED if held else Status.NOT_SENT
        found = _done(link, intent, record, seen) if held else _undone(action, record, seen)
        if found is not None:
            banned = any(
                other.address == intent.address and other.action["action"] == Kind.BLOCK
                for other in intents
            )
            # Several runs may have asked for it: each of them found the version that there was.
            fresh = record is None or record.version == action.version
            if held and isinstance(action, Create) and fresh and banned:
                found = awaiting_ban(found)
            records[intent.address] = found
        message = "found done by reading" if held else "found not done by reading"
        settlements.append(Settlement(intent.id, status, "", message, found))
        events.append(Settled(intent.address, action.kind, held, intent.run))
    return _Decided(tuple(settlements), tuple(events))


def _may_come(intent: Intent, seen: Observed, now: str) -> bool:
    """Tell whether a create that is not found may still be on its way."""
    if seen.exists or not (intent.known_absent and intent.at):
        return False
    return to_moment(now) - to_moment(intent.at) < LATE


def _done(link: Link, intent: Intent, record: Record | None, seen: Observed) -> Record | None:
    """Return the record of an action that was found done.

    A record that another run has changed since knows more than the intent does: only what was
    seen at the vendor is taken over.
    """
    action = from_json(intent.action)
    later = record is not None and record.run != intent.run and record.version != action.version
    if isinstance(action, Create):
        known = record if later else made(link, action, seen=seen)
        return known and replace(known, observed=seen)
    if later:
        changes = tuple(c for c in action.changes if c.path == "banned" or at_vendor(c.path))
        action = action._replace(changes=changes)
    return record and record.after(action, seen=seen)


def _undone(action: Action, record: Record | None, seen: Observed) -> Record | None:
    """Return the record of an account of which an action was not found done, as it was seen.

    Part of it may be done all the same. What cannot be seen may be the old value or the new one:
    it is claimed no more, so that the next plan sets the one that is desired then.
    """
    if record is None:
        return None
    live = flatten({"profile": seen.profile, "configuration": seen.configuration})
    asked = {change.path for change in action.changes if at_vendor(change.path)}
    unsure = asked - live.keys() if seen.exists and isinstance(action, Update) else set()
    flat = {path: v for path, v in flatten(record.document).items() if path not in unsure}
    kept = {k: v for k, v in record.document.items() if k in ("ban", "token") and k not in unsure}
    key = "" if "token" in unsure else record.token_key
    return replace(record, document=unflatten(flat) | kept, observed=seen, token_key=key)


def _held(intent: Intent, seen: Observed) -> bool:
    """Tell whether the intent was carried out.

    An account found where none was known to be absent before may be somebody else's, and a value
    that cannot be read may be missing: neither is claimed, both are planned again.
    """
    action = from_json(intent.action)
    if isinstance(action, Create) and not intent.known_absent:
        return False
    return holds(action, seen) is True
