"""Settle: what earlier runs left in doubt, decided by reading the vendor before anything new."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from reconciler.accounts import Address, Observed, split
from reconciler.carry import Link, awaiting_ban, holds, look, made
from reconciler.changes import Block, Create, Kind, Unblock, calls_vendor, from_json
from reconciler.conversation import ReadFailed
from reconciler.errors import ReconcilerError
from reconciler.events import Settled
from reconciler.state import Intent, Reader, Record, Settlement, Status, Writer


@dataclass(frozen=True, slots=True)
class _Decided:
    settlements: tuple[Settlement, ...]
    events: tuple[Settled, ...]


def settle(recorded: Reader, writer: Writer, links: Mapping[str, Link]) -> Iterator[Settled]:
    """Decide every intent in doubt that the vendor can be asked about; yield what was found.

    Reading tells facts and changes nothing: what is found there is recorded as done, what is not
    is recorded as not done and planned again. A provider that cannot be read now leaves its
    intents in doubt, and so does a ban at a vendor that never tells.
    """
    doubts = sorted(recorded.unresolved(), key=lambda intent: split(intent.address)[0])
    noted = [intent for intent in doubts if not calls_vendor(from_json(intent.action))]
    if noted:
        # Nobody else can have done these: what is not recorded is not done.
        writer.settle([Settlement(one.id, Status.NOT_SENT, "", "not recorded") for one in noted])
        yield from (Settled(one.address, from_json(one.action).kind, held=False) for one in noted)
    ids = {intent.id for intent in noted}
    doubts = [intent for intent in doubts if intent.id not in ids]
    for provider, group in groupby(doubts, key=lambda intent: split(intent.address)[0]):
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
        decided = _decide(link, intents, records, sights)
        writer.settle(decided.settlements)
        yield from decided.events


def _decide(
    link: Link,
    intents: tuple[Intent, ...],
    records: dict[Address, Record],
    sights: Mapping[Address, Observed],
) -> _Decided:
    settlements: list[Settlement] = []
    events: list[Settled] = []
    for intent in intents:
        seen = sights.get(intent.address)
        if seen is None:
            continue
        action = from_json(intent.action)
        if seen.exists and isinstance(action, Block | Unblock) and holds(action, seen) is None:
            # Whether a ban that cannot be read took effect stays in doubt, until a plan asks for
            # the desired one again.
            continue
        # What is not recorded is held only by its create: another's account may be banned too.
        held = _held(intent, seen) and (intent.address in records or isinstance(action, Create))
        status = Status.CONFIRMED if held else Status.NOT_SENT
        record = None
        if held:
            if isinstance(action, Create):
                record = made(link, action, seen=seen)
                if any(
                    other.address == intent.address and other.action["action"] == Kind.BLOCK
                    for other in intents
                ):
                    record = awaiting_ban(record)
            else:
                record = records[intent.address].after(action)
            records[intent.address] = record
        message = "found done by reading" if held else "found not done by reading"
        settlements.append(Settlement(intent.id, status, "", message, record))
        events.append(Settled(intent.address, action.kind, held))
    return _Decided(tuple(settlements), tuple(events))


def _held(intent: Intent, seen: Observed) -> bool:
    """Tell whether the intent was carried out.

    An account found where none was known to be absent before may be somebody else's, and a value
    that cannot be read may be missing: neither is claimed, both are planned again.
    """
    action = from_json(intent.action)
    if isinstance(action, Create) and not intent.known_absent:
        return False
    return holds(action, seen) is True
