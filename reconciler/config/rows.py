"""Rows: accounts from CSV, meaning exactly what the YAML would.

What the header and the cells stand for is said by a layout: that of account files is here, that of
sheets of bans in `ban_list`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Final, Protocol

from reconciler.accounts import Account
from reconciler.config import text
from reconciler.config.built import Built
from reconciler.config.careful import Careful
from reconciler.config.report import Path
from reconciler.config.scalars import NULLS, Quoted, is_null
from reconciler.config.told import MOST

COLUMNS: Final = 200
"""Columns of a CSV file; there are about thirty that it may have, and its labels."""

_CELL: Final = csv.field_size_limit()

SPLIT: Final = re.compile(r"[;\n]+")


class Layout(Protocol):
    """What the header and the cells of a CSV file stand for.

    `needed` are the columns without which there is no such file, not even an empty one. `told` are
    the paths of those cells of the last row that a finding was told about.
    """

    needed: tuple[str, ...]
    told: Sequence[Path]

    def header(self, careful: Careful, cells: list[str], line: int) -> list[str]:
        """Return the path of each column; none, and a finding, where the header will not do."""
        ...

    def cells(self, careful: Careful, header: list[str], row: list[str], line: int) -> list[str]:
        """Return the cells of a row, one a column; none where it holds nothing or will not do."""
        ...


class Fields:
    """The layout of account files: the header names the fields, as they are called in YAML."""

    needed: tuple[str, ...] = ()
    told: Sequence[Path] = ()

    def header(self, careful: Careful, cells: list[str], line: int) -> list[str]:
        """Return the columns as they are named."""
        before = len(careful.findings)
        if "id" not in cells:
            careful.tell((line, 1), "missing-key", "The header has no column id.", "add it")
        for position, name in enumerate(cells, 1):
            if name in cells[: position - 1]:
                twice(careful, name, (line, position))
            if not all(name.split(".")):
                careful.tell(
                    (line, position),
                    "bad-key",
                    f"The column {name[:80]!r} has no name.",
                    "name it like profile.name",
                )
        return cells if len(careful.findings) == before else []

    def cells(self, careful: Careful, header: list[str], row: list[str], line: int) -> list[str]:
        """Return the row as it is."""
        if not any(row):
            return []
        if len(row) > len(header):
            careful.tell(
                (line, 1),
                "bad-row",
                "The row has more cells than the header.",
                "quote cells that hold commas",
            )
            return []
        return row


FIELDS: Final = Fields()


def twice(careful: Careful, name: str, place: tuple[int, int]) -> None:
    """Tell of a column that stands twice."""
    summary = f"The column {name[:80]!r} stands twice."
    careful.tell(place, "duplicate-key", summary, "keep one of them")


def csv_file(careful: Careful, stream: BinaryIO, layout: Layout = FIELDS) -> Iterator[Account]:
    """Yield the accounts of a CSV file; an empty cell is not written."""
    lines = _Lines(careful, stream)
    rows = csv.reader(lines, strict=True)
    ids: dict[str, int] = {}
    header: list[str] = []
    line = 1
    try:
        for row in rows:
            lines.row = 0
            at, line = line, rows.line_num + 1
            if not header:
                if not any(row):
                    continue
                if not (header := _header(careful, layout, row, at)):
                    return
                continue
            if (cells := layout.cells(careful, header, row, at)) and (
                built := _record(careful, header, cells, at)
            ):
                yield from account(careful, built, at, ids, layout.told)
            if len(careful.findings) > MOST:
                return
        if layout.needed and not header and not careful.findings:
            careful.tell(
                (1, 1),
                "missing-key",
                "The file has no header.",
                f"write the columns into its first row: {', '.join(layout.needed)}",
            )
    except csv.Error as wrong:
        if "limit" in str(wrong):
            careful.tell(
                (line, 1),
                "too-long",
                f"A cell of this row is longer than {_CELL:,} characters.",
                "check that every quote that is opened is closed",
            )
        elif not careful.findings:
            careful.tell((line, 1), "syntax", f"This is no CSV: {wrong}.", "check the quotes")


class _Lines:
    """The lines of a CSV file; a row of too many of them stops the reading."""

    def __init__(self, careful: Careful, stream: BinaryIO) -> None:
        self.careful = careful
        self.row = 0
        """Characters since the row began; whoever takes a row sets it to 0."""
        self._lines = self._read(stream)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.row += len(line)
        if self.row > text.LONGEST:
            raise csv.Error("field limit")
        return line

    def _read(self, stream: BinaryIO) -> Iterator[str]:
        careful = self.careful
        try:
            for line, piece, delicate in text.pieces(stream, careful.file):
                if delicate:
                    careful.findings.extend(text.forbidden(piece, careful.file, line, bom=True))
                if len(careful.findings) > MOST:
                    return
                if line == 1:
                    piece = piece.removeprefix("\ufeff")
                yield from (
                    piece.splitlines(keepends=True)
                    if not delicate
                    else re.findall(r"[^\n]*\n|[^\n]+", piece)
                )
        except text.Unfit as unfit:
            careful.findings.append(unfit.finding)


def _header(careful: Careful, layout: Layout, cells: list[str], line: int) -> list[str]:
    if len(cells) > COLUMNS:
        careful.tell(
            (line, COLUMNS + 1),
            "too-big",
            f"The header has {len(cells):,} columns; {COLUMNS} are the most.",
            "is this the file that was meant?",
        )
        return []
    return layout.header(careful, cells, line)


def _cell(path: str, cell: str) -> Any:
    if path == "provider":
        names = re.split(r"[\s;,]+", cell.strip())
        return names if len(names) > 1 else names[0]
    if path == "banned.evidence":
        return [Quoted(item.strip()) for item in SPLIT.split(cell) if item.strip()]
    # A cell has no quotes to tell the text null from null.
    return Quoted(cell) if cell in NULLS else cell


def _put(
    name: str,
    cell: str,
    at: tuple[int, int],
    value: dict[str, Any],
    places: dict[tuple[Any, ...], tuple[int, int]],
) -> str:
    """Put a cell where its column says; return what is there already and leaves it no place."""
    parts = tuple(name.split(".", 1 if name.startswith("labels.") else 2))
    place = value
    for depth, part in enumerate(parts[:-1], 1):
        inner = place.setdefault(part, {})
        places.setdefault(parts[:depth], at)
        if not isinstance(inner, dict):
            return ".".join(parts[:depth])
        place = inner
    if parts[-1] in place:
        return "its fields"
    place[parts[-1]] = _cell(name, cell)
    places[parts] = at
    return ""


def _record(careful: Careful, header: list[str], row: list[str], line: int) -> Built | None:
    """Return the account of a row; every place is the line and the number of the column."""
    value: dict[str, Any] = {}
    places: dict[tuple[Any, ...], tuple[int, int]] = {(): (line, header.index("id") + 1)}
    for position, (name, cell) in enumerate(zip(header, row, strict=False), 1):
        if cell == "" or (
            name == "banned"
            and cell == "true"
            and any(
                other.startswith("banned.") and filled
                for other, filled in zip(header, row, strict=False)
            )
        ):
            continue
        if text.HIDDEN.search(cell.replace("\r\n", "\n")) or (
            text.MARK.search(cell) and not name.startswith("profile.")
        ):
            careful.tell(
                (line, position),
                "control-character",
                "The cell holds a control character.",
                "remove it",
            )
            return None
        if other := _put(name, cell, (line, position), value, places):
            careful.tell(
                (line, position),
                "wrong-type",
                f"{name} does not go with {other}.",
                "leave one empty",
            )
            return None
    if "id" not in value:
        careful.tell(places[()], "missing-key", "The row has no id.", "write it into the column id")
        return None
    if "banned" in value:
        # What a ban lacks is told at the empty cell where it belongs.
        for position, name in enumerate(header, 1):
            if name.startswith("banned."):
                places.setdefault(tuple(name.split(".")), (line, position))
    return Built(value, {}, places)


def account(
    careful: Careful, built: Built, line: int, ids: dict[str, int], told: Sequence[Path] = ()
) -> list[Account]:
    """Return the desired accounts of one object or row, which holds its id itself."""
    value = built.value
    place = built.place(()) or (line, 1)
    if not isinstance(value, dict) or not isinstance(value.get("id"), str) or is_null(value["id"]):
        careful.tell(
            place,
            "missing-key",
            "The line is no account object with an id.",
            'write {"id": "…", …}',
        )
        return []
    key = str(value.pop("id"))
    at = built.keys.get(("id",), place)
    if key in ids:
        careful.tell(
            at,
            "duplicate-key",
            f"The id {key[:80]!r} stands here again.",
            f"keep one of them; the first is at line {ids[key]}",
        )
        return []
    ids[key] = line
    return careful.judged(key, (line, at[1]), built, told)
