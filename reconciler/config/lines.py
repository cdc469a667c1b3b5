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
    rf"^(?:( *)(?:({_KEY}):|(-))(?: +({BLOCK}|{_DOUBLE}|{_SINGLE}|\{{[^\n]*\}}|\[[^\n]*\]))?"
    rf"| *(?:\#[^\n]*)?|([^\n]+))$",
    re.MULTILINE,
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
"""Flow collections that are remembered; labels and flags repeat, profiles do not."""


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


def _value(text: str, known: dict[str, Any]) -> Any:
    """Return the value of one line; equal flow collections share one value in `known`."""
    first = text[0]
    if first in "\"'":
        return Quoted(text[1:-1])
    if first not in "{[":
        return text
    if (value := known.get(text)) is None:
        value = flow(text)
        if len(known) < KNOWN and len(text) < 500:
            known[text] = value
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
        self.known: dict[str, Any] = {}

    def piece(self, text: str, line: int) -> Iterator[tuple[str, int, Any]]:
        """Take whole lines from `line` on; yield the accounts that are complete."""
        line -= 1
        stack, pending, known = self.stack, self.pending, self.known
        indent, place = stack[-1]
        for spaces, key, dash, value, junk in LINE.findall(text):
            line += 1
            if key:
                depth = len(spaces)
                if key[0] in "\"'":
                    key = key[1:-1]
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
                if value:
                    place[key] = _value(value, known)
                else:
                    pending = (depth, place, key)
            elif dash:
                indent, place = self._item(len(spaces), value, pending)
                pending = None
            elif junk:
                raise Unusual
        self.pending = pending

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
