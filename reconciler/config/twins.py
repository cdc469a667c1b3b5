"""Twins: accounts of all files that share what should be their own."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice, pairwise
from typing import Final

from reconciler.accounts import Account, Address, split
from reconciler.capabilities import Capabilities
from reconciler.config.told import MOST, Told
from reconciler.diagnostics import Diagnostic, Severity, Source

_SAID: Final[Mapping[str, str]] = {
    "look-alike": "{this} looks like {other}.",
    "same-email": "{this} has the mail address of {other}.",
    "same-mobile": "{this} has the phone number of {other}.",
}
_ALIKE: Final = str.maketrans("01", "ol")


class Twins:
    """Finds accounts that share what should be their own, in twelve bytes an account and kind.

    Accounts are known by their number in the stream.
    """

    def __init__(
        self,
        levels: Mapping[str, Severity | None],
        capabilities: Mapping[str, Capabilities],
    ) -> None:
        self.folding = {name: one.id.folds for name, one in capabilities.items()}
        self.levels = {kind: level for kind in _SAID if (level := levels[kind])}
        self.shared = {kind: _Shared() for kind in self.levels}

    def take(self, number: int, account: Account) -> None:
        """Take the next account."""
        provider, id = split(account.address)
        if ids := self.shared.get("look-alike"):
            for shape in shapes(id, folds=self.folding[provider]):
                ids.add(f"{provider}/{shape}", number)
        if b'"email":' in account.document or b'"mobile":' in account.document:
            profile = account.written().get("profile", {})
            for name in ("email", "mobile"):
                kind = self.shared.get(f"same-{name}")
                if kind and (value := _plain(name, profile.get(name, ""))):
                    kind.add(f"{provider}/{value}", number)

    def tell(
        self, addresses: Iterable[Address], place: Callable[[Address], Source], told: Told
    ) -> None:
        """Tell of those that share something; `addresses` are all accounts, in their order."""
        found = (
            (kind, number, first)
            for kind, shared in self.shared.items()
            for number, first in shared.again()
        )
        named = list(islice(found, MOST))
        wanted = {number for _, *numbers in named for number in numbers}
        known = {n: one for n, one in enumerate(addresses if wanted else ()) if n in wanted}
        for kind, number, first in named:
            this, other = known[number], known[first]
            finding = Diagnostic(
                self.levels[kind],
                kind,
                _SAID[kind].format(this=this, other=other),
                hint=f"check that two accounts are meant; the other is at {place(other)}",
                source=place(this)._replace(column=1),
                address=this,
            )
            told.take([finding])
        # Of very many only the number is of use.
        for kind, _, _ in found:
            told.count(self.levels[kind])


class _Shared:
    """Which of very many texts came twice, by a digest of 64 bits of each."""

    def __init__(self) -> None:
        self.digests, self.numbers = array("q"), array("I")

    def add(self, text: str, number: int) -> None:
        self.digests.append(hash(text))
        self.numbers.append(number)

    def again(self) -> Iterator[tuple[int, int]]:
        """Yield the number of each that had been there, once, and of who had it first."""
        twice = {one for one, other in pairwise(sorted(self.digests)) if one == other}
        firsts: dict[int, int] = {}
        last = -1
        for digest, number in zip(self.digests, self.numbers, strict=True) if twice else ():
            if digest in twice:
                first = firsts.setdefault(digest, number)
                if number not in (first, last):
                    last = number
                    yield number, first


def shapes(id: str, *, folds: bool) -> Iterator[str]:
    """Yield what an id looks like: ids that share a shape are taken for each other.

    Vendors take ASCII only, so letters of other scripts are refused before they can mislead. Where
    the vendor tells letter cases apart, a capital I looks like an l, and ids differ in case alone.
    """
    if not folds and "I" in id:
        yield _shape(id.replace("I", "l"))
    yield _shape(id)


def _shape(id: str) -> str:
    return id.lower().translate(_ALIKE).replace("rn", "m").replace("vv", "w")


def _plain(name: str, value: str) -> str:
    return value.lower() if name == "email" else re.sub(r"[^0-9+]", "", value)
