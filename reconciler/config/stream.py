"""Desired: the accounts of all files as one stream, and all their findings at the end."""

from __future__ import annotations

import gc
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.accounts import Account, Address, Alike, Batch, split
from reconciler.capabilities import Capabilities
from reconciler.config.files import Found, Unreadable, find, opened
from reconciler.config.judge import Judge
from reconciler.config.sheet import Sheet, pack
from reconciler.config.told import KEPT, MOST, Told
from reconciler.config.twins import Twins
from reconciler.diagnostics import Diagnostic, Severity, Source, error, has_errors
from reconciler.errors import ConfigError, ReconcilerError, Refused
from reconciler.workspace import Workspace

if TYPE_CHECKING:
    from reconciler.config.known import Known
    from reconciler.config.shared import Shared

BATCH: Final = 1000
"""Accounts that one process reads before they are handed on."""

SMALL: Final = 4 << 20
"""Bytes of a file that one process reads at once."""

LEAST: Final = 2 << 20
"""Bytes of all files from which on several processes read them: some 7,000 accounts."""


class Desired:
    """The desired accounts of all files by path, to be iterated once; see `reconciler.config`.

    With a `moment` they are validated, at that moment. Accounts of files that are `known` come
    without their documents, which `again` reads. Processes that help to read are made now: before
    there are threads, and while little is in memory; `close` ends them. `only` leaves out all files
    but these.
    """

    def __init__(
        self,
        workspace: Workspace,
        capabilities: Mapping[str, Capabilities],
        warnings: list[Diagnostic],
        moment: datetime | None = None,
        known: Known | None = None,
        only: Collection[str] = (),
    ) -> None:
        self._workspace, self._capabilities = workspace, capabilities
        self._root = Path(workspace.root)
        self._files, findings, self._empty = find(workspace)
        if only:
            self._files = [found for found in self._files if found.file in only]
        self._warnings = warnings
        self._judge = Judge(workspace, capabilities, moment)
        self._told = Told()
        self._told.take(findings)
        self._told.take_above(self._judge.unfit(workspace.accounts))
        self._seen = _Seen()
        self._twins = Twins(self._judge.levels, capabilities) if moment else None
        self._known = known
        self._recalled: Collection[str] = ()
        self._keys: Mapping[str, bytes] = {}
        if known:
            self._keys, self._recalled = known.recall(self._root, self._files)
        # What all of the files are known under, and together come to, once they were read.
        self._read: list[bytes] = []
        self._count, self._until = 0, ""
        self._same: Collection[bytes] = ()
        rest = [found for found in self._files if found.file not in self._recalled]
        self._shared = shared(self._root, rest, self._judge)
        # Of the file that is read now: its findings, and what may be known of it.
        self._own: list[Diagnostic] = []
        self._columns: list[bytes] = []
        self._content = b""
        self._as_known = self._as_then = self._reread = False

    def __iter__(self) -> Iterator[Account]:
        return chain.from_iterable(batch.accounts() for batch in self.batches())

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

    def alike(self, chain: str) -> Alike | None:
        """Return what files like these were found to say of the recorded state of this digest."""
        told = self._told.of(Severity.ERROR, self._empty) or self._told.of(Severity.WARNING)
        # A file that cannot be read is told of when it is read.
        if not self._known or not chain or told or len(self._keys) < len(self._files):
            return None
        if (found := self._known.alike({*self._keys.values()}, chain)) is None:
            return None
        alike, self._same = found
        return alike

    def keep_alike(self, chain: str, moment: str) -> None:
        """Keep that what was read just now is recorded, and nothing else, in the state so far.

        Nothing is kept where a ban has ended at that moment: before, it was to stand.
        """
        ended = "" < self._until <= moment
        if self._known and chain and not ended and len(self._read) == len(self._files):
            self._known.keep_alike(self._read, chain, self._count, self._until)

    def close(self) -> None:
        """End the processes that help."""
        if self._shared:
            self._shared.close()

    def batches(self) -> Iterator[Batch]:
        """Yield the accounts in batches. Raises as iterating does."""
        with _no_collection():
            for found in self._files:
                self._seen.begin(found.file)
                self._own, self._columns, self._content = [], [], b""
                self._reread = False
                for batch in self._file(found):
                    self._count += len(batch.addresses)
                    self._until = min(filter(None, (self._until, batch.until)), default="")
                    yield batch
                self._check(found)
                if self._known and not self._own:
                    self._keep(self._known, found)
                self._tell(found)
        if self._known:
            self._known.bound()
        told = self._told
        if self._twins:
            self._twins.tell(self._seen.addresses(), self._seen.place, told)
        self._warnings.extend(told.of(Severity.WARNING))
        if told.of(Severity.ERROR):
            raise ConfigError(told.of(Severity.ERROR, self._empty))
        if self._empty:
            raise Refused(self._empty)

    def _check(self, found: Found) -> None:
        """Raise ConfigError where a file that was told to be what it was is so no more."""
        if not (self._known and self._as_then and self._content):
            return
        if self._known.key(found, self._content) != self._keys[found.file]:
            raise _changed(found.file)

    def _keep(self, known: Known, found: Found) -> None:
        """Keep what was read of a file with nothing to tell, and note what it is known under."""
        if self._reread:
            return  # nobody knows whether both readings had the same bytes
        if self._content:
            self._read.append(known.keep(found, self._content, self._columns))
        elif self._as_known:
            self._read.append(self._keys[found.file])

    def _tell(self, found: Found) -> None:
        """Take the findings of a file that was read."""
        own = self._own
        errors = sum(1 for one in own if one.severity is Severity.ERROR)
        self._told.cut = self._told.cut or errors > MOST or len(own) > KEPT
        # A default of a glob may be wrong for the accounts of many files.
        self._told.take_above(one for one in own if not _of(one, found))
        self._told.take(one for one in own if _of(one, found))

    def _file(self, found: Found) -> Iterator[Batch]:
        """Yield the accounts of one file: as known, or read by several processes, or alone."""
        self._as_known, recalled = False, found.file in self._recalled
        # However it is read: one that is not kept, or not any more, is what it was as well.
        self._as_then = self._keys.get(found.file) in self._same
        sheets: Iterable[Sheet] | None = None
        if self._known and recalled:
            sheets = self._known.get(found, self._keys[found.file])
        if sheets is not None:
            self._as_known = True
            yield from self._good(found, sheets)
        elif self._shared and not recalled:
            yield from self._good(found, self._shared.sheets())
            self._content = self._shared.content
        else:
            yield from self._alone(found)

    def _good(self, found: Found, sheets: Iterable[Sheet | None]) -> Iterator[Batch]:
        """Yield sheets; where they leave something to tell, the rest of the file as read alone."""
        apps: set[str] = set()
        hard, number, digests = False, 0, list[bytes]()
        for sheet in sheets:
            if hard or sheet is None or not self._take(sheet):
                hard = True
                continue
            number += 1
            sheet.same = self._as_then
            apps.update(sheet.apps)
            digests.append(sheet.digests)
            self._columns.append(sheet.columns)
            if self._twins:
                self._compare(sheet.accounts())
            yield sheet
        # In one app an id that stands in two sheets is an address that does.
        if hard or (number > 1 < len(apps) and self._seen.one_id_twice()):
            yield from self._rest(found, b"".join(digests))

    def _take(self, sheet: Sheet) -> bool:
        """Note where the accounts of a sheet stand; tell whether they and their sinks are new."""
        sinks = self._judge.sinks
        own = all(sinks.setdefault(sink, place) == place for sink, place in sheet.sinks.items())
        return own and self._seen.all_new(sheet.addresses, sheet.lines)

    def _alone(self, found: Found) -> Iterator[Batch]:
        """Yield the accounts of a file that this process reads."""
        from reconciler.config.alone import alone

        sinks = len(self._judge.sinks)
        try:
            with opened(self._root / found.file, found.file) as content:
                # A careful reading goes over the file several times, and of one in memory it is
                # certain that it was the same file each time.
                small = os.fstat(content.fileno()).st_size <= SMALL
                stream = BytesIO(content.whole()) if small else content
                # Of a large one nobody may know at the end which bytes were read.
                self._as_then = self._as_then and small
                accounts = alone(self._judge, found, stream, self._own)
                yield from self._fresh(accounts)
                own = dict(islice(self._judge.sinks.items(), sinks, None))
                self._columns.append(pack((), own)[0])
                self._content = content.digest
        except Unreadable as wrong:
            self._own.append(wrong.finding)

    def _rest(self, found: Found, digests: bytes) -> Iterator[Batch]:
        """Read a file with all that is to tell of it; yield what was not yielded yet.

        Raises ConfigError if it does not begin with that, of these digests: then nobody knows what
        it holds.
        """
        from reconciler.config.alone import carefully, goes_on

        self._as_known, self._as_then, self._reread = False, False, True
        had = list(self._seen.here())
        again: list[tuple[Address, int]] = []
        same = True
        try:
            with opened(self._root / found.file, found.file) as stream:
                # Defaults behind the accounts were looked for before any of these was yielded.
                if had and goes_on(stream, found):
                    raise _changed(found.file)
                accounts = carefully(self._judge, found, stream, self._own)
                first = list(islice(accounts, len(had)))
                again = [(one.address, one.line) for one in first]
                same = b"".join([one.digest for one in first]) == digests
                yield from self._fresh(accounts)
        except Unreadable as wrong:
            self._own.append(wrong.finding)
        if (again != had or not same) and not has_errors(self._own):
            raise _changed(found.file)

    def _fresh(self, accounts: Iterator[Account]) -> Iterator[Batch]:
        """Yield the accounts that are good and stand nowhere else, in batches of whole entries."""
        while batch := list(islice(accounts, BATCH)):
            while batch[-1].siblings and batch[-1].address != batch[-1].siblings[-1]:
                batch.append(next(accounts))
            places = {account.address: account.line for account in batch}
            if len(places) < len(batch) or not self._seen.all_new([*places], [*places.values()]):
                fresh = []
                for account in batch:
                    if self._seen.all_new([account.address], [account.line]):
                        fresh.append(account)
                    else:
                        self._own.append(self._seen.finding(account))
                batch = fresh
            if self._twins:
                self._compare(batch)
            good = _Few([one for one in batch if one.digest], same=self._as_then)
            if self._known:
                self._columns.append(pack(good.accounts(), {})[0])
            yield good

    def _compare(self, accounts: Sequence[Account]) -> None:
        """Have those that were just taken compared with all others."""
        if self._twins:
            for number, account in enumerate(accounts, self._seen.count - len(accounts)):
                if account.digest:
                    self._twins.take(number, account)


