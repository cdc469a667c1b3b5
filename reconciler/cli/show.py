"""show: a saved plan, whether or not it is stale, or the recorded state."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from reconciler.changes import Plan
from reconciler.cli.console import Console
from reconciler.cli.formats import require, show_plan
from reconciler.cli.opened import opened
from reconciler.errors import ConfigError, Stale, UsageError
from reconciler.exits import Exit
from reconciler.guard import Judgement
from reconciler.planfile import approvals, decode

LARGEST = 1 << 30
"""Bytes of a plan file that are read at most."""


def run(arguments: Namespace, console: Console) -> int:
    """Print the plan file; without one, what is recorded."""
    require(arguments.format)
    if arguments.planfile:
        data = _read(arguments.planfile)
        planned = decode(data, arguments.planfile)
        judged = Judgement((), approvals(data, arguments.planfile))
        show_plan(planned, judged, arguments.format, console, arguments)
        return Exit.DONE
    if arguments.format not in ("text", "json"):
        raise UsageError.of(
            "usage",
            f"recorded state has no format {arguments.format}",
            hint="name a plan file, or take text or json",
        )
    with opened(arguments, console) as session:
        if arguments.format == "json":
            from reconciler.snapshot import encode

            for piece in encode(session.store):
                console.write(piece)
            return Exit.DONE
        from reconciler.views.text import record

        for one in session.store.everything():
            console.lines(record(one))
    return Exit.DONE


def load(name: str) -> Plan:
    """Read a plan file.

    Raises ConfigError if it is not there, `Stale` if it is not a plan as it was written.
    """
    return decode(_read(name), name)


def _read(name: str) -> bytes:
    from reconciler.files import read_regular

    try:
        return read_regular(Path(name), LARGEST)
    except OSError as problem:
        wrong = ConfigError if isinstance(problem, FileNotFoundError) else Stale
        raise wrong.of(
            "bad-plan",
            f"{name} cannot be read",
            detail=f"{problem.strerror}.",
            hint="name a file that was made with: reconciler plan --out FILE",
        ) from None
