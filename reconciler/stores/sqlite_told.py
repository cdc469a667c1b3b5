"""Told: what SQLite and its disk fail with, as errors for a person."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.errors import ReconcilerError, StateError
from reconciler.stores.rows import Broken


@contextmanager
def told(path: Path, patience: float) -> Iterator[None]:
    """Turn what SQLite, the rows and the file system raise inside into StateErrors.

    `patience` is for how many seconds another process was waited for.
    """
    try:
        yield
    except (Broken, UnicodeDecodeError) as error:
        raise _corrupt(path, str(error)) from error
    except sqlite3.Error as error:
        raise _failure(path, error, patience) from error
    except OSError as error:
        raise StateError.of(
            "state-io",
            f"{path}: the state cannot be used: {error.strerror or error}",
            hint="Nothing that was acknowledged is lost; repair the cause and run again.",
        ) from error


def _corrupt(path: Path, why: str) -> ReconcilerError:
    """Return the error for state that is not what was written."""
    return StateError.of(
        "state-corrupt",
        f"{path}: the state is damaged: {why}",
        hint="Restore a backup with `reconciler state restore FILE`; keep the damaged file aside.",
    )


def _failure(path: Path, error: sqlite3.Error, patience: float) -> ReconcilerError:
    name = str(getattr(error, "sqlite_errorname", ""))
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return _corrupt(path, str(error))
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StateError.of(
            "state-busy",
            f"{path}: another process kept the state busy for {patience:.0f} s",
            hint="Run again when it has ended.",
        )
    causes = {
        "SQLITE_FULL": "the disk or its quota is full",
        "SQLITE_IOERR": "the disk failed",
        "SQLITE_READONLY": "it is read-only",
        "SQLITE_CANTOPEN": "it cannot be opened",
        "SQLITE_CONSTRAINT": "a write contradicts what is recorded",
    }
    cause = next(
        (text for code, text in causes.items() if name.startswith(code)), "SQLite cannot use it"
    )
    return StateError.of(
        "state-io",
        f"{path}: the state cannot be used: {cause}",
        detail=f"SQLite says: {error}.",
        hint="Nothing that was acknowledged is lost; repair the cause and run again.",
    )
