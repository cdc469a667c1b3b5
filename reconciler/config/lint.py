"""Lint: what a vendor takes and a person may not have meant, each kind under a stable id."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Final

from reconciler.accounts import Account, split
from reconciler.capabilities import Capabilities, IdRule
from reconciler.config.report import Path, Report
from reconciler.diagnostics import Severity
from reconciler.workspace import Workspace

LINTS: Final[Mapping[str, str]] = {
    "folded-id": "the vendor lower-cases an id that is written otherwise",
    "plain-http": "an avatar is loaded without encryption",
    "long-id": "an id nearly as long as the vendor takes: it may have been cut off",
    "reserved-id": "an id that the vendor keeps for itself, or that signs the app's calls",
    "look-alike": "two ids of a provider that look alike: `admin` and `adrnin`, `b0b` and `bob`",
    "same-email": "two accounts of a provider with one mail address",
    "same-mobile": "two accounts of a provider with one phone number",
    "broken-extension": "an extension that begins like JSON and is none",
}
"""Every kind that `lint` can switch, and what it finds."""

ALWAYS: Final = frozenset({"folded-id", "plain-http"})
"""What a plan says as well; all else takes time, and is looked for by `validate` alone."""

_LEVELS: Final[Mapping[str, Severity | None]] = {
    "off": None,
    "warn": Severity.WARNING,
    "error": Severity.ERROR,
}
_NEAR: Final = 3
_UUID = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)
_TWINS: Final = str.maketrans("01", "ol")


def levels(workspace: Workspace) -> dict[str, Severity | None]:
    """Return how each kind is told, None for not at all."""
    return {id: _LEVELS[workspace.lint.get(id, "warn")] for id in LINTS}


def levelled(report: Report, levels: Mapping[str, Severity | None]) -> Report:
    """Return a report that tells each kind as the workspace wants it."""

    def told(
        path: Path, id: str, summary: str, hint: str = "", severity: Severity = Severity.ERROR
    ) -> None:
        level = levels.get(id, severity)
        if level is not None:
            report(path, id, summary, hint, level)

    return told


def look(key: str, provider: str, rule: IdRule, reserved: frozenset[str], report: Report) -> None:
    """Report what is odd about an id in a provider."""
    size = len(key) if rule.unit == "characters" else len(key.encode(errors="replace"))
    if rule.limit - _NEAR < size <= rule.limit and not _UUID.fullmatch(key):
        report(
            (),
            "long-id",
            f"The id has {size} of the {rule.limit} {rule.unit} that {provider} takes.",
            "check that it was not cut off",
            Severity.WARNING,
        )
    if rule.fold(key) in reserved:
        report(
            (),
            "reserved-id",
            f"{key[:80]} is {provider}'s own account for administration.",
            "leave it out; banned or muted it may sign no call",
            Severity.WARNING,
        )


def look_into(extension: str, report: Report) -> None:
    """Report an extension that begins like JSON and is none."""
    if extension.lstrip()[:1] in ("{", "["):
        try:
            json.loads(extension)
        except (ValueError, RecursionError):
            report(
                ("profile", "extension"),
                "broken-extension",
                "The extension begins like JSON and is none.",
                "write a mapping, or mend the text",
                Severity.WARNING,
            )


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
        self.shared = {
            id: _Shared() for id in ("look-alike", "same-email", "same-mobile") if levels[id]
        }

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

    def found(self) -> Iterator[tuple[str, int, int]]:
        """Yield the kind, the number of an account, and that of the first one like it."""
        for kind, shared in self.shared.items():
            for number, first in shared.again():
                yield kind, number, first


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
    return id.lower().translate(_TWINS).replace("rn", "m").replace("vv", "w")


def _plain(name: str, value: str) -> str:
    return value.lower() if name == "email" else re.sub(r"[^0-9+]", "", value)
