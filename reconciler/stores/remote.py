"""Remote state: one document on a server that others can reach, with its lock beside it.

`http` and `object` differ in how bytes and locks travel (`Remote`); what a store promises is kept
here, once. A write is durable remotely when it returns: as a small step where the backend can
append one, else by the whole document. Nothing is written behind.
"""

from __future__ import annotations

import shlex
import socket
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from reconciler import snapshot
from reconciler.accounts import Address
from reconciler.errors import ConfigError, Locked, ReconcilerError, StateError
from reconciler.files import OWN, private_folder, write_private
from reconciler.state import Entry, Holder, Identity, Intent, Lock, Record, Rewriter, Run
from reconciler.stores.envelope import SNAPSHOT, closed
from reconciler.stores.held import Held, birth, locked
from reconciler.stores.high_water import Mark, beside, read_mark, write_mark
from reconciler.stores.keys import NO_KEYS, Keys
from reconciler.stores.refusals import not_locked
from reconciler.stores.remote_content import Content
from reconciler.stores.remote_copy import (
    LEASE_SECONDS,
    MARK,
    NEVER,
    Copy,
    Moved,
    Remote,
    commit,
    load,
)
from reconciler.stores.remote_writer import RemoteWriter
from reconciler.stores.remote_writes import broken
from reconciler.stores.rows import moment
from reconciler.values import digest

_POLL_SECONDS: Final = 1.0
_LONGEST_POLL_SECONDS: Final = 16.0
_TRIES: Final = 5


