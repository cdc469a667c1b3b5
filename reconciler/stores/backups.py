"""Backups: the state as it was before it was changed; a few are kept, none is written over."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from reconciler.accounts import Address
from reconciler.erasure import Erasure
from reconciler.errors import ConfigError, ReconcilerError, StateError
from reconciler.files import private_folder, read_regular, write_private
from reconciler.snapshot import LARGEST, Snapshot, decode, encode
from reconciler.state import Holder, Run, Store
from reconciler.stores.high_water import beside
from reconciler.stores.sqlite import SqliteStore

KEPT: Final = 10
"""Backups made by themselves that are kept; those made by hand are nobody's to remove."""

_MADE: Final = "auto-"
_NAME: Final = re.compile(rf"{_MADE}(\d+)-[0-9a-f]+-([0-9TZ-]+)\.(?:db|json)")
_SQLITE: Final = b"SQLite format 3\0"
_BESIDE: Final = ("-wal", "-shm", "-journal", ".high-water")


def keep(store: Store, folder: Path, at: str) -> Path | None:
    """Write the state into a new private file and remove the oldest; None if there is one already.

    There is one already where nothing was recorded yet, or nothing since the last backup: runs
    that fail again and again must not push out the backups that matter. `at` is RFC 3339 UTC.
    Raises StateError, and then leaves no file.
    """
    who = store.identity()
    if not who.serial:
        return None
    stem = f"{_MADE}{who.serial}-{(who.chain or who.lineage)[:8]}-"
    try:
        private_folder(folder)
        for left in folder.glob(f".{_MADE}*"):
            left.unlink()
        if any(path.name.startswith(stem) for path in _made(folder)):
            return None
        path = folder / f"{stem}{at.replace(':', '')}"
        path = _copied(store, path) if isinstance(store, SqliteStore) else _written(store, path)
        _prune(folder)
    except OSError as problem:
        raise _failed(folder, problem.strerror or str(problem)) from None
    except (ConfigError, StateError) as problem:
        raise _failed(folder, problem.told) from None
    return path


def _copied(store: SqliteStore, path: Path) -> Path:
    """Copy the file under another name first, so that half a copy is never taken for a backup."""
    target, fresh = path.with_suffix(".db"), path.with_name(f".{path.name}.tmp")
    store.backup(fresh)
    for end in _BESIDE:
        fresh.with_name(fresh.name + end).unlink(missing_ok=True)
    fresh.rename(target)
    return target


def _written(store: Store, path: Path) -> Path:
    target = path.with_suffix(".json")
    write_private(target, encode(store))
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


def read(path: Path, workspace: str) -> Snapshot:
    """Read a backup of either kind, or any snapshot. Raises StateError, and OSError."""
    if not is_copy(path):
        return decode(read_regular(path, LARGEST), str(path))
    store = SqliteStore(path, workspace)
    try:
        accounts = {record.address: record for record in store.everything()}
        return Snapshot(store.identity(), accounts, dict(store.apps()))
    finally:
        store.close()


def put_back(path: Path, place: Path, workspace: str) -> None:
    """Copy a backup of a SQLite state to where there is none: history and doubts come with it."""
    store = SqliteStore(path, workspace)
    try:
        store.backup(place)
    finally:
        store.close()


def tells(path: Path, workspace: str, where: Address) -> bool:
    """Tell whether a backup holds anything of an account; one that cannot be read may."""
    try:
        if not is_copy(path):
            return where in decode(read_regular(path, LARGEST), str(path)).accounts
        store = SqliteStore(path, workspace)
        try:
            return _knows(store, where)
        finally:
            store.close()
    except (ReconcilerError, OSError):
        return True


def _knows(store: SqliteStore, where: Address) -> bool:
    return any(True for _ in store.records([where])) or any(True for _ in store.history(where))


def erase(
    path: Path, workspace: str, where: Address, erasure: Erasure, run: Run, holder: Holder
) -> bool:
    """Erase an account in a backup, in place; tell whether it was in there.

    Raises StateError, and OSError, for a file that cannot be rewritten: it is then as it was.
    """
    if not is_copy(path):
        return _erase_snapshot(path, where, erasure)
    store = SqliteStore(path, workspace)
    try:
        if not _knows(store, where):
            return False
        record = next(iter(store.records([where])), None)
        with store.lock(holder) as writer:
            writer.begin(run)
            writer.erase(where, record and erasure.record(record), erasure.action)
        return True
    finally:
        store.close()
        beside(path).unlink(missing_ok=True)  # a mark is for what goes on, and this is at rest


def _erase_snapshot(path: Path, where: Address, erasure: Erasure) -> bool:
    snapshot = decode(read_regular(path, LARGEST), str(path))
    record = snapshot.accounts.get(where)
    if record is None or snapshot.redacted:
        return False
    accounts = {**snapshot.accounts, where: erasure.record(record)}
    write_private(path, encode(replace(snapshot, accounts=accounts)))
    return True
