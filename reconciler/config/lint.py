"""Lint: what a vendor takes and a person may not have meant, each kind under a stable id."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from reconciler.capabilities import IdRule
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
