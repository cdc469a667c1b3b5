"""The tables of the SQLite file: every statement but those that make it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Final

from reconciler.accounts import Address
from reconciler.errors import StateError
from reconciler.stores.rows import Broken, Row
from reconciler.stores.sqlite_migrate import transaction
from reconciler.values import canonical

_FETCH: Final = 1000


def demand_whole(connection: sqlite3.Connection, table: str = "") -> None:
    """Raise Broken if the pages of a table, or of the whole file, are damaged."""
    what = f"({table})" if table else ""
    (finding,) = connection.execute(f"PRAGMA quick_check{what}").fetchone()
    if finding != "ok":
        raise Broken(str(finding))


class SqliteTables:
    """Implements `reconciler.stores.tables.Tables` on a connection.

    `copied` says that it is one to a copy, which shows one moment and no other; `same` tells
    whether the file is still the one that was opened, `walked` that its accounts' pages were found
    whole. The tables are compared with the migrations when the file is opened, so the order of
    columns is relied on.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        clock: Callable[[], float],
        *,
        copied: bool = False,
        walked: bool = True,
        same: Callable[[], bool] = lambda: True,
    ) -> None:
        self._connection = connection
        self.now = clock
        self._copied = copied
        self._walked = walked
        self._same = same
        self._locks_apps = False

    def demand_same(self) -> None:
        if not self._same():
            raise Broken("the file was replaced while it was in use")

    def transaction(self) -> AbstractContextManager[None]:
        return transaction(self._connection)

    def pin(self) -> None:
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN")

    def leave(self) -> bool:
        if self._copied:
            self.close()
        elif self._connection.in_transaction:
            self._connection.execute("COMMIT")
        return not self._copied

    def reopen(self) -> None:
        raise AssertionError("a file has no connection to lose")

    def close(self) -> None:
        self._connection.close()

    def meta(self) -> Row | None:
        row: Row | None = self._connection.execute("SELECT * FROM meta").fetchone()
        return row and row[1:]

    def first(self, meta: Row, lock: Row) -> None:
        """Write the rows of a state that nobody ever wrote."""
        self._connection.execute("INSERT INTO meta VALUES (1,?,?,?,?,?,?,?,?,?,?)", meta)
        self.put_lock(lock)

    def change_meta(self, row: Row, lineage: str, serial: int, fence: int) -> bool:
        done = self._connection.execute(
            "UPDATE meta SET workspace = ?, lineage = ?, serial = ?, content = ?, tip = ?,"
            " doubt = ?, told = ?, apps = ?, seal = ?, proof = ? WHERE lineage = ? AND serial = ?"
            " AND EXISTS (SELECT 1 FROM lock WHERE fence = ?)",
            (*row, lineage, serial, fence),
        )
        return done.rowcount == 1

    def lock(self) -> Row | None:
        row: Row | None = self._connection.execute("SELECT * FROM lock").fetchone()
        return row and row[1:]

    def put_lock(self, row: Row) -> None:
        self._connection.execute("INSERT OR REPLACE INTO lock VALUES (1,?,?,?,?,?,?,?,?,?,?)", row)

    def app_locks(self) -> Sequence[Row]:
        if not self._locks_apps:
            known = "SELECT 1 FROM sqlite_schema WHERE name = 'app_lock'"
            self._locks_apps = self._connection.execute(known).fetchone() is not None
        if not self._locks_apps:
            return ()
        return self._connection.execute("SELECT * FROM app_lock ORDER BY app").fetchall()

    def put_app_locks(self, rows: Sequence[Row]) -> None:
        self._connection.executemany(
            "INSERT OR REPLACE INTO app_lock VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", rows
        )

    def drop_app_locks(self, id: str) -> None:
        self._connection.execute("DELETE FROM app_lock WHERE id = ?", (id,))

    def index(self) -> Iterator[Sequence[tuple[Address, bytes | None]]]:
        self._walk_accounts()
        rows = self._connection.execute(
            "SELECT address, look_digest FROM accounts ORDER BY address"
        )
        while chunk := rows.fetchmany(_FETCH):
            yield chunk

    def every(self) -> Iterator[Row]:
        self._walk_accounts()
        return self._paged("SELECT * FROM accounts WHERE address > ? ORDER BY address", "")

    def accounts(self, addresses: Sequence[Address]) -> Sequence[Row]:
        self._walk_accounts()
        return self._connection.execute(
            "SELECT * FROM accounts WHERE address IN (SELECT value FROM json_each(?))",
            _listed(addresses),
        ).fetchall()

    def put_accounts(self, rows: Sequence[Row], dropped: Sequence[Address]) -> None:
        self._connection.executemany(
            "INSERT OR REPLACE INTO accounts VALUES (?,?,?,?,?,?,?,?,?,?,?)", rows
        )
        self._connection.executemany(
            "DELETE FROM accounts WHERE address = ?", ((address,) for address in dropped)
        )

    def in_doubt(self) -> Sequence[Row]:
        return self._connection.execute(
            "SELECT * FROM journal WHERE status IN ('intent', 'ambiguous') ORDER BY seq"
        ).fetchall()

    def intents(self, ids: Sequence[str]) -> Sequence[Row]:
        return self._connection.execute(
            "SELECT * FROM journal WHERE id IN (SELECT value FROM json_each(?))", _listed(ids)
        ).fetchall()

    def journal(self, address: Address | None = None) -> Iterator[Row]:
        if address is None:
            return self._paged("SELECT * FROM journal WHERE seq > ? ORDER BY seq", 0)
        return self._connection.execute(
            "SELECT * FROM journal WHERE address = ? ORDER BY seq", (address,)
        )

    def last_seq(self) -> int:
        (last,) = self._connection.execute("SELECT max(seq) FROM journal").fetchone()
        return last or 0

    def add_journal(self, rows: Sequence[Row]) -> None:
        self._connection.executemany("INSERT INTO journal VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", rows)

    def change_journal(self, rows: Iterable[Row]) -> None:
        self._connection.executemany(
            "UPDATE journal SET action = ?, known_absent = ?, status = ?, code = ?, message = ?,"
            " ended_at = ?, seal = ? WHERE seq = ?",
            ((*row[5:10], *row[11:], row[0]) for row in rows),
        )

    def run(self, id: str) -> Row | None:
        row: Row | None = self._connection.execute(
            "SELECT * FROM runs WHERE id = ?", (id,)
        ).fetchone()
        return row

    def runs(self) -> Iterator[Row]:
        return self._paged("SELECT * FROM runs WHERE id > ? ORDER BY id", "")

    def add_run(self, row: Row) -> None:
        self._connection.execute("INSERT INTO runs VALUES (?,?,?,?,?,?,?)", row)

    def change_runs(self, rows: Iterable[Row]) -> None:
        self._connection.executemany(
            "UPDATE runs SET operation = ?, started_at = ?, operator = ?, fingerprint = ?,"
            " context = ?, seal = ? WHERE id = ?",
            ((*row[1:], row[0]) for row in rows),
        )

    def serial(self, serial: int) -> Row | None:
        row: Row | None = self._connection.execute(
            "SELECT * FROM serials WHERE serial = ?", (serial,)
        ).fetchone()
        return row

    def serials(self) -> Iterator[Row]:
        return self._paged("SELECT * FROM serials WHERE serial > ? ORDER BY serial", 0)

    def add_serial(self, row: Row) -> None:
        self._connection.execute("INSERT INTO serials VALUES (?,?,?,?,?,?)", row)

    @contextmanager
    def erasing(self) -> Iterator[None]:
        """Write the file anew without the pages that were freed, and empty the WAL.

        Raises StateError where another process still reads the old pages.
        """
        self._connection.execute("PRAGMA secure_delete = ON")
        yield
        self._connection.execute("VACUUM")
        (patience,) = self._connection.execute("PRAGMA busy_timeout").fetchone()
        self._connection.execute("PRAGMA busy_timeout = 3000")
        (busy, *_) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self._connection.execute(f"PRAGMA busy_timeout = {patience}")
        if busy:
            raise StateError.of(
                "erase-read",
                "another process is reading the state, so its log holds what was there before",
                detail="State and history are rewritten.",
                hint="run it again when that process has ended",
            )

    def walk(self) -> None:
        (finding,) = self._connection.execute("PRAGMA integrity_check(1)").fetchone()
        if finding != "ok":
            raise Broken(str(finding))

    def _walk_accounts(self) -> None:
        """Raise Broken if the pages of the accounts are damaged; who reads none need not wait."""
        if not self._walked:
            demand_whole(self._connection, "accounts")
            self._walked = True

    def _paged(self, query: str, after: str | int) -> Iterator[Row]:
        """Yield rows by their first cell; what a query reads must not be changed while it runs."""
        while rows := self._connection.execute(f"{query} LIMIT {_FETCH}", (after,)).fetchall():
            yield from rows
            after = rows[-1][0]

    def shrink(self) -> None:
        """Move the WAL into the file, unless a reader still needs it."""
        with suppress(sqlite3.Error):
            self._connection.execute("PRAGMA busy_timeout = 200")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _listed(texts: Sequence[str]) -> tuple[str]:
    """Return the value for `IN (SELECT value FROM json_each(?))`."""
    return (canonical(list(texts)).decode(),)
