"""state: look at what is recorded, and mend it without touching a vendor."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.accounts import Address, split
from reconciler.cli import snapshots
from reconciler.cli.console import Console
from reconciler.cli.flags import moment, seconds
from reconciler.cli.opened import opened
from reconciler.errors import StateError, UsageError
from reconciler.exits import Exit
from reconciler.session import Session
from reconciler.session.targets import meant
from reconciler.state import Record
from reconciler.values import to_text
from reconciler.views import json as shapes
from reconciler.views import text
from reconciler.views.history import origins, run_lines
from reconciler.views.words import number

if TYPE_CHECKING:
    pass


def run(arguments: Namespace, console: Console) -> int:
    """Do one part of `state`."""
    with opened(arguments, console) as session:
        return _PARTS[arguments.part](session, arguments, console)


def _list(session: Session, arguments: Namespace, console: Console) -> int:
    doubtful = {intent.address for intent in session.store.unresolved()}
    records = session.store.everything()
    if arguments.format == "json":
        console.json(
            [
                {
                    "address": record.address,
                    "version": record.version,
                    "banned": record.is_banned,
                    "in_doubt": record.address in doubtful,
                }
                for record in records
            ]
        )
        return Exit.DONE
    for record in records:
        marks = [
            *(["banned"] if record.is_banned else []),
            *(["in doubt"] if record.address in doubtful else []),
        ]
        doubtful.discard(record.address)
        console.print(f"{record.address}{'  ' if marks else ''}{', '.join(marks)}")
    for where in sorted(doubtful):
        console.print(f"{where}  in doubt, not recorded")
    return Exit.DONE


def _show(session: Session, arguments: Namespace, console: Console) -> int:
    record = _one(session, session.address(arguments.address))
    known = origins(record, session.store.history(record.address))
    if arguments.format == "json":
        set_by = {path: origin._asdict() for path, origin in known.items()}
        console.json({**record.to_json(), "set_by": set_by})
    else:
        console.lines(text.record(record, known))
    return Exit.DONE


def _one(session: Session, where: Address) -> Record:
    for record in session.store.records([where]):
        return record
    known = (address for address, _ in session.store.index())
    raise StateError.of(
        "not-recorded",
        f"{where} is not recorded",
        hint=meant(where, known, "see: reconciler state list"),
    )


def _rm(session: Session, arguments: Namespace, console: Console) -> int:
    addresses = [session.address(where) for where in arguments.addresses]
    for where in addresses:
        _one(session, where)
    console.ask(
        f"Stop recording {number(len(addresses), 'account')}?", agreed=arguments.auto_approve
    )
    with session.lock("state rm", seconds(arguments.lock_timeout)) as writer:
        writer.begin(session.run("state rm"))
        writer.save((), addresses, "state rm")
    console.print(f"Removed {number(len(addresses), 'record')}; the vendor was not touched.")
    return Exit.DONE


def _mv(session: Session, arguments: Namespace, console: Console) -> int:
    here = session.store.identity()
    moves = _moves(session, arguments.old, arguments.new)
    if not moves:
        raise StateError.of("not-recorded", f"nothing is recorded under {arguments.old}")
    for target in moves.values():
        if any(True for _ in session.store.records([target])):
            raise StateError.of(
                "occupied",
                f"{target} is recorded already",
                hint=f"if that record is wrong: reconciler state rm {target}",
            )
    console.ask(
        f"Move {number(len(moves), 'record')} to {arguments.new}?", agreed=arguments.auto_approve
    )
    with session.lock("state mv", seconds(arguments.lock_timeout)) as writer:
        snapshots.demand_unmoved(session, here)
        writer.begin(session.run("state mv"))
        records = [
            replace(record, address=moves[record.address])
            for record in session.store.records(moves)
        ]
        writer.save(records, list(moves), "state mv")
    console.print(f"Moved {number(len(moves), 'record')}.")
    return Exit.DONE


def _moves(session: Session, old: str, new: str) -> Mapping[Address, Address]:
    """Return where each record goes: one address, or every account of a provider."""
    if ("/" in old) != ("/" in new):
        raise UsageError.of("usage", "move an address to an address, or a provider to a provider")
    if "/" in old:
        one = _one(session, session.address(old))
        return {one.address: session.address(new)}
    if new not in session.workspace.apps:
        raise UsageError.of("bad-address", f"reconciler.yaml has no provider {new!r}")
    return {
        where: Address(f"{new}/{split(where)[1]}")
        for where, _ in session.store.index()
        if split(where)[0] == old
    }


def _history(session: Session, arguments: Namespace, console: Console) -> int:
    where = session.address(arguments.address) if arguments.address else None
    since = to_text(moment(arguments.since, "--since")) if arguments.since else ""
    runs: set[str] = set()
    known = where is None
    for entry in session.store.history(where):
        known = True
        line = shapes.entry(entry)
        if entry.at < since or arguments.action not in (None, line["kind"]):
            continue
        if arguments.format == "json":
            console.json(line)
            continue
        if entry.run.id not in runs:
            runs.add(entry.run.id)
            console.lines(run_lines(entry.run))
        console.print(f"  {text.entry(entry)}")
    if where and not known:
        _one(session, where)
    return Exit.DONE


def _verify(session: Session, arguments: Namespace, console: Console) -> int:
    """Read everything once; what is not as it was written is an error on the way."""
    store = session.store
    who = store.identity()
    found = {
        "serials": store.chain(),
        "records": sum(1 for _ in store.everything()),
        "history": sum(1 for _ in store.history()),
        "in_doubt": len(store.unresolved()),
    }
    if arguments.format == "json":
        known = {"lineage": who.lineage, "serial": who.serial, "chain": who.chain}
        known["encryption"] = who.key or None
        console.json({"valid": True, **known, **found})
        return Exit.DONE
    if not who.lineage:
        console.print("Nothing is recorded yet, so there is nothing to verify.")
        return Exit.DONE
    chain = (
        f"{number(found['serials'], 'serial')} of the chain"
        if found["serials"]
        else ("the document's digest; the backend keeps no chain of earlier serials")
    )
    console.print(f"Serial {who.serial} of lineage {who.lineage}, as it was written:")
    console.print(f"  {chain}")
    console.print(f"  {number(found['records'], 'record')}, each with its digest")
    console.print(f"  {number(found['history'], 'line')} of history, and no line is missing")
    console.print(f"  {number(found['in_doubt'], 'action')} in doubt")
    if who.key:
        later = "" if who.key == session.keys.first else "; see: reconciler state rekey"
        console.print(f"  all of it encrypted, with the key {who.key}{later}")
    return Exit.DONE


def _rekey(session: Session, arguments: Namespace, console: Console) -> int:
    from reconciler.cli.rekey import rekey

    return rekey(session, arguments, console)


_PARTS: Mapping[str, Callable[[Session, Namespace, Console], int]] = {
    "list": _list,
    "show": _show,
    "rm": _rm,
    "mv": _mv,
    "pull": snapshots.pull,
    "push": snapshots.push,
    "backup": snapshots.backup,
    "restore": snapshots.restore,
    "history": _history,
    "verify": _verify,
    "rekey": _rekey,
}
