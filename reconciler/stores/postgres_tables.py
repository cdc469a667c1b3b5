"""The tables of a PostgreSQL schema: every statement but those that make them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any, Final, TypeAlias

import psycopg
from psycopg.pq import TransactionStatus

from reconciler.accounts import Address
from reconciler.errors import StateError
from reconciler.stores.rows import Broken, Row
from reconciler.stores.tables import Lost

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"

_FETCH: Final = 5000
_TRIES: Final = 5
_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_PIN: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_META: Final = "workspace, lineage, serial, content, tip, doubt, told, apps, seal, proof"
_READ_META: Final = _META.replace(
    "proof", "coalesce(decode(substr(to_jsonb(meta)->>'proof', 3), 'hex'), ''::bytea)"
)
"""What the first schema has too: it is never encrypted, and has no column for the proof."""

_NAMED: Final = f"SELECT {_READ_META} FROM meta WHERE workspace = %s"
_LOCK: Final = "id, name, host, pid, birth, operation, acquired, expires, fence, seal"
_APP_LOCK: Final = "id, name, host, pid, birth, operation, acquired, expires, fence, wrote, seal"
_ANEW: Final = ", ".join(f"{name} = excluded.{name}" for name in _APP_LOCK.split(", "))
_ACCOUNT: Final = (
    "address, look_digest, document, banned, version, observed, token_key, waiting, updated_at,"
    " run, seal"
)
_JOURNAL: Final = (
    "seq, id, run, fence, address, action, known_absent, status, code, message, started_at,"
    " ended_at, seal"
)
_RUN: Final = "id, operation, started_at, operator, fingerprint, context, seal"
_SERIAL: Final = "serial, digest, prev, content, at, run"
_PERSONAL: Final = ("accounts", "journal", "runs")
_ACCOUNT_TYPES: Final = (
    *("text", "text", "bytea", "bytea", "int8", "int8", "bytea", "text", "bytea", "text", "text"),
    "bytea",
)
_JOURNAL_TYPES: Final = (
    *("text", "int8", "text", "text", "int8", "text", "bytea", "int8", "text", "text", "text"),
    *("text", "text", "bytea"),
)


@contextmanager
def talking(connection: Connection) -> Iterator[None]:
    """Raise Lost where the connection has ended."""
    try:
        yield
    except psycopg.Error as error:
        if connection.closed:
            raise Lost(str(error)) from error
        raise


class PostgresTables:
    """Implements `reconciler.stores.tables.Tables` on a connection in autocommit mode.

    `connect` makes another one like it. A reader whose connection ends goes on with a new one as
    long as nothing was written since its moment.
    """

    def __init__(
        self,
        workspace: str,
        connection: Connection,
        connect: Callable[[], Connection],
        clock: Callable[[], float] | None,
    ) -> None:
        self._workspace = workspace
        self._connection = connection
        self._connect = connect
        self._clock = clock
        self._names = count(1)
        self._streams = 0
        self._locks_apps = False
        self._left = False
        self._moment: Row | None = None
        self._held: Row | None = None
        self._time: float | None = None

    @property
    def connection(self) -> Connection:
        """The connection as it is now."""
        return self._connection

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._execute(_BEGIN)
        try:
            # Other writers wait here, and so does a commit of our own whose answer was lost.
            self._held = self._one(
                f"SELECT {_LOCK} FROM lock WHERE workspace = %s FOR UPDATE", self._workspace
            )
            yield
            with talking(self._connection):
                said = self._connection.execute("COMMIT").statusmessage
            if said != "COMMIT":
                raise Broken(f"the server answered COMMIT with {said}")
        except BaseException:
            if not self._connection.closed:
                with suppress(psycopg.Error):
                    self._connection.execute("ROLLBACK")
            raise
        finally:
            self._held = self._time = None

    def demand_same(self) -> None:
        """Nothing can be put in the place of a database that a connection is to."""

    def pin(self) -> None:
        for _ in range(_TRIES - 1):
            with suppress(Lost):
                return self._pin()
        return self._pin()

    def _pin(self) -> None:
        if self._connection.closed:
            self.reopen()
        if self._connection.info.transaction_status != TransactionStatus.IDLE:
            return
        self._execute(_PIN)
        (after,) = self._fetched(_NAMED, (self._workspace,))
        before, self._moment = self._moment, after
        if before not in (None, after):
            raise StateError.of(
                "state-moved",
                "the connection to the state was lost, and the state has changed since",
                hint="Run again: what was read so far is no longer what is recorded.",
            )

    def leave(self) -> bool:
        self._moment = None
        if self._streams:
            # Whoever still reads of the old moment closes the connection when it is done.
            self._left = True
            return False
        if self._connection.info.transaction_status != TransactionStatus.IDLE:
            with suppress(psycopg.Error):
                self._connection.execute("ROLLBACK")
        return True

    def reopen(self) -> None:
        self._connection.close()
        self._connection = self._connect()

    def close(self) -> None:
        self._connection.close()

    def now(self) -> float:
        if self._clock is not None:
            return self._clock()
        if self._time is not None:
            return self._time
        row = self._one("SELECT extract(epoch FROM clock_timestamp())::float8")
        now = float(row[0]) if row else 0.0
        if self._held is not None:
            self._time = now
        return now

    def meta(self) -> Row | None:
        if self._moment is not None:
            return self._moment
        return self._one(_NAMED, self._workspace)

    def first(self, meta: Row, lock: Row) -> None:
        """Write the rows of a state that nobody ever wrote, unless they are there."""
        self._execute(
            f"INSERT INTO meta ({_META}) VALUES (%s,%s,%s,%s,%s,%s,%s,%s,%s,%s)"
            " ON CONFLICT DO NOTHING",
            *meta,
        )
        self._execute(
            f"INSERT INTO lock (workspace, {_LOCK}) VALUES (%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s)"
            " ON CONFLICT DO NOTHING",
            self._workspace,
            *lock,
        )

    def change_meta(self, row: Row, lineage: str, serial: int, fence: int) -> bool:
        return (
            self._execute(
                "UPDATE meta SET workspace = %s, lineage = %s, serial = %s, content = %s, tip = %s,"
                " doubt = %s, told = %s, apps = %s, seal = %s, proof = %s"
                " WHERE workspace = %s AND lineage = %s AND serial = %s AND EXISTS"
                " (SELECT 1 FROM lock WHERE workspace = %s AND fence = %s)",
                *row,
                self._workspace,
                lineage,
                serial,
                self._workspace,
                fence,
            )
            == 1
        )

    def lock(self) -> Row | None:
        if self._held is not None:
            return self._held
        return self._one(f"SELECT {_LOCK} FROM lock WHERE workspace = %s", self._workspace)

    def put_lock(self, row: Row) -> None:
        self._held = None
        self._execute(
            "UPDATE lock SET id = %s, name = %s, host = %s, pid = %s, birth = %s, operation = %s,"
            " acquired = %s, expires = %s, fence = %s, seal = %s WHERE workspace = %s",
            *row,
            self._workspace,
        )

    def app_locks(self) -> Sequence[Row]:
        if not self._locks_apps:
            self._locks_apps = self._one("SELECT to_regclass('app_lock') IS NOT NULL") == (True,)
        if not self._locks_apps:
            return ()
        return self._all(
            f"SELECT app, {_APP_LOCK} FROM app_lock WHERE workspace = %s ORDER BY app",
            self._workspace,
        )

    def put_app_locks(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._execute(
                f"INSERT INTO app_lock (workspace, app, {_APP_LOCK})"
                " VALUES (%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s)"
                f" ON CONFLICT (workspace, app) DO UPDATE SET {_ANEW}",
                self._workspace,
                *row,
            )

    def drop_app_locks(self, id: str) -> None:
        self._execute("DELETE FROM app_lock WHERE workspace = %s AND id = %s", self._workspace, id)

    def index(self) -> Iterator[Sequence[tuple[Address, bytes | None]]]:
        return self._stream(
            "SELECT address, look_digest FROM accounts WHERE workspace = %s AND address > %s"
            " ORDER BY address",
            "",
        )

    def every(self) -> Iterator[Row]:
        for rows in self._stream(
            f"SELECT {_ACCOUNT} FROM accounts WHERE workspace = %s AND address > %s"
            " ORDER BY address",
            "",
        ):
            yield from rows

    def accounts(self, addresses: Sequence[Address]) -> Sequence[Row]:
        return self._all(
            f"SELECT {_ACCOUNT} FROM accounts WHERE workspace = %s AND address = ANY(%s)",
            self._workspace,
            list(addresses),
        )

    def put_accounts(self, rows: Sequence[Row], dropped: Sequence[Address]) -> None:
        gone = [*dropped, *(row[0] for row in rows)]
        if gone:
            self._execute(
                "DELETE FROM accounts WHERE workspace = %s AND address = ANY(%s)",
                self._workspace,
                gone,
            )
        self._copy("accounts", _ACCOUNT, _ACCOUNT_TYPES, rows)

    def in_doubt(self) -> Sequence[Row]:
        return self._all(
            f"SELECT {_JOURNAL} FROM journal WHERE workspace = %s"
            " AND status IN ('intent', 'ambiguous') ORDER BY seq",
            self._workspace,
        )

    def intents(self, ids: Sequence[str]) -> Sequence[Row]:
        return self._all(
            f"SELECT {_JOURNAL} FROM journal WHERE workspace = %s AND id = ANY(%s)",
            self._workspace,
            list(ids),
        )

    def journal(self, address: Address | None = None) -> Iterator[Row]:
        chunks = (
            self._stream(
                f"SELECT {_JOURNAL} FROM journal WHERE workspace = %s AND seq > %s ORDER BY seq", 0
            )
            if address is None
            else self._stream(
                f"SELECT {_JOURNAL} FROM journal WHERE workspace = %s AND address = %s"
                " AND seq > %s ORDER BY seq",
                0,
                address,
            )
        )
        for rows in chunks:
            yield from rows

    def last_seq(self) -> int:
        row = self._one("SELECT max(seq) FROM journal WHERE workspace = %s", self._workspace)
        return (row and row[0]) or 0

    def add_journal(self, rows: Sequence[Row]) -> None:
        self._copy("journal", _JOURNAL, _JOURNAL_TYPES, rows)

    def change_journal(self, rows: Iterable[Row]) -> None:
        with talking(self._connection), self._connection.cursor() as cursor:
            cursor.executemany(
                "UPDATE journal SET action = %s, known_absent = %s, status = %s, code = %s,"
                " message = %s, ended_at = %s, seal = %s WHERE workspace = %s AND seq = %s",
                [(*row[5:10], *row[11:], self._workspace, row[0]) for row in rows],
            )

    def run(self, id: str) -> Row | None:
        return self._one(
            f"SELECT {_RUN} FROM runs WHERE workspace = %s AND id = %s", self._workspace, id
        )

    def runs(self) -> Iterator[Row]:
        for rows in self._stream(
            f"SELECT {_RUN} FROM runs WHERE workspace = %s AND id > %s ORDER BY id", ""
        ):
            yield from rows

    def add_run(self, row: Row) -> None:
        self._execute(
            f"INSERT INTO runs (workspace, {_RUN}) VALUES (%s,%s,%s,%s,%s,%s,%s,%s)",
            self._workspace,
            *row,
        )

    def change_runs(self, rows: Iterable[Row]) -> None:
        with talking(self._connection), self._connection.cursor() as cursor:
            cursor.executemany(
                "UPDATE runs SET operation = %s, started_at = %s, operator = %s, fingerprint = %s,"
                " context = %s, seal = %s WHERE workspace = %s AND id = %s",
                [(*row[1:], self._workspace, row[0]) for row in rows],
            )

    def serial(self, serial: int) -> Row | None:
        return self._one(
            f"SELECT {_SERIAL} FROM serials WHERE workspace = %s AND serial = %s",
            self._workspace,
            serial,
        )

    def serials(self) -> Iterator[Row]:
        for rows in self._stream(
            f"SELECT {_SERIAL} FROM serials WHERE workspace = %s AND serial > %s ORDER BY serial", 0
        ):
            yield from rows

    def add_serial(self, row: Row) -> None:
        self._execute(
            f"INSERT INTO serials (workspace, {_SERIAL}) VALUES (%s,%s,%s,%s,%s,%s,%s)",
            self._workspace,
            *row,
        )

    @contextmanager
    def erasing(self) -> Iterator[None]:
        """Write the tables anew without the rows that were replaced.

        Raises StateError where somebody still reads them, or the role may not do it. The log and
        the backups of the server are its owner's.
        """
        yield
        kept = f"SELECT {', '.join(f'pg_relation_filenode({name!r})' for name in _PERSONAL)}"
        before = self._one(kept) or ()
        with suppress(psycopg.errors.LockNotAvailable):
            for name in _PERSONAL:
                self._execute(f"VACUUM (FULL) {name}")
        if set(before) & set(self._one(kept) or before):
            raise StateError.of(
                "erase-read",
                "the server did not rewrite the tables, so their files hold what was there before",
                detail="State and history are rewritten. Somebody reads them just now, or the role"
                " does not own them.",
                hint="run it again, as the owner of the tables",
            )

    def walk(self) -> None:
        """The pages are the server's to check; what is read of them carries seals and sums."""

    def shrink(self) -> None:
        """Nothing is kept open that could be given back."""

    def _execute(self, query: str, *cells: Any) -> int:
        """Carry a statement out; return how many rows it changed."""
        with talking(self._connection):
            return self._connection.execute(query.encode(), cells or None).rowcount

    def _one(self, query: str, *cells: Any) -> Row | None:
        return next(iter(self._all(query, *cells)), None)

    def _all(self, query: str, *cells: Any) -> Sequence[Row]:
        if self._moment is None:
            return self._fetched(query, cells)  # A writer does all of its step again.
        for _ in range(_TRIES - 1):
            with suppress(Lost):
                return self._fetched(query, cells)
            self.pin()
        return self._fetched(query, cells)

    def _fetched(self, query: str, cells: tuple[Any, ...]) -> Sequence[Row]:
        with talking(self._connection):
            return self._connection.execute(query.encode(), cells or None, binary=True).fetchall()

    def _stream(self, query: str, after: Any, *cells: Any) -> Iterator[Sequence[Row]]:
        """Yield rows in groups, by their first cell; the query ends with those behind `after`."""
        self._streams += 1
        tries = _TRIES
        try:
            while True:
                try:
                    for rows in self._cursor(query, (self._workspace, *cells, after)):
                        yield rows
                        after, tries = rows[-1][0], _TRIES
                    return
                except Lost:
                    tries -= 1
                    if not tries or self._moment is None:
                        raise
                    self.pin()
        finally:
            self._streams -= 1
            if self._left and not self._streams:
                self.close()

    def _cursor(self, query: str, cells: tuple[Any, ...]) -> Iterator[Sequence[Row]]:
        with talking(self._connection):
            cursor = self._connection.cursor(f"stream_{next(self._names)}")
            try:
                cursor.execute(query.encode(), cells, binary=True)
                while rows := cursor.fetchmany(_FETCH):
                    yield rows
            finally:
                with suppress(psycopg.Error):
                    cursor.close()

    def _copy(self, table: str, columns: str, types: Sequence[str], rows: Sequence[Row]) -> None:
        if not rows:
            return
        query = f"COPY {table} (workspace, {columns}) FROM STDIN (FORMAT BINARY)"
        with (
            talking(self._connection),
            self._connection.cursor() as cursor,
            cursor.copy(query.encode()) as copy,
        ):
            copy.set_types(types)
            for row in rows:
                copy.write_row((self._workspace, *row))
