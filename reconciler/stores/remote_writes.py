"""Writes: what each write of a store changes in a content, as values; nothing is sent here."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.accounts import Address
from reconciler.errors import StateError
from reconciler.state import IN_DOUBT, Intent, Record, Run, Settlement, Status
from reconciler.stores.held import Held, breaking
from reconciler.stores.refusals import demand_same_apps, in_doubt, no_intent, run_twice
from reconciler.stores.remote_content import Change, Content, shape_of
from reconciler.stores.rows import MESSAGE_LIMIT
from reconciler.values import canonical

_OWN = ("version", "updated_at", "run")
"""What the store itself says of a record; all else makes two records differ."""


@dataclass(frozen=True, slots=True)
class Pen:
    """Who writes, and when (RFC 3339 UTC): the run and the fence that rows are written under."""

    run: str
    fence: int
    at: str


def begun(content: Content, run: Run, lineage: str) -> Change | None:
    """Record a run; None if it is recorded. A state that was never written gets its lineage."""
    row = canonical(run.to_json())
    before = content.runs.get(run.id)
    if before not in (None, row):
        raise run_twice(run.id)
    if before and content.lineage:
        return None
    return Change(content.lineage or lineage or str(uuid.uuid4()), runs={run.id: row})


def bound(content: Content, apps: Mapping[str, str]) -> Change | None:
    """Record the app of each provider; None if all are. Raises StateError for another app."""
    demand_same_apps(content.apps, apps)
    fresh = {provider: app for provider, app in apps.items() if provider not in content.apps}
    return Change(apps=fresh) if fresh else None


def intended(content: Content, intents: Sequence[Intent], pen: Pen) -> Change | None:
    """Write intents down. Raises StateError for a known id and for a run that was never begun."""
    journal: dict[int, bytes] = {}
    seen: set[str] = set()
    for seq, intent in enumerate(intents, _next(content)):
        if intent.id in content.intents or intent.id in seen:
            raise StateError.of("state-intent-twice", f"the intent {intent.id} is written already")
        if intent.run not in content.runs:
            raise StateError.of("state-no-run", f"the run {intent.run} was never begun")
        seen.add(intent.id)
        line = {
            "known_absent": intent.known_absent,
            "status": str(Status.INTENT),
            "action": dict(intent.action),
            "ended_at": "",
        }
        journal[seq] = _line(seq, intent.id, intent.run, intent.address, pen, line)
    return Change(journal=journal) if journal else None


def settled(content: Content, settlements: Sequence[Settlement], pen: Pen) -> Change | None:
    """Record outcomes and the records they make, under one new serial if any record changes.

    Raises StateError for an intent that is unknown or settled already.
    """
    journal: dict[int, bytes] = {}
    pending: dict[Address, Record | None] = {}
    for settlement in settlements:
        seq = content.intents.get(settlement.intent)
        if seq is None:
            raise no_intent(settlement.intent, known=False)
        line = json.loads(journal.get(seq) or content.journal[seq])
        if line["status"] not in IN_DOUBT:
            raise no_intent(settlement.intent, known=True)
        line.update(
            status=str(settlement.status),
            code=settlement.code,
            message=settlement.message[:MESSAGE_LIMIT],
            ended_at=pen.at,
        )
        journal[seq] = canonical(line)
        if settlement.record is not None:
            pending[settlement.record.address] = settlement.record
        if settlement.forget is not None:
            pending[settlement.forget] = None
    if not journal:
        return None
    serial, accounts = _put(content, pending, pen)
    return Change(serial=serial, accounts=accounts, journal=journal)


def saved(
    content: Content,
    records: Sequence[Record],
    forget: Sequence[Address],
    operation: str,
    pen: Pen,
) -> Change | None:
    """Replace or drop records, each change with a line of history; None if none differs."""
    pending: dict[Address, Record | None] = dict.fromkeys(forget)
    pending.update((record.address, record) for record in records)
    serial, accounts = _put(content, pending, pen)
    if not accounts:
        return None
    kept = {"action": operation, "version": serial}
    journal = {
        seq: _done(
            seq, address, pen, {**kept, "forgotten": True} if accounts[address] is None else kept
        )
        for seq, address in enumerate(accounts, _next(content))
    }
    return Change(serial=serial, accounts=accounts, journal=journal)


def erased(
    content: Content,
    address: Address,
    record: Record | None,
    hide: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    pen: Pen,
) -> tuple[Change, int]:
    """Rewrite record and journal of an account; return how many lines of the journal changed.

    Raises StateError while an action of the account is in doubt.
    """
    journal: dict[int, bytes] = {}
    for seq, row in content.journal.items():
        line = json.loads(row)
        if line["address"] != address:
            continue
        if line["status"] in IN_DOUBT:
            raise in_doubt(address)
        line.update(action=dict(hide(line["action"])), message="")
        if (after := canonical(line)) != row:
            journal[seq] = after
    changed = len(journal)
    serial, accounts = _put(content, {address: record} if record else {}, pen)
    shape = {"action": "erase", "version": serial or content.serial}
    seq = _next(content)
    journal[seq] = _done(seq, address, pen, shape)
    return Change(serial=serial, anew=True, accounts=accounts, journal=journal), changed


def rekeyed(content: Content, key: str, pen: Pen) -> Change:
    """Put the state under another key, with a line of history; under its own it is written anew."""
    if key == content.key:
        return Change(anew=True)
    shape = {"action": "state rekey", "before": content.key, "after": key}
    seq = _next(content)
    return Change(key=key, anew=True, journal={seq: _done(seq, Address(""), pen, shape)})


def broken(content: Content, held: Held, run: Run, at: str) -> Change:
    """Note that a lock was broken; the next fence keeps its holder out."""
    seq = _next(content)
    row = canonical(run.to_json())
    return Change(
        fence=max(content.fence, held.fence) + 1,
        runs={run.id: row},
        journal={seq: _done(seq, Address(""), Pen(run.id, held.fence, at), breaking(held))},
    )


def _put(
    content: Content, pending: Mapping[Address, Record | None], pen: Pen
) -> tuple[int | None, dict[Address, bytes | None]]:
    """Return the serial that the records which differ make, and their rows."""
    version = content.serial + 1
    rows: dict[Address, bytes | None] = {}
    for address, record in pending.items():
        before = content.accounts.get(address)
        if record is None:
            if before is not None:
                rows[address] = None
            continue
        shape = shape_of(record)
        if before is not None and _body(json.loads(before)) == _body(shape):
            continue
        rows[address] = canonical(
            {**shape, "version": version, "updated_at": pen.at, "run": pen.run}
        )
    return (version if rows else None), rows


def _body(shape: Mapping[str, Any]) -> bytes:
    return canonical({key: value for key, value in shape.items() if key not in _OWN})


def _next(content: Content) -> int:
    return max(content.journal, default=0) + 1


def _done(seq: int, address: Address, pen: Pen, action: Mapping[str, Any]) -> bytes:
    """Return the line of something that is done already."""
    line = {
        "known_absent": False,
        "status": str(Status.CONFIRMED),
        "action": dict(action),
        "ended_at": pen.at,
    }
    return _line(seq, "", pen.run, address, pen, line)


def _line(
    seq: int, intent: str, run: str, address: Address, pen: Pen, more: Mapping[str, Any]
) -> bytes:
    return canonical(
        {
            "seq": seq,
            "intent": intent,
            "run": run,
            "fence": pen.fence,
            "address": address,
            "code": "",
            "message": "",
            "started_at": pen.at,
            **more,
        }
    )
