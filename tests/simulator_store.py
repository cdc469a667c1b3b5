"""A state store in memory that outlives processes: one lock with fence and lease, and a journal."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from reconciler.errors import Locked, StateError
from reconciler.state import IN_DOUBT, Entry, Holder, Identity, Lock, Record
from reconciler.values import canonical, to_text

LEASE = 60.0
SPARE = LEASE / 6


class Killed(BaseException):
    """The process dies here."""


@dataclass(slots=True)
class Line:
    """One intent as the journal keeps it."""

    intent: object
    run: str
    fence: int
    status: object
    at: str
    message: str = ""


@dataclass(slots=True)
class Book:
    """What is on disk. `zombies` counts what was written under a fence that was not the newest."""

    lineage: str = ""
    serial: int = 0
    fence: int = 0
    holder: str = ""
    expires: float = 0.0
    rows: dict = field(default_factory=dict)
    journal: dict = field(default_factory=dict)
    bound: dict = field(default_factory=dict)
    runs: dict = field(default_factory=dict)
    zombies: int = 0

    def copy(self):
        """Return a backup; what is in it never changes, but for the lines of the journal."""
        lines = {id: replace(line) for id, line in self.journal.items()}
        return replace(
            self,
            rows=dict(self.rows),
            journal=lines,
            bound=dict(self.bound),
            runs=dict(self.runs),
            holder="",
        )


class Keeper:
    """One process's view of a book; implements `reconciler.state.Store`.

    `step(name)` is called before, inside and after every transaction: it may kill the process,
    or raise the error of a full disk before anything is written.
    """

    Writes = None  # set below; mutants put another in its place

    def __init__(self, book, time, step, name):
        self.book, self.time, self.step, self.name = book, time, step, name
        self.gone = lambda holder: False

    def identity(self):
        return Identity("prod-im", self.book.lineage, self.book.serial)

    def index(self):
        for address in sorted(self.book.rows):
            yield address, self.book.rows[address][1]

    def records(self, addresses):
        rows = self.book.rows
        for address in addresses:
            if address in rows:
                yield rows[address][0]

    def everything(self):
        for address in sorted(self.book.rows):
            yield self.book.rows[address][0]

    def unresolved(self):
        return tuple(
            replace(line.intent, status=line.status, at=line.at)
            for line in self.book.journal.values()
            if line.status in IN_DOUBT
        )

    def apps(self):
        return dict(self.book.bound)

    def history(self, address=None):
        for line in self.book.journal.values():
            if address in (None, line.intent.address):
                one = line.intent
                run = self.book.runs[line.run]
                yield Entry(line.at, run, one.address, one.action, line.status, "", line.message)

    def held(self):
        book = self.book
        if not book.holder or self.time.now >= book.expires or self.gone(book.holder):
            return None
        return Lock(book.holder, Holder(book.holder, "sim", 1, "apply"), "", "", book.fence)

    @contextmanager
    def lock(self, holder, timeout=0.0, apps=None):
        self.step("lock")
        if other := self.held():
            raise Locked.of("state-locked", f"the state is locked by {other.id}")
        book = self.book
        book.fence += 1
        book.holder, book.expires = self.name, self.time.now + LEASE
        writer = self.Writes(self, book.fence)
        try:
            self.step("locked")
            yield writer
        except Killed:
            raise
        except BaseException:
            writer.release()
            raise
        else:
            writer.release()

    def refresh(self):
        """Every read sees the newest state here."""

    def force_unlock(self, id, run):
        self.book.holder = ""
        self.book.fence += 1

    def close(self):
        """Nothing is open."""


class Writes:
    """The writer of one process: nothing is written unless its fence is the newest."""

    scope = None

    def __init__(self, keeper, fence):
        self.keeper, self.book, self.fence, self.run = keeper, keeper.book, fence, None

    def fenced(self):
        """Raise Locked unless the lock is still this process's own."""
        book = self.book
        if (book.fence, book.holder) != (self.fence, self.keeper.name):
            raise Locked.of("state-lock-lost", "this run has lost the state lock")

    def check(self):
        if self.keeper.time.now >= self.book.expires - SPARE or self.book.fence != self.fence:
            self.fenced()
            self.book.expires = self.keeper.time.now + LEASE

    @contextmanager
    def write(self, name):
        """Commit what is gathered in the block, all of it or nothing."""
        step = self.keeper.step
        step(f"before {name}")
        self.fenced()
        commit = []
        yield commit
        step(f"inside {name}")
        self.book.zombies += self.book.fence != self.fence
        for change in commit:
            change()
        step(f"after {name}")

    def begin(self, run, lineage=""):
        with self.write("begin") as commit:

            def begun():
                self.run = run
                self.book.runs[run.id] = run
                self.book.lineage = self.book.lineage or lineage or "lineage-1"

            commit.append(begun)

    def bind(self, apps):
        with self.write("bind") as commit:
            commit.append(lambda: self.book.bound.update(apps))

    def intend(self, intents):
        with self.write("intend") as commit:
            journal = self.book.journal
            at = to_text(datetime.fromtimestamp(self.keeper.time.now, UTC))
            lines = {one.id: Line(one, self.run.id, self.fence, one.status, at) for one in intents}
            if not lines.keys().isdisjoint(journal):
                raise StateError.of("state-intent-twice", "an intent is written down once")
            commit.append(lambda: journal.update(lines))

    def settle(self, settlements):
        with self.write("settle") as commit:
            changes = {}
            for one in settlements:
                line = self.book.journal.get(one.intent)
                if line is None or line.status not in IN_DOUBT:
                    raise StateError.of("state-no-intent", "an intent is settled once")
                commit.append(lambda line=line, one=one: _end(line, one))
                if one.record is not None:
                    changes[one.record.address] = one.record
                if one.forget is not None:
                    changes[one.forget] = None
            commit.append(lambda: self.put(changes))

    def save(self, records, forget, operation):
        with self.write("save") as commit:
            changes = dict.fromkeys(forget) | {one.address: one for one in records}
            commit.append(lambda: self.put(changes))

    def put(self, changes):
        """Replace records that differ, under one new serial."""
        rows, serial, real = self.book.rows, self.book.serial + 1, False
        for address, one in changes.items():
            old = rows.get(address)
            if one is None:
                real |= rows.pop(address, None) is not None
                continue
            bare = canonical(replace(one, version=0, run="", updated_at="").to_json())
            if old is None or old[2] != bare:
                real = True
                kept = Record.from_json(json.loads(bare))
                kept = replace(kept, version=serial, run=self.run.id)
                rows[address] = kept, kept.index_digest, bare
        self.book.serial += real

    def release(self):
        self.keeper.step("before unlock")
        if (self.book.fence, self.book.holder) == (self.fence, self.keeper.name):
            self.book.holder = ""
        self.keeper.step("after unlock")


def _end(line, settlement):
    line.status, line.message = settlement.status, settlement.message


Keeper.Writes = Writes
