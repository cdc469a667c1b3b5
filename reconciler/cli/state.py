"""state: look at what is recorded, and mend it without touching a vendor."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.accounts import Address, split
from reconciler.cli.console import Console
from reconciler.cli.flags import moment, seconds
from reconciler.cli.opened import opened
from reconciler.cli.plan import snapshot_file
from reconciler.errors import StateError, UsageError
from reconciler.exits import Exit
from reconciler.files import OWN
from reconciler.session import Session, now
from reconciler.session.targets import meant
from reconciler.state import Record
from reconciler.values import to_text
from reconciler.views import json as shapes
from reconciler.views import text
from reconciler.views.history import origins, run_lines
from reconciler.views.words import number

if TYPE_CHECKING:
    from reconciler.snapshot import Snapshot


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
    _ask(arguments, console, f"Stop recording {number(len(addresses), 'account')}?")
    with session.lock("state rm", seconds(arguments.lock_timeout)) as writer:
        writer.begin(session.run("state rm"))
        writer.save((), addresses, "state rm")
    console.print(f"Removed {number(len(addresses), 'record')}; the vendor was not touched.")
    return Exit.DONE


def _mv(session: Session, arguments: Namespace, console: Console) -> int:
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
    _ask(arguments, console, f"Move {number(len(moves), 'record')} to {arguments.new}?")
    with session.lock("state mv", seconds(arguments.lock_timeout)) as writer:
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


def _ask(arguments: Namespace, console: Console, question: str) -> None:
    if not arguments.auto_approve and not console.confirm(question):
        raise UsageError.of("declined", "nothing was done")


def _pull(session: Session, arguments: Namespace, console: Console) -> int:
    from reconciler.snapshot import encode

    for piece in encode(session.store, redact=arguments.redact):
        console.write(piece)
    return Exit.DONE


def _backup(session: Session, _arguments: Namespace, console: Console) -> int:
    from reconciler.files import private_folder, write_private
    from reconciler.stores.backups import text

    stamp = to_text(now()).replace(":", "")
    path = session.root / OWN / "backups" / f"{session.store.identity().serial}-{stamp}.json"
    private_folder(path.parent)
    if path.exists():
        raise StateError.of("exists", f"{path} exists already", hint="wait a second and try again")
    write_private(path, text(session.store, session.keys))
    console.print(f"Wrote {path}")
    return Exit.DONE


def _push(session: Session, arguments: Namespace, console: Console) -> int:
    """Replace what is recorded by a snapshot that is not older, of the same state or of none."""
    snapshot = _snapshot(session, arguments.snapshot)
    here = session.store.identity()
    if here.serial > snapshot.who.serial and here.lineage:
        raise StateError.of(
            "older",
            f"{arguments.snapshot} has serial {snapshot.who.serial}, recorded is {here.serial}",
            hint="to go back on purpose: reconciler state restore FILE",
        )
    if here == snapshot.who and here.chain and snapshot.who.chain not in ("", here.chain):
        raise StateError.of(
            "forked",
            f"{arguments.snapshot} has serial {snapshot.who.serial}, and so has what is recorded, "
            "but each was changed without the other",
            hint="look which one is right; to take the file: reconciler state restore FILE",
        )
    return _replace(session, arguments, console, snapshot, "state push")


def _restore(session: Session, arguments: Namespace, console: Console) -> int:
    """Go back to a snapshot, also where the state itself is beyond use."""
    from reconciler.stores import set_aside
    from reconciler.stores.keys import NEEDS

    snapshot = _snapshot(session, arguments.snapshot)
    try:
        session.store.identity()
    except StateError as problem:
        if any(finding.id in NEEDS for finding in problem.diagnostics):
            raise  # it is not damaged, it wants a key
        console.findings(problem.diagnostics)
        _ask(arguments, console, "Move the unusable state aside and start from the snapshot?")
        arguments.auto_approve = True
        kept = set_aside(session.workspace.state, session.root)
        console.say(f"The unusable state was moved to {kept}; {_brought(session, arguments)}.")
        session.__dict__.pop("store", None)
    return _replace(session, arguments, console, snapshot, "state restore")


def _brought(session: Session, arguments: Namespace) -> str:
    """Put a copy of the whole state in its place, where that is one; tell what history is left."""
    from reconciler.stores.backups import is_copy, put_back

    path = Path(arguments.snapshot)
    if not is_copy(path):
        return "its history, and what was in doubt, are only in there"
    place = session.root / session.workspace.state.path
    put_back(path, session.backups, place)
    store = session.opened(session.keys.also_clear())
    if session.keys.first and not store.identity().key:
        with session.lock("state restore", store=store) as writer:
            writer.begin(session.run("state restore"))
            writer.rekey()
    return "its history since the backup is only in there"


def _snapshot(session: Session, name: str) -> Snapshot:
    snapshot = _read(session, name)
    if snapshot.who.workspace != session.workspace.name:
        raise StateError.of(
            "wrong-workspace",
            f"{name} belongs to workspace "
            f"{snapshot.who.workspace}, this is {session.workspace.name}",
        )
    if snapshot.redacted:
        raise StateError.of("redacted", f"{name} is redacted, so it cannot become the state")
    return snapshot


def _read(session: Session, name: str) -> Snapshot:
    """Read a snapshot, or the copy of a SQLite state that an apply made before it began."""
    from reconciler.stores.backups import is_copy, read

    with suppress(OSError):  # told below, as of any other file
        if is_copy(Path(name)):
            return read(Path(name), session.backups)
    return snapshot_file(name, session.keys)


def _replace(
    session: Session, arguments: Namespace, console: Console, snapshot: Snapshot, operation: str
) -> int:
    store = session.store
    here = store.identity()
    if here.lineage and here.serial and here.lineage != snapshot.who.lineage:
        raise StateError.of(
            "other-lineage",
            f"{arguments.snapshot} is a snapshot of another state",
            detail=f"Its lineage is {snapshot.who.lineage}, recorded is {here.lineage}.",
        )
    gone = [where for where, _ in store.index() if where not in snapshot.accounts]
    _ask(
        arguments,
        console,
        f"Record the {number(len(snapshot.accounts), 'account')} of "
        f"{arguments.snapshot} and drop {number(len(gone), 'other')}?",
    )
    with session.lock(operation, seconds(arguments.lock_timeout)) as writer:
        session.keep()
        writer.begin(session.run(operation), snapshot.who.lineage)
        writer.bind(snapshot.bound)
        records = list(snapshot.accounts.values())
        for start in range(0, len(records), 5000):
            writer.save(records[start : start + 5000], (), operation)
        writer.save((), gone, operation)
    console.print(f"Recorded {number(len(records), 'account')}, dropped {len(gone)}.")
    return Exit.DONE


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
    "pull": _pull,
    "push": _push,
    "backup": _backup,
    "restore": _restore,
    "history": _history,
    "verify": _verify,
    "rekey": _rekey,
}
