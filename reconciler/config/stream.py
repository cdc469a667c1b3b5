"""Desired: the accounts of all files as one stream, and all their findings at the end."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final

from reconciler.accounts import Account
from reconciler.capabilities import Capabilities
from reconciler.config import lines, text
from reconciler.config.files import Found, Unreadable, find, opened
from reconciler.config.judge import Bench, Judge
from reconciler.config.quick import Doubt, doubt
from reconciler.diagnostics import Diagnostic, Source, error, warning
from reconciler.errors import ConfigError, Refused
from reconciler.workspace import Workspace

if TYPE_CHECKING:
    from reconciler.config.careful import Careful

_MARGIN: Final = re.compile(rb"\n([^\s#][^\n:]{,16})")
_LONGEST_KEY: Final = 20

MOST: Final = 200
"""Errors, and warnings, that are told; of the others only the number is."""


def desired(
    workspace: Workspace, capabilities: Mapping[str, Capabilities], warnings: list[Diagnostic]
) -> Iterator[Account]:
    """Yield the desired accounts of all files by path; see `reconciler.config`."""
    files, findings, empty = find(workspace)
    others: list[Diagnostic] = []
    judge = Judge(workspace, capabilities)
    seen = _Seen()
    for found in files:
        before = len(findings)
        with _no_collection():
            for account in _file(Path(workspace.root), found, judge, findings, others):
                if seen.again(account):
                    findings.append(seen.finding(account))
                elif account.digest:
                    yield account
        findings[before:] = sorted(findings[before:], key=_place)
    warnings.extend(_capped(others, warning))
    if findings:
        raise ConfigError(_capped([*findings, *empty], error))
    if empty:
        raise Refused(empty)


def _place(finding: Diagnostic) -> tuple[int, int]:
    source = finding.source
    return (source.line, source.column) if source else (0, 0)


def _capped(findings: list[Diagnostic], tell: Callable[..., Diagnostic]) -> list[Diagnostic]:
    if len(findings) <= MOST:
        return findings
    rest = f"There are {len(findings) - MOST} more findings."
    return [*findings[:MOST], tell("more", rest, hint="mend these first")]


@contextmanager
def _no_collection() -> Iterator[None]:
    """Pause the cyclic garbage collector: reading makes many values and no cycles."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class _Seen:
    """Where every address stands; the place is packed into one number to keep a million small."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.files: list[str] = []

    def again(self, account: Account) -> bool:
        """Take an account; tell whether its address was there before."""
        if not self.files or self.files[-1] != account.file:
            self.files.append(account.file)
        if account.address in self.places:
            return True
        self.places[account.address] = len(self.files) << 32 | account.line
        return False

    def finding(self, account: Account) -> Diagnostic:
        """Return the finding that names both places."""
        first = self.places[account.address]
        where = Source(self.files[(first >> 32) - 1], first & 0xFFFFFFFF)
        return error(
            "duplicate-account",
            f"The account {account.address} is written twice.",
            detail=f"It stands at {where} too.",
            hint=f"keep one; the other is at {where}",
            source=Source(account.file, account.line, 1),
            address=account.address,
        )


def _file(
    root: Path, found: Found, judge: Judge, findings: list[Diagnostic], others: list[Diagnostic]
) -> Iterator[Account]:
    """Yield the accounts of one file."""
    try:
        with opened(root / found.file, found.file) as stream:
            yield from held(stream, found, judge, findings, others)
    except Unreadable as wrong:
        findings.append(wrong.finding)


def held(
    stream: BinaryIO,
    found: Found,
    judge: Judge,
    findings: list[Diagnostic],
    others: list[Diagnostic],
) -> Iterator[Account]:
    """Yield the accounts that a file holds: the fast way as far as it goes, else the careful one.

    Errors are appended to `findings`, what only warns to `others`.
    """
    done = 0
    suffix = PurePosixPath(found.file).suffix
    if suffix in (".yaml", ".yml") and not _goes_on(stream):
        try:
            for account in _fast(text.pieces(stream, found.file), found, judge):
                done += 1
                yield account
            return
        except (lines.Unusual, Doubt, text.Unfit):
            stream.seek(0)
    from reconciler.config.careful import Careful

    careful = Careful(judge, found.file, adopt=found.adopt)
    for account in _carefully(careful, suffix, stream):
        # The fast way had these already, in the same order.
        if done:
            done -= 1
            continue
        yield account
    findings.extend(careful.findings)
    others.extend(careful.warnings)


def _goes_on(stream: BinaryIO) -> bool:
    """Tell whether a key stands at the margin behind the accounts, as late defaults would.

    They hold for accounts that the fast way has given away by then.
    """
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


def bench(
    stream: BinaryIO, found: Found, judge: Judge, findings: list[Diagnostic]
) -> tuple[Bench, list[Account]]:
    """Return what judges more accounts of a YAML file, and those that it holds already."""
    from reconciler.config.careful import Careful

    careful = Careful(judge, found.file, adopt=found.adopt)
    made = list(careful.yaml(stream))
    findings.extend(careful.findings)
    return careful.bench, made


def _carefully(careful: Careful, suffix: str, stream: BinaryIO) -> Iterator[Account]:
    if suffix in (".yaml", ".yml"):
        return careful.yaml(stream)
    from reconciler.config.bulk import READERS

    return READERS[suffix](careful, stream)


def _fast(pieces: Iterator[text.Piece], found: Found, judge: Judge) -> Iterator[Account]:
    bench = judge.within(found.file, {}, adopt=found.adopt)
    for key, line, raw in lines.read(pieces):
        if raw.__class__ is not dict:
            raise Doubt
        if not key:
            judge.fit(raw, doubt)
            bench = judge.within(found.file, raw, adopt=found.adopt)
            continue
        yield from bench.accounts(key, raw, line, doubt)
