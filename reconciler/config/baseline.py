"""Baseline: the differences that drift accepts for a time, read strictly and written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from reconciler.accounts import Address
from reconciler.config.schema import faults, typed
from reconciler.config.workspace import sound, whole
from reconciler.diagnostics import Diagnostic, Source, error
from reconciler.drift import Accepted
from reconciler.errors import ConfigError
from reconciler.values import to_moment, to_text

LONGEST: Final = timedelta(days=90)
"""How far ahead an entry may end: noise is muted for a time, never for good."""

MOST: Final = 1000
"""Entries that are written; who accepts more than that means `refresh`."""


def read(path: Path, name: str, now: datetime) -> tuple[Accepted, ...]:
    """Return the entries of a baseline, called `name` in findings, also those that ran out.

    Raises ConfigError with all findings.
    """
    findings: list[Diagnostic] = []
    built = whole(path, name, findings)

    def tell(place: tuple[Any, ...], id: str, summary: str, hint: str) -> None:
        source = Source(name, *(built.place(place, id) or (1, 1)))
        findings.append(error(id, summary, hint=hint, source=source))

    value = typed(built.value, "baseline")
    wrong = set()
    for place, id, summary, hint in faults(value, "baseline"):
        tell(place, id, summary, hint)
        wrong.add(place)
    entries: dict[tuple[str, str], Accepted] = {}
    for position, entry in enumerate(() if wrong else sound(value, wrong)["accepted"]):
        place = ("accepted", position)
        line, column = built.place(place) or (1, 1)
        try:
            expires = to_moment(entry["expires"])
        except ValueError as problem:
            hint = "write it like 2027-01-31T00:00:00Z"
            tell((*place, "expires"), "bad-time", f"{problem}.", hint)
            continue
        if expires > now + LONGEST:
            tell(
                (*place, "expires"),
                "too-far",
                f"{entry['expires']} is more than {LONGEST.days} days ahead.",
                f"write {to_text(now + LONGEST)} or before, and look at it again then",
            )
        key = (entry["address"], entry["path"])
        if key in entries:
            tell((*place, "path"), "duplicate-key", "This difference stands twice.", "remove one")
        entries[key] = Accepted(
            Address(entry["address"]),
            entry["path"],
            entry["owner"],
            entry["reason"],
            expires,
            Source(name, line, column),
        )
    if findings:
        raise ConfigError(findings)
    return tuple(entries.values())


def written(entries: Iterable[Accepted]) -> Iterator[str]:
    """Yield the lines of a baseline; every text is quoted, as JSON texts are YAML too."""
    yield "# Differences that `reconciler drift --baseline` accepts, each until it expires."
    yield "version: 1"
    yield "accepted:"
    for one in sorted(entries, key=lambda one: (one.address, one.path)):
        yield f"  - address: {_quoted(one.address)}"
        yield f"    path: {_quoted(one.path)}"
        yield f"    owner: {_quoted(one.owner)}"
        yield f"    reason: {_quoted(one.reason)}"
        yield f"    expires: {to_text(one.expires)}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
