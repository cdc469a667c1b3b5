"""The writer over tables: every change is one transaction under the lock's fence."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias, TypeVar

from reconciler.accounts import Address, split
from reconciler.state import IN_DOUBT, Intent, Record, Run, Scope, Settlement, Status
from reconciler.stores.chain import Hide, rewrite
from reconciler.stores.cipher import CLEAR, Cipher
from reconciler.stores.high_water import read_mark, write_mark
from reconciler.stores.keys import Keys
from reconciler.stores.lease import Lease, give_up
from reconciler.stores.reencrypt import reencrypt
from reconciler.stores.refusals import (
    demand_same_apps,
    demand_whole,
    demand_within,
    no_intent,
    no_run,
    run_twice,
)
from reconciler.stores.rows import (
    ACCOUNT,
    JOURNAL,
    MESSAGE_LIMIT,
    Meta,
    Row,
    body,
    body_of,
    chunks,
    link,
    moment,
    number,
    opened,
    record_row,
    run_row,
    sealed,
    stored,
    term,
    to_run,
    told_row,
)
from reconciler.stores.tables import Lost, Place, Tables, change_meta, mark_of, open_meta, read_meta
from reconciler.values import canonical, digest

_TRIES: Final = 5
_T = TypeVar("_T")
Pending: TypeAlias = Mapping[Address, Record | None]
Change: TypeAlias = Callable[[Meta, str], Meta]


class TableWriter:
    """Implements `reconciler.state.Rewriter` on one connection; `moved` is called after a change.

    Where the connection ends, it is made anew, lock and fence are verified, and it is found out
    whether the last commit took effect. Use it from one thread; only `check` may be called from
    any.
    """

    def __init__(
        self, place: Place, tables: Tables, lease: Lease, moved: Callable[[], None], keys: Keys
    ) -> None:
        self._place = place
        self._keys = keys
        self._cipher: Cipher = CLEAR  # of the state, as of each write
        self._tables = tables
        self._lease = lease
        self._moved = moved
        self._mutex = threading.Lock()
        self._run = ""

    @property
    def scope(self) -> Scope:
        """The providers whose accounts it may write; None is all there are."""
        return self._lease.scope

    def check(self) -> None:
        """Raise `Locked` if the lock is lost; the store is asked where the heartbeat is late."""
        if not self._lease.check():
            with self._mutex, self._place.told():
                steady(self._tables, lambda: self._lease.renew(self._tables))

    def begin(self, run: Run, lineage: str = "") -> None:
        """Record the run that the following writes belong to; again with the same run is fine.

        A state that was never written goes on with `lineage`, else with a new one.
        """

        def change(meta: Meta, _: str) -> Meta:
            add_run(self._tables, run, self._cipher)
            return meta

        self._write(run.id, change, lineage)
        self._run = run.id

    def bind(self, apps: Mapping[str, str]) -> None:
        """Record which vendor app each provider speaks to.

        Raises StateError, and writes nothing, if a provider is recorded with another app.
        """
        demand_within(self.scope, apps)

        def change(meta: Meta, _: str) -> Meta:
            demand_same_apps(meta.apps, apps)
            return replace(meta, apps={**meta.apps, **apps})

        self._write(self._run, change)

    def intend(self, intents: Sequence[Intent]) -> None:
        """Make the intents durable: they survive a power loss when this returns."""
        demand_within(self.scope, (split(intent.address)[0] for intent in intents))

        def change(meta: Meta, at: str) -> Meta:
            rows = [
                self._intent_row(seq, intent, at)
                for seq, intent in enumerate(intents, self._tables.last_seq() + 1)
            ]
            self._tables.add_journal(rows)
            return replace(meta, doubt=meta.doubt + sum(number(row[-1]) for row in rows))

        self._write(self._run, change)

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Record outcomes and the records they make, in one transaction, under one new serial.

        Raises StateError for an intent that is unknown or settled already.
        """

        def change(meta: Meta, at: str) -> Meta:
            rows = self._intents(settlements)
            doubt, done = meta.doubt, meta.told
            pending: dict[Address, Record | None] = {}
            for settlement in settlements:
                before = rows.get(settlement.intent, ())
                after = rows[settlement.intent] = self._settled(settlement, before, at)
                doubt -= number(before[-1])
                if settlement.status in IN_DOUBT:
                    doubt += number(after[-1])
                else:
                    done += number(after[-1])
                if settlement.record is not None:
                    pending[settlement.record.address] = settlement.record
                if settlement.forget is not None:
                    pending[settlement.forget] = None
            demand_within(self.scope, (split(where)[0] for where in pending))
            demand_within(self.scope, (split(row[4])[0] for row in rows.values()))
            self._tables.change_journal(rows.values())
            return self._put(replace(meta, doubt=doubt, told=done), pending, at)[0]

        self._write(self._run, change)

    def save(self, records: Sequence[Record], forget: Sequence[Address], operation: str) -> None:
        """Replace or drop records outside an apply, each change with a line of history.

        A record equal to the stored one (but for version, time and run) changes nothing.
        """
        pending: dict[Address, Record | None] = dict.fromkeys(forget)
        pending.update((record.address, record) for record in records)
        demand_within(self.scope, (split(where)[0] for where in pending))

        def change(meta: Meta, at: str) -> Meta:
            meta, changed = self._put(meta, pending, at)
            if not changed:
                return meta
            kept = {"action": operation, "version": meta.serial}
            shapes = canonical(kept), canonical({**kept, "forgotten": True})
            return self._note(
                meta, [(address, shapes[pending[address] is None]) for address in changed], at
            )

        self._write(self._run, change)

    def erase(self, address: Address, record: Record | None, hide: Hide) -> int:
        """Rewrite record and journal of an account, and leave none of what stood there.

        Raises StateError while an action is in doubt, and where it is still being read.
        """
        demand_whole(self.scope)
        lines = 0

        def change(meta: Meta, at: str) -> Meta:
            nonlocal lines
            meta, lines = rewrite(self._tables, meta, self._cipher, address, hide)
            if record is not None:
                meta, _ = self._put(meta, {address: record}, at)
            shape = canonical({"action": "erase", "version": meta.serial})
            return self._note(meta, [(address, shape)], at)

        with self._place.told(), self._tables.erasing():
            self._write(self._run, change)
        return lines

    def rekey(self) -> None:
        """Write every row anew as the keys say, in one transaction, and leave no old one behind."""
        demand_whole(self.scope)

        def change(meta: Meta, at: str) -> Meta:
            before, after = self._cipher, self._keys.writing(meta.workspace, meta.lineage)
            if after.id == before.id:
                return meta
            self._cipher = after
            meta = reencrypt(self._tables, meta, before, after)
            meta = self._advance(meta, meta.content, at)
            shape = {"action": "state rekey", "before": before.id, "after": after.id}
            return self._note(meta, [(Address(""), canonical(shape))], at)

        with self._place.told(), self._tables.erasing():
            self._write(self._run, change)

    def release(self) -> None:
        """Stop the heartbeat, keep the high-water mark and give up the lock if it is still ours.

        Raises StateError if that could not be written; the lease then ends by itself.
        """
        self._lease.stop()
        with self._place.told(), self._mutex:
            if failed := steady(self._tables, self._leave):
                raise failed

    def _leave(self) -> OSError | None:
        """Keep the mark and clear the lock; return why the mark could not be kept."""
        failed: OSError | None = None
        with self._tables.transaction():
            if (found := self._lease.found(self._tables)) is not None:
                # While nobody else can write, so that the mark never goes back.
                try:
                    self._keep_mark()
                except OSError as error:
                    failed = error
                give_up(self._tables, found.held)
        return failed

    def _keep_mark(self) -> None:
        meta = read_meta(self._tables)
        # A run that was killed before it could keep its mark left this to the next.
        if meta.lineage and mark_of(meta) != read_mark(self._place.beside):
            write_mark(self._place.beside, mark_of(meta))

    def _keep_first_mark(self) -> None:
        with self._tables.transaction():
            self._keep_mark()

    def _took_effect(self, hoped: Row) -> bool:
        """Tell whether a commit whose answer was lost made this meta row; others wrote after it."""
        if self._tables.meta() == hoped:
            return True
        found = self._lease.found(self._tables)
        return found is not None and found.wrote == hoped[-2]

    def _write(self, run: str, change: Change, lineage: str = "") -> None:
        """Make a change under the fence: `change` is given the meta row and returns the next one.

        It may be called again where the connection ended before anything took effect.
        """
        if not run:
            raise no_run()
        lineage = lineage or str(uuid.uuid4())
        first = False
        hoped: Row | None = None

        def step() -> None:
            nonlocal first, hoped
            with self._tables.transaction():
                if hoped and self._took_effect(hoped):
                    return
                before, self._cipher = open_meta(self._place, self._tables, self._keys)
                mine = self._lease.demand(self._tables)
                first = not before.lineage
                meta = before
                if first:
                    self._cipher = self._keys.writing(meta.workspace, lineage)
                    tip = digest(lineage.encode())
                    meta = replace(meta, lineage=lineage, tip=tip, key=self._cipher.id)
                meta = change(meta, moment(self._tables.now()))
                change_meta(self._tables, before, meta, self._cipher, mine.fence)
                hoped = meta.row(self._cipher) if meta != before else None
                if hoped:
                    self._lease.note(self._tables, mine, hoped[-2])

        with self._mutex, self._place.told():
            self._tables.demand_same()
            self._lease.check()
            steady(self._tables, step)
            self._moved()
            if first:
                steady(self._tables, self._keep_first_mark)

    def _intent_row(self, seq: int, intent: Intent, at: str) -> Row:
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
        return sealed(JOURNAL, cells, self._cipher)

    def _settled(self, settlement: Settlement, before: Row, at: str) -> Row:
        """Return the journal row of an intent with its outcome. Raises StateError if it has one."""
        if not before or before[7] not in IN_DOUBT:
            raise no_intent(settlement.intent, known=bool(before))
        intent = opened(JOURNAL, before, self._cipher)
        cells = (
            *intent[:7],
            str(settlement.status),
            settlement.code,
            settlement.message[:MESSAGE_LIMIT],
            intent[10],
            at,
        )
        return sealed(JOURNAL, cells, self._cipher)

    def _note(self, meta: Meta, lines: Sequence[tuple[Address, bytes]], at: str) -> Meta:
        """Append what is done already to the journal; return the meta row that this makes."""
        rows = [
            told_row(seq, self._run, self._lease.fence, address, shape, at, self._cipher)
            for seq, (address, shape) in enumerate(lines, self._tables.last_seq() + 1)
        ]
        self._tables.add_journal(rows)
        return replace(meta, told=meta.told + sum(number(row[-1]) for row in rows))

    def _intents(self, settlements: Sequence[Settlement]) -> dict[str, Row]:
        """Return the journal rows of the settlements' intents, by id, where there are any."""
        return {
            row[1]: row
            for chunk in chunks(settlement.intent for settlement in settlements)
            for row in self._tables.intents(chunk)
        }

    def _put(self, meta: Meta, pending: Pending, at: str) -> tuple[Meta, list[Address]]:
        """Write the records that differ; return the meta row they make and what changed."""
        version = meta.serial + 1
        content = meta.content
        changed: list[Address] = []
        for chunk in chunks(pending):
            rows: dict[str, Row] = {row[0]: row for row in self._tables.accounts(chunk)}
            written: list[Row] = []
            dropped: list[Address] = []
            for address in chunk:
                record, before = pending[address], rows.get(address)
                kept = None if before is None else opened(ACCOUNT, before, self._cipher)
                if record is None:
                    if before is None:
                        continue
                    dropped.append(address)
                else:
                    after = body(record)
                    if kept is not None and after == body_of(kept):
                        continue
                    row = record_row(record, after, version, at, self._run, self._cipher)
                    content += term(address, row[1])
                    written.append(row)
                if before is not None:
                    content -= term(address, before[1])
                changed.append(address)
            self._tables.put_accounts(written, dropped)
        return (self._advance(meta, content, at) if changed else meta), changed

    def _advance(self, meta: Meta, content: int, at: str) -> Meta:
        """Add the next serial to the chain and return the meta row that names it."""
        serial, kept = meta.serial + 1, stored(content)
        tip = link(meta.tip, kept, serial)
        self._tables.add_serial((serial, tip, meta.tip, kept, at, self._run))
        return replace(meta, serial=serial, content=content, tip=tip)


def steady(tables: Tables, step: Callable[[], _T]) -> _T:
    """Return what a step returns; where the connection ends in it, do it again on a new one."""
    for _ in range(_TRIES - 1):
        try:
            return step()
        except Lost:
            tables.reopen()
    return step()


def add_run(tables: Tables, run: Run, cipher: Cipher) -> None:
    """Write a run; the same one again is fine. Raises StateError if its id is another run's."""
    before = tables.run(run.id)
    if before is None:
        tables.add_run(run_row(run, cipher))
    elif to_run(before, cipher) != run:
        raise run_twice(run.id)
