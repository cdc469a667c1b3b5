"""validate: every finding of every file at once, without a network or a secret."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from reconciler import __version__
from reconciler.cli.console import Console
from reconciler.cli.formats import folder
from reconciler.cli.opened import opened
from reconciler.diagnostics import Diagnostic, Severity
from reconciler.errors import ConfigError, Refused
from reconciler.exits import Exit
from reconciler.session import now
from reconciler.views.words import number


def run(arguments: Namespace, console: Console) -> int:
    """Report the findings; 0 without errors."""
    findings: tuple[Diagnostic, ...] = ()
    code, accounts = Exit.DONE, 0
    with opened(arguments, console) as session:
        try:
            for _ in session.desired(now()):
                accounts += 1
        except (ConfigError, Refused) as problem:
            findings, code = problem.diagnostics, problem.exit
        found = (*findings, *session.warnings)
    show(found, accounts, arguments, console)
    return code


def show(
    found: Sequence[Diagnostic], accounts: int, arguments: Namespace, console: Console
) -> None:
    """Print the findings in the format that was asked for."""
    errors = sum(1 for one in found if one.severity is Severity.ERROR)
    warnings = sum(1 for one in found if one.severity is Severity.WARNING)
    match arguments.format:
        case "json":
            console.json(
                {
                    "valid": not errors,
                    "error_count": errors,
                    "warning_count": warnings,
                    "diagnostics": [one.to_json() for one in found],
                }
            )
        case "github":
            from reconciler.views import github

            console.commands(github.commands(found, folder(arguments)))
        case "sarif":
            from reconciler.views import sarif

            console.json(sarif.log(found, __version__, folder(arguments)))
        case "junit":
            from reconciler.views import junit

            console.lines(junit.findings(found))
        case _:
            console.findings(found)
            told = f"{number(errors, 'error')}, {number(warnings, 'warning')}."
            console.print(f"Valid: {number(accounts, 'account')}. {told}" if not errors else told)
