"""Words: the one place for signs, counts, and text that came from outside."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from reconciler.accounts import split
from reconciler.changes import Kind
from reconciler.events import Split

SIGNS: Final[Mapping[str, str]] = {
    Kind.CREATE: "+",
    Kind.UPDATE: "~",
    Kind.BLOCK: "x",
    Kind.UNBLOCK: "o",
    Kind.ADOPT: "=",
    Kind.FORGET: ".",
}

DONE: Final[Mapping[str, str]] = {
    Kind.CREATE: "created",
    Kind.UPDATE: "updated",
    Kind.BLOCK: "blocked",
    Kind.UNBLOCK: "unblocked",
    Kind.ADOPT: "adopted",
    Kind.FORGET: "forgotten",
}

COUNTED: Final = (Kind.CREATE, Kind.UPDATE, Kind.BLOCK, Kind.UNBLOCK, Kind.FORGET)

WIDTH: Final = 120
"""Characters of one value that are shown."""

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]|(?<!\\S):(?=:)|#(?=#\\w*\\[)"
)
_LINES = re.compile(f"\x1b\\[\\d*m|{_UNSAFE.pattern}")


def visible(text: str, width: int = WIDTH) -> str:
    """Return text from outside as one harmless line of at most about `width` characters.

    Control, bidi, zero-width and line-separating characters are written as `\\u{1b}`, so nothing
    a nickname holds can move a cursor, forge a line or hide another; `::` at the start of a word
    and `##[` or `##vso[` are broken up, as CI runners take them for commands.
    """
    if len(text) > width:
        cut = len(text) - width
        return f"{visible(text[:width])}… ({cut:,} more characters)"
    return _UNSAFE.sub(lambda found: f"\\u{{{ord(found.group()):x}}}", text)


def harmless(text: str, *, colours: bool = False) -> str:
    """Return whole lines of output with all that `visible` minds written out, line ends kept.

    What is printed passes here last, whatever was forgotten before. `colours` keeps our own.
    """

    def shown(found: re.Match[str]) -> str:
        held = found.group()
        if held == "\n" or (colours and len(held) > 1):
            return held
        return f"\\u{{{ord(held[0]):x}}}{held[1:]}"

    return _LINES.sub(shown, text)


def value(held: Any) -> str:
    """Return one field's value as a reader sees it: texts quoted, no value as `(none)`."""
    if held is None:
        return "(none)"
    if isinstance(held, str):
        return f'"{visible(held)}"'
    return visible(json.dumps(held, ensure_ascii=False, sort_keys=True))


def number(count: int, noun: str) -> str:
    """Return `1 account`, `2,000 accounts`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def plan_line(summary: Mapping[str, int]) -> str:
    """Return the last line of every plan."""
    changes = {kind: summary.get(kind, 0) for kind in Kind}
    if not any(changes.values()):
        told = number(summary.get("unchanged", 0), "account")
        return f"No changes. {told} as recorded."
    parts = [f"{changes[kind]} to {kind}" for kind in COUNTED]
    if changes[Kind.ADOPT]:
        parts.append(f"{changes[Kind.ADOPT]} to adopt")
    return f"Plan: {', '.join(parts)}."


def split_line(happened: Split) -> str:
    """Return in which apps an entry is done and how it ended in the others."""
    ends: dict[str, list[str]] = {"done": [split(where)[0] for where in happened.done]}
    for where, how in happened.left.items():
        ends.setdefault(how, []).append(split(where)[0])
    told = ", ".join(f"{how} in {' and '.join(names)}" for how, names in ends.items())
    return visible(f"{split(happened.entry.accounts[0])[1]}: {told}", 2000)


def apply_line(
    applied: Mapping[Kind, int], failed: int, skipped: int, in_doubt: int, *, complete: bool
) -> str:
    """Return the last line of every apply."""
    if not complete:
        return f"Apply incomplete: {failed} failed, {skipped} skipped, {in_doubt} in doubt."
    parts = [f"{applied.get(kind, 0)} {DONE[kind]}" for kind in COUNTED]
    if applied.get(Kind.ADOPT):
        parts.append(f"{applied[Kind.ADOPT]} {DONE[Kind.ADOPT]}")
    return f"Apply complete: {', '.join(parts)}."
