"""Lines: the fast reading of the plain YAML that most account files are, line by line.

It takes block mappings, lists of scalars, one-line flow collections, and scalars that are plain
or quoted without escapes. Anything else raises `Unusual`, and the careful reading takes the whole
file; tests prove that what is taken here means the same there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from reconciler.config.scalars import Quoted
from reconciler.config.text import Piece

Raw = dict[str, Any]

_KEY = r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,127}|\"[ !#-\[\]-~]{1,128}\"|'[ -&(-~]{1,128}'"
_FIRST = r"[^\s\-?:,\[\]{}#&*!|>'\"%@`<=~\\]"
BLOCK: Final = rf"{_FIRST}[^\n:#]*(?:(?::(?![ \n]|$)|(?<! )#)[^\n:#]*)*(?<! )"
FLOW: Final = (
    rf"{_FIRST}[^\n,\[\]{{}}:#?]*"
    rf"(?:(?::(?=[A-Za-z0-9/+])|(?<! )#)[^\n,\[\]{{}}:#?]*)*(?<! )"
)
_DOUBLE = r'"[^"\\\n]*"'
_SINGLE = r"'[^'\n]*'"
_NESTED = rf'\{{(?:{_DOUBLE}|[^\[\]{{}}"\'\n]++)*+\}}' rf'|\[(?:{_DOUBLE}|[^\[\]{{}}"\'\n]++)*+\]'

LINE: Final = re.compile(
    rf"( *)(?:({_KEY}):|(-))(?: +({BLOCK}|{_DOUBLE}|{_SINGLE}|\{{[^\n]*\}}|\[[^\n]*\]))?"
    rf"| *(?:\#[^\n]*)?|([^\n]+)"
)
"""Indent, key, dash, value, anything else."""

PAIR: Final = re.compile(
    rf"({_KEY}): +({FLOW}|{_DOUBLE}|{_SINGLE}|{_NESTED})(?:, +(?=[^ ])|$)|([\s\S])"
)
ITEM: Final = re.compile(rf"({FLOW}|{_DOUBLE}|{_SINGLE})(?:, +(?=[^ ])|$)|([\s\S])")


FLOWING: Final = 1 << 16
"""Characters of the longest flow collection that is read fast."""

IDLE: Final = 2 << 20
"""Characters in which no account ended, after which one is too big to be read fast."""

KNOWN: Final = 2048
"""Lines that are remembered; flags and labels repeat, profiles do not."""

Row = tuple[int, str, str, Any]
"""Indent, key, dash, and the value: of a key None where it is on the lines that follow."""


class Unusual(Exception):
    """The fast reading does not take this file."""


def flow(text: str) -> Any:
    """Return the value of a one-line flow collection. Raises Unusual."""
    if len(text) > FLOWING:
        raise Unusual
    inner = text[1:-1].strip(" ")
    if text[0] == "[":
        items = ITEM.findall(inner)
        made_items = [_scalar(value) for value, _ in items]
        if any(junk for _, junk in items):
            raise Unusual
        return made_items
    made: Raw = {}
    pairs = PAIR.findall(inner)
    for key, value, junk in pairs:
        if junk:
            raise Unusual
        first = value[0]
        if first in "\"'":
            value = Quoted(value[1:-1])
        elif first in "{[":
            value = flow(value)
        made[key if key[0] not in "\"'" else key[1:-1]] = value
    if len(made) != len(pairs):
        raise Unusual
    return made


def _scalar(text: str) -> str:
    return Quoted(text[1:-1]) if text[:1] in ('"', "'") else text


def _value(text: str, flows: dict[str, Any]) -> Any:
    """Return the value of one line; equal flow collections share one value in `flows`."""
    if text[0] not in "{[":
        return _scalar(text)
    if (value := flows.get(text)) is None:
        value = flow(text)
        if len(text) < 500:
            if len(flows) == KNOWN:
                flows.clear()
            flows[text] = value
    return value


def read(pieces: Iterable[Piece]) -> Iterator[tuple[str, int, Any]]:
    """Yield `("", line, defaults)` where there are any, then key, line and value of each account.

    Raises Unusual at the first line that the fast reading does not take.
    """
    reading = _Reading()
    idle, before = 0, 0
    for line, text, delicate in pieces:
        if delicate:
            raise Unusual
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        yield from reading.piece(text.removesuffix("\n"), line)
        idle = idle + len(text) if len(reading.seen) == before else 0
        if idle > IDLE:
            raise Unusual
        before = len(reading.seen)
    yield from reading.end()


class _Reading:
    """Where in the nesting the reading is; pieces may end anywhere between lines."""

    def __init__(self) -> None:
        self.top: Raw = {}
        # The open collections, outermost first: indent, the collection.
        self.stack: list[tuple[int, Any]] = [(0, self.top)]
        self.pending: tuple[int, Raw, str] | None = None
        self.accounts = -1
        self.current: tuple[str, int] | None = None
        self.seen: set[str] = set()
        self.known: dict[str, Row] = {}
        self.flows: dict[str, Any] = {}

    def piece(self, text: str, line: int) -> Iterator[tuple[str, int, Any]]:
        """Take whole lines from `line` on; yield the accounts that are complete."""
        stack, pending, known = self.stack, self.pending, self.known
        indent, place = stack[-1]
        for line, row in enumerate(text.split("\n"), line):  # noqa: B020 (counted on from there)
            if (told := known.get(row)) is None:
                told = self._told(row)
            depth, key, dash, value = told
            if key:
                if pending is not None:
                    indent, place = self._open(depth, pending)
                    pending = None
                else:
                    while depth < indent or (place.__class__ is list and depth == indent):
                        stack.pop()
                        indent, place = stack[-1]
                if depth != indent or key in place:
                    raise Unusual
                if (depth == self.accounts or depth == 0) and (
                    done := self._turn(key, line, depth)
                ) is not None:
                    yield done
                if value is not None:
                    place[key] = value
                else:
                    pending = (depth, place, key)
            elif dash:
                indent, place = self._item(depth, value, pending)
                pending = None
        self.pending = pending

    def _told(self, row: str) -> Row:
        """Return what a line says, remembered for its like. Raises Unusual."""
        match = LINE.fullmatch(row)
        spaces, key, dash, text, junk = match.groups("") if match else ("", "", "", "", row)
        if junk:
            raise Unusual
        value: Any = text
        if key:
            key = key[1:-1] if key[0] in "\"'" else key
            value = _value(text, self.flows) if text else None
        if len(self.known) == KNOWN:
            self.known.clear()
        told = self.known[row] = (len(spaces), key, dash, value)
        return told

    def _open(self, depth: int, pending: tuple[int, Raw, str]) -> tuple[int, Raw]:
        """Open the mapping beneath the key that waits for it."""
        if depth <= pending[0]:
            raise Unusual
        place: Raw = {}
        pending[1][pending[2]] = place
        self.stack.append((depth, place))
        if len(self.stack) == 2 and "accounts" in self.top:
            self.accounts = depth
        return depth, place

    def _turn(self, key: str, line: int, depth: int) -> tuple[str, int, Any] | None:
        """Go on to the next top-level key or account; return the one that is complete."""
        done = None
        if depth == 0:
            if key not in ("defaults", "accounts") or "accounts" in self.top:
                raise Unusual
            if key == "accounts" and "defaults" in self.top:
                done = ("", line, self.top["defaults"])
            return done
        if self.current is not None:
            name, at = self.current
            done = (name, at, self.top["accounts"].pop(name))
        if key in self.seen:
            raise Unusual
        self.seen.add(key)
        self.current = (key, line)
        return done

    def _item(
        self, depth: int, value: str, pending: tuple[int, Raw, str] | None
    ) -> tuple[int, Any]:
        stack = self.stack
        if not value or value[0] in "{[":
            raise Unusual
        if pending is not None:
            if depth < pending[0] or len(stack) < 3:
                raise Unusual
            items: list[Any] = []
            pending[1][pending[2]] = items
            stack.append((depth, items))
        indent, place = stack[-1]
        if depth != indent or place.__class__ is not list:
            raise Unusual
        place.append(_scalar(value))
        return indent, place

    def end(self) -> Iterator[tuple[str, int, Any]]:
        """Yield the last account."""
        if self.pending is not None:
            raise Unusual
        if "accounts" not in self.top:
            if self.top:
                yield "", 1, self.top["defaults"]
            return
        if self.current is not None:
            name, at = self.current
            yield name, at, self.top["accounts"].pop(name)
        elif self.top["accounts"] != {}:
            raise Unusual
