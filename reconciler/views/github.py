"""GitHub: findings as the workflow commands that annotate a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from reconciler.diagnostics import Diagnostic, Severity, info
from reconciler.views.sarif import placed
from reconciler.views.words import for_command, for_property

SHOWN: Final = 10
"""Annotations of one severity that GitHub shows of a step; it drops the others in silence."""

_COMMANDS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def commands(findings: Iterable[Diagnostic], folder: str = "") -> Iterator[str]:
    """Yield workflow commands without their leading `::`, which the printer alone may write.

    What goes beyond the number that GitHub shows is told by the last one. `folder` is where the
    workspace lies in the repository.
    """
    findings = list(findings)
    for severity in _COMMANDS:
        found = [one for one in findings if one.severity is severity]
        shown = found if len(found) <= SHOWN else found[: SHOWN - 1]
        yield from (_command(one, folder) for one in shown)
        if rest := len(found) - len(shown):
            more = info("more", f"{rest:,} more of this severity; --json holds every one of them")
            yield _command(more._replace(severity=severity), folder)


def _command(one: Diagnostic, folder: str) -> str:
    place = [("title", one.id)]
    if one.source:
        place += [("file", placed(one.source.file, folder))]
        place += [("line", str(one.source.line))] if one.source.line else []
        place += [("col", str(one.source.column))] if one.source.column else []
    told = ",".join(f"{name}={for_property(held)}" for name, held in place)
    lines = "%0A".join(for_command(part) for part in (one.summary, one.detail, one.hint) if part)
    return f"{_COMMANDS[one.severity]} {told}::{lines}"
