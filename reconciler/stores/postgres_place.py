"""A schema of a PostgreSQL database: connecting, making tables, refusing what is not ours."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import psycopg
from psycopg import conninfo, errors, pq

from reconciler.errors import ConfigError, ReconcilerError, StateError
from reconciler.files import OWN, private_folder
from reconciler.stores.held import Held
from reconciler.stores.high_water import Mark, beside, read_mark
from reconciler.stores.postgres_tables import Connection, PostgresTables, talking
from reconciler.stores.rows import Broken, Meta
from reconciler.stores.tables import Check, Lost
from reconciler.values import digest

Connect: TypeAlias = Callable[..., Connection]

SCHEMA: Final = "reconciler"
"""The schema where the settings name none."""

BUSY_SECONDS: Final = 10
_OLDEST: Final = 140000
_AGAIN_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 0.25
_TRIES: Final = 5
_LOOKS: Final = 8
_T = TypeVar("_T")
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_WATCHED: Final = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""How soon a connection that is dead is known to be so, where the URL does not say."""

_SESSION: Final = (
    "SELECT pg_backend_pid(), set_config('search_path', quote_ident(%s), false),"
    " set_config('lock_timeout', %s, false),"
    " set_config('idle_in_transaction_session_timeout', %s, false),"
    " set_config('idle_session_timeout', '0', false), set_config('statement_timeout', '0', false),"
    " set_config('jit', 'off', false), set_config('bytea_output', 'hex', false),"
    " set_config('tcp_keepalives_idle', '15', false),"
    " set_config('tcp_keepalives_interval', '5', false),"
    " set_config('synchronous_commit', CASE current_setting('synchronous_commit')"
    " WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)"
)


@cache
def packaged() -> Sequence[str]:
    """Return the SQL text of every schema version, from 1, as the package carries them."""
    files = sorted(Path(__file__).with_name("migrations").glob("postgres/*.sql"))
    return tuple(file.read_text("utf-8") for file in files)


