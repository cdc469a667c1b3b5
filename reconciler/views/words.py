"""Words: the one place for signs, counts, and text that came from outside."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from reconciler.accounts import split
from reconciler.changes import Kind
from reconciler.values import ERASED, is_erased

if TYPE_CHECKING:
    from reconciler.events import Split

DESTRUCTIVE: Final = (Kind.BLOCK, Kind.UNBLOCK, Kind.FORGET)
"""What is shown first, in this order, and never left out."""

READING: Final = (*DESTRUCTIVE, Kind.CREATE, Kind.UPDATE, Kind.ADOPT)
"""All kinds in the order in which a reader should see them."""

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

LONG: Final = 2000
"""Characters of one sentence that are shown."""

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]|(?<!\\S):(?=:)|#(?=#\\w*\\[)"
)
# Compiled when they are used: such sets of characters take a while.
_MARK = f'"{ERASED.pattern}"'
_TICKS = "`+"
_PLAIN = r"[^\W\d_]+(?: [^\W\d_]+)*"
_NO_XML = "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
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
    if text.isprintable() and ":" not in text and "#" not in text:
        return text
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


def code(text: str, width: int = WIDTH) -> str:
    """Return text from outside as a Markdown code span, in which nothing is a link or a mention.

    Its backticks are more than any run of them inside.
    """
    shown = visible(text, width) or " "
    ticks = "`" * (_longest_run(shown) + 1)
    edge = " " if shown[0] in "` " or shown[-1] in "` " else ""
    return f"{ticks}{edge}{shown}{edge}{ticks}"


def prose(text: str, width: int = WIDTH) -> str:
    """Return text from outside for a Markdown sentence: plain words as they are, all else as code.

    Plain are letters and single spaces, of which no Markdown makes anything.
    """
    return text if len(text) <= width and re.fullmatch(_PLAIN, text) else code(text, width)


def mark(what: str, workspace: str) -> str:
    """Return the first line of a comment, by which a bot finds its earlier one."""
    return f"<!-- reconciler:{what}:{re.sub('[^a-z0-9-]', '_', visible(workspace))} -->"


def fence(lines: Iterable[str], language: str = "") -> list[str]:
    """Return lines, each harmless already, as a Markdown block that none of them can close."""
    held = list(lines)
    ticks = "`" * max(3, 1 + max(map(_longest_run, held), default=0))
    return [f"{ticks}{language}", *held, ticks]


def _longest_run(text: str) -> int:
    return max(map(len, re.findall(_TICKS, text)), default=0) if "`" in text else 0


def for_page(held: object) -> object:
    """Return what a page's template writes out: texts as one harmless line, for autoescape."""
    return visible(held, LONG) if isinstance(held, str) and not hasattr(held, "__html__") else held


def for_command(text: str, width: int = LONG) -> str:
    """Return text from outside as the message of a CI runner's command."""
    shown = visible(text, width)
    return shown.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def for_property(text: str) -> str:
    """Return text from outside as one property of a CI runner's command."""
    return for_command(text, 500).strip().replace(":", "%3A").replace(",", "%2C")


def for_xml(text: str, width: int = LONG) -> str:
    """Return text from outside as characters that XML may hold; its marks are for the writer."""
    return re.sub(_NO_XML, "", visible(text, width))


def value(held: Any, width: int = WIDTH) -> str:
    """Return one field's value as a reader sees it: texts quoted, no value as `(none)`."""
    if held is None:
        return "(none)"
    if is_erased(held):
        return "(erased)"
    if isinstance(held, str):
        return f'"{visible(held, width)}"'
    told = json.dumps(held, ensure_ascii=False, sort_keys=True)
    return visible(re.sub(_MARK, "(erased)", told), width)


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
