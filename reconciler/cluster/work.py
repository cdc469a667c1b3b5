"""Work: one chunk carried out, however often it was begun before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from reconciler.accounts import Address
from reconciler.applying import apply
from reconciler.carry import Link
from reconciler.changes import Plan
from reconciler.cluster.chunks import Chunk, left
from reconciler.errors import Stale
from reconciler.events import Errored, Event, Skipped, Summary
from reconciler.lanes import Effects
from reconciler.settle import settle
from reconciler.state import Reader, Run, Writer, doubts
from reconciler.values import to_moment


def check(plan: Plan, recorded: Reader, workspace: str) -> None:
    """Raise Stale for a chunk that was made for another state than the one there is now."""
    who = recorded.identity()
    if (plan.workspace, plan.lineage) != (workspace, who.lineage):
        raise Stale.of(
            "stale",
            "the chunk was queued for another state (another lineage)",
            hint="plan again",
        )


def work(
    chunk: Chunk,
    recorded: Reader,
    writer: Writer,
    links: Mapping[str, Link],
    run: Run,
    effects: Effects,
) -> Iterator[Event]:
    """Settle what is in doubt of the app, then carry out what is left; the last is a `Summary`.

    It counts the whole chunk, also what earlier runs of it did. `run` has begun and is the last of
    `chunk.runs`; `links` is to the chunk's app alone, and empty where no vendor is asked.
    """
    if doubts(recorded, writer.scope):
        yield from settle(recorded, writer, links, run.started_at)
    doubtful = {
        intent.address
        for intent in doubts(recorded, {chunk.app})
        if intent.run not in chunk.runs and intent.at > chunk.queued_at
    }
    touched = dict.fromkeys(action.address for action in chunk.plan.actions)
    records = {record.address: record for record in recorded.records(touched)}
    before = frozenset(chunk.runs) - {run.id}
    rest = left(
        chunk,
        records,
        {where: tuple(recorded.history(where)) for where in touched} if before else {},
        doubtful,
        to_moment(run.started_at),
    )
    yield from rest.stale
    failed = rest.failed + sum(isinstance(one, Errored) for one in rest.stale)
    skipped = rest.skipped + sum(isinstance(one, Skipped) for one in rest.stale)
    for event in apply(rest.plan, recorded, writer, links, run, effects):
        if isinstance(event, Summary):
            yield replace(
                event,
                applied=Counter(rest.done) + Counter(event.applied),
                failed=event.failed + failed,
                skipped=event.skipped + skipped,
            )
        else:
            yield event


def fields(chunk: Chunk, recorded: Reader) -> Iterator[tuple[Address, list[str]]]:
    """Yield the paths, by account, that a chunk is about, and what is in doubt of its app."""
    for action in chunk.plan.actions:
        yield action.address, [change.path for change in action.changes]
    for intent in doubts(recorded, {chunk.app}):
        yield intent.address, [change["path"] for change in intent.action["changes"]]
