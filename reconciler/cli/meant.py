"""Meant: what somebody may have meant who typed a command line that is not understood."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from difflib import get_close_matches

from reconciler.config.close import close


def choice(prog: str, action: argparse.Action, value: object) -> tuple[str, str]:
    """Return what is wrong with a value that is none of an action's choices, and the hint."""
    parts = isinstance(action, argparse._SubParsersAction)
    name = str(action.metavar).lower() if parts else "/".join(action.option_strings)
    hint = close(str(value), map(str, action.choices or ()))
    return f"{prog} has no {name} {str(value)[:80]!r}", hint


def words(
    parser: argparse.ArgumentParser, command: str, part: str, left: Sequence[str]
) -> tuple[str, str]:
    """Return what is wrong with words that are no flag of a command, or one too many.

    `part` is that of the command, empty where it has none.
    """
    one = parser
    for name in filter(None, (command, part)):
        (one,) = (found for found in _inner(one) if found.prog.endswith(f" {name}"))
    word = next((word for word in left if word.startswith("-")), left[0]).partition("=")[0]
    hint = f"see: {one.prog} --help"
    if word in parser._option_string_actions:
        hint = f"it stands before the command: {parser.prog} {word} …"
    elif word in one._option_string_actions:
        hint = f"it stands behind the command: {one.prog} {word}"
    elif near := get_close_matches(word[:80], [*one._option_string_actions], 1, 0.7):
        hint = f"did you mean {near[0]}?"
    return f"{one.prog} does not take {word[:80]!r}", hint


def _inner(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    parts = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    return [inner for one in parts for inner in one.choices.values()]
