"""Told: the findings of all files, as many as a person reads, and how many more there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from reconciler.diagnostics import Diagnostic, Severity

MOST: Final = 200
"""Errors, and warnings, that are told; of the others only the number is."""

KEPT: Final = 10_000
"""Findings that are kept of one file, so that memory stays bounded."""


class Told:
    """Takes findings file by file, and keeps the first of each severity.

    `cut` says that some file was not read to its end, as too much was wrong with it.
    """

    def __init__(self) -> None:
        self.cut = False
        self._above: dict[Diagnostic, None] = {}
        self._kept: dict[Severity, list[Diagnostic]] = {}
        self._count: Counter[Severity] = Counter()

    def take_above(self, findings: Iterable[Diagnostic]) -> None:
        """Take findings that come before all others, each once."""
        self._above.update(dict.fromkeys(findings))

    def take(self, findings: Iterable[Diagnostic]) -> None:
        """Take findings of one file, or of none, in the order of their lines."""
        for one in sorted(findings, key=_place):
            self.count(one.severity)
            kept = self._kept.setdefault(one.severity, [])
            if len(kept) < MOST:
                kept.append(one)

    def count(self, severity: Severity) -> None:
        """Count a finding that is not kept."""
        self._count[severity] += 1

    def of(self, severity: Severity, more: Iterable[Diagnostic] = ()) -> list[Diagnostic]:
        """Return what is told of a severity, and `more` behind it."""
        above = [one for one in self._above if one.severity is severity]
        behind = list(more)
        told = [*above, *self._kept.get(severity, ()), *behind]
        rest = len(above) + self._count[severity] + len(behind) - MOST
        if rest <= 0:
            return told
        number = f"{'at least ' if self.cut else ''}{rest:,}"
        summary = f"There {'is' if rest == 1 else 'are'} {number} more finding{'s' * (rest > 1)}."
        return [*told[:MOST], Diagnostic(severity, "more", summary, hint="mend these first")]


def _place(finding: Diagnostic) -> tuple[int, int]:
    source = finding.source
    return (source.line, source.column) if source else (0, 0)
