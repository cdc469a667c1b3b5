"""Cuts: where a file can be cut so that each part, behind the file's head, means what it meant.

The head is what stands before the first account: the defaults of a YAML file, the header of a CSV
file. Where a cut is not certain there is none, and the file is read as one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import BinaryIO, Final, NamedTuple, TypeAlias

PIECE: Final = 256 << 10
"""Bytes of the file in a part, about; a file of no more is not cut."""

LARGEST: Final = 4 * PIECE
"""Bytes of the largest part with its head."""

Cut: TypeAlias = Callable[[bytes], int]
"""Returns where the last account in some bytes begins that others stand before; 0 for nowhere."""


class Part(NamedTuple):
    """Whole accounts of a file behind its head, whose lines are `shift` more in the file.

    `whole` says that it is all of the file.
    """

    data: bytes
    shift: int
    whole: bool


class Uncut(Exception):
    """The file has to be read as one."""


def parts(stream: BinaryIO, file: str) -> Iterator[Part]:
    """Yield the parts of a file, which together are all of it. Raises Uncut."""
    rest = b""
    while len(rest) < PIECE:
        if not (more := stream.read(PIECE)):
            yield Part(rest, 0, whole=True)
            return
        rest += more
    head, cut = _KINDS.get(PurePosixPath(file).suffix, _never)(rest)
    top, rest = rest[:head], rest[head:]
    above = line = top.count(b"\n")
    while more := stream.read(PIECE):
        rest += more
        if at := cut(rest):
            yield Part(top + rest[:at], line - above, whole=False)
            line += rest.count(b"\n", 0, at)
            rest = rest[at:]
        if len(top) + len(rest) > LARGEST - PIECE:
            raise Uncut
    yield Part(top + rest, line - above, whole=False)


_ACCOUNTS: Final = re.compile(
    rb"^accounts: *\r?\n(?: *(?:#[^\n]*)?\r?\n)*( +)[^ #\r\n-]", re.MULTILINE
)
_NO_KEY: Final = (b"", b" ", b"#", b"-", b"\r", b"\n")


def _yaml(data: bytes) -> tuple[int, Cut]:
    """Cut before a key that is indented as the first account is.

    The fast reading takes a line at a time and nothing that goes over several; where a part is
    read that way to its end, this is what the line is in the whole file too.
    """
    found = _ACCOUNTS.search(data)
    if found is None:
        raise Uncut
    start = b"\n" + found[1]

    def cut(rest: bytes) -> int:
        at = len(rest)
        while (at := rest.rfind(start, 0, at)) >= 0:
            if rest[at + len(start) : at + len(start) + 1] not in _NO_KEY:
                break
        return at + 1

    return found.start(1), cut


def _rows(_: bytes) -> tuple[int, Cut]:
    """Cut behind a line of JSON, which goes over no second one."""
    return 0, lambda rest: rest.rfind(b"\n") + 1


_QUOTED: Final = re.compile(rb'(?<![^,\n])"(?:[^"]++|"")*+"')
_TRIES: Final = 50


def _csv(data: bytes) -> tuple[int, Cut]:
    """Cut behind a row, at a line end that is not within quotes.

    Without the cells that are quoted from their begin to their end no quote may be left before it.
    """
    head = data.find(b"\n") + 1
    if b'"' in data[:head] or not data[:head].removeprefix(b"\xef\xbb\xbf").strip(b",\r\n"):
        raise Uncut

    def cut(rest: bytes) -> int:
        at = len(rest)
        for _ in range(_TRIES):
            at = rest.rfind(b"\n", 0, at)
            if b'"' not in _QUOTED.sub(b"", rest[: at + 1]):
                return at + 1
        return 0

    return head, cut


def _never(_: bytes) -> tuple[int, Cut]:
    raise Uncut


_KINDS: Final[dict[str, Callable[[bytes], tuple[int, Cut]]]] = {
    ".yaml": _yaml,
    ".yml": _yaml,
    ".jsonl": _rows,
    ".csv": _csv,
}
