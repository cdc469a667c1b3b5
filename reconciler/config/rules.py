"""Rules: the named policies of a workspace, each checked for what could never match."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from reconciler.config.built import Built
from reconciler.config.close import close
from reconciler.config.files import WORKSPACE
from reconciler.config.table import BAN, CONFIGURATION, PROFILE
from reconciler.diagnostics import Source
from reconciler.workspace import Rule

Tell: TypeAlias = Callable[..., None]
Path: TypeAlias = tuple[Any, ...]

_OF_ACTION = ("account_id", "provider", "address", "reason", "path")
_FACTS = ("banned", "protected", "on_absent")
_SECTIONS = ("labels", "profile", "configuration", "banned", "manage")
_OPEN = ("labels.", "profile.custom.")
_FIELDS = (
    *(f"profile.{name}" for name in PROFILE),
    *(f"configuration.{name}" for name in CONFIGURATION),
    *(f"banned.{name}" for name in (*BAN, "evidence")),
    *(f"manage.{name}" for name in ("profile", "configuration")),
)
"""What rules look at: what an action is, and what an account is and holds after the plan."""

_EFFECTS = ("deny", "warn", "require", "limit", "approval")
_REFUSING = ("deny", "require", "limit")


def rules(value: list[Any], built: Built, tell: Tell) -> Iterator[Rule]:
    """Yield the rules of a workspace file; what is wrong with one is told at its path."""
    seen: set[str] = set()
    for position, written in enumerate(value):
        if not isinstance(written, dict) or "id" not in written:
            continue
        path = ("rules", position)
        if written["id"] in seen:
            tell(
                (*path, "id"),
                "duplicate-key",
                f"The rule {written['id']} stands twice.",
                "give it another id",
            )
        seen.add(written["id"])
        effects = [name for name in _EFFECTS if name in written]
        if len(effects) != 1:
            tell(
                path,
                "bad-rule",
                "A rule has exactly one effect.",
                f"write one of {', '.join(_EFFECTS)}",
            )
            continue
        _check(path, written, effects[0], tell)
        when = written.get("when") or {}
        line, column = built.place(path) or (0, 0)
        effect: Any = effects[0]
        yield Rule(
            written["id"],
            tuple(when.get("action") or ()),
            dict(when.get("match") or {}),
            effect,
            written[effect],
            Source(WORKSPACE, line, column),
            bool(written.get("override", True)),
        )


def _check(path: Path, written: dict[str, Any], effect: str, tell: Tell) -> None:
    """Tell of what a rule looks at in vain, of patterns that are none, of an idle override."""
    for part in (("when", "match"), ("require",)):
        keys: Any = written
        for name in part:
            keys = (keys.get(name) if isinstance(keys, dict) else None) or {}
        for key in keys:
            _known((*path, *part, key), key, of_action=part != ("require",), tell=tell)
    for field, condition in (written.get("require") or {}).items():
        try:
            re.compile(condition.get("pattern", ""))
        except re.error as wrong:
            tell(
                (*path, "require", field, "pattern"),
                "bad-form",
                f"This is no regular expression: {wrong}.",
                "check its brackets",
            )
    if "override" in written and effect not in _REFUSING:
        tell(
            (*path, "override"),
            "bad-rule",
            f"A rule with {effect} refuses nothing, so there is nothing to override.",
            f"remove it; it goes with {', '.join(_REFUSING)}",
        )


def _known(path: Path, key: str, *, of_action: bool, tell: Tell) -> None:
    """Tell of a key that no account has: such a rule would never match, and never be missed."""
    plain = (*(_OF_ACTION if of_action else ()), *_FACTS)
    section, dot, name = key.partition(".")
    if key in plain or key in _FIELDS or (name and key.startswith(_OPEN)):
        return
    if key in _SECTIONS:
        hint = f"name a field of it: {key}.…"
    elif not dot:
        hint = close(key, (*plain, *(f"{one}.…" for one in _SECTIONS)))
    elif section in _SECTIONS and section != "labels":
        hint = close(key, (one for one in _FIELDS if one.startswith(f"{section}.")))
    else:
        hint = close(section, _SECTIONS)
    tell(path, "unknown-key", f"A rule cannot look at {key[:80]!r}.", hint)
