"""The writer of the SQLite store: every change is one transaction under the lock's fence."""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import TypeAlias, TypeVar

from reconciler.accounts import Address
from reconciler.errors import StateError
from reconciler.state import IN_DOUBT, Intent, Record, Run, Settlement, Status
from reconciler.stores.high_water import Mark, read_mark, write_mark
from reconciler.stores.sqlite_file import SqliteFile, told
from reconciler.stores.sqlite_history import Hide, rewrite, vacuum
from reconciler.stores.sqlite_lock import Lease, clear, read_lock
from reconciler.stores.sqlite_migrate import transaction
from reconciler.stores.sqlite_rows import (
    MESSAGE_LIMIT,
    Broken,
    Meta,
    Row,
    body,
    body_of,
    link,
    moment,
    number,
    opened,
    read_meta,
    record_row,
    run_row,
    seal,
    stored,
    term,
    write_meta,
)
from reconciler.values import canonical, digest

_CHUNK = 500
_T = TypeVar("_T")
Pending: TypeAlias = Mapping[Address, Record | None]


def chunks(items: Iterable[_T], size: int = _CHUNK) -> Iterator[tuple[_T, ...]]:
    """Yield the items in tuples of at most `size`."""
    source = iter(items)
    while chunk := tuple(islice(source, size)):
        yield chunk


def listed(texts: Iterable[str]) -> tuple[str]:
    """Return the value for `IN (SELECT value FROM json_each(?))`."""
    return (canonical(list(texts)).decode(),)


