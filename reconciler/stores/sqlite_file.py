"""The SQLite file: making it, opening it, and refusing whatever is not wholly our own state."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias

from reconciler.errors import StateError
from reconciler.files import private_folder
from reconciler.stores.held import Held
from reconciler.stores.high_water import Mark, beside, read_mark, sync_folder
from reconciler.stores.lease import give_up, read_locks
from reconciler.stores.mounts import network_file_system
from reconciler.stores.rows import Broken, Meta
from reconciler.stores.sqlite_migrate import (
    APPLICATION_ID,
    Steps,
    migrate,
    packaged,
    schema,
)
from reconciler.stores.sqlite_tables import SqliteTables
from reconciler.stores.sqlite_told import told
from reconciler.stores.tables import Check

Connect: TypeAlias = Callable[..., sqlite3.Connection]

BUSY_SECONDS: Final = 10.0
_SETTINGS: Final = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA synchronous = FULL",
)
# A reader leaves out the journal: it only grows, and what is read of it carries seals and sums.
_CHECKED: Final = ("sqlite_schema", "meta", "lock", "accounts", "runs", "app_lock")


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """Implements `reconciler.stores.tables.Place` on a file.

    `clock` is in seconds since 1970; `steps` are the SQL texts of all schema versions that this
    version knows, from 1.
    """

    path: Path
    workspace: str
    clock: Callable[[], float]
    connect: Connect
    steps: Steps

    @property
    def name(self) -> str:
        """How messages call the file."""
        return str(self.path)

    @property
    def beside(self) -> Path:
        """Where the high-water mark is kept beside."""
        return self.path

    def told(self) -> AbstractContextManager[None]:
        """Turn what happens inside into StateErrors."""
        return told(self.path, BUSY_SECONDS)

    def open(self) -> SqliteTables | None:
        """Return tables to look at the lock with, not verified; None if there is no file."""
        if self.inode() is None:
            return None
        return SqliteTables(self._connected(), self.clock)

    def read(self, check: Check) -> SqliteTables | None:
        """Return checked tables to read from; None if there is no file."""
        mark = self._mark()
        if self.inode() is None:
            return None
        self._refuse_network()
        with self.told(), _closing_if_it_fails(self._connected()) as connection:
            self._verify(connection, write=False)
            if not self._older(connection):
                return self._checked(connection, check, mark)
            newest = self._newest(connection)
        connection.close()
        with self.told(), _closing_if_it_fails(newest):
            return self._checked(newest, check, mark, copied=True)

    def write(self, check: Check) -> SqliteTables:
        """Return checked tables to write to, made or brought up to date where needed."""
        self._create()
        with self.told(), _closing_if_it_fails(self._connected_to_write()) as connection:
            mark = self._mark()
            self._verify(connection, write=True)
            if self._older(connection):
                with closing(self._newest(connection)) as newest:
                    self._checked(newest, check, mark)
                self._upgrade(connection)
            return self._checked(connection, check, mark, same=self._same())

    def _checked(
        self, connection: sqlite3.Connection, check: Check, mark: Mark | None, **how: Any
    ) -> SqliteTables:
        tables = SqliteTables(connection, self.clock, **how)
        check(tables, mark)
        return tables

    def _older(self, connection: sqlite3.Connection) -> bool:
        return int(_pragma(connection, "user_version")) < len(self.steps)

    def beat(self) -> AbstractContextManager[SqliteTables]:
        """Give tables for one heartbeat, of whatever file is there then."""
        return closing(SqliteTables(self._connected_to_write(), self.clock))

    def rest(self) -> None:
        """Heartbeats keep nothing open."""

    def inode(self) -> tuple[int, int] | None:
        """Return what identifies the file on its device, None if there is no file.

        Raises StateError for what must not be used: a symlink, a folder, an empty file, a file
        that others may write, a network file system. The file is not opened for that, because
        closing it would drop the locks that SQLite holds on it in this process.
        """
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            with self.told():
                raise error from None
        if stat.S_ISLNK(found.st_mode):
            self._refuse(
                "state-symlink",
                "the state file is a symbolic link",
                "Name the file itself under `state.path`.",
            )
        if not stat.S_ISREG(found.st_mode):
            self._refuse(
                "state-no-file", "the state is no regular file", "Name a file under `state.path`."
            )
        if found.st_mode & 0o022:
            self._refuse(
                "state-writable",
                "others may write the state file",
                f"Check who changed it, then run `chmod 600 {self.path}`.",
            )
        if found.st_size == 0:
            self._refuse(
                "state-empty",
                "the state file has 0 bytes, so what it held is lost",
                "Restore a backup with `reconciler state restore FILE`; delete the file"
                " only if nothing was ever recorded in it.",
            )
        return found.st_dev, found.st_ino

    def _same(self) -> Callable[[], bool]:
        """Return what tells whether the file is still the one that is there now."""
        inode = self.inode()
        return lambda: self.inode() == inode

    def _refuse(self, id: str, why: str, hint: str) -> NoReturn:
        raise StateError.of(id, f"{self.path}: {why}", hint=hint)

    def _mark(self) -> Mark | None:
        """Return the high-water mark. Raises StateError if there is one but no state file."""
        mark = read_mark(self.path)
        if mark is not None and self.inode() is None:
            self._refuse(
                "state-missing",
                f"the state is missing; it was last seen at serial {mark.serial}",
                f"Restore a backup with `reconciler state restore FILE`; or, to start with"
                f" nothing recorded, delete {beside(self.path)}.",
            )
        return mark

    def _refuse_network(self) -> None:
        """Raise StateError on a network file system, where SQLite's locks and WAL do not hold."""
        try:
            mounts = Path("/proc/mounts").read_text("utf-8", "replace")
        except OSError:
            return
        if kind := network_file_system(Path(os.path.realpath(self.path)), mounts):
            self._refuse(
                "state-network",
                f"the state is on a network file system ({kind})",
                "SQLite cannot lock there; name a local path under `state.path`, or"
                " use a backend made for many machines.",
            )

    def _connected(self) -> sqlite3.Connection:
        """Return a connection that only reads the existing file. Raises sqlite3.Error."""
        mode = "rw"
        if not (os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK)):
            wal = self.path.with_name(f"{self.path.name}-wal")
            mode = "ro" if wal.exists() else "ro&immutable=1"
        return self._opened(mode, "PRAGMA query_only = ON")

    def _connected_to_write(self) -> sqlite3.Connection:
        """Return a connection that may write the existing file. Raises sqlite3.Error."""
        return self._opened("rw", "PRAGMA journal_mode = WAL")

    def _opened(self, mode: str, setting: str) -> sqlite3.Connection:
        connection = self._connection(f"{self.path.as_uri()}?mode={mode}")
        try:
            for each in (*_SETTINGS, setting):
                connection.execute(each)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connection(self, uri: str) -> sqlite3.Connection:
        # One thread at a time uses a connection; who that is may change.
        return self.connect(
            uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )

    def _verify(self, connection: sqlite3.Connection, *, write: bool) -> None:
        """Raise StateError or Broken unless the open file is one of ours and its pages are whole.

        The pages are walked: all for a writer, all but the journal's for a reader. An older
        schema passes.
        """
        application = _pragma(connection, "application_id")
        if application != APPLICATION_ID:
            self._refuse(
                "state-foreign",
                "the file is a database of something else",
                "Name another file under `state.path`.",
            )
        version = _pragma(connection, "user_version")
        if version > len(self.steps):
            self._refuse(
                "state-newer",
                f"the state has schema version {version}, made by a newer"
                f" reconciler; this one knows {len(self.steps)}",
                "Upgrade reconciler.",
            )
        tables = schema(connection)
        if version < 1 or tables != _fresh(self.steps[:version]):
            raise Broken(f"its tables are not those of schema version {version}")
        known = {"sqlite_schema", *(name for _, name, *_ in tables)}
        for table in ("",) if write else (one for one in _CHECKED if one in known):
            check = f"PRAGMA quick_check({table})" if table else "PRAGMA quick_check"
            (finding,) = connection.execute(check).fetchone()
            if finding != "ok":
                raise Broken(str(finding))

    def _create(self) -> None:
        """Make the file with its tables unless it exists by now, whole or not at all.

        It is made under another name and renamed under a lock on its folder, so a crash leaves
        no half-made state and two processes make one file. Raises StateError.
        """
        folder = self.path.parent
        with self.told():
            private_folder(folder)
            self._refuse_network()
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                self._mark()
                if self.inode() is None:
                    self._build()
            finally:
                os.close(descriptor)

    def _build(self) -> None:
        prefix = f"{self.path.name}.new-"
        for name in os.listdir(self.path.parent):
            if name.startswith(prefix):
                (self.path.parent / name).unlink()
        fresh = self.path.with_name(f"{prefix}{uuid.uuid4().hex}")
        reserve(fresh)
        try:
            with closing(self._connection(f"{fresh.as_uri()}?mode=rw")) as connection:
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                migrate(connection, self.steps)
                SqliteTables(connection, self.clock).first(Meta(self.workspace).row(), Held().row())
                connection.execute("PRAGMA journal_mode = WAL")
            sync(fresh)
            fresh.rename(self.path)
        except BaseException:
            with suppress(OSError):
                fresh.unlink()
            raise
        sync_folder(self.path.parent)

    def _upgrade(self, connection: sqlite3.Connection) -> None:
        """Bring the tables of the open file to the newest schema, keeping a copy before."""
        serial = connection.execute("SELECT serial FROM meta").fetchone()[0]
        self.copy(
            self.path.with_name(
                f"{self.path.name}.before-v{len(self.steps)}-{serial}-{uuid.uuid4().hex[:8]}"
            )
        )
        migrate(connection, self.steps)

    def _newest(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """Return a copy in memory with the newest schema; the file is left alone."""
        memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        with _closing_if_it_fails(memory):
            connection.backup(memory)
            migrate(memory, self.steps)
        return memory

    def copy(self, target: Path) -> None:
        """Write the state as it is now to a new file, mode 0600; never overwrites.

        The copy is of the pages, so it costs about as much as copying the file. Raises StateError.
        """
        with self.told():
            if self.inode() is None:
                self._refuse("state-nothing", "nothing is recorded yet", "Run apply first.")
        with told(target, BUSY_SECONDS):
            try:
                reserve(target)
            except FileExistsError:
                raise StateError.of(
                    "state-backup-exists",
                    f"{target} exists already",
                    hint="Name a new file: backups are never overwritten.",
                ) from None
            try:
                with (
                    self.told(),
                    closing(self._connected()) as connection,
                    closing(self._connection(f"{target.as_uri()}?mode=rw")) as copy,
                ):
                    # Synced as a whole below; until then nobody relies on it.
                    copy.execute("PRAGMA synchronous = OFF")
                    connection.backup(copy)
                    tables = SqliteTables(copy, self.clock)
                    with tables.transaction():
                        for held in read_locks(tables):
                            give_up(tables, held)  # who holds the state does not hold its copy
                sync(target)
            except BaseException:
                with suppress(OSError):
                    target.unlink()
                raise
            sync_folder(target.parent)


def steps_of_this_version() -> Steps:
    """Return the SQL texts of the schema versions this version knows. Raises StateError."""
    if sqlite3.sqlite_version_info < (3, 37, 0):
        raise StateError.of(
            "sqlite-too-old",
            f"SQLite {sqlite3.sqlite_version} is too old to keep state in",
            hint="Use a Python with SQLite 3.37 or newer.",
        )
    return packaged()


@contextmanager
def _closing_if_it_fails(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Close a connection that nobody will be given."""
    try:
        yield connection
    except BaseException:
        connection.close()
        raise


def reserve(path: Path) -> None:
    """Make an empty file, mode 0600 from the start. Raises FileExistsError, OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)
    os.close(descriptor)


def sync(path: Path) -> None:
    """Make a file that no connection has open survive a power loss."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def _fresh(steps: Steps) -> list[Any]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as memory:
        migrate(memory, steps)
        return schema(memory)
