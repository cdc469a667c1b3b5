"""Rows of the tables: how values become rows and back, and the seals that guard them.

Rows are whole: their cells come in the order of the table's columns, the seal last.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, TypeAlias

from reconciler.accounts import Address, Observed, encode
from reconciler.state import Intent, Record, Run, Status
from reconciler.values import canonical, digest, to_text

Cell: TypeAlias = str | bytes | int | float | None
Row: TypeAlias = tuple[Any, ...]
Body: TypeAlias = tuple[bytes, int, bytes | None, str, bytes]

MESSAGE_LIMIT = 512
_MODULUS = 1 << 256


class Broken(Exception):
    """A row is not what was written; the message says which, for the detail of a StateError."""


def moment(seconds: float) -> str:
    """Return seconds since 1970 as RFC 3339 text in UTC."""
    return to_text(datetime.fromtimestamp(seconds, UTC))


def seal(*cells: Cell) -> bytes:
    """Return the SHA-256 digest of a row's cells.

    It is taken of the row as a Python literal in ASCII: unambiguous, with the type of each cell,
    the same in every version of Python, and by far the fastest of such forms.
    """
    return digest(ascii(cells).encode("ascii"))


def opened(row: Row, what: str) -> Row:
    """Return a row without its seal, the last cell. Raises Broken if the seal does not fit."""
    *cells, kept = row
    if seal(*cells) != kept:
        raise Broken(f"{what} does not match its seal")
    return tuple(cells)


def number(sum: bytes) -> int:
    """Return a stored sum as a number."""
    return int.from_bytes(sum, "big")


def stored(sum: int) -> bytes:
    """Return a sum, mod 2**256, as 32 bytes."""
    return (sum % _MODULUS).to_bytes(32, "big")


def term(address: str, look: bytes | None) -> int:
    """Return what one account adds to the sum over the content."""
    return terms([(address, look)])


def terms(accounts: Iterable[tuple[str, bytes | None]]) -> int:
    """Return what accounts add to the sum; a call for each of a million would be felt."""
    return sum(
        [
            int.from_bytes(sha256(address.encode() + b"\0" + (look or b"")).digest(), "big")
            for address, look in accounts
        ]
    )


def link(prev: bytes, content: bytes, serial: int) -> bytes:
    """Return the digest of a serial: everything up to it decides it."""
    return digest(prev + content + serial.to_bytes(8, "big"))


@dataclass(frozen=True, slots=True)
class Meta:
    """The one row that says which state this is; sums are kept mod 2**256."""

    workspace: str
    lineage: str = ""
    serial: int = 0
    content: int = 0
    tip: bytes = b""
    doubt: int = 0
    told: int = 0
    apps: Mapping[str, str] = field(default_factory=dict)

    def row(self) -> Row:
        """Return the cells of the row with their seal."""
        cells = (
            self.workspace,
            self.lineage,
            self.serial,
            stored(self.content),
            self.tip,
            stored(self.doubt),
            stored(self.told),
            canonical(dict(self.apps)),
        )
        return (*cells, seal(*cells))

    @classmethod
    def of(cls, row: Row) -> Meta:
        """Read the row that `row` made. Raises Broken if its seal does not fit."""
        workspace, lineage, serial, content, tip, doubt, told, apps = opened(
            row, "the row that names the state"
        )
        return cls(
            workspace,
            lineage,
            serial,
            number(content),
            tip,
            number(doubt),
            number(told),
            json.loads(apps),
        )


def body(record: Record) -> Body:
    """Return what makes two records equal: all but its version, time and run."""
    seen = record.observed
    return (
        encode(record.document),
        int(record.banned),
        canonical(seen.to_json()) if seen else None,
        record.token_key,
        canonical(record.waiting),
    )


def body_of(row: Row) -> Body:
    """Return the same of a stored row."""
    return row[2], row[3], row[5], row[6], row[7]


def record_row(record: Record, body: Body, version: int, at: str, run: str) -> Row:
    """Return the sealed row of a record with this body that changed at `version`."""
    document, banned, observed, token_key, waiting = body
    cells = (
        record.address,
        digest(document) if record.plain else None,
        document,
        banned,
        version,
        observed,
        token_key,
        waiting,
        at,
        run,
    )
    return (*cells, seal(*cells))


def to_record(row: Row) -> Record:
    """Return the record of a sealed row. Raises Broken if the seal does not fit."""
    address, _, document, banned, version, observed, token_key, waiting, at, run = opened(
        row, f"the record of {row[0]}"
    )
    return Record(
        Address(address),
        json.loads(document),
        bool(banned),
        version,
        Observed.from_json(json.loads(observed)) if observed is not None else None,
        token_key,
        at,
        run,
        tuple(json.loads(waiting)),
    )


def run_row(run: Run) -> Row:
    """Return the sealed row of a run."""
    cells = (
        run.id,
        run.operation,
        run.started_at,
        run.operator,
        run.fingerprint,
        canonical(dict(run.context)),
    )
    return (*cells, seal(*cells))


def to_run(row: Row) -> Run:
    """Return the run of a sealed row. Raises Broken if the seal does not fit."""
    id, operation, started_at, operator, fingerprint, context = opened(row, f"the run {row[0]}")
    return Run(id, operation, started_at, operator, fingerprint, json.loads(context))


def to_intent(cells: Sequence[Any]) -> Intent:
    """Return the intent of the opened cells of a journal row."""
    _, id, run, _, address, action, absent, status, _, _, at, _ = cells
    return Intent(id, run, Address(address), json.loads(action), bool(absent), Status(status), at)


def told_row(seq: int, run: str, fence: int, address: str, shape: bytes, at: str) -> Row:
    """Return the sealed journal row of something that is done already; `shape` is its JSON."""
    cells = (seq, None, run, fence, address, shape, 0, str(Status.CONFIRMED), "", "", at, at)
    return (*cells, seal(*cells))