class RemoteStore:
    """Implements `reconciler.state.Store` on a remote; nothing is kept on this machine but a mark.

    All reads but `held` see one moment: the first read's, until `refresh`, `lock`, a write of its
    own writer, or `close`. Reading raises StateError for what is not wholly this workspace's
    newest state. Use a store from one thread at a time. `root` is the workspace's folder, where
    the high-water mark and the emergency file go; `lease` and `sleep` are in seconds.
    """

    def __init__(
        self,
        remote: Remote,
        root: Path,
        workspace: str,
        *,
        keys: Keys = NO_KEYS,
        lease: float = LEASE_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._remote = remote
        self._keys = keys
        self._root = root
        self._workspace = workspace
        # One mark per place, so that moving to another one is no rolling back.
        name = f"remote-{digest(remote.name.encode()).hex()[:12]}"
        self._place = root.absolute() / OWN / name
        self._lease = lease
        self._sleep = sleep
        self._copy: Copy | None = None

    def identity(self) -> Identity:
        """Return workspace, lineage and serial (serial 0 and empty lineage: nothing written)."""
        return self._content().identity()

    def index(self) -> Iterator[tuple[Address, bytes | None]]:
        """Yield address and `Record.index_digest` of every record, by address."""
        for record in self._content().everything():
            yield record.address, record.index_digest

    def records(self, addresses: Iterable[Address]) -> Iterator[Record]:
        """Yield the records of these addresses; unknown ones are left out."""
        return self._content().records(addresses)

    def everything(self) -> Iterator[Record]:
        """Yield every record, sorted by address."""
        return self._content().everything()

    def unresolved(self) -> tuple[Intent, ...]:
        """Return the intents in doubt, oldest first."""
        return self._content().unresolved()

    def apps(self) -> Mapping[str, str]:
        """Return, per provider, the identity of the vendor app its accounts belong to."""
        return dict(self._content().apps)

    def history(self, address: Address | None = None) -> Iterator[Entry]:
        """Yield what was done, oldest first, of one account or of all."""
        return self._content().history(address)

    def held(self) -> Lock | None:
        """Return the lock if somebody holds it now; a holder known to have ended does not."""
        held = self._remote.holder()
        if held is None:
            return None
        held = self._latest(held)
        return held.told() if held.holds(self._remote.now(), socket.gethostname()) else None

    def locks(self) -> tuple[Lock, ...]:
        """Return the lock if somebody holds it now; there is but one."""
        held = self.held()
        return () if held is None else (held,)

    def refresh(self) -> None:
        """Let the next read see the state as it is then."""
        self._copy = None

    @contextmanager
    def lock(
        self, holder: Holder, timeout: float = 0.0, apps: Collection[str] | None = None
    ) -> Iterator[Rewriter]:
        """Take the lock or raise `Locked` naming its holder, after waiting `timeout` seconds.

        It is the whole workspace's whatever `apps` says, as the document is kept as a whole; but
        the writer is theirs.
        """
        held, taken_over = self._take(holder, timeout)
        try:
            copy = self._copy = self._load_to_write()
            if not copy.content.revision:
                self._remote.prove()
            if held.fence <= copy.content.fence:
                held = replace(held, fence=copy.content.fence + 1)
        except BaseException:
            with suppress(StateError):
                self._remote.free(held, held.fence)
            raise
        writer = RemoteWriter(
            self._remote, copy, held, self._lease, self._hold, self._save_aside, apps
        )
        try:
            if taken_over:
                writer.claim()
            writer.start()
            yield writer
        except BaseException:
            # What went wrong first is what the user must hear.
            with suppress(StateError):
                writer.release(self._keep_mark)
            raise
        else:
            writer.release(self._keep_mark)
        finally:
            self.refresh()

    def force_unlock(self, id: str, run: Run) -> None:
        """Break the lock with this exact id, with a line of history; its holder can write no more.

        Raises `Locked` naming the holder if the lock has another id, StateError if there is none.
        """
        for _ in range(_TRIES):
            held = self._remote.holder()
            if held is None:
                break
            held = self._latest(held)
            if held.id != id:
                raise _locked(held)
            copy = self._load_to_write()
            change = broken(copy.content, held, run, moment(self._remote.now()))
            # The new fence first, and under the broken lock: its holder may be writing just now.
            with suppress(Moved):
                commit(self._remote, copy, change, held)
                self._remote.free(held, change.fence)
                self.refresh()
                return
        raise not_locked(self._remote.name)

    def chain(self) -> int:
        """Read the document anew; 0, as it names the one before it and keeps none of them."""
        self.refresh()
        self._content()
        return 0

    def close(self) -> None:
        """Release connections."""
        self.refresh()
        self._remote.close()

    def _content(self) -> Content:
        if self._copy is None:
            self._copy = self._load()
        return self._copy.content

    def _hold(self, copy: Copy) -> None:
        self._copy = copy

    def _load(self) -> Copy:
        """Read the remote, and refuse what is older than was seen from here already."""
        mark = read_mark(self._place)
        copy = load(self._remote, self._workspace, self._keys)
        if mark is not None:
            self._check_mark(copy.content, mark)
        return copy

    def _load_to_write(self) -> Copy:
        """Read the remote; what nobody ever wrote there is written under the first key."""
        copy = self._load()
        if copy.content.revision:
            return copy
        return replace(copy, content=replace(copy.content, key=self._keys.first))

    def _check_mark(self, content: Content, mark: Mark) -> None:
        if not content.revision:
            why = f"nothing is stored there, but serial {mark.serial} was already seen from here"
        elif content.lineage != mark.lineage:
            why = f"it has lineage {content.lineage or '(none)'}, but {mark.lineage} was seen last"
        elif content.revision < mark.serial:
            why = f"it is at serial {content.revision}, but {mark.serial} was already seen"
        elif content.revision == mark.serial and content.seal != mark.digest.hex():
            why = f"its serial {mark.serial} is not the one that was seen"
        else:
            return
        raise StateError.of(
            "state-rolled-back" if content.revision else "state-missing",
            f"{self._remote.name}: the state was rolled back: {why}",
            hint=f"Put the newest version back; or, to go on from what is there, delete"
            f" {beside(self._place)}.",
        )

    def _keep_mark(self, content: Content) -> None:
        mark = Mark(content.lineage, content.revision, bytes.fromhex(content.seal))
        if not content.lineage or mark == read_mark(self._place):
            return
        try:
            private_folder(self._place.parent)
            write_mark(self._place, mark)
        except OSError as error:
            raise StateError.of(
                "state-mark-unwritable",
                f"{beside(self._place)}: the high-water mark cannot be kept: {error.strerror}",
                hint="The state itself is saved; repair the cause.",
            ) from error

    def _take(self, holder: Holder, timeout: float) -> tuple[Held, bool]:
        """Return the lock once it is ours, and whether it was taken from somebody."""
        waited, freed, patience = 0.0, 0, _POLL_SECONDS
        while True:
            now = float(self._remote.now())
            mine = Held(
                f"{MARK}{uuid.uuid4()}",
                holder.name,
                holder.host,
                holder.pid,
                birth(holder.pid),
                holder.operation,
                now,
                now + self._lease,
            )
            held = self._remote.take(mine)
            if held.id == mine.id:
                return held, freed > 0
            held = self._latest(held)
            if freed < _TRIES and not held.holds(self._remote.now(), holder.host):
                freed += 1
                self._remote.free(held, held.fence)
                continue
            if waited >= timeout:
                raise _locked(held)
            left = max(held.expires - self._remote.now(), _POLL_SECONDS)
            pause = min(patience, left, timeout - waited)
            self._sleep(pause)
            waited, patience = waited + pause, min(2 * patience, _LONGEST_POLL_SECONDS)

    def _latest(self, held: Held) -> Held:
        """Return the lock with the lease that its holder last wrote, where the lock has none.

        Raises StateError where that cannot be read: a living holder must not be taken for gone.
        """
        if self._remote.leases is not None:
            return held
        written = load(self._remote, self._workspace, self._keys).content.lock
        return written if written.id == held.id else held

    def _save_aside(self, content: Content, run: str, problem: StateError) -> StateError:
        """Write what could not be saved to a file; return the error that says what to do with it.

        It is a snapshot: it holds what `state pull` prints, encrypted as the state is; no secrets.
        """
        path = self._root.absolute() / OWN / f"errored-{run}.json"
        kept = snapshot.Snapshot(
            content.identity(),
            {record.address: record for record in content.everything()},
            dict(content.apps),
        )
        try:
            private_folder(path.parent)
            write_private(
                path, closed(snapshot.encode(kept), SNAPSHOT, kept.who, self._keys, str(path))
            )
        except (OSError, ConfigError):
            return problem
        first, *_ = problem.diagnostics
        command = f"reconciler --chdir {shlex.quote(str(self._root.absolute()))} state push"
        return StateError(
            first._replace(
                detail=f"{first.detail} What could not be saved is in {path}.".strip(),
                hint=f"Once the state can be reached again: {command} {shlex.quote(str(path))}"
                " --auto-approve",
            )
        )


def _locked(held: Held) -> ReconcilerError:
    """Return the error for whoever wants the lock, with as much as its server tells."""
    if held.host and held.expires < NEVER:
        return locked(held)
    told = held.told()
    ends = (
        f"expires_at {told.expires_at}"
        if held.expires < NEVER
        else "without a lease, so it does not end by itself"
    )
    return Locked.of(
        "state-locked",
        f"the state is locked by {held.name or 'somebody'}; the server does not tell more of it",
        detail=f"Lock {told.id or 'without an id'}, acquired_at {told.acquired_at}, {ends}.",
        hint=f"Wait with --lock-timeout; or, sure that this run has ended, run `reconciler"
        f" force-unlock {held.id}`.",
    )
