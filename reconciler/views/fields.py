"""Fields: what an action changes, each field before and after, in words for a reader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple

from reconciler.changes import Action, Block, Change, Kind, Reason, vendor_mints
from reconciler.values import ABSENT
from reconciler.views.words import WIDTH, value, visible

DEEPEST: Final = 8
"""Levels of a nested value that are told apart; what lies deeper is shown as a whole."""


class Row(NamedTuple):
    """One field, harmless in all its parts; without a before there is nothing to compare."""

    path: str
    before: str | None
    after: str

    def __str__(self) -> str:
        """Return before and after on one line."""
        return self.after if self.before is None else f"{self.before} -> {self.after}"


def rows(action: Action, width: int = WIDTH) -> Iterator[Row]:
    """Yield what the action changes; values are cut at `width` characters.

    That an account is banned is said by the action; how long a ban lasts always has a row.
    """
    changes = [change for change in action.changes if change.path != "banned"]
    for change in changes:
        yield Row(visible(change.path), *_sides(action, change, width))
    if isinstance(action, Block) and not any(c.path == "banned.until" for c in changes):
        left = ": it left the YAML" if action.reason is Reason.ABSENT else ""
        yield Row("banned", None, f"for good{left}")


def nested(action: Action, width: int = WIDTH) -> Iterator[Row]:
    """Yield the same, values that are JSON taken apart into those of their keys that differ."""
    apart: dict[str, list[Row]] = {}
    for change in action.changes:
        sides = [_tree(held) for held in (change.before, change.after) if held is not None]
        if not sides or None in sides or change.unknown or change.removed:
            continue
        with suppress(RecursionError):
            apart[visible(change.path)] = list(_apart(change, width))
    for row in rows(action, width):
        for one in apart.get(row.path) or (row,):
            yield one if row.before is not None else one._replace(before=None)


def _sides(action: Action, change: Change, width: int) -> tuple[str | None, str]:
    if change.token is not None:
        made = "minted by the vendor" if vendor_mints(change.token) else "minted"
        origin = change.token.get("from") or f"{made}, delivered to {change.token.get('sink')}"
        before = visible(str(change.before or "(not set)"), width)
        return before, f"{visible(str(change.after), width)}  from {visible(str(origin), width)}"
    after, before = value(change.after, width), value(change.before, width)
    if change.removed:
        return before, "no longer recorded" if change.after is None else f"{after} (default)"
    if change.unknown:
        return "(unknown)", after
    if action.kind is Kind.CREATE or (isinstance(action, Block) and change.before is None):
        return None, after
    return before, after


def _tree(held: Any) -> dict[str, Any] | None:
    """Return a mapping that is one, or is written as JSON text; None for anything else."""
    if isinstance(held, str) and held.startswith("{"):
        try:
            held = json.loads(held)
        except (ValueError, RecursionError):
            return None
    return held if isinstance(held, dict) else None


def _apart(change: Change, width: int) -> Iterator[Row]:
    left, right = (
        {} if held is None else dict(_leaves(change.path, _tree(held), DEEPEST))
        for held in (change.before, change.after)
    )
    for path in sorted(left.keys() | right.keys()):
        old, new = left.get(path, ABSENT), right.get(path, ABSENT)
        if old is not ABSENT and new is not ABSENT and _same(old, new):
            continue
        yield Row(visible(path), _leaf(old, width), _leaf(new, width))


def _leaf(held: Any, width: int) -> str:
    return value(None) if held is ABSENT else "null" if held is None else value(held, width)


def _same(old: Any, new: Any) -> bool:
    # As text: in Python 1 and True are the same, also deep in a list.
    return json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)


def _leaves(path: str, held: Any, deepest: int) -> Iterator[tuple[str, Any]]:
    if isinstance(held, dict) and held and deepest:
        for key, inner in held.items():
            yield from _leaves(f"{path}.{key}", inner, deepest - 1)
    else:
        yield path, held
