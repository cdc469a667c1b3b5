"""The store over tables: what is the same in every database, sealed, summed and chained."""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final

from reconciler.accounts import Address
from reconciler.errors import StateError
from reconciler.state import (
    Entry,
    Holder,
    Identity,
    Intent,
    Lock,
    Record,
    Rewriter,
    Run,
    Status,
)
from reconciler.stores.chain import verify, walk
from reconciler.stores.cipher import Cipher, Forged
from reconciler.stores.held import Held, breaking, locked
from reconciler.stores.high_water import Mark
from reconciler.stores.keys import NO_KEYS, Keys
from reconciler.stores.lease import Lease, count, give_up, read_lock, read_locks, take
from reconciler.stores.refusals import not_locked
from reconciler.stores.rows import (
    JOURNAL,
    Broken,
    Meta,
    Row,
    chunks,
    demand_sum,
    moment,
    number,
    opened,
    term,
    terms,
    to_intent,
    to_record,
    to_run,
    told_row,
)
from reconciler.stores.table_writer import TableWriter, add_run, steady
from reconciler.stores.tables import Place, Tables, change_meta, open_meta
from reconciler.values import canonical

LEASE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class _Reading:
    """The tables to read from, as of one moment, and what opens their rows."""

    tables: Tables
    meta: Meta
    cipher: Cipher


