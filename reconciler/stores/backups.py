"""Backups: the state as it was before it was changed; a few are kept, none is written over."""

from __future__ import annotations

import fcntl
import glob
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from reconciler.accounts import Address
from reconciler.erasure import Erasure
from reconciler.errors import ConfigError, ReconcilerError, StateError
from reconciler.files import private_folder, read_regular, write_private
from reconciler.snapshot import LARGEST, Snapshot, decode, encode
from reconciler.state import Holder, Reader, Rewriter, Run, Store
from reconciler.stores.envelope import SNAPSHOT, closed, opened
from reconciler.stores.high_water import beside
from reconciler.stores.keys import Keys
from reconciler.stores.sqlite import SqliteStore

KEPT: Final = 10
"""Backups made by themselves that are kept; those made by hand are nobody's to remove."""

_MADE: Final = "auto-"
_NAME: Final = re.compile(rf"{_MADE}(\d+)-[0-9a-f]+-([0-9TZ-]+)\.(?:db|json)")
_SQLITE: Final = b"SQLite format 3\0"
_BESIDE: Final = ("-wal", "-shm", "-journal", ".high-water")


@dataclass(frozen=True, slots=True)
class Opens:
    """What opens the backups of a workspace."""

    workspace: str
    keys: Keys


def text(recorded: Reader, keys: Keys) -> Iterator[bytes]:
    """Yield a snapshot in pieces, encrypted as the state is that it is of."""
    who = recorded.identity()
    return closed(encode(recorded), SNAPSHOT, who, keys, f"the state of {who.workspace}")


def snapshot(data: bytes, name: str, keys: Keys) -> Snapshot:
    """Read a snapshot, encrypted or not. Raises StateError."""
    return decode(opened(data, SNAPSHOT, keys.also_clear(), name).text, name)


def keep(store: Store, folder: Path, at: str, keys: Keys) -> Path | None:
    """Write the state into a new private file and remove the oldest; None if there is one already.

    There is one already where nothing was recorded yet, or nothing since the last backup: runs
    that fail again and again must not push out the backups that matter. Of several processes one
    at a time looks and writes. `at` is RFC 3339 UTC. Raises StateError, and then leaves no file.
    """
    who = store.identity()
    if not who.serial:
        return None
    stem = f"{_MADE}{who.serial}-{(who.chain or who.lineage)[:8]}-"
    try:
        private_folder(folder)
        with _alone(folder):
            for left in folder.glob(f".{_MADE}*"):
                left.unlink()
            if any(path.name.startswith(stem) for path in _made(folder)):
                return None
            path = folder / f"{stem}{at.replace(':', '')}"
            if isinstance(store, SqliteStore):
                path = _copied(store, path)
            else:
                path = path.with_suffix(".json")
                write_private(path, text(store, keys))
            _prune(folder)
    except OSError as problem:
        raise _failed(folder, problem.strerror or str(problem)) from None
    except (ConfigError, StateError) as problem:
        raise _failed(folder, problem.told) from None
    return path


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let other processes that keep backups there wait, as runs of several apps may."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _copied(store: SqliteStore, path: Path) -> Path:
    """Copy the file under another name first, so that half a copy is never taken for a backup."""
    target, fresh = path.with_suffix(".db"), path.with_name(f".{path.name}.tmp")
    store.backup(fresh)
    for end in _BESIDE:
        fresh.with_name(fresh.name + end).unlink(missing_ok=True)
    fresh.rename(target)
    return target


def _prune(folder: Path) -> None:
    """Remove all but the newest; the stamp in the name tells the age, also of copied folders."""
    for path in sorted(_made(folder), key=_age)[:-KEPT]:
        path.unlink()
        for end in _BESIDE:
            path.with_name(path.name + end).unlink(missing_ok=True)


def _made(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]


def _age(path: Path) -> tuple[str, int]:
    found = _NAME.fullmatch(path.name)
    return (found[2], int(found[1])) if found else ("", 0)


def _failed(folder: Path, why: str) -> ReconcilerError:
    return StateError.of(
        "no-backup",
        "the state could not be backed up, so nothing was done",
        detail=f"{folder}: {why}",
        hint="make room there, or look who may write there, and run it again",
    )


