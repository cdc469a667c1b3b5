"""drift: what the vendors hold against what is recorded; it cannot write to a vendor."""

from __future__ import annotations

from argparse import Namespace

from reconciler.cli.console import Console
from reconciler.cli.session import Session
from reconciler.drift import drift
from reconciler.exits import Exit
from reconciler.refresh import read


def run(arguments: Namespace, console: Console) -> int:
    """Report drift: 2 where there is any, 1 where an account could not be read, else 0."""
    with Session(arguments, console) as session:
        targets = session.targets(arguments.target)
        found = drift(read(session.recorded(targets), session.readers(targets)))
    if arguments.format == "json":
        from reconciler.views.json import drift as shape

        console.json(shape(found))
    else:
        from reconciler.views.text import drift as lines

        console.lines(lines(found, console.paint))
    if found.drifted:
        return Exit.CHANGES
    return Exit.ERROR if found.unread else Exit.DONE
