"""Alone: the accounts of one file as one process reads them, the fast way or the careful one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final

from reconciler.accounts import Account
from reconciler.config import lines, text
from reconciler.config.defaults import beneath, over
from reconciler.config.files import Found
from reconciler.config.judge import Bench, Judge
from reconciler.config.quick import Doubt, doubt
from reconciler.diagnostics import Diagnostic

if TYPE_CHECKING:
    from reconciler.config.careful import Careful

_YAML: Final = (".yaml", ".yml")
_HARD: Final = (lines.Unusual, Doubt, text.Unfit)
_MARGIN: Final = re.compile(rb"\n([^\s#][^\n:]{,16})")
_LONGEST_KEY: Final = 20


def alone(
    judge: Judge, found: Found, stream: BinaryIO, findings: list[Diagnostic]
) -> Iterator[Account]:
    """Yield the accounts of one file; appends what is wrong, and what only warns."""
    done = 0
    if _kind(found) in _YAML and not goes_on(stream, found):
        try:
            for account in _fast(judge, found, stream):
                done += 1
                yield account
            return
        except _HARD:
            stream.seek(0)
    for account in carefully(judge, found, stream, findings):
        # The fast way had these already, in the same order.
        if done:
            done -= 1
        else:
            yield account


def carefully(
    judge: Judge, found: Found, stream: BinaryIO, findings: list[Diagnostic]
) -> Iterator[Account]:
    """Yield the accounts of one file with a place for everything in it."""
    from reconciler.config.careful import Careful

    careful = Careful(judge, found)
    yield from _readers(careful, _kind(found), stream)
    findings.extend(careful.findings)
    findings.extend(careful.warnings)


def clean(judge: Judge, found: Found, stream: BinaryIO, *, whole: bool) -> list[Account] | None:
    """Return the accounts of a file, or of a part of it; None where there is anything to tell.

    What the fast way does not take may go over several lines, so no part of a file is read
    carefully that has lines.
    """
    if _kind(found) in _YAML:
        try:
            return list(_fast(judge, found, stream))
        except _HARD:
            if not whole:
                return None
            stream.seek(0)
    findings: list[Diagnostic] = []
    accounts = list(carefully(judge, found, stream, findings))
    return None if findings else accounts


def bench(
    judge: Judge, found: Found, stream: BinaryIO, findings: list[Diagnostic]
) -> tuple[Bench, list[Account]]:
    """Return what judges more accounts of a YAML file, and those that it holds already."""
    from reconciler.config.careful import Careful

    careful = Careful(judge, found)
    made = list(careful.yaml(stream))
    findings.extend(careful.findings)
    return careful.bench, made


def goes_on(stream: BinaryIO, found: Found) -> bool:
    """Tell whether a key of YAML stands at the margin behind the accounts, as late defaults would.

    They hold for accounts that the fast way has given away by then. Begins and ends at the begin.
    """
    if _kind(found) not in _YAML:
        return False
    at_accounts = False
    before = b"\n"
    while data := stream.read(text.PIECE):
        piece = before + data
        for key in _MARGIN.findall(piece):
            if at_accounts:
                stream.seek(0)
                return True
            at_accounts = key.strip(b"\"'").startswith(b"accounts")
        before = piece[-_LONGEST_KEY:]
        before = before[before.rfind(b"\n") :] if b"\n" in before else b""
    stream.seek(0)
    return False


def _kind(found: Found) -> str:
    return "bans" if found.bans else PurePosixPath(found.file).suffix


def _readers(careful: Careful, kind: str, stream: BinaryIO) -> Iterator[Account]:
    if kind in _YAML:
        return careful.yaml(stream)
    from reconciler.config.bulk import READERS

    return READERS[kind](careful, stream)


def _fast(judge: Judge, found: Found, stream: BinaryIO) -> Iterator[Account]:
    under = beneath(found.globs)
    bench = judge.within(found.file, under)
    for key, line, raw in lines.read(text.pieces(stream, found.file)):
        if raw.__class__ is not dict:
            raise Doubt
        if not key:
            judge.fit(raw, doubt)
            bench = judge.within(found.file, over(under, raw))
            continue
        yield from bench.accounts(key, raw, line, doubt)
