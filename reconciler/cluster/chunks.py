"""Chunks: a plan in pieces of one app each, and what of a piece is still to be done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from reconciler.accounts import Address, split
from reconciler.changes import (
    Action,
    Block,
    Forget,
    Kind,
    Plan,
    Reason,
    Siblings,
    ban_of,
    fingerprint,
    in_order,
)
from reconciler.events import Errored, Event, Skipped
from reconciler.state import Entry, Record, Run, Status
from reconciler.values import to_moment

LARGEST: Final = 1000
"""Actions of a chunk at most: some seconds of work, and what one crash may put in doubt."""

VERSION: Final = "1"
"""Of what a chunk holds; a worker leaves those of another version to workers of that one."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a plan on the queue.

    `plan` holds its actions only, `fingerprint` is the whole plan's. `run` is that of who queued
    it; `runs` are the ids of the runs that have begun to carry it out, all but the last in vain.
    `queued_at` is RFC 3339 UTC by the clock of the database.
    """

    id: str
    app: str
    number: int
    fingerprint: str
    plan: Plan
    run: Run
    runs: tuple[str, ...] = ()
    queued_at: str = ""


@dataclass(slots=True)
class Left:
    """What of a chunk is still to be done, and how the rest ended or ends without a call."""

    plan: Plan
    done: Counter[Kind] = field(default_factory=Counter)
    failed: int = 0
    skipped: int = 0
    stale: list[Event] = field(default_factory=list)


def cut(plan: Plan) -> Iterator[tuple[str, int, Plan]]:
    """Yield the chunks of a plan: app, number within the app from 1, and the part of the plan.

    An account's actions stay together. Of an app, accounts to forget come first and then those
    that are behind their siblings, as in one apply.
    """
    behind = {where: entry for entry in plan.siblings for where in entry.behind}

    def rank(own: Sequence[Action]) -> int:
        return 0 if isinstance(own[0], Forget) else 1 if own[0].address in behind else 2

    for app, actions in groupby(plan.actions, key=lambda action: split(action.address)[0]):
        accounts = [tuple(own) for _, own in groupby(actions, key=lambda action: action.address)]
        pieces: list[list[Action]] = [[]]
        for own in sorted(accounts, key=rank):  # it is stable: by address within a rank
            if pieces[-1] and len(pieces[-1]) + len(own) > LARGEST:
                pieces.append([])
            pieces[-1].extend(own)
        for number, piece in enumerate(pieces, 1):
            entries = (behind[one.address] for one in piece if one.address in behind)
            near = replace(plan, siblings=tuple(dict.fromkeys(entries)))
            yield app, number, part(near, sorted(piece, key=in_order))


def part(plan: Plan, actions: Iterable[Action]) -> Plan:
    """Return the plan of these actions alone, which are sorted as a plan's are."""
    kept = tuple(actions)
    held = {action.address for action in kept}
    entries = (
        Siblings(
            tuple(where for where in entry.accounts if where in held),
            tuple(where for where in entry.behind if where in held),
            entry.file,
            entry.line,
        )
        for entry in plan.siblings
    )
    return replace(
        plan,
        actions=kept,
        fingerprint=fingerprint(kept),
        siblings=tuple(entry for entry in entries if entry.behind),
        diagnostics=(),
        cost={},
    )


def left(
    chunk: Chunk,
    records: Mapping[Address, Record],
    told: Mapping[Address, Sequence[Entry]],
    doubtful: Collection[Address],
    now: datetime,
) -> Left:
    """Compare a chunk with what is recorded, and with what earlier runs of it have done.

    `told` is the history of accounts whose actions such a run has begun, `doubtful` are the
    accounts that a run of somebody else has left in doubt since. What ended under this plan stays
    as it ended; what is recorded already is done; an account that somebody changed since is left
    alone and fails by name. In doubt under this plan is still to be done.
    """
    found, kept = Left(chunk.plan), list[Action]()
    for where, group in groupby(chunk.plan.actions, key=lambda action: action.address):
        own = tuple(group)
        record = records.get(where)
        ended = _ended(told.get(where, ()), chunk.runs)
        rest = _unended(own, ended, found)
        if not rest:
            continue
        moved = (record.version if record else 0) != own[0].version
        if moved and all(_holds(record, action) for action in rest):
            found.done.update(action.kind for action in rest)
        elif because := _stale(chunk, rest, record, moved=moved, doubtful=doubtful, now=now):
            found.stale.append(Errored(rest[0], "stale", because))
            found.stale += (Skipped(one, f"its {rest[0].kind} failed") for one in rest[1:])
        else:
            version = record.version if record else 0
            kept += (action._replace(version=version) for action in rest)
    found.plan = part(chunk.plan, kept)
    return found


def _ended(entries: Iterable[Entry], runs: Collection[str]) -> dict[str, Status]:
    """Return how each kind of action of an account ended last in the runs of its chunk."""
    return {entry.action["action"]: entry.status for entry in entries if entry.run.id in runs}


def _unended(own: Sequence[Action], ended: Mapping[str, Status], found: Left) -> list[Action]:
    """Return the actions whose outcome is not known; count the others."""
    rest: list[Action] = []
    for n, action in enumerate(own):
        match ended.get(action.kind):
            case Status.CONFIRMED:
                found.done[action.kind] += 1
            case Status.REJECTED:
                found.failed += 1
                found.skipped += len(own) - n - 1
                return rest
            case _:
                rest.append(action)
    return rest


def _stale(
    chunk: Chunk,
    rest: Sequence[Action],
    record: Record | None,
    *,
    moved: bool,
    doubtful: Collection[Address],
    now: datetime,
) -> str:
    """Return why an account must be left alone, empty where it need not."""
    ours = record is not None and record.run in chunk.runs
    if moved and not ours:
        return "another run changed it since the plan was made, so nothing was done; plan again"
    if rest[0].address in doubtful and not any(one.reason is Reason.IN_DOUBT for one in rest):
        return "another run left it in doubt since the plan was made, so nothing was done"
    for action in rest:
        until = ban_of(action).get("until") if isinstance(action, Block) else None
        if until and to_moment(until) <= now:
            return f"its ban has ended meanwhile ({until}), so nothing was done; plan again"
    return ""


def _holds(record: Record | None, action: Action) -> bool:
    """Tell whether the record is as the action would leave it."""
    if isinstance(action, Forget):
        return record is None
    if record is None:
        return False
    after = record.after(action)
    if action.kind is Kind.CREATE:
        # What follows the create, its own ban, is looked at by itself.
        return _banless(after.document) == _banless(record.document)
    return (after.document, after.banned, after.observed) == (
        record.document,
        record.banned,
        record.observed,
    )


def _banless(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "ban"}
