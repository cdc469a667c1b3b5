"""Errors: every failure a command can end with knows its exit code and its findings."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.diagnostics import Diagnostic, Source, error
from reconciler.exits import Exit


class ReconcilerError(Exception):
    """A failure to be told to a person; `diagnostics` holds every finding, never none."""

    exit = Exit.ERROR

    def __init__(self, findings: Diagnostic | Iterable[Diagnostic]) -> None:
        self.diagnostics = (findings,) if isinstance(findings, Diagnostic) else tuple(findings)
        super().__init__("; ".join(finding.summary for finding in self.diagnostics))

    @property
    def told(self) -> str:
        """What is wrong and what to do, on one line: for where an action fails by itself."""
        return " ".join(
            f"{one.summary.removesuffix('.')}; {one.hint}" if one.hint else one.summary
            for one in self.diagnostics
        )

    @classmethod
    def of(
        cls,
        id: str,
        summary: str,
        *,
        detail: str = "",
        hint: str = "",
        source: Source | None = None,
    ) -> ReconcilerError:
        """Return this error with a single finding."""
        return cls(error(id, summary, detail=detail, hint=hint, source=source))


class ConfigError(ReconcilerError):
    """What the user wrote cannot be used."""


class SecretError(ReconcilerError):
    """A secret reference is not allowed or does not resolve."""


class StateError(ReconcilerError):
    """The recorded state is corrupt, foreign, newer, older than one already seen, or unwritable."""


class VendorError(ReconcilerError):
    """A vendor could not be reached or read."""


class Refused(ReconcilerError):
    """A limit, a rule or a protected account forbids it."""

    exit = Exit.REFUSED


class Locked(ReconcilerError):
    """Somebody else holds the state lock, or this holder lost it."""

    exit = Exit.LOCKED


class Stale(ReconcilerError):
    """The plan no longer fits the state, or belongs to another workspace or app."""

    exit = Exit.STALE


class UsageError(ReconcilerError):
    """The command line is wrong."""

    exit = Exit.USAGE
