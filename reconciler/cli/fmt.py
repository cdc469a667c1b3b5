"""fmt: one layout for account files and the workspace file; what they say stays the same."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from reconciler.cli.console import Console
from reconciler.config.files import Unreadable
from reconciler.diagnostics import Diagnostic, has_errors
from reconciler.edit.choose import File, choose
from reconciler.edit.tidy import Tidied, tidy
from reconciler.errors import ConfigError, UsageError
from reconciler.exits import Exit
from reconciler.files import rewrite
from reconciler.views.words import number, visible


def run(arguments: Namespace, console: Console) -> int:
    """Lay files out and name those that changed; with --check or --diff change none.

    A file that does not read is told and left, the others are done: exit 1. Else --check is 2
    where a file is not laid out.
    """
    root = Path(arguments.chdir)
    if not root.is_dir():
        raise UsageError.of("no-folder", f"{arguments.chdir} is no folder")
    findings: list[Diagnostic] = []
    files = choose(root, arguments.paths, findings)
    changed = 0
    for file in files:
        try:
            before = file.read()
        except Unreadable as wrong:
            findings.append(wrong.finding)
            continue
        made = tidy(before, file.name, file.schema, ours=file.ours)
        findings += made.findings
        if made.text is None or made.text == before:
            continue
        if not (arguments.check or arguments.diff):
            try:
                rewrite(file.path, before, [made.text])
            except ConfigError as wrong:
                findings += wrong.diagnostics
                continue
        changed += 1
        _tell(file, before, made, arguments, console)
    console.findings(findings)
    _end(changed, len(files), arguments, console)
    if has_errors(findings):
        return Exit.ERROR
    return Exit.CHANGES if arguments.check and changed else Exit.DONE


def _tell(file: File, before: bytes, made: Tidied, arguments: Namespace, console: Console) -> None:
    if arguments.diff:
        from reconciler.edit.compare import compare

        assert made.text is not None
        console.lines(compare(file.name, before, made.text))
    else:
        console.print(visible(file.name, 500))


def _end(changed: int, total: int, arguments: Namespace, console: Console) -> None:
    """Say how many files were meant."""
    files = number(total, "file")
    if changed and (arguments.check or arguments.diff):
        advice = "; run: reconciler fmt" if console.advises else "."
        console.say(f"{changed:,} of {files} to lay out{advice}")
    elif changed:
        console.say(f"{changed:,} of {files} laid out.")
    elif total and not arguments.paths:
        console.say(f"Nothing to lay out in {files}.")
