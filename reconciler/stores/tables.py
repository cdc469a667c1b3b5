"""Tables: the wall between what a store keeps, which is the same everywhere, and a database.

Above it `table_store` and `table_writer` encrypt, seal, sum, chain, fence and journal; beneath it a
database reads and writes rows. Rows come and go without the key that tells one workspace or the
only row of a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TypeAlias

from reconciler.accounts import Address
from reconciler.stores.cipher import Cipher, same
from reconciler.stores.high_water import Mark
from reconciler.stores.keys import Keys
from reconciler.stores.rows import Broken, Meta, Row

Check: TypeAlias = Callable[["Tables", Mark | None], None]
"""What looks whether tables hold what they should, given the high-water mark; raises if not."""


class Lost(Exception):
    """The connection ended; what was sent last may or may not have been carried out."""


class Tables(Protocol):
    """The rows of one workspace over one connection, for one thread at a time.

    Every method raises what the place's `told` turns into StateErrors, and `Lost`. What is yielded
    may be changed meanwhile.
    """

    def transaction(self) -> AbstractContextManager[None]:
        """Do what happens inside wholly or not at all, and alone: other writers wait."""
        ...

    def demand_same(self) -> None:
        """Raise Broken if what is there now is not what was opened."""
        ...

    def pin(self) -> None:
        """Let all reads see one moment, from the first of them until `leave`."""
        ...

    def leave(self) -> bool:
        """End that moment for the next read; False if these tables must not be asked again."""
        ...

    def reopen(self) -> None:
        """Connect again after `Lost`."""
        ...

    def close(self) -> None:
        """Release the connection."""
        ...

    def now(self) -> float:
        """Return seconds since 1970 by the store's clock."""
        ...

    def meta(self) -> Row | None:
        """Return the row that names the state."""
        ...

    def change_meta(self, row: Row, lineage: str, serial: int, fence: int) -> bool:
        """Replace that row if lineage, serial and the newest fence are these."""
        ...

    def lock(self) -> Row | None:
        """Return the row of the whole workspace's lock."""
        ...

    def put_lock(self, row: Row) -> None:
        """Replace the row of the lock."""
        ...

    def app_locks(self) -> Sequence[Row]:
        """Return the rows of the apps that are locked, by app; none before there was such a table.

        The first cell names the app.
        """
        ...

    def put_app_locks(self, rows: Sequence[Row]) -> None:
        """Add or replace rows of apps."""
        ...

    def drop_app_locks(self, id: str) -> None:
        """Drop the rows of the lock with this id."""
        ...

    def index(self) -> Iterator[Sequence[tuple[Address, bytes | None]]]:
        """Yield address and digest of every account, by address, in groups."""
        ...

    def every(self) -> Iterator[Row]:
        """Yield every account, by address."""
        ...

    def accounts(self, addresses: Sequence[Address]) -> Sequence[Row]:
        """Return the accounts with these addresses, in any order."""
        ...

    def put_accounts(self, rows: Sequence[Row], dropped: Sequence[Address]) -> None:
        """Add or replace accounts, and drop others."""
        ...

    def in_doubt(self) -> Sequence[Row]:
        """Return the journal's rows whose outcome is not known, oldest first."""
        ...

    def intents(self, ids: Sequence[str]) -> Sequence[Row]:
        """Return the journal's rows with these ids, in any order."""
        ...

    def journal(self, address: Address | None = None) -> Iterator[Row]:
        """Yield the journal, oldest first, of one account or of all."""
        ...

    def last_seq(self) -> int:
        """Return the number of the journal's last row, 0 if it is empty."""
        ...

    def add_journal(self, rows: Sequence[Row]) -> None:
        """Append rows to the journal."""
        ...

    def change_journal(self, rows: Iterable[Row]) -> None:
        """Replace what may change of rows: from the action to the seal, but for the beginning."""
        ...

    def run(self, id: str) -> Row | None:
        """Return the run with this id."""
        ...

    def runs(self) -> Iterator[Row]:
        """Yield every run."""
        ...

    def add_run(self, row: Row) -> None:
        """Add a run."""
        ...

    def change_runs(self, rows: Iterable[Row]) -> None:
        """Replace runs."""
        ...

    def serial(self, serial: int) -> Row | None:
        """Return one link of the chain."""
        ...

    def serials(self) -> Iterator[Row]:
        """Yield the chain, oldest first."""
        ...

    def add_serial(self, row: Row) -> None:
        """Add a link to the chain."""
        ...

    def erasing(self) -> AbstractContextManager[None]:
        """Leave nothing behind of what the writes inside replace, as far as the database can."""
        ...

    def walk(self) -> None:
        """Raise Broken if the database finds its own pages damaged, where it can be asked."""
        ...

    def shrink(self) -> None:
        """Give back what a writer needed, if that can be had for little."""
        ...


class Place(Protocol):
    """Where the tables of one workspace are; `name` is how messages call it.

    The high-water mark is kept beside `beside`. `clock` tells seconds since 1970 without asking
    anybody, close to what `Tables.now` tells.
    """

    @property
    def name(self) -> str: ...
    @property
    def workspace(self) -> str: ...
    @property
    def beside(self) -> Path: ...
    @property
    def clock(self) -> Callable[[], float]: ...

    def told(self) -> AbstractContextManager[None]:
        """Turn what happens inside into StateErrors."""
        ...

    def open(self) -> Tables | None:
        """Return tables to look at the lock with, not verified; None if there are none."""
        ...

    def read(self, check: Check) -> Tables | None:
        """Return checked tables to read from; None if nothing was ever recorded."""
        ...

    def write(self, check: Check) -> Tables:
        """Return checked tables to write to, made or brought up to date where needed."""
        ...

    def beat(self) -> AbstractContextManager[Tables]:
        """Give tables for one heartbeat, of a connection that no writer uses."""
        ...

    def rest(self) -> None:
        """Release what heartbeats kept open."""
        ...


def read_meta(tables: Tables) -> Meta:
    """Return the meta row, unproven. Raises Broken where it is missing or not as it was sealed."""
    return Meta.of(_named(tables))


def open_meta(place: Place, tables: Tables, keys: Keys) -> tuple[Meta, Cipher]:
    """Return the meta row and what the state is encrypted with.

    Raises Broken where the row was not written with the key that it names, StateError where the
    workspace does not have that key.
    """
    meta = Meta.of(row := _named(tables))
    cipher = keys.reading(meta.key, meta.workspace, meta.lineage, place.name)
    *_, whole, proof = row
    if not same(cipher.prove(whole), proof):
        raise Broken(f"the row that names the state was not written with the key {meta.key}")
    return meta, cipher


def _named(tables: Tables) -> Row:
    row = tables.meta()
    if row is None:
        raise Broken("the row that names the state is missing")
    return row


def change_meta(tables: Tables, before: Meta, after: Meta, cipher: Cipher, fence: int) -> None:
    """Replace the meta row, inside a transaction. Raises Broken if it is not the one before."""
    if after != before and not tables.change_meta(
        after.row(cipher), before.lineage, before.serial, fence
    ):
        raise Broken("the row that names the state was changed by somebody without the lock")


def mark_of(meta: Meta) -> Mark:
    """Return the high-water mark of a state."""
    return Mark(meta.lineage, meta.serial, meta.tip)
