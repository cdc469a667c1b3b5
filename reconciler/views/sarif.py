"""SARIF: findings for code scanning, pointing into the account files (SARIF 2.1.0)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

from reconciler.diagnostics import Diagnostic, Severity
from reconciler.values import canonical, digest
from reconciler.views.words import LONG, visible

SHOWN: Final = 5000
"""Results of one run that GitHub shows."""

FALLBACK: Final = "reconciler.yaml"
"""Where a finding without a place points, as code scanning takes none without."""

_LEVELS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def log(findings: Iterable[Diagnostic], version: str, folder: str = "") -> dict[str, Any]:
    """Return the findings as a SARIF log; `folder` is where the workspace lies in the repository.

    The first `SHOWN` are kept, so the grave ones go in first, and a notification tells of the rest.
    """
    findings = list(findings)
    shown = findings[:SHOWN]
    rules = list(dict.fromkeys(one.id for one in shown))
    invocation: dict[str, Any] = {"executionSuccessful": True}
    if rest := len(findings) - len(shown):
        told = f"{rest:,} more results are left out; --json holds every one of them"
        invocation["toolExecutionNotifications"] = [{"level": "warning", "message": {"text": told}}]
    run = {
        "tool": {
            "driver": {
                "name": "reconciler",
                "version": version,
                "rules": [
                    {"id": visible(id), "shortDescription": {"text": _words(id)}} for id in rules
                ],
            }
        },
        "invocations": [invocation],
        "columnKind": "unicodeCodePoints",
        "results": [_result(one, rules.index(one.id), folder) for one in shown],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _words(id: str) -> str:
    return visible(id).replace("-", " ")


def _result(one: Diagnostic, rule: int, folder: str) -> dict[str, Any]:
    told = ". ".join(part.rstrip(".") for part in (one.summary, one.detail, one.hint) if part)
    file = one.source.file if one.source else FALLBACK
    place: dict[str, Any] = {
        # Without a leading slash it is beneath the repository, and never another host.
        "physicalLocation": {"artifactLocation": {"uri": quote(placed(file, folder).lstrip("/"))}}
    }
    if one.source and one.source.line:
        region = {"startLine": one.source.line}
        if one.source.column:
            region["startColumn"] = one.source.column
        place["physicalLocation"]["region"] = region
    elif not one.source:
        place["physicalLocation"]["region"] = {"startLine": 1}
    if one.address:
        place["logicalLocations"] = [{"fullyQualifiedName": visible(one.address)}]
    return {
        "ruleId": visible(one.id),
        "ruleIndex": rule,
        "level": _LEVELS[one.severity],
        # A message may hold links, written as in Markdown; ours never do.
        "message": {"text": visible(told, LONG).replace("](", "] (")},
        "locations": [place],
        "partialFingerprints": {"reconcilerFinding/v1": _fingerprint(one, file)},
    }


def _fingerprint(one: Diagnostic, file: str) -> str:
    """Return what stays the same while lines move and numbers in the message change."""
    told = [one.id, one.address, visible(file), re.sub(r"\d+", "", visible(one.summary))]
    return digest(canonical(told)).hex()


def placed(file: str, folder: str) -> str:
    """Return a file of the workspace as a path in the repository, harmless."""
    shown = visible(file, 500)
    return shown if shown.startswith("/") or not folder else f"{visible(folder, 500)}/{shown}"
