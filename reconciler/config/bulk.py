"""Bulk: accounts from JSON and JSON lines, meaning exactly what the YAML would."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from io import SEEK_END
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
from reconciler.config.ban_list import BanList
from reconciler.config.careful import Careful
from reconciler.config.events import Reader, Stop
from reconciler.config.json_lines import quick
from reconciler.config.quick import Doubt, doubt
from reconciler.config.rows import account, csv_file
from reconciler.config.told import MOST
from reconciler.diagnostics import Diagnostic, Source, error

LARGEST: Final = 32 << 20
"""Bytes of the largest JSON file: it is read whole, unlike the files of lines."""

_SPACE = re.compile(r"[ \t\r\n]*")
_TOKEN = re.compile(
    r'[\[\]{},:]|"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"'
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
    if stream.seek(0, SEEK_END) > LARGEST:
        careful.tell(
            (0, 0),
            "too-big",
            f"A JSON file has at most {LARGEST >> 20} MiB.",
            "write one account a line into a .jsonl file, or split it",
        )
        return None
    stream.seek(0)
    parts = []
    try:
        for line, piece, delicate in text.pieces(stream, careful.file):
            if delicate:
                careful.findings.extend(text.forbidden(piece, careful.file, line))
            if careful.findings:
                break
            parts.append(piece)
    except text.Unfit as wrong:
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
            yield from account(careful, built, line, ids)
        if len(careful.findings) > MOST:
            return


def _rows(careful: Careful, stream: BinaryIO) -> Iterator[tuple[int, str]]:
    try:
        for line, piece, delicate in text.pieces(stream, careful.file):
            if delicate and (wrong := list(text.forbidden(piece, careful.file, line))):
                careful.findings.extend(wrong)
                return
            yield from enumerate(piece.split("\n"), line)
    except text.Unfit as wrong:
        careful.findings.append(wrong.finding)


READERS: Final[dict[str, Callable[[Careful, BinaryIO], Iterator[Account]]]] = {
    ".json": json_file,
    ".jsonl": jsonl_file,
    ".csv": csv_file,
    "bans": lambda careful, stream: csv_file(careful, stream, BanList()),
}
