"""test: users' own scenarios, played against vendors in memory; nothing outside is touched."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from reconciler.cli.console import Console
from reconciler.cli.formats import folder
from reconciler.cli.opened import opened
from reconciler.diagnostics import Diagnostic
from reconciler.errors import ConfigError
from reconciler.exits import Exit
from reconciler.rehearse import rehearse
from reconciler.scenario import Played

PATTERN = "tests/**/*.test.yaml"
"""Where scenario files lie that nobody names."""


def run(arguments: Namespace, console: Console) -> int:
    """Play the scenarios; 1 if one is not as expected or a file cannot be read."""
    from reconciler.config.scenarios import read

    played: list[Played] = []
    broken: list[Diagnostic] = []
    with opened(arguments, console) as session:
        workspace, tables = session.workspace, session.capabilities
        for name, path in _files(session.root, arguments.files):
            try:
                scenarios = read(path, name, workspace, tables)
            except ConfigError as problem:
                broken.extend(problem.diagnostics)
                continue
            played.extend(rehearse(one, workspace, tables) for one in scenarios)
    show(played, broken, arguments, console)
    return Exit.ERROR if broken or any(one.mismatches for one in played) else Exit.DONE


def show(
    played: list[Played], broken: list[Diagnostic], arguments: Namespace, console: Console
) -> None:
    """Print what came of it in the format that was asked for."""
    from reconciler.views import scenarios

    match arguments.format:
        case "json":
            console.json(scenarios.shape(played, broken))
        case "junit":
            console.lines(scenarios.junit(played, broken))
        case "github":
            from reconciler.views import github

            notices = scenarios.notices(played, broken)
            console.commands(github.commands(notices, folder(arguments)))
        case _:
            console.findings(broken)
            console.lines(scenarios.text(played, broken, console.paint))


def _files(root: Path, named: list[str]) -> Iterator[tuple[str, Path]]:
    """Yield the scenario files, each by the name that findings have; a folder is searched.

    Raises ConfigError where there is none.
    """
    found: dict[Path, None] = {}
    for path in [root / one for one in named] or [root]:
        pattern = PATTERN if not named else "**/*.test.yaml"
        found.update(dict.fromkeys(sorted(path.glob(pattern)) if path.is_dir() else [path]))
    if not found:
        raise ConfigError.of(
            "no-scenarios",
            f"there are no scenarios: nothing matches {PATTERN}",
            hint="write one, as examples/yunxin/tests shows; or name a file",
        )
    for path in found:
        own = path.is_relative_to(root)
        yield (path.relative_to(root).as_posix() if own else str(path)), path
