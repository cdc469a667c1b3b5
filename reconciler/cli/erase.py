"""erase: take a person's data out of what is recorded; no vendor and no account file is touched."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from reconciler.accounts import Address, flatten
from reconciler.cli.console import Console
from reconciler.cli.enqueue import refuse_queued
from reconciler.cli.flags import seconds
from reconciler.cli.opened import opened
from reconciler.diagnostics import Diagnostic, error
from reconciler.erasure import Erasure, personal
from reconciler.errors import ReconcilerError, StateError
from reconciler.exits import Exit
from reconciler.files import OWN
from reconciler.session import Session
from reconciler.session.targets import meant
from reconciler.state import Record
from reconciler.stores import backups
from reconciler.views.words import number, visible

BEYOND: Final = {
    "sqlite": "blocks of the disk that were freed, and copies that the file system or a disk "
    "backup keeps",
    "postgres": "the database's own backups and log archives, and rows that VACUUM has yet to free",
    "http": "earlier versions of the state that the server keeps",
    "object": "earlier versions of the objects, where the bucket keeps them",
}


def run(arguments: Namespace, console: Console) -> int:
    """Erase one account in state, history and backups; say what was done and what was not."""
    with opened(arguments, console) as session:
        where = session.address(arguments.address)
        own = session.root / OWN
        session.refuse_ephemeral()
        _known(session, where)
        question = f"Erase the personal data of {visible(where)} from records, history and backups?"
        console.ask(question, agreed=arguments.auto_approve)
        erasure = Erasure(os.urandom(16))
        with session.lock("erase", seconds(arguments.lock_timeout)) as writer:
            refuse_queued(session, where)
            record = _record(session, where)
            this = session.run("erase")
            writer.begin(this)
            lines = writer.erase(where, record and erasure.record(record), erasure.action)
            rewritten: list[Path] = []
            failed: list[Diagnostic] = []
            for path in backups.listed(own):
                try:
                    holder = session.holder("erase")
                    if backups.erase(path, session.backups, where, erasure, this, holder):
                        rewritten.append(path)
                except (ReconcilerError, OSError) as problem:
                    failed.append(left(path, problem, "not-erased"))
        failed += _forgotten(session)
        console.lines(_done(where, record, lines, rewritten))
        console.lines(_beyond(session))
        console.findings(failed)
    return Exit.ERROR if failed else Exit.DONE


def _forgotten(session: Session) -> Iterator[Diagnostic]:
    """Remove what plans of this user and machine know of the account files; yield if it stays."""
    from reconciler.config import forget

    try:
        forget(session.workspace, session.environ)
    except OSError as problem:
        yield left(Path(problem.filename), problem, "not-erased")


def _record(session: Session, where: Address) -> Record | None:
    return next(iter(session.store.records([where])), None)


def _known(session: Session, where: Address) -> None:
    """Raise StateError where nothing tells of the account, so that a typing error is noticed."""
    if _record(session, where) or next(iter(session.store.history(where)), None):
        return
    files = backups.listed(session.root / OWN)
    if any(backups.tells(path, session.backups, where) for path in files):
        return
    raise StateError.of(
        "not-recorded",
        f"{where} is not recorded, and history does not tell of it",
        hint=meant(where, (one for one, _ in session.store.index()), "see: reconciler state list"),
    )


def _done(
    where: Address, record: Record | None, lines: int, rewritten: Iterable[Path]
) -> Iterator[str]:
    yield f"Erased {visible(where)}:"
    if record is None:
        yield "  record    it has none"
    else:
        ban = (f"banned.{key}" for key in record.document.get("ban", ()))
        paths = sorted(path for path in (*flatten(record.document), *ban) if personal(path))
        seen = ", and what was last seen at the vendor" if record.observed else ""
        yield f"  record    {', '.join(map(visible, paths)) or 'nothing personal in it'}{seen}"
    yield f"  history   {number(lines, 'line')} rewritten"
    files = list(rewritten)
    yield f"  backups   {number(len(files), 'file')} rewritten"
    yield from (f"            {visible(str(path), 500)}" for path in files)
    yield (
        "Each value is now a salted digest: plan still tells whether the YAML says the same, and "
        "sends nothing while it does."
    )


def _beyond(session: Session) -> Iterator[str]:
    yield "Not touched, and for you to look after:"
    yield "  the vendor, which holds what it held (change the YAML and apply)"
    yield "  the account files and their history in git"
    yield "  plan files, pulled snapshots, reports and CI logs that were kept elsewhere"
    yield "  digests and ids in the caches of other users and machines that made plans"
    yield f"  {BEYOND[session.workspace.state.backend]}"
    yield "  the account's id, labels, ban flag, ticket, token reference, times and operators"
    yield "  the reasons for which rules were overridden"
    yield (
        "  guesses: who holds the state can try values against a digest, some 25 a second; a "
        "birthday or a gender is soon found so"
    )
    yield from old_copies(session)


def old_copies(session: Session) -> Iterator[str]:
    """Yield a line for every copy of the state that was once put aside here."""
    state = session.root / session.workspace.state.path
    aside = (session.root / OWN).glob("*.damaged-*")
    for path in sorted({*state.parent.glob(f"{state.name}.before-*"), *aside}):
        yield f"  {visible(str(path), 500)} (an old copy: remove it)"


def left(path: Path, problem: ReconcilerError | OSError, id: str) -> Diagnostic:
    """Return the finding, of this kind, about a file that still says what it said."""
    told = problem.told if isinstance(problem, ReconcilerError) else problem.strerror
    return error(
        id,
        f"{path} could not be rewritten",
        detail=f"{told or problem}",
        hint="mend what is wrong and run it again, or remove the file",
    )