class SqliteWriter:
    """Implements `reconciler.state.Writer` on one connection; `moved` is called after a change.

    Use it from one thread; only `check` may be called from any.
    """

    def __init__(
        self,
        file: SqliteFile,
        connection: sqlite3.Connection,
        lease: Lease,
        clock: Callable[[], float],
        moved: Callable[[], None],
    ) -> None:
        self._file = file
        self._inode = file.inode()
        self._connection = connection
        self._lease = lease
        self._clock = clock
        self._moved = moved
        self._mutex = threading.Lock()
        self._run = ""

    def check(self) -> None:
        """Raise `Locked` if the lock is lost; the disk is asked only when the heartbeat is late."""
        if not self._lease.check():
            with self._mutex, told(self._file.path):
                self._lease.renew(self._connection)

    def begin(self, run: Run, lineage: str = "") -> None:
        """Record the run that the following writes belong to; again with the same run is fine.

        A state that was never written goes on with `lineage`, else with a new one.
        """
        with self._write(run.id, lineage) as meta:
            add_run(self._connection, run)
            write_meta(self._connection, meta)
        self._run = run.id

    def bind(self, apps: Mapping[str, str]) -> None:
        """Record which vendor app each provider speaks to.

        Raises StateError, and writes nothing, if a provider is recorded with another app.
        """
        with self._write(self._run) as meta:
            for provider, app in apps.items():
                if meta.apps.get(provider, app) != app:
                    raise StateError.of(
                        "state-other-app",
                        f"the provider {provider} is recorded with the app"
                        f" {meta.apps[provider]}, not {app}",
                        hint="Put the recorded app back, or give the new app a provider name of"
                        " its own.",
                    )
            if any(provider not in meta.apps for provider in apps):
                write_meta(self._connection, replace(meta, apps={**meta.apps, **apps}))

    def intend(self, intents: Sequence[Intent]) -> None:
        """Make the intents durable: they survive a power loss when this returns."""
        with self._write(self._run) as meta:
            at = self._now()
            doubt = meta.doubt
            rows = []
            for seq, intent in enumerate(intents, next_seq(self._connection)):
                cells = (
                    seq,
                    intent.id,
                    intent.run,
                    self._lease.fence,
                    intent.address,
                    canonical(dict(intent.action)),
                    int(intent.known_absent),
                    str(Status.INTENT),
                    "",
                    "",
                    at,
                    "",
                )
                rows.append((*cells, seal(*cells)))
                doubt += number(rows[-1][-1])
            add_journal(self._connection, rows)
            write_meta(self._connection, replace(meta, doubt=doubt))

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Record outcomes and the records they make, in one transaction, under one new serial.

        Raises StateError for an intent that is unknown or settled already.
        """
        with self._write(self._run) as meta:
            at = self._now()
            rows = self._intents(settlements)
            doubt, done = meta.doubt, meta.told
            pending: dict[Address, Record | None] = {}
            for settlement in settlements:
                before = rows.get(settlement.intent, ())
                _demand_in_doubt(settlement.intent, before)
                cells = (
                    *before[:7],
                    str(settlement.status),
                    settlement.code,
                    settlement.message[:MESSAGE_LIMIT],
                    before[10],
                    at,
                )
                after = rows[settlement.intent] = (*cells, seal(*cells))
                doubt -= number(before[-1])
                if settlement.status in IN_DOUBT:
                    doubt += number(after[-1])
                else:
                    done += number(after[-1])
                if settlement.record is not None:
                    pending[settlement.record.address] = settlement.record
                if settlement.forget is not None:
                    pending[settlement.forget] = None
            self._connection.executemany(
                "UPDATE journal SET status = ?, code = ?, message = ?, ended_at = ?, seal = ?"
                " WHERE seq = ?",
                ((row[7], row[8], row[9], row[11], row[12], row[0]) for row in rows.values()),
            )
            meta, _ = self._put(replace(meta, doubt=doubt, told=done), pending, at)
            write_meta(self._connection, meta)

    def save(self, records: Sequence[Record], forget: Sequence[Address], operation: str) -> None:
        """Replace or drop records outside an apply, each change with a line of history.

        A record equal to the stored one (but for version, time and run) changes nothing.
        """
        pending: dict[Address, Record | None] = dict.fromkeys(forget)
        pending.update((record.address, record) for record in records)
        with self._write(self._run) as meta:
            at = self._now()
            meta, changed = self._put(meta, pending, at)
            if not changed:
                return
            kept = {"action": operation, "version": meta.serial}
            shapes = canonical(kept), canonical({**kept, "forgotten": True})
            rows = [
                told_row(
                    seq, self._run, self._lease.fence, address, shapes[pending[address] is None], at
                )
                for seq, address in enumerate(changed, next_seq(self._connection))
            ]
            done = meta.told + sum(number(row[-1]) for row in rows)
            add_journal(self._connection, rows)
            write_meta(self._connection, replace(meta, told=done))

    def erase(self, address: Address, record: Record | None, hide: Hide) -> int:
        """Rewrite record and journal of an account, then the file without what stood there.

        Raises StateError while an action is in doubt, and where the old pages are still read.
        """
        with told(self._file.path), self._mutex:
            self._connection.execute("PRAGMA secure_delete = ON")
        with self._write(self._run) as meta:
            at = self._now()
            meta, changed = rewrite(self._connection, meta, address, hide)
            if record is not None:
                meta, _ = self._put(meta, {address: record}, at)
            shape = canonical({"action": "erase", "version": meta.serial})
            row = told_row(
                next_seq(self._connection), self._run, self._lease.fence, address, shape, at
            )
            add_journal(self._connection, [row])
            write_meta(self._connection, replace(meta, told=meta.told + number(row[-1])))
        with told(self._file.path), self._mutex:
            vacuum(self._connection)
        return changed

    def release(self) -> None:
        """Stop the heartbeat, keep the high-water mark and give up the lock if it is still ours.

        Raises StateError if that could not be written; the lease then ends by itself.
        """
        self._lease.stop()
        failed: OSError | None = None
        with told(self._file.path), self._mutex:
            with transaction(self._connection):
                held = read_lock(self._connection)
                if (held.id, held.fence) != (self._lease.id, self._lease.fence):
                    return
                # While nobody else can write, so that the mark never goes back.
                try:
                    self._keep_mark()
                except OSError as error:
                    failed = error
                clear(self._connection, held)
            if failed is not None:
                raise failed

    def _keep_mark(self) -> None:
        meta = read_meta(self._connection)
        mark = Mark(meta.lineage, meta.serial, meta.tip)
        # A run that was killed before it could keep its mark left this to the next.
        if meta.lineage and mark != read_mark(self._file.path):
            write_mark(self._file.path, mark)

    def _now(self) -> str:
        return moment(self._clock())

    @contextmanager
    def _write(self, run: str, lineage: str = "") -> Iterator[Meta]:
        """Open a transaction under the fence and give it the meta row, with its lineage."""
        if not run:
            raise StateError.of("state-no-run", "a write needs a run, and none was begun")
        with self._mutex, told(self._file.path):
            if self._file.inode() != self._inode:
                raise Broken("the file was replaced while it was in use")
            self._lease.check()
            with transaction(self._connection):
                self._lease.demand(self._connection)
                meta = read_meta(self._connection)
                first = not meta.lineage
                if first:
                    lineage = lineage or str(uuid.uuid4())
                    meta = replace(meta, lineage=lineage, tip=digest(lineage.encode()))
                yield meta
            self._moved()
            if first:
                self._keep_mark()

    def _intents(self, settlements: Sequence[Settlement]) -> dict[str, Row]:
        """Return the journal rows of the settlements' intents, by id, where there are any."""
        rows: dict[str, Row] = {}
        for chunk in chunks(settlement.intent for settlement in settlements):
            for row in self._connection.execute(
                "SELECT * FROM journal WHERE id IN (SELECT value FROM json_each(?))", listed(chunk)
            ):
                opened(row, f"the intent {row[1]}")
                rows[row[1]] = row
        return rows

    def _put(self, meta: Meta, pending: Pending, at: str) -> tuple[Meta, list[Address]]:
        """Write the records that differ; return the meta row they make and what changed."""
        version = meta.serial + 1
        content = meta.content
        changed: list[Address] = []
        for chunk in chunks(pending):
            rows: dict[str, Row] = {
                row[0]: row
                for row in self._connection.execute(
                    "SELECT * FROM accounts WHERE address IN (SELECT value FROM json_each(?))",
                    listed(chunk),
                )
            }
            written: list[Row] = []
            dropped: list[tuple[Address]] = []
            for address in chunk:
                record, before = pending[address], rows.get(address)
                if before is not None:
                    opened(before, f"the record of {address}")
                if record is None:
                    if before is None:
                        continue
                    dropped.append((address,))
                else:
                    after = body(record)
                    if before is not None and after == body_of(before):
                        continue
                    row = record_row(record, after, version, at, self._run)
                    content += term(address, row[1])
                    written.append(row)
                if before is not None:
                    content -= term(address, before[1])
                changed.append(address)
            self._connection.executemany(
                "INSERT OR REPLACE INTO accounts VALUES (?,?,?,?,?,?,?,?,?,?,?)", written
            )
            self._connection.executemany("DELETE FROM accounts WHERE address = ?", dropped)
        return (self._advance(meta, content, at) if changed else meta), changed

    def _advance(self, meta: Meta, content: int, at: str) -> Meta:
        """Add the next serial to the chain and return the meta row that names it."""
        serial, kept = meta.serial + 1, stored(content)
        tip = link(meta.tip, kept, serial)
        self._connection.execute(
            "INSERT INTO serials VALUES (?,?,?,?,?,?)", (serial, tip, meta.tip, kept, at, self._run)
        )
        return replace(meta, serial=serial, content=content, tip=tip)


