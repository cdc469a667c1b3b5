"""State in memory: the rules of a remote document, kept nowhere; for rehearsals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from reconciler.accounts import Address
from reconciler.state import Entry, Identity, Intent, Lock, Record, Run, Scope, Settlement
from reconciler.stores.remote_content import Change, Content
from reconciler.stores.remote_writes import Pen, begun, bound, intended, saved, settled
from reconciler.stores.rows import moment


class MemoryState:
    """A `Reader` that is its own writer: nobody else knows of it, so no lock is to be lost.

    `clock` is in seconds since 1970.
    """

    def __init__(self, workspace: str, clock: Callable[[], float]) -> None:
        self._content = Content(workspace)
        self._clock = clock
        self._run = ""

    def identity(self) -> Identity:
        """Return workspace, lineage and serial."""
        return self._content.identity()

    def index(self) -> Iterator[tuple[Address, bytes | None]]:
        """Yield address and `Record.index_digest` of every record, by address."""
        return ((record.address, record.index_digest) for record in self._content.everything())

    def records(self, addresses: Iterable[Address]) -> Iterator[Record]:
        """Yield the records of these addresses; unknown ones are left out."""
        return self._content.records(addresses)

    def everything(self) -> Iterator[Record]:
        """Yield every record, sorted by address."""
        return self._content.everything()

    def unresolved(self) -> tuple[Intent, ...]:
        """Return the intents in doubt, oldest first."""
        return self._content.unresolved()

    def apps(self) -> Mapping[str, str]:
        """Return, per provider, the identity of the vendor app its accounts belong to."""
        return self._content.apps

    def history(self, address: Address | None = None) -> Iterator[Entry]:
        """Yield what was done, oldest first, of one account or of all."""
        return self._content.history(address)

    def held(self) -> Lock | None:
        """Return nothing: there is no lock."""
        return None

    @property
    def scope(self) -> Scope:
        """Nobody else writes, so it may write all there is."""
        return None

    def begin(self, run: Run, lineage: str = "") -> None:
        """Record the run that the following writes belong to."""
        self._put(begun(self._content, run, lineage))
        self._run = run.id

    def bind(self, apps: Mapping[str, str]) -> None:
        """Record which vendor app each provider speaks to."""
        self._put(bound(self._content, apps))

    def intend(self, intents: Sequence[Intent]) -> None:
        """Write the intents down."""
        self._put(intended(self._content, intents, self._pen()))

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Record outcomes and the records they make, under one new serial."""
        self._put(settled(self._content, settlements, self._pen()))

    def save(self, records: Sequence[Record], forget: Sequence[Address], operation: str) -> None:
        """Replace or drop records outside an apply, with history."""
        self._put(saved(self._content, records, forget, operation, self._pen()))

    def check(self) -> None:
        """Do nothing: the lock is never lost."""

    def _pen(self) -> Pen:
        return Pen(self._run, 1, moment(self._clock()))

    def _put(self, change: Change | None) -> None:
        if change is not None:
            self._content = self._content.after(change)
