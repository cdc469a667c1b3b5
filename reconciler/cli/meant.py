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


def words(parser: argparse.ArgumentParser, command: str, left: Sequence[str]) -> tuple[str, str]:
    """Return what is wrong with words that are no flag of a command, or one too many."""
    (one,) = (found for found in _inner(parser) if found.prog.endswith(f" {command}"))
    word = next((word for word in left if word.startswith("-")), left[0]).partition("=")[0]
    hint = f"see: {one.prog} --help"
    if word in parser._option_string_actions:
        hint = f"it stands before the command: {parser.prog} {word} …"
    elif near := get_close_matches(word[:80], _flags(one), 1, 0.7):
        hint = f"did you mean {near[0]}?"
    return f"{one.prog} does not take {word[:80]!r}", hint


def _inner(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    parts = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    return [inner for one in parts for inner in one.choices.values()]


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    """Return every flag of a command and of its parts."""
    own = [*parser._option_string_actions]
    return [*own, *(flag for part in _inner(parser) for flag in _flags(part))]
