"""Bulk: accounts from JSON, JSON lines and CSV, meaning exactly what the YAML would."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final

from yaml.error import Mark
from yaml.events import (
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from reconciler.accounts import Account
from reconciler.config import text
from reconciler.config.careful import MOST, Careful
from reconciler.config.events import Built, Reader, Stop
from reconciler.config.json_lines import quick
from reconciler.config.quick import Doubt, doubt
from reconciler.config.scalars import NULLS, Quoted
from reconciler.diagnostics import Diagnostic, Source, error

_SPACE = re.compile(r"[ \t\r\n]*")
_TOKEN = re.compile(
    r'[\[\]{},:]|"((?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*)"'
    r"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null"
)


def json_events(source: str, file: str, line: int = 1) -> Iterator[Event]:
    """Yield the events of one JSON text that begins at `line`. Raises Stop."""
    yield StreamStartEvent()
    start = _Place(source, line)
    yield DocumentStartEvent(start.mark(0), None, explicit=False)
    at = yield from _json_value(source, _skip(source, 0), file, start)
    at = _skip(source, at)
    if at < len(source):
        raise Stop(_no_json(file, start.mark(at)))
    yield DocumentEndEvent(start.mark(at), None, explicit=False)
    yield StreamEndEvent()


class _Place:
    """Turns positions into marks; positions only grow, so every line end is counted once."""

    def __init__(self, source: str, line: int) -> None:
        self.source, self.line, self.begin, self.at = source, line - 1, 0, 0

    def mark(self, at: int) -> Mark:
        self.line += self.source.count("\n", self.at, at)
        last = self.source.rfind("\n", self.at, at)
        if last >= 0:
            self.begin = last + 1
        self.at = at
        return Mark("", at, self.line, at - self.begin, None, 0)


def _skip(source: str, at: int) -> int:
    match = _SPACE.match(source, at)
    return match.end() if match else at


def _no_json(file: str, mark: Mark) -> Diagnostic:
    return error(
        "syntax",
        "This is no JSON.",
        hint="check quotes, commas and brackets",
        source=Source(file, mark.line + 1, mark.column + 1),
    )


def _json_value(source: str, at: int, file: str, place: _Place) -> Any:
    """Yield the events of one value with a stack of its own; return where it ends."""
    stack: list[str] = []
    wanted = "value"
    while True:
        at = _skip(source, at)
        mark = place.mark(at)
        match = _TOKEN.match(source, at)
        if match is None:
            raise Stop(_no_json(file, mark))
        token, at = match[0], match.end()
        first = token[0]
        if wanted in ("value", "first-value", "key", "first-key") and first not in ",:]}":
            if wanted.endswith("key") and first != '"':
                raise Stop(_no_json(file, mark))
            if first == "{":
                yield MappingStartEvent(None, None, True, mark, mark)
                stack.append("}")
                wanted = "first-key"
                continue
            if first == "[":
                yield SequenceStartEvent(None, None, True, mark, mark)
                stack.append("]")
                wanted = "first-value"
                continue
            yield _scalar_event(token, mark, place.mark(at))
            wanted = ":" if wanted.endswith("key") else ","
        elif first == ":" and wanted == ":":
            wanted = "value"
            continue
        elif first == "," and wanted == "," and stack:
            wanted = "key" if stack[-1] == "}" else "value"
            continue
        elif stack and first == stack[-1] and wanted in (",", "first-key", "first-value"):
            stack.pop()
            yield MappingEndEvent(mark, mark) if first == "}" else SequenceEndEvent(mark, mark)
            wanted = ","
        else:
            raise Stop(_no_json(file, mark))
        if not stack:
            return at


def _scalar_event(token: str, start: Mark, end: Mark) -> ScalarEvent:
    if token[0] != '"':
        return ScalarEvent(None, None, (True, False), token, start, end)
    import json

    return ScalarEvent(None, None, (False, True), json.loads(token), start, end, style='"')


def json_file(careful: Careful, stream: BinaryIO) -> Iterator[Account]:
    """Yield the accounts of a JSON file shaped like the YAML."""
    source = _whole(careful, stream)
    if source is None or not source.strip():
        return
    reader = Reader(json_events(source, careful.file).__next__, careful.file, careful.findings)
    try:
        yield from careful.sections(reader)
    except Stop as stop:
        careful.findings.append(stop.finding)


def _whole(careful: Careful, stream: BinaryIO) -> str | None:
    """Return the text of a file, None if it holds what no file may hold."""
    parts = []
    try:
        for line, piece, delicate in text.pieces(stream, careful.file):
            if delicate:
                careful.findings.extend(text.forbidden(piece, careful.file, line))
            parts.append(piece)
    except text.Undecodable as wrong:
        careful.findings.append(wrong.finding)
    return None if careful.findings else "".join(parts)


def jsonl_file(careful: Careful, stream: BinaryIO) -> Iterator[Account]:
    """Yield the accounts of a file with one account object a line."""
    ids: dict[str, int] = {}
    for line, row in _rows(careful, stream):
        if not row.strip(" \t\r\n"):
            continue
        if (made := quick(row)) is not None and made[0] not in ids:
            ids[made[0]] = line
            try:
                yield from careful.bench.accounts(made[0], made[1], line, doubt)
                continue
            except Doubt:
                del ids[made[0]]
        reader = Reader(
            json_events(row, careful.file, line).__next__, careful.file, careful.findings
        )
        try:
            reader.get()
            reader.get()
            built = reader.build(reader.node(reader.get()))
            reader.get()
        except Stop as stop:
            careful.findings.append(stop.finding)
        else:
            yield from _object(careful, built, line, ids)
        if len(careful.findings) > MOST:
            return


def _rows(careful: Careful, stream: BinaryIO) -> Iterator[tuple[int, str]]:
    try:
        for line, piece, delicate in text.pieces(stream, careful.file):
            if delicate:
                careful.findings.extend(text.forbidden(piece, careful.file, line))
            yield from enumerate(piece.split("\n"), line)
    except text.Undecodable as wrong:
        careful.findings.append(wrong.finding)


def _object(careful: Careful, built: Built, line: int, ids: dict[str, int]) -> list[Account]:
    value = built.value
    place = built.place(()) or (line, 1)
    if not isinstance(value, dict) or not isinstance(value.get("id"), str):
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
    return careful.judged(key, (line, at[1]), built)


SPLIT: Final = re.compile(r"[;\n]+")


def csv_file(careful: Careful, stream: BinaryIO) -> Iterator[Account]:
    """Yield the accounts of a CSV file; an empty cell is not written."""
    rows = csv.reader(_csv_lines(careful, stream), strict=True)
    ids: dict[str, int] = {}
    header: list[str] = []
    line = 1
    try:
        for row in rows:
            at, line = line, rows.line_num + 1
            if not any(row):
                continue
            if not header:
                header = row
                if not _header(careful, header, at):
                    return
                continue
            if len(row) > len(header):
                careful.tell(
                    (at, 1),
                    "bad-row",
                    "The row has more cells than the header.",
                    "quote cells that hold commas",
                )
                continue
            built = _record(careful, header, row, at)
            if built is not None:
                yield from _object(careful, built, at, ids)
            if len(careful.findings) > MOST:
                return
    except csv.Error as wrong:
        careful.tell((line, 1), "syntax", f"This is no CSV: {wrong}.", "check the quotes")


def _csv_lines(careful: Careful, stream: BinaryIO) -> Iterator[str]:
    try:
        for line, piece, delicate in text.pieces(stream, careful.file):
            if delicate:
                careful.findings.extend(text.forbidden(piece, careful.file, line, bom=True))
            if line == 1:
                piece = piece.removeprefix("\ufeff")
            yield from (
                piece.splitlines(keepends=True)
                if not delicate
                else re.findall(r"[^\n]*\n|[^\n]+", piece)
            )
    except text.Undecodable as wrong:
        careful.findings.append(wrong.finding)


def _header(careful: Careful, header: list[str], line: int) -> bool:
    before = len(careful.findings)
    if "id" not in header:
        careful.tell((line, 1), "missing-key", "The header has no column id.", "add it")
    for position, name in enumerate(header, 1):
        if name in header[: position - 1]:
            careful.tell(
                (line, position),
                "duplicate-key",
                f"The column {name!r} stands twice.",
                "keep one of them",
            )
        if not all(name.split(".")):
            careful.tell(
                (line, position),
                "bad-key",
                f"The column {name!r} has no name.",
                "name it like profile.name",
            )
    return len(careful.findings) == before


def _cell(path: str, cell: str) -> Any:
    if path == "provider":
        names = re.split(r"[\s;,]+", cell.strip())
        return names if len(names) > 1 else names[0]
    if path == "banned.evidence":
        return [Quoted(item.strip()) for item in SPLIT.split(cell) if item.strip()]
    # A cell has no quotes to tell the text null from null.
    return Quoted(cell) if cell in NULLS else cell


def _record(careful: Careful, header: list[str], row: list[str], line: int) -> Built | None:
    """Return the account of a row; every place is the line and the number of the column."""
    value: dict[str, Any] = {}
    places: dict[tuple[Any, ...], tuple[int, int]] = {(): (line, 1)}
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
        parts = tuple(name.split(".", 1 if name.startswith("labels.") else 2))
        place = value
        for depth, part in enumerate(parts[:-1], 1):
            inner = place.setdefault(part, {})
            places.setdefault(parts[:depth], (line, position))
            if not isinstance(inner, dict):
                other = ".".join(parts[:depth])
                careful.tell(
                    (line, position),
                    "wrong-type",
                    f"{name} does not go with {other}.",
                    "leave one empty",
                )
                return None
            place = inner
        if parts[-1] in place:
            careful.tell(
                (line, position),
                "wrong-type",
                f"{name} does not go with its fields.",
                "leave one empty",
            )
            return None
        place[parts[-1]] = _cell(name, cell)
        places[parts] = (line, position)
    return Built(value, {}, places)


READERS: Final[dict[str, Callable[[Careful, BinaryIO], Iterator[Account]]]] = {
    ".json": json_file,
    ".jsonl": jsonl_file,
    ".csv": csv_file,
}
