"""Rows of the tables: how values become rows and back, and the seals that guard them.

Rows are whole: their cells come in the order of the table's columns, the seal last. What a cipher
hides is hidden before the seal is made, and shown after it was compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from itertools import islice
from typing import Any, Final, TypeAlias, TypeVar

from reconciler.accounts import Address, Observed, encode
from reconciler.changes import Override
from reconciler.state import Intent, Record, Run, Status
from reconciler.stores.cipher import CLEAR, Cipher, Forged, Kind
from reconciler.values import canonical, digest, to_text

Cell: TypeAlias = str | bytes | int | float | None
Row: TypeAlias = tuple[Any, ...]
Body: TypeAlias = tuple[bytes, int, bytes | None, str, bytes]

MESSAGE_LIMIT = 512
_MODULUS = 1 << 256
_CHUNK: Final = 500
_ID: Final = 6
_T = TypeVar("_T")

ACCOUNT: Final = Kind(
    "account",
    "the record of {0}",
    ((2, bytes), (3, int), (5, bytes), (6, str), (7, bytes)),
)
JOURNAL: Final = Kind(
    "journal", "line {0} of the journal", ((5, bytes), (6, int), (8, str), (9, str))
)
RUN: Final = Kind("run", "the run {0}", ((5, bytes), (1, str), (3, str), (4, str)))
"""Their addresses, numbers, times, runs, and how an action ended can be read in any state."""


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


def unsealed(row: Row, what: str) -> Row:
    """Return a row without its seal, the last cell. Raises Broken if the seal does not fit."""
    *cells, kept = row
    if seal(*cells) != kept:
        raise Broken(f"{what} does not match its seal")
    return tuple(cells)


def sealed(kind: Kind, cells: Row, cipher: Cipher) -> Row:
    """Return the row of some cells as it is stored."""
    stored = cipher.encrypt(kind, cells)
    return (*stored, seal(*stored))


def opened(kind: Kind, row: Row, cipher: Cipher) -> Row:
    """Return the cells that `sealed` was given. Raises Broken if they are not those."""
    what = kind.told.format(*row)
    try:
        return cipher.decrypt(kind, unsealed(row, what))
    except Forged:
        raise Broken(f"{what} was not written there with the key {cipher.id}") from None


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


def demand_sum(found: int, kept: int, what: str) -> None:
    """Raise Broken unless a sum over rows is the one that was kept."""
    if stored(found) != stored(kept):
        raise Broken(f"{what} are not the ones that were recorded")


def chunks(items: Iterable[_T], size: int = _CHUNK) -> Iterator[tuple[_T, ...]]:
    """Yield the items in tuples of at most `size`."""
    source = iter(items)
    while chunk := tuple(islice(source, size)):
        yield chunk


def link(prev: bytes, content: bytes, serial: int) -> bytes:
    """Return the digest of a serial: everything up to it decides it."""
    return digest(prev + content + serial.to_bytes(8, "big"))


@dataclass(frozen=True, slots=True)
class Meta:
    """The one row that says which state this is; sums are kept mod 2**256.

    `key` is the id of the key that the state is encrypted with, empty where it is clear.
    """

    workspace: str
    lineage: str = ""
    serial: int = 0
    content: int = 0
    tip: bytes = b""
    doubt: int = 0
    told: int = 0
    apps: Mapping[str, str] = field(default_factory=dict)
    key: str = ""

    def row(self, cipher: Cipher = CLEAR) -> Row:
        """Return the cells of the row with their seal, and the proof that they are a key's."""
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
        whole = seal(*cells)
        return (*cells, whole, cipher.prove(whole))

    @classmethod
    def of(cls, row: Row) -> Meta:
        """Read the row that `row` made, unproven. Raises Broken if its seal does not fit."""
        *sealed, proof = row
        workspace, lineage, serial, content, tip, doubt, told, apps = unsealed(
            tuple(sealed), "the row that names the state"
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
            proof[:_ID].hex(),
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


def body_of(cells: Row) -> Body:
    """Return the same of the opened cells of a record."""
    return cells[2], cells[3], cells[5], cells[6], cells[7]


def record_row(record: Record, body: Body, version: int, at: str, run: str, cipher: Cipher) -> Row:
    """Return the sealed row of a record with this body that changed at `version`."""
    document, banned, observed, token_key, waiting = body
    (look,) = cipher.mask([digest(document) if record.plain else None])
    cells = (
        record.address,
        look,
        document,
        banned,
        version,
        observed,
        token_key,
        waiting,
        at,
        run,
    )
    return sealed(ACCOUNT, cells, cipher)


def to_record(row: Row, cipher: Cipher) -> Record:
    """Return the record of a sealed row. Raises Broken if the seal does not fit."""
    address, _, document, banned, version, observed, token_key, waiting, at, run = opened(
        ACCOUNT, row, cipher
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


def run_row(run: Run, cipher: Cipher) -> Row:
    """Return the sealed row of a run; what it overrode stands beside the facts of its context."""
    overrides = [one.to_json() for one in run.overrides]
    cells = (
        run.id,
        run.operation,
        run.started_at,
        run.operator,
        run.fingerprint,
        canonical({**run.context, **({"overrides": overrides} if overrides else {})}),
    )
    return sealed(RUN, cells, cipher)


def to_run(row: Row, cipher: Cipher) -> Run:
    """Return the run of a sealed row. Raises Broken if the seal does not fit."""
    id, operation, started_at, operator, fingerprint, context = opened(RUN, row, cipher)
    facts = json.loads(context)
    overrides = tuple(map(Override.from_json, facts.pop("overrides", ())))
    return Run(id, operation, started_at, operator, fingerprint, facts, overrides)


def to_intent(cells: Sequence[Any]) -> Intent:
    """Return the intent of the opened cells of a journal row."""
    _, id, run, _, address, action, absent, status, _, _, at, _ = cells
    return Intent(id, run, Address(address), json.loads(action), bool(absent), Status(status), at)


def told_row(
    seq: int, run: str, fence: int, address: str, shape: bytes, at: str, cipher: Cipher
) -> Row:
    """Return the sealed journal row of something that is done already; `shape` is its JSON."""
    cells = (seq, None, run, fence, address, shape, 0, str(Status.CONFIRMED), "", "", at, at)
    return sealed(JOURNAL, cells, cipher)
