"""plan: what apply would do, printed, judged and optionally saved."""

from __future__ import annotations

import gc
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler import __version__
from reconciler.accounts import Address, Observed
from reconciler.changes import Plan
from reconciler.cli.console import Console
from reconciler.cli.formats import require, show_plan
from reconciler.cli.overrides import overrides
from reconciler.cli.session import Session, allowed
from reconciler.cli.targets import check, noted
from reconciler.diagnostics import Severity, has_errors
from reconciler.errors import Refused, StateError, UsageError
from reconciler.exits import Exit
from reconciler.files import write_private
from reconciler.guard import Judgement, guard
from reconciler.plan import alike, plan

if TYPE_CHECKING:
    from reconciler.snapshot import Snapshot
    from reconciler.state import Reader
    from reconciler.stores.keys import Keys


def run(arguments: Namespace, console: Console) -> int:
    """Plan, print, save; 4 where a limit or rule refuses, 2 for changes if asked."""
    # What a plan makes lives until its end and holds no cycles: looking for some takes a fifth.
    gc.disable()
    try:
        return _run(arguments, console)
    finally:
        gc.enable()


def _run(arguments: Namespace, console: Console) -> int:
    allow = allowed(arguments.allow)
    require(arguments.format)
    if arguments.snapshot and arguments.refresh:
        raise UsageError.of(
            "usage",
            "--state and --refresh exclude each other",
            hint="a snapshot is planned against as it is",
        )
    with Session(arguments, console) as session:
        given = overrides(arguments.override, session)
        recorded = _recorded(session, arguments)
        observed = _observed(session, arguments) if arguments.refresh else None
        planned = make(session, arguments, recorded, observed=observed)
        planned = replace(planned, allow=allow, overrides=given)
        planned, judged = judge(session, planned, recorded)
        told = replace(judged, findings=(*session.warnings, *judged.findings))
        labels = _labels(planned, recorded) if arguments.format == "html" else {}
        show_plan(planned, told, arguments.format, console, arguments, labels)
        console.findings(session.warnings)
        console.findings(judged.findings)
        # The text of a plan leaves to this what refuses it.
        console.findings(one for one in planned.diagnostics if one.severity is Severity.ERROR)
        if arguments.out:
            from reconciler.planfile import encode

            write_private(Path(arguments.out), [encode(planned, __version__, judged.approvals)])
    if refused(planned, judged):
        return Exit.REFUSED
    return Exit.CHANGES if arguments.detailed_exitcode and planned.actions else Exit.DONE


def make(
    session: Session,
    arguments: Namespace,
    recorded: Reader,
    observed: Mapping[Address, Observed] | None = None,
) -> Plan:
    """Return the plan of the workspace against what is recorded."""
    from reconciler.snapshot import PERSONAL, Snapshot

    redacted = isinstance(recorded, Snapshot) and recorded.redacted
    # What was just read at a vendor is compared field by field, which takes the files themselves.
    desired = session.desired(cache=arguments.cache and observed is None)
    chain = recorded.identity().chain
    question = session.question(
        arguments,
        observed=observed,
        uncompared=PERSONAL if redacted else (),
        again=desired.again,
        alike=desired.alike(chain),
    )
    if not question.targets:
        planned = plan(desired.batches(), recorded, question)
        if alike(planned) and not session.warnings:
            desired.keep_alike(chain)
        return planned
    written: list[Address] = []
    planned = plan(noted(desired.batches(), written), recorded, question)
    check(question.targets, recorded, written)
    return planned


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


def _labels(planned: Plan, recorded: Reader) -> dict[Address, Mapping[str, str]]:
    touched = dict.fromkeys(action.address for action in planned.actions)
    return {one.address: one.document.get("labels", {}) for one in recorded.records(touched)}


def _recorded(session: Session, arguments: Namespace) -> Reader:
    if not arguments.snapshot:
        return session.store
    snapshot = snapshot_file(arguments.snapshot, session.keys)
    if snapshot.who.workspace != session.workspace.name:
        raise Refused.of(
            "wrong-workspace",
            f"{arguments.snapshot} is a snapshot of workspace "
            f"{snapshot.who.workspace}, this is {session.workspace.name}",
        )
    return snapshot


def snapshot_file(name: str, keys: Keys) -> Snapshot:
    """Read a snapshot, encrypted or not. Raises StateError if it cannot be read or is not one."""
    from reconciler.files import read_regular
    from reconciler.snapshot import LARGEST
    from reconciler.stores import backups

    try:
        data = read_regular(Path(name), LARGEST)
    except OSError as problem:
        raise StateError.of(
            "no-snapshot",
            f"{name} cannot be read",
            detail=f"{problem.strerror}.",
            hint="name a file that was made with: reconciler state pull",
        ) from None
    return backups.snapshot(data, name, keys)


def _observed(session: Session, arguments: Namespace) -> dict[Address, Observed]:
    """Read what the vendors hold now, of the recorded accounts the plan is about."""
    from reconciler.refresh import read

    targets = session.targets(arguments.target)
    pairs = read(session.recorded(targets), session.readers(targets))
    return {record.address: seen for record, seen in pairs if seen is not None}
