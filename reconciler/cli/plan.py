"""plan: what apply would do, printed, judged and optionally saved."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler import __version__
from reconciler.accounts import Address, Observed
from reconciler.changes import Plan
from reconciler.cli.console import Console
from reconciler.cli.session import Session, allowed
from reconciler.diagnostics import has_errors
from reconciler.errors import Refused, StateError, UsageError
from reconciler.exits import Exit
from reconciler.files import write_private
from reconciler.guard import Judgement, guard
from reconciler.plan import plan

if TYPE_CHECKING:
    from reconciler.state import Reader


def run(arguments: Namespace, console: Console) -> int:
    """Plan, print, save; 4 where a limit or rule refuses, 2 for changes if asked."""
    allow = allowed(arguments.allow)
    if arguments.snapshot and arguments.refresh:
        raise UsageError.of(
            "usage",
            "--state and --refresh exclude each other",
            hint="a snapshot is planned against as it is",
        )
    with Session(arguments, console) as session:
        recorded = _recorded(session, arguments)
        observed = _observed(session, arguments) if arguments.refresh else None
        planned = make(session, arguments, recorded, observed=observed)
        planned = replace(planned, allow=allow)
        judged = judge(session, planned, recorded, allow)
        show(planned, judged, arguments.format, console)
        console.findings(session.warnings)
        console.findings(judged.findings)
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
    question = session.question(
        arguments, observed=observed, uncompared=PERSONAL if redacted else ()
    )
    return plan(session.desired(), recorded, question)


def judge(session: Session, planned: Plan, recorded: Reader, allow: Mapping[str, int]) -> Judgement:
    """Judge the plan by the workspace's limits and rules."""
    return guard(planned, recorded, session.workspace.limits, session.workspace.rules, allow)


def refused(planned: Plan, judged: Judgement) -> bool:
    """Tell whether the plan must not be applied."""
    return has_errors(judged.findings) or has_errors(planned.diagnostics)


def show(planned: Plan, judged: Judgement, format: str, console: Console) -> None:
    """Print the plan in a format."""
    if format == "json":
        from reconciler.planfile import shape

        console.json(shape(planned, __version__, judged.approvals))
        return
    from reconciler.views.text import plan as lines

    console.lines(lines(planned, judged.approvals, console.paint))


def _recorded(session: Session, arguments: Namespace) -> Reader:
    if not arguments.snapshot:
        return session.store
    from reconciler.snapshot import decode

    try:
        data = Path(arguments.snapshot).read_bytes()
    except OSError as problem:
        raise StateError.of(
            "no-snapshot", f"{arguments.snapshot} cannot be read", detail=f"{problem.strerror}."
        ) from None
    snapshot = decode(data, arguments.snapshot)
    if snapshot.who.workspace != session.workspace.name:
        raise Refused.of(
            "wrong-workspace",
            f"{arguments.snapshot} is a snapshot of workspace "
            f"{snapshot.who.workspace}, this is {session.workspace.name}",
        )
    return snapshot


def _observed(session: Session, arguments: Namespace) -> dict[Address, Observed]:
    """Read what the vendors hold now, of the recorded accounts the plan is about."""
    from reconciler.refresh import read

    targets = session.targets(arguments.target)
    pairs = read(session.recorded(targets), session.readers(targets))
    return {record.address: seen for record, seen in pairs if seen is not None}