class PostgresPlace:
    """Implements `reconciler.stores.tables.Place` on a schema that holds many workspaces.

    `url` is a libpq connection string or URL and never told. `clock`, in seconds since 1970,
    stands in for the server's in tests. Raises ConfigError for settings that cannot be used.
    """

    def __init__(
        self,
        url: str,
        schema: str,
        root: Path,
        workspace: str,
        *,
        clock: Callable[[], float] | None = None,
        connect: Connect = psycopg.connect,
        steps: Sequence[str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not _NAME.fullmatch(schema):
            raise ConfigError.of(
                "bad-schema",
                f"{schema[:80]!r} cannot be the name of the schema that holds the state",
                hint="write lower case letters, digits and _, 63 at most",
            )
        self.workspace = workspace
        self._schema = schema
        self._given = _settings(url)
        self._how = {**_WATCHED, "application_name": "reconciler", **self._given}
        host, port, base = (_setting(self._given, key) for key in ("host", "port", "dbname"))
        base = base or _setting(self._given, "user")
        self.name = f"PostgreSQL {host or 'on this machine'}:{port}/{base}, schema {schema}"
        place = digest(f"{self.name}, workspace {workspace}".encode()).hex()[:12]
        self.beside = root.absolute() / OWN / f"postgres-{place}"
        self._clock = clock
        self._connect = connect
        self._steps = packaged() if steps is None else steps
        self._sleep = sleep
        self._ahead = 0.0
        self._beating: PostgresTables | None = None
        self._trusted = False

    def clock(self) -> float:
        """Return the server's time, as far as its last answer and the clock here tell it."""
        return self._clock() if self._clock else time.time() + self._ahead

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turn what the driver, the rows and the file system raise inside into StateErrors."""
        try:
            yield
        except (Broken, UnicodeDecodeError) as error:
            raise _corrupt(self.name, str(error)) from error
        except Lost:
            raise _unusable(self.name, "the connection to it was lost") from None
        except psycopg.Error as error:
            raise _failure(self.name, error) from None
        except OSError as error:
            raise _unusable(self.name, error.strerror or str(error)) from error

    def open(self) -> PostgresTables | None:
        """Return tables to look at the lock with, not verified; None if there are none."""
        return _steady(self._opened)

    def _opened(self) -> PostgresTables | None:
        tables = self._tables()
        with _closing_if_it_fails(tables):
            if self._is_there(tables.connection):
                return tables
        tables.close()
        return None

    def read(self, check: Check) -> PostgresTables | None:
        """Return checked tables to read from, of any schema; None if nothing was ever recorded."""
        return _steady(lambda: self._readable(check))

    def _readable(self, check: Check) -> PostgresTables | None:
        mark = read_mark(self.beside)
        tables = self._opened()
        if tables is None:
            self._demand_nothing_seen(mark)
            return None
        with _closing_if_it_fails(tables):
            check(tables, mark)
        return tables

    def write(self, check: Check) -> PostgresTables:
        """Return checked tables to write to, made or brought up to date where needed."""
        return _steady(lambda: self._writable(check))

    def _writable(self, check: Check) -> PostgresTables:
        mark = read_mark(self.beside)
        tables = self._tables()
        with _closing_if_it_fails(tables):
            if not self._is_there(tables.connection):
                self._demand_nothing_seen(mark)
            self._migrate(tables.connection)
            if not self._is_there(tables.connection):
                with tables.connection.transaction():
                    tables.first(Meta(self.workspace).row(), Held().row())
            check(tables, mark)
            private_folder(self.beside.parent)
        return tables

    @contextmanager
    def beat(self) -> Iterator[PostgresTables]:
        """Give tables for one heartbeat; their connection is kept until `rest` or a failure."""
        if self._beating is None:
            self._beating = self._tables()
        try:
            yield self._beating
        except BaseException:
            self.rest()
            raise

    def rest(self) -> None:
        """Release what heartbeats kept open."""
        if self._beating is not None:
            self._beating.close()
            self._beating = None

    def _tables(self) -> PostgresTables:
        return PostgresTables(self.workspace, self._connected(), self._patient, self._clock)

    def _patient(self) -> Connection:
        """Connect again, for some time, as a server that restarts or fails over needs it."""
        waited = 0.0
        while True:
            try:
                return self._connected()
            except (psycopg.OperationalError, Lost):
                if waited >= _AGAIN_SECONDS:
                    raise
            self._sleep(_PAUSE_SECONDS)
            waited += _PAUSE_SECONDS

    def _connected(self) -> Connection:
        """Return a connection of our own to the server, set up for the schema."""
        connection = self.plain()
        with _closing_if_it_fails(connection):
            self._judge(connection)
            before = time.time()
            row = connection.execute(
                _SESSION.encode(), (self._schema, f"{BUSY_SECONDS}s", "60s")
            ).fetchone()
            self._demand_session(connection, row[0] if row else 0)
            (now,) = connection.execute(
                b"SELECT extract(epoch FROM clock_timestamp())::float8"
            ).fetchone() or (before,)
            # Ahead rather than behind, so that a lease is never taken for longer than it is.
            self._ahead = now - before
        return connection

    def plain(self) -> Connection:
        """Return a connection to the database that nothing is known of, in autocommit mode."""
        return self._connect(
            **self._how, client_encoding="utf8", autocommit=True, prepare_threshold=None
        )

    def _judge(self, connection: Connection) -> None:
        if connection.info.server_version < _OLDEST:
            raise _refused(
                self, "postgres-too-old", "the server is older than PostgreSQL 14", "Upgrade it."
            )
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise _refused(
                self,
                "postgres-encoding",
                f"the database has the encoding {encoding}, which cannot hold all names",
                "Use a database made with ENCODING 'UTF8'.",
            )

    def _demand_session(self, connection: Connection, pid: int) -> None:
        """Refuse a proxy that does not keep one backend for one connection.

        A direct connection tells the backend's own pid when it is made. Behind a proxy, a second
        connection must have another backend, and both must keep theirs from one transaction to
        the next: a pooler that hands backends out per transaction gives the one that was just
        returned to whoever asks next, or each in turn.
        """
        if self._trusted or connection.info.backend_pid == pid:
            self._trusted = True
            return
        with closing(self.plain()) as other:
            seen = {(_pid(connection), _pid(other)) for _ in range(_LOOKS)}
        one, two = seen.pop()
        if seen or one == two:
            raise _refused(
                self,
                "postgres-pooler",
                "the address is a proxy that pools transactions, where locks and snapshots do"
                " not hold",
                "Name the server itself, or a pool in session mode, in `state.url`.",
            )
        self._trusted = True

    def _is_there(self, connection: Connection) -> bool:
        """Tell whether the schema, in whatever version, knows the workspace."""
        if not self._version(connection):
            return False
        named = b"SELECT 1 FROM meta WHERE workspace = %s"
        return connection.execute(named, (self.workspace,)).fetchone() is not None

    def _version(self, connection: Connection) -> int:
        """Return the schema version of the tables, 0 if there are none. Refuses a newer one."""
        # Of the catalogue's rows, as a lookup by name may be answered from before a lock was had.
        found = connection.execute(
            b"SELECT 1 FROM pg_class WHERE relname = 'schema_version' AND relnamespace IN"
            b" (SELECT oid FROM pg_namespace WHERE nspname = %s)",
            (self._schema,),
        ).fetchone()
        if found is None:
            return 0
        (version,) = connection.execute(b"SELECT max(version) FROM schema_version").fetchone() or (
            0,
        )
        if version > len(self._steps):
            raise _refused(
                self,
                "state-newer",
                f"the state has schema version {version}, made by a newer reconciler; this one"
                f" knows {len(self._steps)}",
                "Upgrade reconciler.",
            )
        return version or 0

    def _migrate(self, connection: Connection) -> None:
        """Bring the tables to the newest schema, each step wholly or not at all."""
        version = self._version(connection)
        for number, text in enumerate(self._steps[version:], version + 1):
            with connection.transaction():
                connection.execute(
                    b"SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
                    (f"reconciler {self._schema}",),
                )
                # Another process may have done this step while this one waited.
                if self._version(connection) == number - 1:
                    self._make_schema(connection)
                    connection.execute(text.encode())
                    connection.execute(
                        b"INSERT INTO schema_version (version) VALUES (%s)", (number,)
                    )

    def _make_schema(self, connection: Connection) -> None:
        found = connection.execute(
            b"SELECT 1 FROM pg_namespace WHERE nspname = %s", (self._schema,)
        ).fetchone()
        if found is None:
            name = psycopg.sql.Identifier(self._schema)
            connection.execute(psycopg.sql.SQL("CREATE SCHEMA {}").format(name))

    def _demand_nothing_seen(self, mark: Mark | None) -> None:
        if mark is not None:
            raise _refused(
                self,
                "state-missing",
                f"the state is missing; it was last seen at serial {mark.serial}",
                f"Restore a backup of the database; or, to start with nothing recorded, delete"
                f" {beside(self.beside)}.",
            )


@contextmanager
def _closing_if_it_fails(open: PostgresTables | Connection) -> Iterator[None]:
    """Close a connection that nobody will be given, and raise Lost where that was its end."""
    connection = open.connection if isinstance(open, PostgresTables) else open
    try:
        with talking(connection):
            yield
    except BaseException:
        connection.close()
        raise


def _steady(step: Callable[[], _T]) -> _T:
    """Return what a step returns; where its connection ends, do it again with another."""
    for _ in range(_TRIES - 1):
        with suppress(Lost):
            return step()
    return step()


def _settings(url: str) -> dict[str, Any]:
    """Return the parts of a connection string; what is wrong with one is told without it."""
    with suppress(psycopg.ProgrammingError):
        return conninfo.conninfo_to_dict(url)
    raise ConfigError.of(
        "bad-url",
        "what `state.url` refers to is no address of a PostgreSQL database",
        hint="write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE",
    )


def _setting(given: dict[str, Any], key: str) -> str:
    """Return a part of the address as libpq will use it, environment and defaults included."""
    for known in pq.Conninfo.get_defaults():
        if known.keyword == key.encode():
            return str(given.get(key) or (known.val or b"").decode())
    return str(given.get(key) or "")


def _pid(connection: Connection) -> int:
    row = connection.execute(b"SELECT pg_backend_pid()").fetchone()
    return int(row[0]) if row else 0


def _refused(place: PostgresPlace, id: str, why: str, hint: str) -> ReconcilerError:
    return StateError.of(id, f"{place.name}: {why}", hint=hint)


def _corrupt(name: str, why: str) -> ReconcilerError:
    return StateError.of(
        "state-corrupt",
        f"{name}: the state is damaged: {why}",
        hint="Restore a backup of the database, or `reconciler state restore FILE`.",
    )


def _unusable(name: str, why: str, detail: str = "") -> ReconcilerError:
    return StateError.of(
        "state-io",
        f"{name}: the state cannot be used: {why}",
        detail=detail,
        hint="Nothing that was acknowledged is lost; repair the cause and run again.",
    )


_CAUSES: Final = (
    ("28", "the server refused the login"),
    ("3D", "there is no such database"),
    ("42501", "the role may not do that"),
    ("25006", "it is read-only, as a standby is"),
    ("53100", "the server's disk is full"),
    ("53", "the server has no room for it"),
    ("23", "a write contradicts what is recorded"),
    ("57P", "the server is stopping or starting"),
)


def _failure(name: str, error: psycopg.Error) -> ReconcilerError:
    """Return the error for what the server said; what the driver says may hold the address."""
    state = error.sqlstate or ""
    if isinstance(error, errors.DataCorrupted | errors.IndexCorrupted):
        return _corrupt(name, "the server found its own pages damaged")
    if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn | errors.DuplicateTable):
        return _corrupt(name, f"its tables are not ours ({error.diag.message_primary})")
    if isinstance(error, errors.LockNotAvailable | errors.QueryCanceled | errors.DeadlockDetected):
        return StateError.of(
            "state-busy",
            f"{name}: another process kept the state busy for {BUSY_SECONDS} s",
            hint="Run again when it has ended.",
        )
    cause = next((text for code, text in _CAUSES if state.startswith(code)), "")
    if not state:
        return _unusable(name, "the server cannot be reached, or refused the login")
    said = error.diag.message_primary
    return _unusable(
        name, cause or "PostgreSQL cannot do it", f"PostgreSQL says: {said} ({state})."
    )
