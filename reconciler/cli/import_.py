"""import: record accounts that exist at a vendor already, and write their YAML; changes none."""

from __future__ import annotations

import os
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from reconciler.accounts import Account, Address, Observed, flatten, split
from reconciler.cli.console import Console
from reconciler.cli.flags import seconds
from reconciler.cli.opened import opened
from reconciler.cli.progress import Pace
from reconciler.config.judge import Judge
from reconciler.diagnostics import Diagnostic, Source, warning
from reconciler.edit.append import Appendix, Sheet
from reconciler.edit.entries import accepted, claimed, completed, declare, unlike, unread
from reconciler.errors import ReconcilerError, Refused, UsageError, VendorError
from reconciler.exits import Exit
from reconciler.files import OWN, private_folder, write_private
from reconciler.refresh import read
from reconciler.session import Session, now
from reconciler.session.targets import nearest
from reconciler.state import Record, Writer
from reconciler.values import is_erased, to_text
from reconciler.views import text
from reconciler.views.words import number, visible

GROUP: Final = 2048
"""Records that are written in one transaction; so many are read again after a kill at most."""

TOLD: Final = 20
"""Accounts that are named one by one; of the others only the number is, and a file has them all."""

FAILED: Final = f"{OWN}/import-failed.txt"


class Wanted(NamedTuple):
    """The accounts to import, in order, their apps, and how often one was named again."""

    addresses: Mapping[Address, None]
    providers: Sequence[str]
    again: int = 0

    @classmethod
    def of(cls, addresses: Mapping[Address, None], again: int) -> Wanted:
        """Return the accounts with their apps, in the order of their first ones."""
        providers = dict.fromkeys(split(where)[0] for where in addresses)
        return cls(addresses, tuple(providers), again)


def run(arguments: Namespace, console: Console) -> int:
    """Read accounts, record what was seen and write the YAML of those that no file declares.

    3 where some were not recorded, 1 where none was. What is recorded already is not read again,
    so an import that was stopped goes on where it was.
    """
    with opened(arguments, console) as session:
        wanted = _wanted(session, arguments)
        declared = _declared(session, wanted)
        with closing(_sheet(session, wanted, arguments, console)) as sheet:
            job = _Import(session, wanted, declared, sheet, arguments, console)
            patience = seconds(arguments.lock_timeout)
            with session.lock("import", patience, apps=wanted.providers) as writer:
                job.carry(writer)
            return job.end()


def _wanted(session: Session, arguments: Namespace) -> Wanted:
    """Return the accounts that the command line or its list names."""
    if bool(arguments.addresses) == bool(arguments.list):
        raise UsageError.of(
            "usage",
            "import takes addresses, or --from FILE",
            hint="import cn-prod/a cn-prod/b; or import --from ids.txt --write accounts/app.yaml",
        )
    if not arguments.list:
        addresses = dict.fromkeys(session.address(one) for one in arguments.addresses)
        unknown = {split(where)[0] for where in addresses} - session.workspace.apps.keys()
        if unknown:
            raise UsageError.of("bad-address", f"reconciler.yaml has no provider {min(unknown)}")
        return Wanted.of(addresses, len(arguments.addresses) - len(addresses))
    from reconciler.config.lists import read as listed

    found = listed(session.root / arguments.list, arguments.list, session.capabilities)
    if not found.addresses:
        raise UsageError.of("empty", f"{arguments.list} names no account")
    return Wanted.of(found.addresses, found.again)


def _declared(session: Session, wanted: Wanted) -> dict[Address, Account]:
    """Return those accounts that the YAML declares; a workspace may have no account file yet."""
    found: dict[Address, Account] = {}
    try:
        for account in session.desired():
            if account.address in wanted.addresses:
                found[account.address] = account
    except Refused:
        pass
    return found


def _sheet(
    session: Session, wanted: Wanted, arguments: Namespace, console: Console
) -> Sheet | Appendix:
    """Return what takes the YAML: the file of --write, or stdout."""
    apps = session.workspace.apps
    sole = wanted.providers[0] if len(wanted.providers) == 1 < len(apps) else ""

    def judge() -> Judge:
        return Judge(session.workspace, session.capabilities)

    if not arguments.write:
        return Sheet(judge(), sole, console.print)
    root = Path(session.workspace.root)
    name = os.path.relpath(root / arguments.write, root)
    sheet = Appendix(session.workspace, name, judge, sole)
    if not sheet.known:
        globs = ", ".join(glob.pattern for glob in session.workspace.accounts if not glob.bans)
        unread = warning(
            "not-read",
            "No glob of reconciler.yaml matches this file, so the next plan forgets its accounts",
            hint=f"write beneath one of {globs}, or add a glob",
            source=Source(name),
        )
        console.findings([unread])
    return sheet


