"""What a wheel shares with shells and man: completions and a manual, from the one parser.

hatchling runs `Share` when it builds a wheel. To see what is made:

    .venv/bin/python .ci/share.py FOLDER
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT: Final = Path(__file__).resolve().parents[1]
MANUAL: Final = "share/man/man1/reconciler.1"
SHELLS: Final = {
    "share/bash-completion/completions/reconciler": "bash",
    "share/zsh/site-functions/_reconciler": "zsh",
    "share/fish/vendor_completions.d/reconciler.fish": "fish",
}
_FILES: Final = ("FILE", "PATH", "PLANFILE", "SNAPSHOT")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line of this checkout, with all options."""
    os.environ["NO_COLOR"] = "1"  # from Python 3.14 on argparse paints usage for a terminal
    sys.path.insert(0, str(ROOT))
    try:
        from reconciler.cli.arguments import whole
    finally:
        sys.path.remove(str(ROOT))
    return whole()


def commands(one: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parser of every command, and of every part of one as `state mv`, in order."""
    for action in one._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield command
                yield from commands(command)


def completions(shell: str) -> str:
    """Return what completes commands, flags, choices and the names of files in a shell."""
    import shtab

    whole = parser()
    for action in (action for one in (whole, *commands(whole)) for action in one._actions):
        if action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab's own mark
        elif action.metavar == "DIR":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]  # the same
        elif action.choices and not isinstance(action, argparse._SubParsersAction):
            # What wants quotes, as `state rm` does, would be completed as two words.
            action.choices = [choice for choice in action.choices if " " not in str(choice)]
    return str(shtab.complete(whole, shell))


def manual() -> str:
    """Return the manual: every command's help, and what the README says of codes and names."""
    whole = parser()
    from reconciler import __version__  # of this checkout, as the parser is

    about = str(whole.description).removesuffix(".")
    lines = [
        f'.TH RECONCILER 1 "" "reconciler {__version__}" "User Commands"',
        *(".nh", ".ad l"),
        *(".SH NAME", f"reconciler \\- {_text(about[0].lower() + about[1:])}"),
        *(".SH SYNOPSIS", *_synopsis(whole)),
        *(".SH OPTIONS", *_options(whole)),
        ".SH COMMANDS",
    ]
    for one in commands(whole):
        lines += [f'.SS "{_text(_name(one))}"', *_synopsis(one), ".PP", _text(str(one.description))]
        lines += [*_options(one), ".PP"]
        for told in re.sub(r"\n +", " · ", str(one.epilog)).split("\n"):
            lines += [_text(told), ".br"]
    for title, section in (("EXIT STATUS", "Exit codes"), ("ENVIRONMENT", "Environment")):
        lines.append(f".SH {title}")
        for name, meant in _table(section):
            lines += [".TP", f".B {_text(name)}", _text(meant)]
    return "\n".join([*lines, ""])


def _name(one: argparse.ArgumentParser) -> str:
    return one.prog.partition(" ")[2]


def _text(told: str) -> str:
    """Return a text that groff prints as it is."""
    for plain, typeset in (
        ("\\", "\\e"),
        ("-", "\\-"),
        ("'", "\\(aq"),
        ("·", "\\(bu"),
        ("…", "..."),
    ):
        told = told.replace(plain, typeset)
    return told


def _synopsis(one: argparse.ArgumentParser) -> list[str]:
    usage = " ".join(one.format_usage().split()).removeprefix("usage: ")
    return [f".B {_text(one.prog)}", _text(usage.removeprefix(f"{one.prog} "))]


def _options(one: argparse.ArgumentParser) -> Iterator[str]:
    """Yield an entry for each option and argument; a command that has parts lists none of them."""
    for action in one._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        takes = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
        name = ", ".join(action.option_strings)
        yield ".TP"
        yield f".BI {_quoted([name, f' {takes}' if name and takes else takes])}"
        yield _text(str(action.help))


def _quoted(words: Iterable[str]) -> str:
    return " ".join(f'"{_text(word)}"' for word in words)


def _table(section: str) -> list[list[str]]:
    """Return the rows of the first table in a section of the README, as plain text."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    told = readme.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in told.split("\n") if line.startswith("|")]
    return [[cell.replace("`", "") for cell in row] for row in rows[2:]]


def write(folder: Path) -> dict[str, str]:
    """Write all files into a folder; return where each shall be, beneath the environment."""
    made = {MANUAL: manual(), **{name: completions(shell) for name, shell in SHELLS.items()}}
    for name, text in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return {str(folder / name): name for name in made}


class Share(BuildHookInterface):  # type: ignore[type-arg]  # of hatchling, for any target
    """Put the files into a wheel's shared data; an editable install has none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the files before the wheel is put together."""
        if version == "standard":
            self.folder = tempfile.TemporaryDirectory()
            build_data["shared_data"].update(write(Path(self.folder.name)))


if __name__ == "__main__":
    for made in write(Path(sys.argv[1])):
        print(made)
