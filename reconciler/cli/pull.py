"""pull: what the vendors were seen to hold, put into the YAML that says otherwise."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from reconciler.accounts import Account, Address, Observed, targeted
from reconciler.cli.console import Console
from reconciler.cli.opened import opened
from reconciler.config.files import Found, Unreadable, find
from reconciler.config.judge import Judge
from reconciler.diagnostics import Diagnostic, warning
from reconciler.drift import Drifted, drift
from reconciler.edit.choose import File
from reconciler.edit.compare import compare
from reconciler.edit.pull import Pulled, Sorted, Sorter, Wishes, pull
from reconciler.errors import ConfigError
from reconciler.exits import Exit
from reconciler.files import rewrite
from reconciler.session import Session, now
from reconciler.state import Record
from reconciler.views.words import number

TOLD: Final = 50
"""Findings that are told one by one; of the others only the number is."""


def run(arguments: Namespace, console: Console) -> int:
    """Show what recorded drift would change in the YAML, or with --write change it.

    3 where some of it cannot be written and was told, 1 where none can.
    """
    with opened(arguments, console) as session:
        targets = session.targets(arguments.target)
        records = {record.address: record for record in _suspects(session, targets)}
        drifted = _drifted(records.values())
        found = _sorted(session, drifted, records)
        left = list(found.left)
        accounts = fields = 0
        for file, wishes in sorted(found.files.items()):
            pulled = _file(session, file, wishes, arguments, console)
            left += pulled.left
            accounts, fields = accounts + pulled.accounts, fields + pulled.fields
    _tell([*found.notes, *left], console)
    _end(accounts, fields, len(left), arguments, console)
    if not left:
        return Exit.DONE
    return Exit.PARTIAL if fields else Exit.ERROR


def _suspects(session: Session, targets: Sequence[str]) -> Iterator[Record]:
    """Yield the records that may have drifted: a plan looks closer at them, too."""
    store = session.store
    near = [where for where, digest in store.index() if digest is None]
    yield from store.records(where for where in near if targeted(where, targets))


def _drifted(records: Iterable[Record]) -> tuple[Drifted, ...]:
    """Compare what was last seen with what was last applied."""
    pairs: list[tuple[Record, Observed | None]] = [
        (replace(record, observed=None), record.observed) for record in records if record.observed
    ]
    return drift(sorted(pairs, key=lambda pair: pair[0].address)).drifted


def _sorted(session: Session, drifted: Sequence[Drifted], records: dict[Address, Record]) -> Sorted:
    if not drifted:
        return Sorted()
    wanted = {one.address for one in drifted}
    desired: dict[Address, Account] = {
        account.address: account for account in session.desired() if account.address in wanted
    }
    siblings = {where for account in desired.values() for where in account.siblings}
    for record in session.store.records(siblings - records.keys()):
        records[record.address] = record
    judge = Judge(session.workspace, session.capabilities)
    return Sorter(desired, records, judge, now()).sort(drifted)


def _file(
    session: Session, name: str, wishes: Wishes, arguments: Namespace, console: Console
) -> Pulled:
    """Pull into one file; show it or write it."""
    workspace = session.workspace
    found = next((one for one in find(workspace)[0] if one.file == name), Found(name, ()))
    file = File(name, (Path(workspace.root) / name).resolve())
    try:
        before = file.read()
        pulled = pull(before, found, wishes, lambda: Judge(workspace, session.capabilities))
        if not pulled.fields:
            return pulled
        if arguments.write:
            rewrite(file.path, before, [pulled.text])
    except Unreadable as wrong:
        return Pulled(b"", left=(wrong.finding,))
    except ConfigError as wrong:
        return Pulled(b"", left=wrong.diagnostics)
    if arguments.write:
        changes = f"{number(pulled.fields, 'field')} of {number(pulled.accounts, 'account')}"
        console.print(f"  {name}: {changes}")
    else:
        console.lines(compare(name, before, pulled.text))
    return pulled


def _tell(findings: Sequence[Diagnostic], console: Console) -> None:
    console.findings(findings[:TOLD])
    if len(findings) > TOLD:
        console.findings([warning("more", f"There are {len(findings) - TOLD:,} more like these.")])


def _end(accounts: int, fields: int, left: int, arguments: Namespace, console: Console) -> None:
    """Say how it ended; on stdout only where no diff stands there."""
    told = f"{number(fields, 'field')} of {number(accounts, 'account')}"
    rest = f", {left:,} left as told above" if left else ""
    if fields and arguments.write:
        console.print(f"Pulled: {told}{rest}.")
    elif fields:
        advice = " Write it with: reconciler pull --write" if console.advises else ""
        console.say(f"To pull: {told}{rest}.{advice}")
    elif left:
        console.say(f"Nothing can be pulled{rest}.")
    else:
        console.say("Nothing to pull: as far as is recorded, the vendors hold what the YAML says.")
        if console.advises:
            console.say("    hint: reconciler refresh reads what they hold now")
