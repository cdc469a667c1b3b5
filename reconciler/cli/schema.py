"""schema: the JSON Schemas of what users and programs read and write."""

from __future__ import annotations

from argparse import Namespace

from reconciler.cli.console import Console
from reconciler.config import schema_names, schema_text
from reconciler.errors import UsageError
from reconciler.exits import Exit


def run(arguments: Namespace, console: Console) -> int:
    """List the schemas, or print one."""
    if arguments.name is None:
        console.lines(schema_names())
        return Exit.DONE
    if arguments.name not in schema_names():
        raise UsageError.of(
            "bad-schema",
            f"there is no schema {arguments.name!r}",
            hint=f"one of: {', '.join(schema_names())}",
        )
    console.print(schema_text(arguments.name).rstrip("\n"))
    return Exit.DONE
