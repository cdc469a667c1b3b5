"""Report: how a finding about one place of an account is told."""

from __future__ import annotations

from typing import Any, Protocol

from reconciler.diagnostics import Severity

Raw = dict[str, Any]
Path = tuple[Any, ...]


class Report(Protocol):
    """Takes one finding about the place that `path` leads to from the account."""

    def __call__(
        self, path: Path, id: str, summary: str, hint: str = "", severity: Severity = Severity.ERROR
    ) -> None: ...
