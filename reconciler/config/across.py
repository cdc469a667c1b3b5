"""Across: what shows only when the accounts of all files are seen together."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from reconciler.accounts import Account
from reconciler.config.lint import Twins
from reconciler.config.told import MOST, Told
from reconciler.diagnostics import Diagnostic, Severity, Source, error

_ALIKE: Mapping[str, str] = {
    "look-alike": "{this} looks like {other}.",
    "same-email": "{this} has the mail address of {other}.",
    "same-mobile": "{this} has the phone number of {other}.",
}


class Across:
    """Takes every account of the merged stream, in its order; a place is packed into one number.

    `twins` finds what accounts share, where somebody wants to know.
    """

    def __init__(self, twins: Twins | None) -> None:
        self.twins = twins
        self.places: dict[str, int] = {}
        self.files: list[str] = []
        self.sinks: dict[str, str] = {}

    def take(self, account: Account) -> Diagnostic | None:
        """Take an account; return the finding about one that cannot stand beside another."""
        if not self.files or self.files[-1] != account.file:
            self.files.append(account.file)
        if account.address in self.places:
            where = self._place(self.places[account.address])
            return error(
                "duplicate-account",
                f"The account {account.address} is written twice.",
                detail=f"It stands at {where} too.",
                hint=f"keep one; the other is at {where}",
                source=Source(account.file, account.line, 1),
                address=account.address,
            )
        number = len(self.places)
        self.places[account.address] = len(self.files) << 32 | account.line
        if self.twins and account.digest:
            self.twins.take(number, account)
        return self._sink(account) if b'"sink":' in account.document else None

    def _sink(self, account: Account) -> Diagnostic | None:
        """Return the finding about a sink that two tokens go to: the second replaces the first."""
        sink = account.written().get("token", {}).get("sink")
        if sink is None or (first := self.sinks.setdefault(sink, account.address)) == (
            account.address
        ):
            return None
        where = self._place(self.places[first])
        return error(
            "shared-sink",
            f"{sink[:80]} takes the token of {first} already ({where}).",
            hint="give every account a sink of its own",
            source=Source(account.file, account.line, 1),
            address=account.address,
        )

    def _place(self, packed: int) -> Source:
        return Source(self.files[(packed >> 32) - 1], packed & 0xFFFFFFFF)

    def twice(self, levels: Mapping[str, Severity | None], told: Told) -> None:
        """Tell of accounts that share what should be their own; of very many, how many."""
        found = self.twins.found() if self.twins else iter(())
        first = list(islice(found, MOST))
        wanted = {number for _, *numbers in first for number in numbers}
        known = {
            number: (address, self._place(packed))
            for number, (address, packed) in enumerate(self.places.items() if wanted else ())
            if number in wanted
        }
        for kind, number, other in first:
            (this, where), (that, there) = known[number], known[other]
            finding = Diagnostic(
                levels[kind] or Severity.WARNING,
                kind,
                _ALIKE[kind].format(this=this, other=that),
                hint=f"check that two accounts are meant; the other is at {there}",
                source=where._replace(column=1),
                address=this,
            )
            told.take([finding])
        for kind, _, _ in found:
            told.count(levels[kind] or Severity.WARNING)
