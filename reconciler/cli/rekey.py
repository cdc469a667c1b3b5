"""state rekey: write state, history and backups anew, under the key that is named first."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from reconciler.cli.console import Console
from reconciler.cli.enqueue import refuse_queued
from reconciler.cli.erase import BEYOND, left, old_copies
from reconciler.cli.flags import seconds
from reconciler.diagnostics import Diagnostic
from reconciler.errors import ReconcilerError
from reconciler.exits import Exit
from reconciler.files import OWN
from reconciler.session import Session
from reconciler.stores import backups
from reconciler.views.words import number, visible

OPERATION = "state rekey"


def rekey(session: Session, arguments: Namespace, console: Console) -> int:
    """Rewrite everything that can be reached; say what was done and what was not.

    Run again after it was ended midway, it goes on with what is left.
    """
    session.refuse_ephemeral()
    store = session.opened(session.keys.also_clear())
    before, after = store.identity(), session.keys.first
    question = f"Rewrite state, history and backups to be {_under(after)}?"
    console.ask(question, agreed=arguments.auto_approve)
    rewritten: list[Path] = []
    failed: list[Diagnostic] = []
    with session.lock(OPERATION, seconds(arguments.lock_timeout), store) as writer:
        refuse_queued(session)
        this = session.run(OPERATION)
        if before.lineage:
            writer.begin(this)
            writer.rekey()
        for path in backups.listed(session.root / OWN):
            try:
                if backups.rekey(path, session.backups, this, session.holder(OPERATION)):
                    rewritten.append(path)
            except (ReconcilerError, OSError) as problem:
                failed.append(left(path, problem, "not-rewritten"))
    console.print(_done(before.lineage, before.key, after))
    if rewritten:
        console.print(f"Rewrote {number(len(rewritten), 'backup')}:")
        console.lines(f"  {visible(str(path), 500)}" for path in rewritten)
    console.lines(_beyond(session))
    settings = session.workspace.state.encryption
    if settings and settings.previous and not failed:
        console.print("Nothing here is under a previous key any more.")
    console.findings(failed)
    return Exit.ERROR if failed else Exit.DONE


def _under(key: str) -> str:
    return f"encrypted with the key {key}" if key else "clear text"


def _done(lineage: str, before: str, after: str) -> str:
    if not lineage:
        return f"Nothing is recorded yet; what is will be {_under(after)}."
    if before == after:
        said = f"State and history are {_under(after)} already."
        how = "to encrypt them, write state: {encryption: {key: env:NAME}} in reconciler.yaml"
        return said if after else f"{said[:-1]}; {how}."
    return f"Rewrote state and history: now {_under(after)}, before {_under(before)}."


def _beyond(session: Session) -> Iterator[str]:
    yield "Not rewritten, and for you to look after:"
    yield "  plan files, pulled snapshots, reports and CI logs, which are clear text"
    yield "  copies of the state or of its backups that were kept elsewhere"
    yield f"  {BEYOND[session.workspace.state.backend]}"
    yield from old_copies(session)
