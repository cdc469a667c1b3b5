"""The command line: arguments to commands, findings to messages, outcomes to exit codes.

What every command pays at its start is kept small: what can go wrong is imported when it does,
and a command's own module when it is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command and return its exit code; nothing escapes as a traceback."""
    from reconciler.cli.arguments import parse
    from reconciler.cli.console import Console

    console = Console(environ)
    try:
        arguments = parse(argv, environ)
        console.configure(color=not arguments.no_color, log_level=arguments.log_level)
        command = import_module(f"reconciler.cli.{arguments.module}")
        code: int = command.run(arguments, console)
        console.flush()
        return code
    except (Exception, KeyboardInterrupt) as problem:
        return console.failed(problem)