def shared(root: Path, files: Sequence[Found], judge: Judge) -> Shared | None:
    """Return what reads these files with several processes, None where that does not pay."""
    size = 0
    for found in files:
        with suppress(OSError):
            size += os.stat(root / found.file).st_size
    if size < LEAST:
        return None
    from reconciler.config.crew import cores
    from reconciler.config.shared import Shared

    count = cores()
    with suppress(OSError):  # no more processes are to be had
        return Shared(root, files, judge, count) if count > 1 else None
    return None


class _Few:
    """Accounts that were read one by one."""

    def __init__(self, accounts: Sequence[Account], *, same: bool) -> None:
        self._accounts, self.same = accounts, same
        self.addresses = [account.address for account in accounts]
        self.digests = b"".join([account.digest for account in accounts])
        self.until = min(filter(None, [account.until for account in accounts]), default="")

    def accounts(self) -> Sequence[Account]:
        return self._accounts


def _changed(file: str) -> ReconcilerError:
    return ConfigError.of("changed", f"{file} was changed while it was read", hint="run it again")


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
    """Which addresses there were, and where, in the order in which they came."""

    def __init__(self) -> None:
        self._all: set[Address] = set()
        self._parts: list[tuple[str, Sequence[Address], Sequence[int]]] = []
        self._file, self._begin = "", 0
        self._places: dict[Address, Source] = {}
        self._placed = 0
        self.count = 0
        """How many there were."""

    def begin(self, file: str) -> None:
        """Go on to a file."""
        self._file, self._begin = file, len(self._parts)

    def all_new(self, addresses: Sequence[Address], lines: Sequence[int]) -> bool:
        """Take different addresses of the present file; tell whether none was there before."""
        if not self._all.isdisjoint(addresses):
            return False
        self._all.update(addresses)
        self._parts.append((self._file, addresses, lines))
        self.count += len(addresses)
        return True

    def addresses(self) -> Iterator[Address]:
        """Yield all of them."""
        return chain.from_iterable(addresses for _, addresses, _ in self._parts)

    def here(self) -> Iterator[tuple[Address, int]]:
        """Yield address and line of what the present file brought."""
        for _, addresses, lines in self._parts[self._begin :]:
            yield from zip(addresses, lines, strict=True)

    def one_id_twice(self) -> bool:
        """Tell whether an id stands at two places of the present file, be it in several apps."""
        lines: dict[str, int] = {}
        return any(
            lines.setdefault(split(address)[1], line) != line for address, line in self.here()
        )

    def place(self, address: Address) -> Source:
        """Return where an account stands."""
        # A place an address is made only once somebody asks for one.
        for file, addresses, lines in self._parts[self._placed :]:
            for one, line in zip(addresses, lines, strict=True):
                self._places[one] = Source(file, line)
        self._placed = len(self._parts)
        return self._places[address]

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
