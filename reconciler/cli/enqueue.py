"""enqueue: what `apply --enqueue` does in place of carrying out, and who else minds the queue."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

from reconciler.accounts import Address, split
from reconciler.changes import Plan
from reconciler.cluster.queue import queue_of
from reconciler.errors import StateError, UsageError
from reconciler.session import Session
from reconciler.state import Run
from reconciler.views.words import number, visible


def require(session: Session, what: str) -> None:
    """Raise UsageError where the state cannot hold a queue, ConfigError where DBOS is missing."""
    backend = session.workspace.state.backend
    if backend != "postgres":
        raise UsageError.of(
            "no-queue",
            f"{what} needs a state in PostgreSQL, and this one is {backend}",
            hint="write state: {backend: postgres, url: env:STATE_URL}; on one machine, apply "
            "without it",
        )
    from reconciler.cluster.engine import require

    require()


def enqueue(session: Session, planned: Plan, run: Run) -> dict[str, Any]:
    """Queue the chunks of a plan; return the facts of it. `run` has begun under the lock."""
    from reconciler.cluster.engine import running

    who = session.store.identity()
    planned = replace(planned, workspace=who.workspace, lineage=who.lineage)
    with closing(queue_of(session)) as tables:
        # A new DBOS makes indexes, which waits for whoever reads at some earlier moment.
        session.store.close()
        cipher = session.keys.reading(who.key, who.workspace, who.lineage, tables.place.name)
        with running(tables, takes=False) as engine:
            chunks, fresh = engine.queue(planned, who, run, cipher)
    return {
        "type": "enqueued",
        "apps": sorted({split(action.address)[0] for action in planned.actions}),
        "chunks": chunks,
        "fresh": fresh,
        "actions": len(planned.actions),
        "fingerprint": planned.fingerprint,
    }


def line(told: dict[str, Any]) -> str:
    """Return the last line of an `apply --enqueue`."""
    chunks = number(told["chunks"], "chunk")
    if not told["fresh"]:
        return f"Enqueued nothing new: of this plan {chunks} wait already; run: reconciler worker"
    return (
        f"Enqueued {number(len(told['apps']), 'app')}, {chunks}, "
        f"{number(told['actions'], 'action')}; run: reconciler worker"
    )


def refuse_queued(session: Session, where: Address | None = None) -> None:
    """Raise StateError while chunks wait that are about an account, or any without one.

    They hold what the account shall be, so they would keep what is erased or rewritten elsewhere.
    """
    if session.workspace.state.backend != "postgres":
        return
    with closing(queue_of(session)) as tables:
        if not tables.made:
            return
        if where is None:
            waiting = tables.open()
        else:
            who, app = session.store.identity(), split(where)[0]
            waiting = len(list(tables.holding(where, app, session.keys, who)))
    if waiting:
        about = f" with actions on {visible(where)}" if where else ""
        raise StateError.of(
            "queued",
            f"{number(waiting, 'chunk')}{about} wait for a worker, and hold what would be rewritten"
            if waiting > 1
            else f"1 chunk{about} waits for a worker, and holds what would be rewritten",
            hint="let the workers finish first: reconciler worker --drain",
        )
