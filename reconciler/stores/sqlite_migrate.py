"""Schema of the SQLite file: numbered steps forward, each in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

Steps: TypeAlias = Sequence[str]

APPLICATION_ID: Final = 0x494D5243
"""`IMRC` in the header of the file: how it is told from any other database."""


@cache
def packaged() -> Steps:
    """Return the SQL text of every schema version, from 1, as the package carries them."""
    files = sorted(Path(__file__).with_name("migrations").glob("sqlite/*.sql"))
    return tuple(file.read_text("utf-8") for file in files)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Do what happens inside wholly or not at all; waits for other writers."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full disk has rolled back already, and a second rollback would hide why.
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def migrate(connection: sqlite3.Connection, steps: Steps) -> None:
    """Bring the tables from their `user_version` to the last of the steps. Raises sqlite3.Error.

    A step that fails leaves the version before it intact.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for number, text in enumerate(steps[version:], version + 1):
        with transaction(connection):
            # Another process may have done this step while this one waited.
            if connection.execute("PRAGMA user_version").fetchone() == (number - 1,):
                for statement in _statements(text):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")


def schema(connection: sqlite3.Connection) -> list[Any]:
    """Return the definitions of all tables and indexes, to compare two files' schemas by."""
    return connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"
    ).fetchall()


def _statements(text: str) -> Iterator[str]:
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
