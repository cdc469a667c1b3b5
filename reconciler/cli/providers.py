"""providers: what each vendor can hold of an account, from the tables the code runs on."""

from __future__ import annotations

import shutil
from argparse import Namespace

from reconciler.cli.console import Console
from reconciler.exits import Exit
from reconciler.providers import TYPES, provider
from reconciler.views import capabilities as views


def run(arguments: Namespace, console: Console) -> int:
    """Print the tables."""
    tables = [provider(type).capabilities for type in TYPES]
    match arguments.format:
        case "json":
            console.json({"providers": [views.shape(one) for one in tables]})
        case "markdown":
            console.lines(views.markdown(tables))
        case _:
            console.lines(views.text(tables, shutil.get_terminal_size().columns))
    return Exit.DONE
