"""The writer of a remote store: each write is durable remotely, and fenced, when it returns."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from reconciler.accounts import Address, split
from reconciler.errors import Locked, StateError
from reconciler.state import Intent, Record, Run, Scope, Settlement
from reconciler.stores.held import Held, lost
from reconciler.stores.refusals import demand_whole, demand_within, no_run
from reconciler.stores.remote_content import Change, Content
from reconciler.stores.remote_copy import Copy, Moved, Remote, commit, demand_no_steps, fold
from reconciler.stores.remote_writes import (
    Pen,
    begun,
    bound,
    erased,
    intended,
    rekeyed,
    saved,
    settled,
)
from reconciler.stores.rows import moment

Make = Callable[[Content], Change | None]


class RemoteWriter:
    """Implements `reconciler.state.Rewriter`; one thread writes, any may `check`.

    `hold` is told each new copy, `save_aside` makes the emergency file of a content that could
    not be saved and returns the error that names it. Heartbeats come four times a lease; a lease
    in the document is renewed by whatever is written, and by a write of its own only after half
    of it has passed in silence. `scope` are the providers whose accounts it may write.
    """

    def __init__(
        self,
        remote: Remote,
        copy: Copy,
        held: Held,
        seconds: float,
        hold: Callable[[Copy], None],
        save_aside: Callable[[Content, str, StateError], StateError],
        scope: Scope = None,
    ) -> None:
        self.scope = scope
        self._remote, self._copy, self._held, self._seconds = remote, copy, held, seconds
        self._hold, self._save_aside = hold, save_aside
        self._mutex = threading.Lock()
        self._run = ""
        self._lost = False
        self._failed: StateError | None = None
        self._until = time.monotonic() + seconds * 5 / 6
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lock-heartbeat", daemon=True)

    def start(self) -> None:
        """Start the heartbeat."""
        self._thread.start()

    def check(self) -> None:
        """Raise `Locked` if the lock is lost; the remote is asked only when the lease is old."""
        if not self._fresh():
            with self._mutex:
                if not self._fresh():
                    self._renew()

    def begin(self, run: Run, lineage: str = "") -> None:
        """Record the run that the following writes belong to; again with the same run is fine.

        A state that was never written goes on with `lineage`, else with a new one.
        """
        self._write(lambda content: begun(content, run, lineage), run.id)
        self._run = run.id

    def bind(self, apps: Mapping[str, str]) -> None:
        """Record which vendor app each provider speaks to. Raises StateError for another app."""
        demand_within(self.scope, apps)
        self._write(lambda content: bound(content, apps), self._run)

    def intend(self, intents: Sequence[Intent]) -> None:
        """Make the intents durable: they survive the loss of this machine when this returns."""
        self._write(lambda content: intended(content, intents, self._pen()), self._run)

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Record outcomes and the records they make, in one write, under one new serial."""
        make: Make = lambda content: settled(content, settlements, self._pen())  # noqa: E731
        self._write(make, self._run, results=True)

    def save(self, records: Sequence[Record], forget: Sequence[Address], operation: str) -> None:
        """Replace or drop records outside an apply, each change with a line of history."""
        make: Make = lambda content: saved(  # noqa: E731
            content, records, forget, operation, self._pen()
        )
        self._write(make, self._run, results=True)

    def erase(
        self,
        address: Address,
        record: Record | None,
        hide: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    ) -> int:
        """Rewrite record and journal of an account, and the whole document, so no step is left."""
        demand_whole(self.scope)
        count = 0

        def make(content: Content) -> Change:
            nonlocal count
            change, count = erased(content, address, record, hide, self._pen())
            return change

        self._write(make, self._run, results=True)
        self._demand_no_steps()
        return count

    def rekey(self) -> None:
        """Write the whole document as the keys say, and leave no step of before."""
        demand_whole(self.scope)
        key = self._copy.keys.first
        self._write(lambda content: rekeyed(content, key, self._pen()), self._run)
        self._demand_no_steps()

    def _demand_no_steps(self) -> None:
        with self._mutex:
            demand_no_steps(self._remote)

    def claim(self) -> None:
        """Write the fence down at once, as the lock was taken from a holder that may wake up."""
        with self._mutex:
            self._commit(Change())

    def release(self, keep_mark: Callable[[Content], None]) -> None:
        """Stop the heartbeat, write the whole document, and give up the lock if it is ours."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        with self._mutex:
            if self._lost:
                return
            try:
                if self._failed is None:
                    with suppress(Moved):
                        self._copy = fold(self._remote, self._copy, self._held)
                    keep_mark(self._copy.content)
            finally:
                # A lock that is left behind keeps everybody out until its lease ends.
                self._remote.free(self._held, self._held.fence)

    def _pen(self) -> Pen:
        return Pen(self._run, self._held.fence, moment(self._remote.now()))

    def _write(self, make: Make, run: str, *, results: bool = False) -> None:
        if not run:
            raise no_run()
        with self._mutex:
            if self._failed is not None:
                # What the remote holds is not known any more; the next run reads it.
                raise self._failed
            fresh = self._fresh()
            change = make(self._copy.content)
            if self.scope is not None and change is not None:
                lines = (json.loads(line)["address"] for line in change.journal.values())
                touched = (*change.accounts, *lines)
                demand_within(self.scope, (split(where)[0] for where in touched))
            try:
                # Where the lease stands in the document, what is written prolongs it.
                if not fresh and (self._remote.leases is not None or change is None):
                    self._renew()
                if change is not None:
                    self._commit(change)
            except StateError as problem:
                self._failed = problem
                if results and change is not None:
                    raise self._save_aside(
                        self._copy.content.after(change), run, problem
                    ) from problem
                raise

    def _commit(self, change: Change) -> None:
        """Send one change; the lease that it carries counts from before it was sent."""
        started = time.monotonic()
        held = self._held
        if self._remote.leases is None:
            held = replace(held, expires=float(self._remote.now() + self._seconds))
        try:
            self._copy = commit(self._remote, self._copy, change, held)
        except Moved:
            self._lost = True
            raise lost(self._held) from None
        self._hold(self._copy)
        if self._remote.leases is None:
            self._renewed(held, started)

    def _fresh(self) -> bool:
        """Tell whether the lease is surely held. Raises Locked if it is known to be lost."""
        now = self._remote.now()
        if self._lost or now >= self._held.expires:
            self._lost = True
            raise lost(self._held)
        return time.monotonic() < self._until and now < self._held.expires - self._seconds / 6

    def _renew(self) -> None:
        if (leases := self._remote.leases) is None:
            self._commit(Change())
            return
        started = time.monotonic()
        after = replace(self._held, expires=float(self._remote.now() + self._seconds))
        try:
            leases.renew(self._held, after)
        except Moved:
            self._lost = True
            raise lost(self._held) from None
        self._renewed(after, started)

    def _renewed(self, held: Held, started: float) -> None:
        self._held, self._until = held, started + self._seconds * 5 / 6

    def _beat(self) -> None:
        while not self._stop.wait(self._seconds / 4):
            # An outage is tried again; `check` sees that the lease is not fresh.
            with suppress(StateError), self._mutex:
                left = self._held.expires - self._remote.now()
                try:
                    late = self._remote.leases is not None or left < self._seconds / 2
                    if self._failed is None and late:
                        self._fresh()
                        self._renew()
                except Locked:
                    return
