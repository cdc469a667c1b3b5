"""Lists: which accounts a file names, one a line, a row or an object, and nothing else of them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from json import JSONDecodeError
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, TypeAlias

from reconciler.accounts import Address, address
from reconciler.capabilities import Capabilities
from reconciler.config import text
from reconciler.config.close import close
from reconciler.config.files import Unreadable, opened
from reconciler.diagnostics import Diagnostic, Source, error
from reconciler.errors import ConfigError
from reconciler.values import loads

MOST: Final = 200
"""Findings that are told of one list; of the others only the number is."""

_HEADER: Final = "name a column id or address; provider is one more where there are several"


class Listed(NamedTuple):
    """The accounts of a list in its order, and how often one was named again."""

    addresses: dict[Address, None]
    again: int


class _Named(NamedTuple):
    """One account as a list names it, and where."""

    line: int
    column: int
    provider: str
    id: str


_Reader: TypeAlias = "Callable[[_List, BinaryIO], Iterator[_Named]]"


def read(path: Path, name: str, tables: Mapping[str, Capabilities]) -> Listed:
    """Return the accounts that a .txt, .csv or .jsonl file names, by the ids of the vendors.

    A name without an ending is read as .txt.

    `tables` are the capabilities by provider. Raises ConfigError with all findings.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ConfigError.of(
            "file-kind",
            f"{name} is of no kind that lists accounts",
            hint="use .txt (an address or id a line), .csv or .jsonl",
        )
    found = _List(name, tables)
    listed: dict[Address, None] = {}
    total = 0
    try:
        with opened(path, name) as stream:
            for named in reader(found, stream):
                if where := found.address(named):
                    listed[where] = None
                    total += 1
    except Unreadable as wrong:
        raise ConfigError(wrong.finding) from None
    except text.Unfit as unfit:
        found.tell(unfit.finding)
    if found.findings:
        raise ConfigError(found.told())
    return Listed(listed, total - len(listed))


class _List:
    """One list: its findings, and what its lines come to."""

    def __init__(self, file: str, tables: Mapping[str, Capabilities]) -> None:
        self.file, self.tables = file, tables
        self.sole = next(iter(tables)) if len(tables) == 1 else ""
        self.findings: list[Diagnostic] = []
        self.count = 0

    def tell(self, finding: Diagnostic) -> None:
        """Take a finding; beyond `MOST` it is only counted."""
        self.count += 1
        if self.count <= MOST:
            self.findings.append(finding)

    def wrong(self, place: tuple[int, int], id: str, summary: str, hint: str) -> None:
        """Take a finding at line and column."""
        self.tell(error(id, summary, hint=hint, source=Source(self.file, *place)))

    def told(self) -> list[Diagnostic]:
        """Return the findings, with a last one that counts the others."""
        if self.count == len(self.findings):
            return self.findings
        rest = f"There are {self.count - MOST:,} more findings."
        return [*self.findings, error("more", rest, hint="mend these first")]

    def address(self, named: _Named) -> Address | None:
        """Return the address that was meant, None with a finding where it is none."""
        place = (named.line, named.column)
        provider = named.provider or self.sole
        table = self.tables.get(provider)
        if not provider:
            known = ", ".join(sorted(self.tables))
            self.wrong(
                place,
                "no-provider",
                f"Which app {named.id[:80]!r} is of is not said.",
                f"write provider/id; there are {known}",
            )
        elif table is None:
            self.wrong(
                place,
                "unknown-provider",
                f"There is no provider {provider[:80]!r}.",
                close(provider, self.tables),
            )
        else:
            rule, key = table.id, named.id
            size = len(key) if rule.unit == "characters" else len(key.encode(errors="replace"))
            if size <= rule.limit and rule.pattern.fullmatch(key):
                return address(provider, rule.fold(key))
            self.wrong(
                place,
                "bad-id",
                f"{key[:80]!r} is no account id in {provider}.",
                f"an id there is {rule.words}",
            )
        return None

    def lines(self, stream: BinaryIO, *, bom: bool) -> Iterator[tuple[int, str]]:
        """Yield number and text of each line. Raises text.Unfit."""
        for line, piece, delicate in text.pieces(stream, self.file):
            if delicate:
                for finding in text.forbidden(piece, self.file, line, bom=bom):
                    self.tell(finding)
            if line == 1 and bom:
                piece = piece.removeprefix("\ufeff")
            yield from enumerate(piece.removesuffix("\n").split("\n"), line)


def _texts(found: _List, stream: BinaryIO) -> Iterator[_Named]:
    """Yield an address, or an id of the only app, a line; blank ones and # comments are passed."""
    for line, written in found.lines(stream, bom=True):
        word = written.strip()
        if word and word[0] != "#":
            column = written.index(word) + 1
            provider, _, id = word.partition("/")
            yield _Named(line, column, *((provider, id) if provider and id else ("", word)))


def _rows(found: _List, stream: BinaryIO) -> Iterator[_Named]:
    """Yield the account of each row: column id or address, and provider where there is one."""
    rows = csv.reader((f"{one}\n" for _, one in found.lines(stream, bom=True)), strict=True)
    header: list[str] = []
    line = 1
    try:
        for row in rows:
            at, line = line, rows.line_num + 1
            if not any(row):
                continue
            if not header:
                header = row
                if not {"id", "address"} & set(header):
                    found.wrong((at, 1), "missing-key", "The header has no column id.", _HEADER)
                    return
            elif len(row) > len(header):
                found.wrong(
                    (at, 1),
                    "bad-row",
                    "The row has more cells than the header.",
                    "quote cells that hold commas",
                )
            else:
                yield from _of(found, dict(zip(header, row, strict=False)), at, header)
    except csv.Error as wrong:
        found.wrong((line, 1), "syntax", f"This is no CSV: {wrong}.", "check the quotes")


def _objects(found: _List, stream: BinaryIO) -> Iterator[_Named]:
    """Yield the account of each JSON object: id or address, and provider where there is one."""
    for line, written in found.lines(stream, bom=False):
        if not written.strip():
            continue
        try:
            value = loads(written)
        except JSONDecodeError as wrong:
            place = (line, wrong.colno)
            found.wrong(place, "syntax", "This is no JSON.", "check quotes, commas and brackets")
            continue
        except ValueError as wrong:
            found.wrong(
                (line, 1), "syntax", f"This is no JSON: {wrong}.", "write one object a line"
            )
            continue
        shape = value if isinstance(value, dict) else {}
        names = ("id", "address", "provider")
        texts = {key: one for key in names if isinstance(one := shape.get(key), str)}
        yield from _of(found, texts, line, ())


def _of(
    found: _List, cells: Mapping[str, str], line: int, header: Sequence[str]
) -> Iterator[_Named]:
    """Yield the account that a row or an object names, or tell that it names none."""
    where, id = cells.get("address", ""), cells.get("id", "")
    column = header.index("address" if where else "id") + 1 if (where or id) and header else 1
    provider, slash, inner = where.partition("/")
    if slash and inner:
        yield _Named(line, column, provider, inner)
    elif where or id:
        yield _Named(line, column, cells.get("provider", ""), where or id)
    else:
        hint = "write id, or address" if header else 'write {"id": "…"}'
        found.wrong((line, 1), "missing-key", "No account is named here.", hint)


_READERS: Final[Mapping[str, _Reader]] = {
    **dict.fromkeys(("", ".txt"), _texts),
    ".csv": _rows,
    ".jsonl": _objects,
}
