"""Objects as rows of one SQLite table: all that another place for the object store has to be."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

from reconciler.errors import StateError
from reconciler.stores.object import Changed


class TableObjects:
    """Implements `Objects`. A tag is the digest of the bytes, empty for what is not there."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def get(self, name: str) -> tuple[bytes, str] | None:
        """Return an object and its tag, None if there is none."""
        with self._table() as table:
            row = table.execute("SELECT data FROM objects WHERE name = ?", (name,)).fetchone()
        return (row[0], sha256(row[0]).hexdigest()) if row else None

    def tag(self, name: str) -> str:
        """Return the tag of an object, empty if there is none."""
        found = self.get(name)
        return found[1] if found else ""

    def put(self, name: str, data: bytes, tag: str) -> str:
        """Replace the object with this tag, or make one: compared and swapped in one transaction.

        Raises Changed where the object has another tag.
        """
        with self._table() as table:
            table.execute("BEGIN IMMEDIATE")
            row = table.execute("SELECT data FROM objects WHERE name = ?", (name,)).fetchone()
            if (sha256(row[0]).hexdigest() if row else "") != tag:
                raise Changed
            table.execute("INSERT OR REPLACE INTO objects VALUES (?, ?)", (name, data))
            table.execute("COMMIT")
        return sha256(data).hexdigest()

    def names(self, prefix: str) -> list[str]:
        """Return the names of all objects beneath a prefix, sorted."""
        with self._table() as table:
            found = table.execute("SELECT name FROM objects ORDER BY name").fetchall()
        return [name for (name,) in found if name.startswith(prefix)]

    def drop(self, names: Iterable[str]) -> None:
        """Remove objects; one that is not there is fine."""
        with self._table() as table:
            table.executemany("DELETE FROM objects WHERE name = ?", [(name,) for name in names])

    def skew(self) -> float:
        """Return 0: the clock is this machine's."""
        return 0.0

    def close(self) -> None:
        """Do nothing: no connection stays open."""

    @contextmanager
    def _table(self) -> Iterator[sqlite3.Connection]:
        """Give the table; what goes wrong becomes a sentence for a person."""
        try:
            with closing(sqlite3.connect(self._file, isolation_level=None)) as table:
                table.execute("PRAGMA synchronous = FULL")
                table.execute("CREATE TABLE IF NOT EXISTS objects (name PRIMARY KEY, data)")
                yield table
        except sqlite3.Error as error:
            raise StateError.of("state-io", f"{self._file}: {error}") from error