class _Import:
    """One import, from the first look at what is recorded to the last word about it."""

    def __init__(
        self,
        session: Session,
        wanted: Wanted,
        declared: Mapping[Address, Account],
        sheet: Sheet | Appendix,
        arguments: Namespace,
        console: Console,
    ) -> None:
        self.session, self.console = session, console
        self.wanted, self.declared, self.sheet = wanted, declared, sheet
        self.file: str = arguments.write or ""
        self.strict: bool = arguments.policy == "must-match"
        self.failed: list[tuple[Address, str]] = []
        self.unwritten: list[tuple[Address, str]] = []
        self.unsaid: list[str] = []
        self.unsaid_count = self.recorded = self.already = 0
        self.names: list[Address] = []
        self.bans: Counter[str] = Counter()
        self.unread: Counter[tuple[str, str]] = Counter()
        self._unseen: dict[Address, Record] = {}
        self._pending: list[Record] = []
        self._begun = False

    def carry(self, writer: Writer) -> None:
        """Look at what is recorded, read the rest, and put the YAML in its place."""
        self._writer = writer
        self._apps = self.session.same_apps(self.session.store, self.wanted.providers)
        fresh = self._known()
        try:
            if fresh:
                self._read(fresh)
            self._save()
        except (KeyboardInterrupt, VendorError):
            # What was read is not read again.
            self._save()
            done = f"{number(self.recorded + self.already, 'account')} recorded by now"
            self.console.say(f"{done}; the same command goes on from there.")
            raise
        self.sheet.finish()

    def _known(self) -> list[Address]:
        """Take what is recorded and was seen; return the accounts to read, provider by provider."""
        fresh: dict[str, list[Address]] = {name: [] for name in self.wanted.providers}
        addresses = iter(self.wanted.addresses)
        while group := list(islice(addresses, GROUP)):
            known = {record.address: record for record in self.session.store.records(group)}
            for where in group:
                record = known.get(where)
                if record is not None and (seen := _sight(record)):
                    self.already += 1
                    self._take_known(record, seen)
                    continue
                if record is not None:
                    self._unseen[where] = record
                fresh[split(where)[0]].append(where)
            self._save()
        return [where for own in fresh.values() for where in own]

    def _take_known(self, record: Record, seen: Observed) -> None:
        account = self.declared.get(record.address)
        new = completed(account, record) if account else self._declare(record, seen)
        if new != record:
            self._pending.append(new)

    def _read(self, fresh: Sequence[Address]) -> None:
        """Read accounts in the vendors' batches, record them in groups, and show how far it is."""
        names = {split(where)[0] for where in fresh}
        records = (self._unseen.get(where) or Record(where, {}, banned=False) for where in fresh)
        fields = ((where, flatten(one.written())) for where, one in self.declared.items())
        pace = Pace(self.console, "import", len(fresh), "account")
        links = self.session.links(
            names,
            fields=fields,
            read_only=True,
            report=lambda throttled: pace.say(text.event(throttled) or ""),
        )
        try:
            for done, (record, seen) in enumerate(read(records, links), 1):
                self._take(record, seen)
                if len(self._pending) >= GROUP:
                    self._save()
                pace.tell(done, len(self.failed))
        finally:
            pace.end()

    def _take(self, record: Record, seen: Observed | None) -> None:
        """Take one account as it was read."""
        where = record.address
        if seen is None or not seen.exists:
            told = "could not be read" if seen is None else "does not exist"
            self.failed.append((where, f"{told} at the vendor"))
            return
        if (account := self.declared.get(where)) is None:
            new = self._declare(record, seen)
        elif self.strict and (paths := unlike(account, seen, now())):
            self.failed.append((where, f"is not as the YAML says: {', '.join(paths)}"))
            return
        else:
            new = claimed(account, record, seen)
            provider = split(where)[0]
            self.unread.update((provider, path) for path in unread(account, seen))
        self._pending.append(new)
        self.recorded += 1
        if len(self.names) <= TOLD:
            self.names.append(where)

    def _declare(self, record: Record, seen: Observed) -> Record:
        """Write the entry of an account that no file declares; return the record that it makes."""
        name, key = split(record.address)
        entry = declare(record, seen, self.session.capabilities[name], self.sheet.bench)
        if entry.account is None:
            why = next((one.summary for one in entry.unsaid.values()), "")
            self.unwritten.append((record.address, f"cannot be written: {why}"))
        elif key in self.sheet.ids:
            self.unwritten.append((record.address, "is not written: the file has its id already"))
        else:
            self._note(record.address, entry.unsaid)
            self.sheet.add(entry)
            if len(self.wanted.providers) > 1:
                self.sheet.ids.add(key)
            self.bans[name] += seen.banned is None
            if self.sheet.known:
                return accepted(entry.account, record, seen)
        banned = record.banned if seen.banned is None else seen.banned
        return replace(record, observed=seen, banned=banned)

    def _note(self, where: Address, unsaid: Mapping[str, Diagnostic]) -> None:
        self.unsaid_count += len(unsaid)
        for path, finding in unsaid.items() if len(self.unsaid) < TOLD else ():
            self.unsaid.append(f"{where}: {path} is left out: {finding.summary}")

    def _save(self) -> None:
        """Record what is pending."""
        if not self._pending:
            return
        if not self._begun:
            self._writer.begin(self.session.run("import"))
            self._writer.bind(self._apps)
            self._begun = True
        self._writer.save(self._pending, (), "import")
        self._pending = []

    # The last words

    def end(self) -> int:
        """Say how it ended; on stdout only where that has no YAML."""
        say = self.console.print if self.file else self.console.say
        for name in self.names if len(self.names) <= TOLD else ():
            say(f"  imported {name}")
        self._tell_failed()
        for line in self._notes():
            self.console.say(line)
        parts = [f"{self.recorded:,} recorded"]
        if self.already:
            parts.append(f"{self.already:,} recorded already and not read again")
        say(f"Import: {', '.join(parts)}, {len(self.failed):,} failed.")
        for line in self._next(advises=self.console.advises):
            say(line)
        wrong = self.failed or self.unwritten
        if not wrong:
            return Exit.DONE
        return Exit.PARTIAL if self.recorded or self.already else Exit.ERROR

    def _tell_failed(self) -> None:
        """Name the accounts that failed, the first of them here and all of them in a file."""
        wrong = [*self.failed, *self.unwritten]
        for where, why in wrong[:TOLD]:
            near = nearest(where, (one for one, _ in self.session.store.index()))
            hint = f"\n    hint: did you mean {near}?" if near else ""
            self.console.say(f"error: {where} {visible(why, 500)}{hint}")
        if len(wrong) <= TOLD:
            return
        more = f"{len(wrong) - TOLD:,} more like these"
        path = self.session.root / FAILED
        try:
            private_folder(path.parent)
            write_private(path, _lines(wrong))
        except (OSError, ReconcilerError):
            self.console.say(f"error: {more}; their list cannot be written to {FAILED}")
        else:
            self.console.say(f"error: {more}; all of them are in {FAILED}")

    def _notes(self) -> Iterator[str]:
        if self.wanted.again:
            yield f"info: {number(self.wanted.again, 'account')} named more than once"
        yield from (f"warning: {visible(line, 500)}" for line in self.unsaid)
        if self.unsaid_count > len(self.unsaid):
            yield f"warning: {self.unsaid_count - len(self.unsaid):,} more fields are left out"
        for name, count in sorted(self.bans.items()):
            if count:
                yield (
                    f"warning: {name} does not tell bans: of {number(count, 'account')} none is "
                    "written as banned; where you know of one, add `banned: true`"
                )
        for (name, path), count in sorted(self.unread.items()):
            yield (
                f"info: {name} does not give {path} back: {number(count, 'account')} with it in "
                "the YAML; the next plan sets it"
            )

    def _next(self, *, advises: bool) -> Iterator[str]:
        count = self.sheet.count
        if count and self.file:
            yield f"{number(count, 'account')} written to {self.file}."
        elif count:
            if advises:
                yield (
                    "Put what stands on stdout into an account file and run the same import again, "
                    "which reads nothing anew;\nor run it with --write FILE."
                )
            yield "The next plan forgets accounts that no file declares."


def _sight(record: Record) -> Observed | None:
    """Return what was last seen of an account, None where it must be read again."""
    seen = record.observed
    if seen is None or not seen.exists:
        return None
    held = flatten({"profile": seen.profile}).values()
    return None if any(map(is_erased, held)) else seen


def _lines(failed: Sequence[tuple[Address, str]]) -> Iterator[bytes]:
    """Yield a list that `--from` takes, with the reasons as comments."""
    yield f"# {number(len(failed), 'account')} of the import of {to_text(now())}\n".encode()
    said = ""
    for where, why in failed:
        if why != said:
            said = why
            yield f"# {visible(why, 500)}\n".encode()
        yield f"{where}\n".encode()
