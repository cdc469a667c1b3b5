"""version: which version this is."""

from __future__ import annotations

from argparse import Namespace

from reconciler import __version__
from reconciler.cli.console import Console
from reconciler.exits import Exit


def run(arguments: Namespace, console: Console) -> int:
    """Print the version."""
    if arguments.format == "json":
        import platform

        console.json(
            {
                "version": __version__,
                "python": platform.python_version(),
                "plan_format": "1.0",
                "snapshot_version": 1,
            }
        )
    else:
        console.print(f"reconciler {__version__}")
    return Exit.DONE
