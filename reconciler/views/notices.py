"""Notices: a plan and a drift report as findings, for the formats that are made of findings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from reconciler.changes import Action, Plan
from reconciler.diagnostics import Diagnostic, Severity, Source, error, info, warning
from reconciler.drift import Drift
from reconciler.guard import Judgement
from reconciler.views.fields import rows
from reconciler.views.phrases import perhaps
from reconciler.views.words import DESTRUCTIVE, SIGNS, value

_WEIGHT: Final = (Severity.ERROR, Severity.WARNING, Severity.INFO)


def plan(planned: Plan, judged: Judgement) -> list[Diagnostic]:
    """Return errors and warnings, each block, unblock and forget, and then the notes.

    An override comes before what it is about, so that no bound of a format hides it.
    """
    overridden = (
        warning("override", f"override of rule {one.rule} by {one.by}: {one.reason}")
        for one in planned.overrides
    )
    findings = (*overridden, *judged.findings, *planned.diagnostics)
    grave = [one for weight in _WEIGHT[:2] for one in findings if one.severity is weight]
    notes = [one for one in findings if one.severity is Severity.INFO]
    harmful = [
        _notice(action) for kind in DESTRUCTIVE for action in planned.actions if action.kind is kind
    ]
    return [*grave, *harmful, *notes]


def _notice(action: Action) -> Diagnostic:
    told = ", ".join(f"{row.path} {row}" for row in rows(action))
    return info(
        str(action.kind),
        f"{SIGNS[action.kind]} {action.kind} {action.address} ({action.reason})",
        detail=told,
        source=Source(action.file, action.line) if action.file else None,
        address=action.address,
    )


def drift(found: Drift) -> Iterator[Diagnostic]:
    """Yield a finding for each account that is missing or changed, or could not be read."""
    for one in sorted(found.drifted, key=lambda one: one.kind == "changed"):
        if one.kind == "missing":
            summary = f"{one.address} does not exist at the vendor any more{perhaps(one.cause)}"
            yield warning("drift-missing", summary, address=one.address)
            continue
        told = (
            f"{change.path}: recorded {value(change.recorded)}, "
            f"the vendor holds {value(change.observed)}{perhaps(change.cause)}"
            for change in one.changes
        )
        summary = f"{one.address} is not as recorded"
        yield warning("drift-changed", summary, detail=f"{'; '.join(told)}.", address=one.address)
    for address in found.unread:
        yield error("drift-unread", f"{address} could not be read", address=address)
