"""lock: who holds the state lock."""

from __future__ import annotations

from argparse import Namespace

from reconciler.cli.console import Console
from reconciler.cli.opened import opened
from reconciler.exits import Exit
from reconciler.views import json as shapes
from reconciler.views import text


def run(arguments: Namespace, console: Console) -> int:
    """Print the lock."""
    with opened(arguments, console) as session:
        held = session.store.held()
    if arguments.format == "json":
        console.json(shapes.lock(held))
    else:
        console.print(text.lock(held))
    return Exit.DONE
