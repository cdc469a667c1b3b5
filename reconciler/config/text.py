"""Text: which bytes a file may hold, and the pieces that readers take it in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

from reconciler.diagnostics import Diagnostic, Source, error

PIECE: Final = 1 << 20
"""Bytes read at once; a piece is cut behind a line end, so memory follows the longest line."""

_BIDI = "\u202a-\u202e\u2066-\u2069"
MARKS: Final = "\u200e\u200f\u061c"
"""Direction marks: allowed in profile texts only."""

_NEVER = f"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff{_BIDI}\ud800-\udfff"
FORBIDDEN: Final = re.compile(f"[{_NEVER}]|\r(?!\n)")
"""What no file may hold."""

_PLAIN = b"\n" + bytes(range(0x20, 0x7F))
_DELICATE = re.compile(
    rb"[\x00-\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xa8-\xae]"
    rb"|\xe2\x81[\xa6-\xa9]|\xef\xbb\xbf|\xef\xbf[\xbe\xbf]"
)
PLACED: Final = re.compile(f"[\t{MARKS}]")
"""What only some places may hold: tabs in quoted text, direction marks in profile texts."""

HIDDEN: Final = re.compile(f"[{_NEVER}\r]")
"""What no value may hold, however it is escaped."""

MARK: Final = re.compile(f"[{MARKS}]")


class Undecodable(Exception):
    """The bytes are no UTF-8; holds the finding."""

    def __init__(self, finding: Diagnostic) -> None:
        self.finding = finding
        super().__init__(finding.summary)


class Piece(NamedTuple):
    """Whole lines of a file from `line` on.

    `delicate` says that they may hold a character that not every place, or no file, may hold.
    """

    line: int
    text: str
    delicate: bool


def delicate(data: bytes) -> bool:
    """Tell whether UTF-8 bytes may hold a character that not every place may hold.

    Dropping printable ASCII first leaves little to search; no UTF-8 sequence contains any.
    """
    rest = data.translate(None, _PLAIN)
    if not rest:
        return False
    return _DELICATE.search(rest) is not None or (
        b"\r" in rest and data.count(b"\r") != data.count(b"\r\n")
    )


def pieces(stream: BinaryIO, file: str) -> Iterator[Piece]:
    """Yield pieces that end at line ends. Raises Undecodable."""
    carry, line = b"", 1
    while data := stream.read(PIECE):
        cut = data.rfind(b"\n") + 1
        if not cut:
            carry += data
            continue
        lines = carry + data[:cut]
        whole = decode(lines, file, line)
        carry = data[cut:]
        yield Piece(line, whole, delicate(lines))
        line += whole.count("\n")
    if carry:
        yield Piece(line, decode(carry, file, line), delicate(carry))


def decode(data: bytes, file: str, line: int = 1) -> str:
    """Return the UTF-8 text of bytes that begin at `line`. Raises Undecodable."""
    try:
        return data.decode()
    except UnicodeDecodeError as wrong:
        before = data[: wrong.start]
        start = before.rfind(b"\n") + 1
        place = Source(
            file, line + before.count(b"\n"), len(before[start:].decode(errors="replace")) + 1
        )
        hint = "save the file as UTF-8"
        if line == 1 and data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return _refuse("The file is UTF-16, not UTF-8.", hint, Source(file, 1, 1))
        return _refuse(f"The byte 0x{data[wrong.start]:02x} is no UTF-8 here.", hint, place)


def _refuse(summary: str, hint: str, place: Source) -> str:
    raise Undecodable(error("encoding", summary, hint=hint, source=place)) from None


def named(character: str) -> str:
    """Return how a character is called in findings: U+202E."""
    return f"U+{ord(character):04X}"


def forbidden(text: str, file: str, line: int, *, bom: bool = False) -> Iterator[Diagnostic]:
    """Yield a finding for each character that no file may hold; `bom` allows one at the start."""
    for match in FORBIDDEN.finditer(text):
        start, character = match.start(), match[0]
        if bom and line == 1 and start == 0 and character == "\ufeff":
            continue
        place = Source(file, line + text.count("\n", 0, start), start - text.rfind("\n", 0, start))
        if character == "\ufeff" and place.line == place.column == 1:
            yield error(
                "byte-order-mark",
                "The file begins with a byte order mark.",
                hint="save it as UTF-8 without a byte order mark",
                source=place,
            )
        elif character == "\r":
            yield error(
                "line-end",
                "A carriage return stands alone.",
                hint="end lines with LF or CRLF",
                source=place,
            )
        else:
            yield error(
                "control-character",
                f"The character {named(character)} is not allowed.",
                detail="Control, direction and line separator characters can make a text "
                "look other than it is.",
                hint="remove it",
                source=place,
            )


def placed(text: str, line: int) -> Iterator[tuple[int, int, str]]:
    """Yield line, column and character of what only some places may hold."""
    for match in PLACED.finditer(text):
        start = match.start()
        yield (line + text.count("\n", 0, start), start - text.rfind("\n", 0, start), match[0])
