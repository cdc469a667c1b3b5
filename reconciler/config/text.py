"""Text: which bytes a file may hold, and the pieces that readers take it in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO, Final, NamedTuple

from reconciler.diagnostics import Diagnostic, Source, error

PIECE: Final = 1 << 20
"""Bytes read at once; a piece is cut behind a line end, so memory follows the longest line."""

LONGEST: Final = 12 << 20
"""Bytes of the longest line, and of the longest scalar, that is read."""

TOLD: Final = 200
"""Characters of one piece that are told as forbidden; a file of zeros has a million of them."""

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


class Unfit(Exception):
    """The bytes are no text that is read: no UTF-8, or a line without end; holds the finding."""

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
    """Yield pieces that end at line ends. Raises Unfit."""
    carry: list[bytes] = []
    held, line = 0, 1
    while data := stream.read(PIECE):
        if line == 1 and not held:
            _text_at_all(data[:512], file)
        cut = data.rfind(b"\n") + 1
        first = data.find(b"\n") if cut else len(data)
        if held + first > LONGEST:
            raise Unfit(too_long(Source(file, line, 1)))
        if not cut:
            carry.append(data)
            held += len(data)
            continue
        lines = b"".join([*carry, data[:cut]])
        whole = decode(lines, file, line)
        carry = [data[cut:]]
        held = len(data) - cut
        yield Piece(line, whole, delicate(lines))
        line += whole.count("\n")
    if held:
        lines = b"".join(carry)
        yield Piece(line, decode(lines, file, line), delicate(lines))


def too_long(place: Source) -> Diagnostic:
    """Return the finding about a line or a scalar that no reader takes."""
    return error(
        "too-long",
        f"What begins here is longer than {LONGEST >> 20} MiB.",
        hint="no field of an account is so long; is this the file that was meant?",
        source=place,
    )


def _text_at_all(head: bytes, file: str) -> None:
    """Refuse what is mostly zeros at once, instead of zero by zero. Raises Unfit."""
    if head.count(0) > 1 and head.count(0) * 4 > len(head):
        _refuse(
            "The file is UTF-16, or zeros, but not UTF-8.",
            "save the file as UTF-8; zeros are left where a disk was full or a machine fell",
            Source(file, 1, 1),
        )


def decode(data: bytes, file: str, line: int = 1) -> str:
    """Return the UTF-8 text of bytes that begin at `line`. Raises Unfit."""
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
    raise Unfit(error("encoding", summary, hint=hint, source=place)) from None


def named(character: str) -> str:
    """Return how a character is called in findings: U+202E."""
    return f"U+{ord(character):04X}"


def _found(pattern: re.Pattern[str], text: str, line: int) -> Iterator[tuple[int, int, str]]:
    """Yield line, column and character of each match; every line end is counted once."""
    begin = at = 0
    for match in pattern.finditer(text):
        start = match.start()
        line += text.count("\n", at, start)
        begin = max(begin, text.rfind("\n", at, start) + 1)
        at = start
        yield line, start - begin + 1, match[0]


def forbidden(text: str, file: str, line: int, *, bom: bool = False) -> Iterator[Diagnostic]:
    """Yield findings for the first characters that no file may hold.

    `bom` allows a byte order mark at the start.
    """
    for at, column, character in islice(_found(FORBIDDEN, text, line), TOLD):
        place = Source(file, at, column)
        start = character == "\ufeff" and at == column == 1
        if start and bom:
            continue
        if start:
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
    return _found(PLACED, text, line)
