"""Desired: the accounts of all files as one stream, and all their findings at the end."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.accounts import Account, Address, split
from reconciler.capabilities import Capabilities
from reconciler.config.alone import alone, carefully
from reconciler.config.files import Found, Unreadable, find, opened
from reconciler.config.judge import Judge
from reconciler.config.shared import shared
from reconciler.config.sheet import Sheet, pack
from reconciler.diagnostics import Diagnostic, Source, error, warning
from reconciler.errors import ConfigError, ReconcilerError, Refused
from reconciler.workspace import Workspace

if TYPE_CHECKING:
    from reconciler.config.known import Known

MOST: Final = 200
"""Errors, and warnings, that are told; of the others only the number is."""

BATCH: Final = 1000
"""Accounts that one process reads before they are handed on."""


class Desired:
    """The desired accounts of all files by path, to be iterated once; see `reconciler.config`.

    Accounts of files that are `known` come without their documents, which `again` reads. Processes
    that help to read are made now: before there are threads, and while little is in memory;
    `close` ends them. `only` leaves out all files but these.
    """

    def __init__(
        self,
        workspace: Workspace,
        capabilities: Mapping[str, Capabilities],
        warnings: list[Diagnostic],
        known: Known | None = None,
        only: Collection[str] = (),
    ) -> None:
        self._workspace, self._capabilities = workspace, capabilities
        self._root = Path(workspace.root)
        self._files, self._errors, self._empty = find(workspace)
        if only:
            self._files = [found for found in self._files if found.file in only]
        self._warnings = warnings
        self._others: list[Diagnostic] = []
        self._judge = Judge(workspace, capabilities)
        self._seen = _Seen()
        self._known = known
        self._recalled = known.recall(self._root, self._files) if known else {}
        rest = [found for found in self._files if found.file not in self._recalled]
        self._shared = shared(self._root, rest, self._judge)
        self._columns: list[bytes] = []
        self._content = b""

    def __iter__(self) -> Iterator[Account]:
        return chain.from_iterable(self._batches())

    def again(self, accounts: Iterable[Account]) -> Iterator[Account]:
        """Read the files of these accounts again and yield them with their documents.

        Raises ConfigError if one is not there any more as it was.
        """
        wanted = {account.address: account.digest for account in accounts}
        files = {account.file for account in accounts}
        fresh = Desired(self._workspace, self._capabilities, [], only=files)
        try:
            for account in fresh:
                if wanted.get(account.address) == account.digest:
                    del wanted[account.address]
                    yield account
        finally:
            fresh.close()
        if wanted:
            raise _changed(", ".join(sorted(files)))

    def close(self) -> None:
        """End the processes that help."""
        if self._shared:
            self._shared.close()

    def _batches(self) -> Iterator[Sequence[Account]]:
        errors, others = self._errors, self._others
        with _no_collection():
            for found in self._files:
                before = len(errors), len(others)
                self._seen.begin(found.file)
                self._columns, self._content = [], b""
                yield from self._file(found)
                if self._known and self._content and before == (len(errors), len(others)):
                    self._known.keep(found, self._content, self._columns)
                errors[before[0] :] = sorted(errors[before[0] :], key=_place)
        if self._known:
            self._known.bound()
        self._warnings.extend(_capped(others, warning))
        if errors:
            raise ConfigError(_capped([*errors, *self._empty], error))
        if self._empty:
            raise Refused(self._empty)

    def _file(self, found: Found) -> Iterator[Sequence[Account]]:
        """Yield the accounts of one file: as known, or read by several processes, or alone."""
        key = self._recalled.get(found.file)
        if self._known and key and (sheets := self._known.get(found, key)) is not None:
            yield from self._sheets(found, sheets)
        elif self._shared and not key:
            yield from self._sheets(found, self._shared.sheets())
            self._content = self._shared.content
        else:
            yield from self._alone(found)

    def _sheets(self, found: Found, sheets: Iterable[Sheet | None]) -> Iterator[Sequence[Account]]:
        """Yield the accounts of sheets; where they leave something to tell, read the file alone."""
        apps: set[str] = set()
        hard = False
        for sheet in sheets:
            if hard or sheet is None or not self._take(sheet):
                hard = True
                continue
            apps.update(sheet.apps)
            self._columns.append(sheet.columns)
            yield sheet.accounts
        if hard or (len(self._columns) > 1 < len(apps) and self._seen.one_key_twice()):
            yield from self._rest(found)

    def _take(self, sheet: Sheet) -> bool:
        """Note where the accounts of a sheet stand; tell whether they and their sinks are new."""
        sinks = self._judge.sinks
        own = all(sinks.setdefault(sink, place) == place for sink, place in sheet.sinks.items())
        return own and self._seen.all_new(sheet.accounts)

    def _alone(self, found: Found) -> Iterator[Sequence[Account]]:
        """Yield the accounts of a file that this process reads."""
        sinks = len(self._judge.sinks)
        try:
            with opened(self._root / found.file, found.file) as content:
                accounts = alone(self._judge, found, content, self._errors, self._others)
                while batch := list(islice(accounts, BATCH)):
                    if self._known:
                        self._columns.append(pack(batch, {})[0])
                    yield self._fresh(batch)
                own = dict(islice(self._judge.sinks.items(), sinks, None))
                self._columns.append(pack((), own)[0])
                self._content = content.digest
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
            raise _changed(found.file)

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


def _changed(file: str) -> ReconcilerError:
    return ConfigError.of("changed", f"{file} was changed while it was read", hint="run it again")


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
