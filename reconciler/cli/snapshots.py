"""Snapshots: recorded state as a file, taken out and put back."""

from __future__ import annotations

from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli.console import Console
from reconciler.cli.flags import seconds
from reconciler.errors import StateError
from reconciler.exits import Exit
from reconciler.files import OWN
from reconciler.session import Session, now
from reconciler.values import to_text
from reconciler.views.words import number

if TYPE_CHECKING:
    from reconciler.snapshot import Snapshot
    from reconciler.state import Identity
    from reconciler.stores.keys import Keys


def snapshot_file(name: str, keys: Keys) -> Snapshot:
    """Read a snapshot, encrypted or not. Raises StateError if it cannot be read or is not one."""
    from reconciler.files import read_regular
    from reconciler.snapshot import LARGEST
    from reconciler.stores import backups

    try:
        data = read_regular(Path(name), LARGEST)
    except OSError as problem:
        raise StateError.of(
            "no-snapshot",
            f"{name} cannot be read",
            detail=f"{problem.strerror}.",
            hint="name a file that was made with: reconciler state pull",
        ) from None
    return backups.snapshot(data, name, keys)


def pull(session: Session, arguments: Namespace, console: Console) -> int:
    """Print what is recorded."""
    from reconciler.snapshot import encode

    for piece in encode(session.store, redact=arguments.redact):
        console.write(piece)
    return Exit.DONE


def backup(session: Session, _arguments: Namespace, console: Console) -> int:
    """Write what is recorded to a new file beside the state."""
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


def demand_unmoved(session: Session, here: Identity) -> None:
    """Raise StateError if the state is not the one any more that the command was decided on.

    Call it under the lock: somebody else may have had that before.
    """
    there = session.store.identity()
    if there != here:
        raise StateError.of(
            "moved",
            f"the state was changed meanwhile (serial {here.serial}, now {there.serial}), so "
            "nothing was done",
            hint="look what has changed (reconciler state history), and run it again",
        )


def push(session: Session, arguments: Namespace, console: Console) -> int:
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


def restore(session: Session, arguments: Namespace, console: Console) -> int:
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
        console.ask(
            "Move the unusable state aside and start from the snapshot?",
            agreed=arguments.auto_approve,
        )
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
    console.ask(
        f"Record the {number(len(snapshot.accounts), 'account')} of "
        f"{arguments.snapshot} and drop {number(len(gone), 'other')}?",
        agreed=arguments.auto_approve,
    )
    with session.lock(operation, seconds(arguments.lock_timeout)) as writer:
        demand_unmoved(session, here)
        session.keep()
        writer.begin(session.run(operation), snapshot.who.lineage)
        writer.bind(snapshot.bound)
        records = list(snapshot.accounts.values())
        for start in range(0, len(records), 5000):
            writer.save(records[start : start + 5000], (), operation)
        writer.save((), gone, operation)
    console.print(f"Recorded {number(len(records), 'account')}, dropped {len(gone)}.")
    return Exit.DONE
