"""Desired: the accounts of all files as one stream, and all their findings at the end."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Final

from reconciler.accounts import Account, Address, split
from reconciler.capabilities import Capabilities
from reconciler.config.alone import alone, carefully
from reconciler.config.files import Found, Unreadable, find, opened
from reconciler.config.judge import Judge
from reconciler.config.shared import shared
from reconciler.config.sheet import Sheet
from reconciler.diagnostics import Diagnostic, Source, error, warning
from reconciler.errors import ConfigError, Refused
from reconciler.workspace import Workspace

MOST: Final = 200
"""Errors, and warnings, that are told; of the others only the number is."""

BATCH: Final = 1000
"""Accounts that one process reads before they are handed on."""


class Desired:
    """The desired accounts of all files by path, to be iterated once; see `reconciler.config`.

    Processes that help to read are made now: before there are threads, and while little is in
    memory. `close` ends them.
    """

    def __init__(
        self,
        workspace: Workspace,
        capabilities: Mapping[str, Capabilities],
        warnings: list[Diagnostic],
    ) -> None:
        self._root = Path(workspace.root)
        self._files, self._errors, self._empty = find(workspace)
        self._warnings = warnings
        self._others: list[Diagnostic] = []
        self._judge = Judge(workspace, capabilities)
        self._seen = _Seen()
        self._shared = shared(self._root, self._files, self._judge)

    def __iter__(self) -> Iterator[Account]:
        return chain.from_iterable(self._batches())

    def close(self) -> None:
        """End the processes that help."""
        if self._shared:
            self._shared.close()

    def _batches(self) -> Iterator[Sequence[Account]]:
        errors = self._errors
        with _no_collection():
            for found in self._files:
                before = len(errors)
                self._seen.begin(found.file)
                yield from self._together(found) if self._shared else self._alone(found)
                errors[before:] = sorted(errors[before:], key=_place)
        self._warnings.extend(_capped(self._others, warning))
        if errors:
            raise ConfigError(_capped([*errors, *self._empty], error))
        if self._empty:
            raise Refused(self._empty)

    def _together(self, found: Found) -> Iterator[Sequence[Account]]:
        """Yield the accounts of a file that several processes read, as far as that goes."""
        assert self._shared
        sheets = 0
        for sheet in self._shared.sheets():
            if sheet is None:
                yield from self._rest(found)
                return
            sheets += 1
            if self._own_sinks(sheet) and self._seen.all_new(sheet.accounts):
                yield sheet.accounts
            else:
                self._shared.drop()
        if sheets > 1 and self._seen.one_key_twice():
            yield from self._rest(found)

    def _own_sinks(self, sheet: Sheet) -> bool:
        """Take the sinks of a sheet; tell whether they are nobody else's."""
        known = self._judge.sinks
        return all(known.setdefault(sink, place) == place for sink, place in sheet.sinks.items())

    def _alone(self, found: Found) -> Iterator[Sequence[Account]]:
        """Yield the accounts of a file that this process reads."""
        try:
            with opened(self._root / found.file, found.file) as stream:
                accounts = alone(self._judge, found, stream, self._errors, self._others)
                while batch := list(islice(accounts, BATCH)):
                    yield self._fresh(batch)
        except Unreadable as wrong:
            self._errors.append(wrong.finding)

    def _rest(self, found: Found) -> Iterator[Sequence[Account]]:
        """Read a file with all that is to tell of it; yield what was not yielded yet.

        Raises ConfigError if it does not begin with that: then nobody knows what it holds.
        """
        had, errors = self._seen.here(), len(self._errors)
        again: list[tuple[Address, int]] = []
        try:
            with opened(self._root / found.file, found.file) as stream:
                accounts = carefully(self._judge, found, stream, self._errors, self._others)
                again = [(one.address, one.line) for one in islice(accounts, len(had))]
                while batch := list(islice(accounts, BATCH)):
                    yield self._fresh(batch)
        except Unreadable as wrong:
            self._errors.append(wrong.finding)
        if again != had and len(self._errors) == errors:
            raise ConfigError.of(
                "changed", f"{found.file} was changed while it was read", hint="run it again"
            )

    def _fresh(self, batch: Sequence[Account]) -> Sequence[Account]:
        """Note where accounts stand; return those that are good and stand nowhere else."""
        if self._seen.all_new(batch):
            return [account for account in batch if account.digest]
        kept = []
        for account in batch:
            if self._seen.again(account):
                self._errors.append(self._seen.finding(account))
            elif account.digest:
                kept.append(account)
        return kept


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
    """Where every address stands; the place is packed into one number to keep a million small.

    Addresses are in the order in which they came, so those of one file follow one another.
    """

    def __init__(self) -> None:
        self._places: dict[Address, int] = {}
        self._files: list[str] = []
        self._before = 0

    def begin(self, file: str) -> None:
        """Go on to a file."""
        self._files.append(file)
        self._before = len(self._places)

    def all_new(self, accounts: Sequence[Account]) -> bool:
        """Take accounts if each has an address that was not there before; tell whether so."""
        places = dict(zip((a.address for a in accounts), (a.line for a in accounts), strict=True))
        if len(places) < len(accounts) or not self._places.keys().isdisjoint(places):
            return False
        here = self._here
        self._places.update((address, here | line) for address, line in places.items())
        return True

    def again(self, account: Account) -> bool:
        """Take an account; tell whether its address was there before."""
        if account.address in self._places:
            return True
        self._places[account.address] = self._here | account.line
        return False

    def here(self) -> list[tuple[Address, int]]:
        """Return address and line of what the present file brought."""
        known = islice(reversed(self._places.items()), len(self._places) - self._before)
        return [(address, place & 0xFFFFFFFF) for address, place in known][::-1]

    def one_key_twice(self) -> bool:
        """Tell whether an id stands at two places of the present file, be it in several apps."""
        lines: dict[str, int] = {}
        return any(
            lines.setdefault(split(address)[1], line) != line for address, line in self.here()
        )

    @property
    def _here(self) -> int:
        return len(self._files) << 32

    def finding(self, account: Account) -> Diagnostic:
        """Return the finding that names both places."""
        first = self._places[account.address]
        where = Source(self._files[(first >> 32) - 1], first & 0xFFFFFFFF)
        return error(
            "duplicate-account",
            f"The account {account.address} is written twice.",
            detail=f"It stands at {where} too.",
            hint=f"keep one; the other is at {where}",
            source=Source(account.file, account.line, 1),
            address=account.address,
        )
