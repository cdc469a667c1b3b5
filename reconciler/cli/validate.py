"""validate: every finding of every file at once, without a network or a secret."""

from __future__ import annotations

from argparse import Namespace

from reconciler.cli.console import Console
from reconciler.cli.session import Session
from reconciler.diagnostics import Diagnostic, Severity
from reconciler.errors import ConfigError, Refused
from reconciler.exits import Exit
from reconciler.views.words import number


def run(arguments: Namespace, console: Console) -> int:
    """Report the findings; 0 without errors."""
    findings: tuple[Diagnostic, ...] = ()
    code, accounts = Exit.DONE, 0
    with Session(arguments, console) as session:
        try:
            for _ in session.desired():
                accounts += 1
        except (ConfigError, Refused) as problem:
            findings, code = problem.diagnostics, problem.exit
        found = (*findings, *session.warnings)
    errors = sum(1 for one in found if one.severity is Severity.ERROR)
    warnings = sum(1 for one in found if one.severity is Severity.WARNING)
    if arguments.format == "json":
        console.json(
            {
                "valid": not errors,
                "error_count": errors,
                "warning_count": warnings,
                "diagnostics": [one.to_json() for one in found],
            }
        )
    else:
        console.findings(found)
        told = f"{number(errors, 'error')}, {number(warnings, 'warning')}."
        console.print(f"Valid: {number(accounts, 'account')}. {told}" if not errors else told)
    return code
