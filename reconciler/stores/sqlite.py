"""The embedded store: recorded state in one SQLite file, for one workspace on one machine."""

from __future__ import annotations

import json
import socket
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from reconciler.accounts import Address
from reconciler.errors import ReconcilerError, StateError
from reconciler.state import (
    Entry,
    Holder,
    Identity,
    Intent,
    Lock,
    Record,
    Run,
    Status,
    Writer,
)
from reconciler.stores.high_water import Mark
from reconciler.stores.sqlite_file import Connect, SqliteFile, steps_of_this_version, told
from reconciler.stores.sqlite_lock import Held, Lease, clear, locked, read_lock, take
from reconciler.stores.sqlite_migrate import transaction
from reconciler.stores.sqlite_rows import (
    Broken,
    Meta,
    Row,
    moment,
    number,
    opened,
    read_meta,
    stored,
    term,
    to_intent,
    to_record,
    to_run,
    write_meta,
)
from reconciler.stores.sqlite_writer import (
    SqliteWriter,
    add_journal,
    add_run,
    chunks,
    listed,
    next_seq,
    told_row,
)
from reconciler.values import canonical

LEASE_SECONDS = 60.0
_POLL_SECONDS = 0.25
_FETCH = 1000


class SqliteStore:
    """Implements `reconciler.state.Store` on the file at `path`, which need not exist yet.

    All reads but `held` see one moment: the first read's, until `refresh`, `lock`, a write of
    its own writer, or `close`. Opening raises StateError for a file that is not wholly this
    workspace's newest state; so does every method for a row that is not what was written. Use a
    store from one thread at a time. `clock` is in seconds since 1970, `lease` and `sleep` in
    seconds; `connect` makes connections as sqlite3.connect does.
    """

    def __init__(
        self,
        path: Path,
        workspace: str,
        *,
        clock: Callable[[], float] = time.time,
        connect: Connect = sqlite3.connect,
        lease: float = LEASE_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._file = SqliteFile(path.absolute(), workspace, connect, steps_of_this_version())
        self._clock = clock
        self._lease = lease
        self._sleep = sleep
        self._connection: sqlite3.Connection | None = None
        self._copied = False
        self._reader()

    def identity(self) -> Identity:
        """Return workspace, lineage and serial (serial 0 and empty lineage: nothing written)."""
        with told(self._file.path):
            connection = self._reader()
            meta = read_meta(connection) if connection else Meta(self._file.workspace)
            return Identity(meta.workspace, meta.lineage, meta.serial)

    def index(self) -> Iterator[tuple[Address, bytes | None]]:
        """Yield address and `Record.index_digest` of every record, by address.

        The sum over all rows is compared after the last one, so only a scan to the end is
        verified; it raises StateError.
        """
        with told(self._file.path):
            connection = self._reader()
            if connection is None:
                return
            content = read_meta(connection).content
            found = 0
            rows = connection.execute("SELECT address, look_digest FROM accounts ORDER BY address")
            while chunk := rows.fetchmany(_FETCH):
                found += sum([term(address, look) for address, look in chunk])
                yield from chunk
            _demand_sum(found, content, "the accounts")

    def records(self, addresses: Iterable[Address]) -> Iterator[Record]:
        """Yield the records of these addresses, in any order; unknown ones are left out."""
        with told(self._file.path):
            connection = self._reader()
            if connection is None:
                return
            for chunk in chunks(addresses):
                yield from map(
                    to_record,
                    connection.execute(
                        "SELECT * FROM accounts WHERE address IN (SELECT value FROM json_each(?))",
                        listed(chunk),
                    ).fetchall(),
                )

    def everything(self) -> Iterator[Record]:
        """Yield every record, sorted by address; verified as `index` is."""
        with told(self._file.path):
            connection = self._reader()
            if connection is None:
                return
            content = read_meta(connection).content
            found = 0
            for row in connection.execute("SELECT * FROM accounts ORDER BY address"):
                found += term(row[0], row[1])
                yield to_record(row)
            _demand_sum(found, content, "the accounts")

    def unresolved(self) -> tuple[Intent, ...]:
        """Return the intents in doubt, oldest first; none can be missing unnoticed."""
        with told(self._file.path):
            connection = self._reader()
            if connection is None:
                return ()
            rows = connection.execute(
                "SELECT * FROM journal WHERE status IN ('intent', 'ambiguous') ORDER BY seq"
            ).fetchall()
            found = sum(number(row[-1]) for row in rows)
            _demand_sum(found, read_meta(connection).doubt, "the intents in doubt")
            return tuple(to_intent(opened(row, f"the intent {row[1]}")) for row in rows)

    def apps(self) -> Mapping[str, str]:
        """Return, per provider, the identity of the vendor app its accounts belong to."""
        with told(self._file.path):
            connection = self._reader()
            return read_meta(connection).apps if connection else {}

    def history(self, address: Address | None = None) -> Iterator[Entry]:
        """Yield what was done, oldest first, of one account or of all.

        The history of all is verified as a whole after its last line; it raises StateError.
        """
        with told(self._file.path):
            connection = self._reader()
            if connection is None:
                return
            meta = read_meta(connection)
            found = 0
            runs: dict[str, Run] = {}
            rows = (
                connection.execute("SELECT * FROM journal ORDER BY seq")
                if address is None
                else connection.execute(
                    "SELECT * FROM journal WHERE address = ? ORDER BY seq", (address,)
                )
            )
            for row in rows:
                found += number(row[-1])
                entry = _entry(connection, row, runs)
                if entry.status is not Status.INTENT:
                    yield entry
            if address is None:
                _demand_sum(found, meta.doubt + meta.told, "the journal")

    def held(self) -> Lock | None:
        """Return the lock if somebody holds it now; a holder known to have ended does not."""
        with told(self._file.path):
            if self._file.inode() is None:
                return None
            with closing(self._file.open()) as connection:
                held = read_lock(connection)
        return held.told() if held.holds(self._clock(), socket.gethostname()) else None

    def refresh(self) -> None:
        """Let the next read see the state as it is then."""
        if self._copied:
            self.close()
        elif self._connection is not None and self._connection.in_transaction:
            with told(self._file.path):
                self._connection.execute("COMMIT")

    @contextmanager
    def lock(self, holder: Holder, timeout: float = 0.0) -> Iterator[Writer]:
        """Take the lock or raise `Locked` naming its holder, after waiting `timeout` seconds.

        Makes the file if there is none yet, and brings its tables up to date. On leaving, the
        high-water mark is kept and the lock given up.
        """
        connection = self._writable()
        try:
            held = self._take(connection, holder, timeout)
            self.refresh()
            lease = Lease(held, self._lease, self._clock, self._file.open_for_writing)
            writer = SqliteWriter(self._file, connection, lease, self._clock, self.refresh)
            lease.start()
            try:
                yield writer
            except BaseException:
                # What went wrong first is what the user must hear.
                with suppress(StateError):
                    writer.release()
                raise
            else:
                writer.release()
            finally:
                self.refresh()
                _shrink(connection)
        finally:
            connection.close()

    def force_unlock(self, id: str, run: Run) -> None:
        """Break the lock with this exact id, with a line of history; its holder can write no more.

        Raises `Locked` naming the holder if the lock has another id, StateError if there is none.
        """
        if self._file.inode() is None:
            raise _not_locked(self._file.path)
        with (
            told(self._file.path),
            closing(self._writable()) as connection,
            transaction(connection),
        ):
            held = read_lock(connection)
            if not held.id:
                raise _not_locked(self._file.path)
            if held.id != id:
                raise locked(held)
            self._note_broken(connection, held, run)
        self.refresh()

    def backup(self, target: Path) -> None:
        """Write the state as it is now to a new file, mode 0600; never overwrites.

        Raises StateError.
        """
        self._file.copy(target.absolute())

    def close(self) -> None:
        """Release the file."""
        if self._connection is not None:
            with told(self._file.path):
                self._connection.close()
            self._connection, self._copied = None, False

    def _reader(self) -> sqlite3.Connection | None:
        """Return the connection to read with, inside its snapshot; None if there is no file."""
        if self._connection is None:
            mark = self._file.mark()
            if self._file.inode() is None:
                return None
            self._file.refuse_network()
            connection = self._verified(write=False, mark=mark)
            with told(self._file.path):
                try:
                    self._connection = self._file.newest(connection)
                except BaseException:
                    connection.close()
                    raise
            self._copied = self._connection is not connection
        if not self._connection.in_transaction:
            with told(self._file.path):
                self._connection.execute("BEGIN")
        return self._connection

    def _writable(self) -> sqlite3.Connection:
        """Return a verified connection to write with, to a file that exists by now."""
        self._file.create()
        with told(self._file.path):
            connection = self._verified(write=True, mark=self._file.mark())
            try:
                self._file.upgrade(connection)
            except BaseException:
                connection.close()
                raise
            return connection

    def _verified(self, *, write: bool, mark: Mark | None) -> sqlite3.Connection:
        with told(self._file.path):
            connection = self._file.open_for_writing() if write else self._file.open()
            try:
                self._file.verify(connection, mark, write=write)
                return connection
            except BaseException:
                connection.close()
                raise

    def _take(self, connection: sqlite3.Connection, holder: Holder, timeout: float) -> Held:
        waited = 0.0
        while True:
            with told(self._file.path):
                if held := take(connection, holder, self._clock(), self._lease):
                    return held
                other = read_lock(connection)
            if waited >= timeout:
                raise locked(other)
            pause = min(_POLL_SECONDS, timeout - waited)
            self._sleep(pause)
            waited += pause

    def _note_broken(self, connection: sqlite3.Connection, held: Held, run: Run) -> None:
        meta = read_meta(connection)
        lock = held.told()
        shape = {
            "action": "force-unlock",
            "lock": {
                "id": lock.id,
                "holder": held.name,
                "host": held.host,
                "pid": held.pid,
                "operation": held.operation,
                "acquired_at": lock.acquired_at,
                "fence": lock.fence,
            },
        }
        add_run(connection, run)
        row = told_row(
            next_seq(connection), run.id, held.fence, "", canonical(shape), moment(self._clock())
        )
        add_journal(connection, [row])
        write_meta(connection, replace(meta, told=meta.told + number(row[-1])))
        clear(connection, replace(held, fence=held.fence + 1))


def _entry(connection: sqlite3.Connection, row: Row, runs: dict[str, Run]) -> Entry:
    """Return the line of history of a journal row; `runs` are those already read."""
    _, _, run, _, address, action, _, status, code, message, started_at, ended_at = opened(
        row, f"line {row[0]} of the journal"
    )
    if run not in runs:
        kept = connection.execute("SELECT * FROM runs WHERE id = ?", (run,)).fetchone()
        if kept is None:
            raise Broken(f"the run {run} is missing")
        runs[run] = to_run(kept)
    return Entry(
        ended_at or started_at,
        runs[run],
        Address(address),
        json.loads(action),
        Status(status),
        code,
        message,
    )


def _shrink(connection: sqlite3.Connection) -> None:
    """Move the WAL into the file, unless a reader still needs it."""
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA busy_timeout = 200")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _demand_sum(found: int, kept: int, what: str) -> None:
    if stored(found) != stored(kept):
        raise Broken(f"{what} are not the ones that were recorded")


def _not_locked(path: Path) -> ReconcilerError:
    return StateError.of("state-not-locked", f"{path}: nobody holds the state lock")
