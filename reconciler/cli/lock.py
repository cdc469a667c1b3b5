"""lock: who holds the state lock, or those of some apps."""

from __future__ import annotations

from argparse import Namespace

from reconciler.cli.console import Console
from reconciler.cli.opened import opened
from reconciler.exits import Exit
from reconciler.views import json as shapes
from reconciler.views import text


def run(arguments: Namespace, console: Console) -> int:
    """Print the locks."""
    with opened(arguments, console) as session:
        found = session.store.locks()
    if arguments.format == "json":
        console.json(shapes.locks(found))
    else:
        console.print(text.locks(found))
    return Exit.DONE
