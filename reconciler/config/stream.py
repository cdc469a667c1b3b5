"""Desired: the accounts of all files as one stream, and all their findings at the end."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final

from reconciler.accounts import Account, Address
from reconciler.capabilities import Capabilities
from reconciler.config import lines, text
from reconciler.config.defaults import beneath, over
from reconciler.config.files import Found, Unreadable, find, opened
from reconciler.config.judge import Bench, Judge
from reconciler.config.quick import Doubt, doubt
from reconciler.config.told import KEPT, MOST, Told
from reconciler.config.twins import Twins
from reconciler.diagnostics import Diagnostic, Severity, Source, error
from reconciler.errors import ConfigError, Refused
from reconciler.workspace import Workspace

if TYPE_CHECKING:
    from reconciler.config.careful import Careful

_MARGIN: Final = re.compile(rb"\n([^\s#][^\n:]{,16})")
_LONGEST_KEY: Final = 20


def desired(
    workspace: Workspace,
    capabilities: Mapping[str, Capabilities],
    warnings: list[Diagnostic],
    moment: datetime | None,
) -> Iterator[Account]:
    """Yield the desired accounts of all files by path; see `reconciler.config`."""
    files, findings, empty = find(workspace)
    judge = Judge(workspace, capabilities, moment)
    told = Told()
    told.take(findings)
    told.take_above(judge.unfit(workspace.accounts))
    twins = Twins(judge.levels, capabilities) if moment else None
    seen = _Seen()
    for found in files:
        own: list[Diagnostic] = []
        with _no_collection():
            for account in _file(Path(workspace.root), found, judge, own):
                if seen.again(account):
                    own.append(seen.finding(account))
                elif account.digest:
                    if twins:
                        twins.take(len(seen.places) - 1, account)
                    yield account
        errors = sum(1 for one in own if one.severity is Severity.ERROR)
        told.cut = told.cut or errors > MOST or len(own) > KEPT
        # A default of a glob may be wrong for the accounts of many files.
        told.take_above(one for one in own if not _of(one, found))
        told.take(one for one in own if _of(one, found))
    if twins:
        twins.tell(seen.places, seen.place, told)
    warnings.extend(told.of(Severity.WARNING))
    if told.of(Severity.ERROR):
        raise ConfigError(told.of(Severity.ERROR, empty))
    if empty:
        raise Refused(empty)


def _of(finding: Diagnostic, found: Found) -> bool:
    return finding.source is None or finding.source.file == found.file


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
        self.places: dict[Address, int] = {}
        self.files: list[str] = []

    def again(self, account: Account) -> bool:
        """Take an account; tell whether its address was there before."""
        if not self.files or self.files[-1] != account.file:
            self.files.append(account.file)
        if account.address in self.places:
            return True
        self.places[account.address] = len(self.files) << 32 | account.line
        return False

    def place(self, address: Address) -> Source:
        """Return where an account stands."""
        packed = self.places[address]
        return Source(self.files[(packed >> 32) - 1], packed & 0xFFFFFFFF)

    def finding(self, account: Account) -> Diagnostic:
        """Return the finding that names both places."""
        where = self.place(account.address)
        return error(
            "duplicate-account",
            f"The account {account.address} is written twice.",
            detail=f"It stands at {where} too.",
            hint=f"keep one; the other is at {where}",
            source=Source(account.file, account.line, 1),
            address=account.address,
        )


def _file(root: Path, found: Found, judge: Judge, findings: list[Diagnostic]) -> Iterator[Account]:
    """Yield the accounts of one file."""
    try:
        with opened(root / found.file, found.file) as stream:
            yield from held(stream, found, judge, findings)
    except Unreadable as wrong:
        findings.append(wrong.finding)


def held(
    stream: BinaryIO, found: Found, judge: Judge, findings: list[Diagnostic]
) -> Iterator[Account]:
    """Yield the accounts that a file holds: the fast way as far as it goes, else the careful one.

    What is wrong, and what only warns, is appended to `findings`.
    """
    done = 0
    kind = "bans" if found.bans else PurePosixPath(found.file).suffix
    if kind in (".yaml", ".yml") and not _goes_on(stream):
        try:
            for account in _fast(text.pieces(stream, found.file), found, judge):
                done += 1
                yield account
            return
        except (lines.Unusual, Doubt, text.Unfit):
            stream.seek(0)
    from reconciler.config.careful import Careful

    careful = Careful(judge, found)
    for account in _carefully(careful, kind, stream):
        # The fast way had these already, in the same order.
        if done:
            done -= 1
            continue
        yield account
    findings += careful.findings
    findings += careful.warnings


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

    careful = Careful(judge, found)
    made = list(careful.yaml(stream))
    findings.extend(careful.findings)
    return careful.bench, made


def _carefully(careful: Careful, kind: str, stream: BinaryIO) -> Iterator[Account]:
    if kind in (".yaml", ".yml"):
        return careful.yaml(stream)
    from reconciler.config.bulk import READERS

    return READERS[kind](careful, stream)


def _fast(pieces: Iterator[text.Piece], found: Found, judge: Judge) -> Iterator[Account]:
    under = beneath(found.globs)
    bench = judge.within(found.file, under)
    for key, line, raw in lines.read(pieces):
        if raw.__class__ is not dict:
            raise Doubt
        if not key:
            judge.fit(raw, doubt)
            bench = judge.within(found.file, over(under, raw))
            continue
        yield from bench.accounts(key, raw, line, doubt)
