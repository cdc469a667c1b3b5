"""Diagnostics: what is wrong, where, and what to do, as data.

Named tuples, because every command imports this and `dataclasses` would double its start-up.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple


class Severity(StrEnum):
    """How much a finding weighs: an error stops the command, the others are said and go on."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Source(NamedTuple):
    """A place in a file a user wrote. `line` and `column` count from 1; 0 means the whole file."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Return `file:line:column` without the parts that are unknown."""
        parts = [self.file, *(str(n) for n in (self.line, self.column) if n)]
        return ":".join(parts)


class Diagnostic(NamedTuple):
    """One finding for a person.

    `id` is a stable kebab-case name of the kind of finding (`duplicate-key`, `waiting`);
    `summary` is one sentence saying what is wrong, `detail` why, `hint` what to do next.
    """

    severity: Severity
    id: str
    summary: str
    detail: str = ""
    hint: str = ""
    source: Source | None = None
    address: str = ""

    def at(self, source: Source) -> Diagnostic:
        """Return the same finding located at `source`, unless it already has a place."""
        return self if self.source else self._replace(source=source)

    def to_json(self) -> dict[str, object]:
        """Return the JSON shape of `validate --json`; what is unknown of the place is null."""
        source = self.source
        shape: dict[str, object] = {
            "severity": str(self.severity),
            "id": self.id,
            "summary": self.summary,
            "detail": self.detail,
            "hint": self.hint,
            "file": source.file if source else None,
            "line": source.line or None if source else None,
            "column": source.column or None if source else None,
        }
        if self.address:
            shape["address"] = self.address
        return shape


def error(
    id: str,
    summary: str,
    *,
    detail: str = "",
    hint: str = "",
    source: Source | None = None,
    address: str = "",
) -> Diagnostic:
    """Return a finding of severity error."""
    return Diagnostic(Severity.ERROR, id, summary, detail, hint, source, address)


def warning(
    id: str,
    summary: str,
    *,
    detail: str = "",
    hint: str = "",
    source: Source | None = None,
    address: str = "",
) -> Diagnostic:
    """Return a finding of severity warning."""
    return Diagnostic(Severity.WARNING, id, summary, detail, hint, source, address)


def info(
    id: str,
    summary: str,
    *,
    detail: str = "",
    hint: str = "",
    source: Source | None = None,
    address: str = "",
) -> Diagnostic:
    """Return a finding that only informs."""
    return Diagnostic(Severity.INFO, id, summary, detail, hint, source, address)


def has_errors(findings: Iterable[Diagnostic]) -> bool:
    """Tell whether any of the findings stops the command."""
    return any(finding.severity is Severity.ERROR for finding in findings)
