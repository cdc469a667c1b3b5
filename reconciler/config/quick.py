"""Quick: how the fast way of reading gives up."""

from __future__ import annotations

from typing import Any

from reconciler.diagnostics import Severity


class Doubt(Exception):
    """The quick judgement is not sure of an account."""


def doubt(
    path: tuple[Any, ...],
    id: str,
    summary: str,
    hint: str = "",
    severity: Severity = Severity.ERROR,
) -> None:
    """Give up, whatever was found: the report of the quick judgement."""
    raise Doubt(path, id, summary, hint, severity)
