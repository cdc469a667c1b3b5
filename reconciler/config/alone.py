"""Alone: the accounts of one file as one process reads them, the fast way or the careful one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final

from reconciler.accounts import Account
from reconciler.config import lines, text
from reconciler.config.files import Found
from reconciler.config.judge import Judge
from reconciler.config.quick import Doubt, doubt
from reconciler.diagnostics import Diagnostic

if TYPE_CHECKING:
    from reconciler.config.careful import Careful

_YAML: Final = (".yaml", ".yml")
_HARD: Final = (lines.Unusual, Doubt, text.Unfit)


def alone(
    judge: Judge,
    found: Found,
    stream: BinaryIO,
    errors: list[Diagnostic],
    warnings: list[Diagnostic],
) -> Iterator[Account]:
    """Yield the accounts of one file; appends what is wrong, and what only warns."""
    done = 0
    if PurePosixPath(found.file).suffix in _YAML:
        try:
            for account in _fast(judge, found, stream):
                done += 1
                yield account
            return
        except _HARD:
            stream.seek(0)
    for account in carefully(judge, found, stream, errors, warnings):
        # The fast way had these already, in the same order.
        if done:
            done -= 1
        else:
            yield account


def carefully(
    judge: Judge,
    found: Found,
    stream: BinaryIO,
    errors: list[Diagnostic],
    warnings: list[Diagnostic],
) -> Iterator[Account]:
    """Yield the accounts of one file with a place for everything in it."""
    from reconciler.config.careful import Careful

    careful = Careful(judge, found.file, adopt=found.adopt)
    yield from _readers(careful, stream)
    errors.extend(careful.findings)
    warnings.extend(careful.warnings)


def clean(judge: Judge, found: Found, stream: BinaryIO, *, whole: bool) -> list[Account] | None:
    """Return the accounts of a file, or of a part of it; None where there is anything to tell.

    What the fast way does not take may go over several lines, so no part of a file is read
    carefully that has lines.
    """
    if PurePosixPath(found.file).suffix in _YAML:
        try:
            return list(_fast(judge, found, stream))
        except _HARD:
            if not whole:
                return None
            stream.seek(0)
    findings: list[Diagnostic] = []
    accounts = list(carefully(judge, found, stream, findings, findings))
    return None if findings else accounts


def _readers(careful: Careful, stream: BinaryIO) -> Iterator[Account]:
    suffix = PurePosixPath(careful.file).suffix
    if suffix in _YAML:
        return careful.yaml(stream)
    from reconciler.config.bulk import READERS

    return READERS[suffix](careful, stream)


def _fast(judge: Judge, found: Found, stream: BinaryIO) -> Iterator[Account]:
    bench = judge.within(found.file, {}, adopt=found.adopt)
    for key, line, raw in lines.read(text.pieces(stream, found.file)):
        if raw.__class__ is not dict:
            raise Doubt
        if not key:
            judge.fit(raw, doubt)
            bench = judge.within(found.file, raw, adopt=found.adopt)
            continue
        yield from bench.accounts(key, raw, line, doubt)
