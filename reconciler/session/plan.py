"""Plan: what an opened workspace asks for, against what is recorded, and whether it may be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

from reconciler.accounts import Address, Observed
from reconciler.changes import Plan
from reconciler.diagnostics import has_errors
from reconciler.errors import Refused
from reconciler.guard import Judgement, guard
from reconciler.planning import alike, plan
from reconciler.session import Session
from reconciler.session.targets import check, noted
from reconciler.state import Reader


def make(
    session: Session,
    recorded: Reader,
    *,
    as_of: datetime,
    targets: Collection[str] = (),
    observed: Mapping[Address, Observed] | None = None,
    cache: bool = False,
) -> Plan:
    """Return the plan of the workspace against what is recorded.

    `targets` as `Session.targets` returns them; `observed` is what was just read at the vendors.
    With `cache`, files whose bytes were planned before are not read again.
    """
    from reconciler.snapshot import PERSONAL, Snapshot

    redacted = isinstance(recorded, Snapshot) and recorded.redacted
    # What was just read at a vendor is compared field by field, which takes the files themselves.
    desired = session.desired(cache=cache and observed is None)
    chain = recorded.identity().chain
    question = session.question(
        as_of,
        targets,
        observed=observed,
        uncompared=PERSONAL if redacted else (),
        again=desired.again,
        alike=desired.alike(chain),
    )
    if not question.targets:
        planned = plan(desired.batches(), recorded, question)
        # What a snapshot holds is its file's word; the state of this chain may be another.
        if alike(planned) and not session.warnings and not isinstance(recorded, Snapshot):
            desired.keep_alike(chain, planned.as_of)
        return planned
    written: list[Address] = []
    planned = plan(noted(desired.batches(), written), recorded, question)
    check(question.targets, recorded, written)
    return planned


def observe(session: Session, targets: Collection[str]) -> dict[Address, Observed]:
    """Read what the vendors hold now, of the recorded accounts the plan is about."""
    from reconciler.refresh import read

    pairs = read(session.recorded(targets), session.readers(targets))
    return {record.address: seen for record, seen in pairs if seen is not None}


def judge(session: Session, planned: Plan, recorded: Reader) -> tuple[Plan, Judgement]:
    """Judge the plan by the workspace's limits and rules; it tells itself what is overridden."""
    rules, limits = session.workspace.rules, session.workspace.limits
    judged = guard(planned, recorded, limits, rules, planned.allow)
    if judged.overridden:
        told = dict.fromkeys((*planned.diagnostics, *judged.overridden))
        planned = replace(planned, diagnostics=tuple(told))
    return planned, judged


def refused(planned: Plan, judged: Judgement) -> bool:
    """Tell whether the plan must not be applied."""
    return has_errors(judged.findings) or has_errors(planned.diagnostics)


def refuse(planned: Plan, judged: Judgement) -> None:
    """Raise Refused, with every reason, for a plan that must not be applied."""
    if refused(planned, judged):
        raise Refused(
            [one for one in (*judged.findings, *planned.diagnostics) if one.severity == "error"]
        )