def listed(own: Path) -> Iterator[Path]:
    """Yield the files beneath the program's own folder that may hold a whole state."""
    for pattern in ("backups/*", "errored-*.json"):
        yield from (one for one in sorted(own.glob(pattern)) if one.suffix in (".db", ".json"))


def is_copy(path: Path) -> bool:
    """Tell whether a file is a copy of a SQLite state. Raises OSError if it cannot be read."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(handle, len(_SQLITE)) == _SQLITE
    finally:
        os.close(handle)


def read(path: Path, opens: Opens) -> Snapshot:
    """Read a backup of either kind, or any snapshot. Raises StateError, and OSError."""
    if not is_copy(path):
        return snapshot(read_regular(path, LARGEST), str(path), opens.keys)
    with _opened(path, opens) as store:
        accounts = {record.address: record for record in store.everything()}
        return Snapshot(store.identity(), accounts, dict(store.apps()))


def put_back(path: Path, opens: Opens, place: Path) -> None:
    """Copy a backup of a SQLite state to where there is none: history and doubts come with it."""
    with _opened(path, opens) as store:
        store.backup(place)


def tells(path: Path, opens: Opens, where: Address) -> bool:
    """Tell whether a backup holds anything of an account; one that cannot be read may."""
    try:
        if not is_copy(path):
            return where in snapshot(read_regular(path, LARGEST), str(path), opens.keys).accounts
        with _opened(path, opens) as store:
            return _knows(store, where)
    except (ReconcilerError, OSError):
        return True


def _knows(store: SqliteStore, where: Address) -> bool:
    return any(True for _ in store.records([where])) or any(True for _ in store.history(where))


def erase(
    path: Path, opens: Opens, where: Address, erasure: Erasure, run: Run, holder: Holder
) -> bool:
    """Erase an account in a backup, in place; tell whether it was in there.

    Raises StateError, and OSError, for a file that cannot be rewritten: it is then as it was.
    """
    if not is_copy(path):
        return _erase_snapshot(path, opens, where, erasure)
    with _opened(path, opens) as store:
        if not _knows(store, where):
            return False
        record = next(iter(store.records([where])), None)
        with _writing(store, path, run, holder) as writer:
            writer.erase(where, record and erasure.record(record), erasure.action)
        return True


def _erase_snapshot(path: Path, opens: Opens, where: Address, erasure: Erasure) -> bool:
    held = opened(read_regular(path, LARGEST), SNAPSHOT, opens.keys.also_clear(), str(path))
    found = decode(held.text, str(path))
    record = found.accounts.get(where)
    if record is None or found.redacted:
        return False
    accounts = {**found.accounts, where: erasure.record(record)}
    who = replace(found.who, key=held.key)
    write_private(path, text(replace(found, who=who, accounts=accounts), opens.keys))
    return True


def rekey(path: Path, opens: Opens, run: Run, holder: Holder) -> bool:
    """Put a backup under the first of the keys, in place; tell whether it was under another.

    Raises StateError, and OSError, for a file that cannot be rewritten: it is then as it was.
    """
    if not is_copy(path):
        held = opened(read_regular(path, LARGEST), SNAPSHOT, opens.keys.also_clear(), str(path))
        who = replace(decode(held.text, str(path)).who, key=opens.keys.first)
        if held.key != who.key:
            write_private(path, closed([held.text], SNAPSHOT, who, opens.keys, str(path)))
        return held.key != who.key
    with _opened(path, opens) as store:
        before = store.identity().key
        with _writing(store, path, run, holder) as writer:
            writer.rekey()
        return before != opens.keys.first


@contextmanager
def _opened(path: Path, opens: Opens) -> Iterator[SqliteStore]:
    """Open a copy of a SQLite state, whatever it is encrypted with."""
    store = SqliteStore(path, opens.workspace, keys=opens.keys.also_clear())
    try:
        yield store
    finally:
        store.close()


@contextmanager
def _writing(store: SqliteStore, path: Path, run: Run, holder: Holder) -> Iterator[Rewriter]:
    """Lock and write a copy, leaving nothing beside it: no mark, and no copy of an older schema."""
    try:
        with store.lock(holder) as writer:
            writer.begin(run)
            yield writer
    finally:
        store.close()
        beside(path).unlink(missing_ok=True)  # a mark is for what goes on, and this is at rest
    for older in path.parent.glob(f"{glob.escape(path.name)}.before-*"):
        older.unlink()