class TableStore:
    """Implements `reconciler.state.Store` on the tables of a place, which need not be there yet.

    All reads but `held` see one moment: the first read's, until `refresh`, `lock`, a write of
    its own writer, or `close`. Every method raises StateError for what is not wholly this
    workspace's newest state. Use a store from one thread at a time. `lease` and `sleep` are in
    seconds.
    """

    def __init__(
        self,
        place: Place,
        *,
        keys: Keys = NO_KEYS,
        lease: float = LEASE_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._place = place
        self._keys = keys
        self._lease = lease
        self._sleep = sleep
        self._tables: Tables | None = None

    def identity(self) -> Identity:
        """Return workspace, lineage and serial (serial 0 and empty lineage: nothing written)."""
        with self._place.told():
            reading = self._reader()
            meta = reading.meta if reading else Meta(self._place.workspace)
            return Identity(meta.workspace, meta.lineage, meta.serial, meta.tip.hex(), meta.key)

    def index(self) -> Iterator[tuple[Address, bytes | None]]:
        """Yield address and `Record.index_digest` of every record, by address.

        The sum over all rows is compared after the last one, so only a scan to the end is
        verified; it raises StateError.
        """
        with self._place.told():
            if (reading := self._reader()) is None:
                return
            found = 0
            for chunk in reading.tables.index():
                found += terms(chunk)
                yield from _shown(chunk, reading.cipher)
            demand_sum(found, reading.meta.content, "the accounts")

    def records(self, addresses: Iterable[Address]) -> Iterator[Record]:
        """Yield the records of these addresses, in any order; unknown ones are left out."""
        with self._place.told():
            if (reading := self._reader()) is None:
                return
            for chunk in chunks(addresses):
                for row in reading.tables.accounts(chunk):
                    yield to_record(row, reading.cipher)

    def everything(self) -> Iterator[Record]:
        """Yield every record, sorted by address; verified as `index` is."""
        with self._place.told():
            if (reading := self._reader()) is None:
                return
            found = 0
            for row in reading.tables.every():
                found += term(row[0], row[1])
                yield to_record(row, reading.cipher)
            demand_sum(found, reading.meta.content, "the accounts")

    def unresolved(self) -> tuple[Intent, ...]:
        """Return the intents in doubt, oldest first; none can be missing unnoticed."""
        with self._place.told():
            if (reading := self._reader()) is None:
                return ()
            rows = reading.tables.in_doubt()
            found = sum(number(row[-1]) for row in rows)
            demand_sum(found, reading.meta.doubt, "the intents in doubt")
            return tuple(to_intent(opened(JOURNAL, row, reading.cipher)) for row in rows)

    def apps(self) -> Mapping[str, str]:
        """Return, per provider, the identity of the vendor app its accounts belong to."""
        with self._place.told():
            reading = self._reader()
            return reading.meta.apps if reading else {}

    def history(self, address: Address | None = None) -> Iterator[Entry]:
        """Yield what was done, oldest first, of one account or of all.

        The history of all is verified as a whole after its last line; it raises StateError.
        """
        with self._place.told():
            if (reading := self._reader()) is None:
                return
            found = 0
            runs: dict[str, Run] = {}
            for row in reading.tables.journal(address):
                found += number(row[-1])
                entry = _entry(reading, row, runs)
                if entry.status is not Status.INTENT:
                    yield entry
            if address is None:
                demand_sum(found, reading.meta.doubt + reading.meta.told, "the journal")

    def held(self) -> Lock | None:
        """Return the lock if somebody holds it now; of several the oldest."""
        return next(iter(self.locks()), None)

    def locks(self) -> tuple[Lock, ...]:
        """Return the locks that somebody holds now, oldest first; who has ended holds none."""
        with self._place.told():
            if (tables := self._place.open()) is None:
                return ()
            with closing(tables):
                found, now = read_locks(tables), tables.now()
        here = socket.gethostname()
        return tuple(held.told() for held in found if held.holds(now, here))

    def refresh(self) -> None:
        """Let the next read see the state as it is then."""
        if self._tables is not None:
            with self._place.told():
                if not self._tables.leave():
                    self._tables = None

    @contextmanager
    def lock(
        self, holder: Holder, timeout: float = 0.0, apps: Collection[str] | None = None
    ) -> Iterator[Rewriter]:
        """Take the lock or raise `Locked` naming its holder, after waiting `timeout` seconds.

        The lock of some apps and that of others are held side by side; that of the whole workspace
        is held alone. Several apps are locked all or none.
        Makes the tables if there are none yet, and brings them up to date. On leaving, the
        high-water mark is kept and the lock given up.
        """
        tables = self._writable()
        try:
            held = self._take(tables, holder, timeout, apps)
            self.refresh()
            lease = Lease(held, self._lease, self._place)
            writer = TableWriter(self._place, tables, lease, self.refresh, self._keys)
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
                tables.shrink()
        finally:
            tables.close()

    def force_unlock(self, id: str, run: Run) -> None:
        """Break the lock with this exact id, with a line of history; its holder can write no more.

        Raises `Locked` naming the holder if the lock has another id, StateError if there is none.
        """
        with self._place.told():
            if (there := self._place.open()) is None:
                raise not_locked(self._place.name)
            there.close()
            with closing(self._writable()) as tables, tables.transaction():
                found = read_locks(tables)
                if not found:
                    raise not_locked(self._place.name)
                held = next((one for one in found if one.id == id), None)
                if held is None:
                    raise locked(found[0])
                self._note_broken(tables, held, run)
        self.refresh()

    def chain(self) -> int:
        """Walk all pages, runs and serials anew; return how many serials there are."""
        with self._place.told():
            reading = self._reader()
            return walk(reading.tables, reading.meta, reading.cipher) if reading else 0

    def close(self) -> None:
        """Release files and connections."""
        if self._tables is not None:
            with self._place.told():
                self._tables.close()
            self._tables = None

    def _found(self) -> Tables | None:
        """Return verified tables to read from; None if nothing was ever recorded."""
        with self._place.told():
            if self._tables is None:
                self._tables = self._place.read(self._verify)
            return self._tables

    def _reader(self) -> _Reading | None:
        """Return the tables at their moment, which the first read makes; None if there are none."""
        with self._place.told():
            if (tables := self._found()) is None:
                return None
            tables.pin()
            return _Reading(tables, *open_meta(self._place, tables, self._keys))

    def _writable(self) -> Tables:
        """Return verified tables to write to, which exist by now."""
        with self._place.told():
            return self._place.write(self._verify)

    def _verify(self, tables: Tables, mark: Mark | None) -> None:
        verify(self._place, self._keys, tables, mark)

    def _note_broken(self, tables: Tables, held: Held, run: Run) -> None:
        """Write down that a lock was broken, and by whose run; free it under the next fence."""
        meta, cipher = open_meta(self._place, tables, self._keys)
        add_run(tables, run, cipher)
        seq, at = tables.last_seq() + 1, moment(tables.now())
        row = told_row(seq, run.id, held.fence, "", canonical(breaking(held)), at, cipher)
        tables.add_journal([row])
        after = replace(meta, told=meta.told + number(row[-1]))
        fence = read_lock(tables).fence
        change_meta(tables, meta, after, cipher, fence)
        give_up(tables, held)
        count(tables, fence + 1)

    def _take(
        self, tables: Tables, holder: Holder, timeout: float, apps: Collection[str] | None
    ) -> Held:
        waited, id = 0.0, str(uuid.uuid4())
        wanted = None if apps is None else tuple(sorted(set(apps)))
        if wanted == ():
            raise ValueError("a lock on no app locks nothing")
        while True:
            with self._place.told():
                held = steady(tables, lambda: take(tables, holder, self._lease, id, wanted))
            if held.id == id:
                return held
            if waited >= timeout:
                raise locked(held)
            pause = min(_POLL_SECONDS, timeout - waited)
            self._sleep(pause)
            waited += pause


def _shown(
    chunk: Sequence[tuple[Address, bytes | None]], cipher: Cipher
) -> Iterable[tuple[Address, bytes | None]]:
    """Return addresses with their digests as they were recorded."""
    addresses, looks = zip(*chunk, strict=True)
    try:
        return zip(addresses, cipher.unmask(looks), strict=True)
    except Forged:
        raise Broken("the accounts are not the ones that were recorded") from None


def _entry(reading: _Reading, row: Row, runs: dict[str, Run]) -> Entry:
    """Return the line of history of a journal row; `runs` are those already read."""
    _, _, run, _, address, action, _, status, code, message, started_at, ended_at = opened(
        JOURNAL, row, reading.cipher
    )
    if run not in runs:
        kept = reading.tables.run(run)
        if kept is None:
            raise Broken(f"the run {run} is missing")
        runs[run] = to_run(kept, reading.cipher)
    return Entry(
        ended_at or started_at,
        runs[run],
        Address(address),
        json.loads(action),
        Status(status),
        code,
        message,
    )