def _demand_in_doubt(id: str, row: Row) -> None:
    if not row or row[7] not in IN_DOUBT:
        what = "is settled already" if row else "was never written down"
        raise StateError.of("state-no-intent", f"the intent {id} {what}")


def add_run(connection: sqlite3.Connection, run: Run) -> None:
    """Write a run; the same one again is fine. Raises StateError if its id is another run's."""
    row = run_row(run)
    before = connection.execute("SELECT * FROM runs WHERE id = ?", (run.id,)).fetchone()
    if before is None:
        connection.execute("INSERT INTO runs VALUES (?,?,?,?,?,?,?)", row)
    elif before != row:
        raise StateError.of("state-run-twice", f"the run {run.id} is recorded with other facts")


def next_seq(connection: sqlite3.Connection) -> int:
    """Return the number of the journal's next row."""
    (last,) = connection.execute("SELECT max(seq) FROM journal").fetchone()
    return (last or 0) + 1


def add_journal(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Append sealed rows to the journal."""
    connection.executemany("INSERT INTO journal VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", rows)


def told_row(seq: int, run: str, fence: int, address: str, shape: bytes, at: str) -> Row:
    """Return the sealed journal row of something that is done already; `shape` is its JSON."""
    cells = (seq, None, run, fence, address, shape, 0, str(Status.CONFIRMED), "", "", at, at)
    return (*cells, seal(*cells))
