"""plan: what apply would do, printed, judged and optionally saved."""

from __future__ import annotations

import gc
import shlex
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler import __version__
from reconciler.accounts import Address
from reconciler.changes import Plan
from reconciler.cli.console import Console
from reconciler.cli.flags import allowed, moment, reasons
from reconciler.cli.formats import require, show_plan
from reconciler.cli.opened import opened
from reconciler.cli.snapshots import snapshot_file
from reconciler.diagnostics import Severity
from reconciler.errors import Refused, UsageError
from reconciler.exits import Exit
from reconciler.files import write_private
from reconciler.session import Session
from reconciler.session.plan import judge, make, observe, refused
from reconciler.views.words import visible

if TYPE_CHECKING:
    from reconciler.state import Reader


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
    with opened(arguments, console) as session:
        given = session.overrides(reasons(arguments.override))
        recorded = _recorded(session, arguments)
        targets = session.targets(arguments.target)
        observed = observe(session, targets) if arguments.refresh else None
        planned = make(
            session,
            recorded,
            as_of=moment(arguments.as_of),
            targets=targets,
            observed=observed,
            cache=arguments.cache,
        )
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
            if not refused(planned, judged) and planned.actions:
                _saved(arguments, console)
    if refused(planned, judged):
        return Exit.REFUSED
    return Exit.CHANGES if arguments.detailed_exitcode and planned.actions else Exit.DONE


def _saved(arguments: Namespace, console: Console) -> None:
    """Say to a person how to apply the plan that was saved."""
    if not (console.advises and console.err.isatty()):
        return
    # Names are beneath --chdir for apply as they were for plan.
    name, folder = Path(arguments.out), arguments.chdir
    if folder != ".":
        name = name.relative_to(folder) if name.is_relative_to(folder) else name
    words = ["reconciler", *(["--chdir", folder] if folder != "." else []), "apply", str(name)]
    console.say(f"Saved. Do just this with: {visible(shlex.join(words), 500)}")


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
