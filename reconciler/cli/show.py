"""show: a saved plan, whether or not it is stale, or the recorded state."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from reconciler.changes import Plan
from reconciler.cli.console import Console
from reconciler.cli.plan import show
from reconciler.cli.session import Session
from reconciler.errors import Stale
from reconciler.exits import Exit
from reconciler.guard import Judgement

LARGEST = 1 << 30
"""Bytes of a plan file that are read at most."""


def run(arguments: Namespace, console: Console) -> int:
    """Print the plan file; without one, what is recorded."""
    if arguments.planfile:
        show(load(arguments.planfile), Judgement(()), arguments.format, console)
        return Exit.DONE
    with Session(arguments, console) as session:
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
    """Read a plan file. Raises `Stale` if it is not one, or is not as it was written."""
    from reconciler.planfile import decode

    path = Path(name)
    try:
        if not path.is_file():
            raise Stale.of(
                "bad-plan", f"{name} is no file", hint=f"make it with: reconciler plan --out {name}"
            )
        if path.stat().st_size > LARGEST:
            raise Stale.of("bad-plan", f"{name} is larger than any plan file")
        return decode(path.read_bytes(), name)
    except OSError as problem:
        raise Stale.of(
            "bad-plan", f"{name} cannot be read", detail=f"{problem.strerror}."
        ) from None
