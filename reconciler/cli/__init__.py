"""The command line: arguments to commands, findings to messages, outcomes to exit codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module

from reconciler.errors import Exit, ReconcilerError


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
    except ReconcilerError as problem:
        console.findings(problem.diagnostics)
        return problem.exit
    except KeyboardInterrupt:
        console.say("interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        console.abandon()
        return Exit.ERROR
    except Exception as bug:
        return console.crash(bug)
