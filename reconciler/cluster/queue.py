"""Queue: where that of a workspace is, and what a newer plan takes off it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from reconciler.accounts import apps_of
from reconciler.changes import Plan
from reconciler.diagnostics import Diagnostic, info
from reconciler.session import Session
from reconciler.values import Reference
from reconciler.views.words import number

if TYPE_CHECKING:
    from reconciler.cluster.tables import Tables


def queue_of(session: Session) -> Tables:
    """Return the tables of the workspace's queue, which `session` does not close."""
    from reconciler.cluster.tables import tables_of

    settings = session.workspace.state
    url, schema = settings.options["url"], settings.options.get("schema")
    url = session.resolver.resolve(url) if isinstance(url, Reference) else str(url)
    return tables_of(url, schema and str(schema), session.root, session.workspace.name)


def withdraw(
    session: Session, planned: Plan, *, saved: bool, queued: bool = False
) -> Diagnostic | None:
    """Keep workers from what earlier files asked for: a plan asks for it again, or does not.

    Returns what is to be told of it. Chunks of the same plan stay where it is `queued` itself. One
    that was `saved` knows nothing of what was queued after it was made. Who names accounts says
    nothing of the others, and leaves the queue as it is.
    """
    names = session.workspace.apps
    if session.workspace.state.backend != "postgres" or set(planned.targets) - names.keys():
        return None
    with closing(queue_of(session)) as tables:
        if not tables.made:
            return None
        chunks, actions = tables.withdraw(
            apps_of(planned.targets) or None,
            planned.fingerprint if queued else "",
            planned.created_at if saved else None,
        )
    if not chunks:
        return None
    return info(
        "withdrawn",
        f"{number(chunks, 'chunk')} of earlier plans, {number(actions, 'action')}, will not"
        " be carried out by workers: this plan is newer",
    )
