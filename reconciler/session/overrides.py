"""Overrides: rules that somebody does not let refuse one plan, as the command line gives them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from reconciler.changes import Override
from reconciler.errors import UsageError
from reconciler.session import Session

SHORTEST: Final = 8
LONGEST: Final = 500
"""Characters of a reason: enough to be one, and one line of history."""


def overrides(texts: Iterable[str], session: Session) -> tuple[Override, ...]:
    """Read `--override RULE=REASON`, each bound to the rule as the workspace has it now.

    Raises UsageError for what is no rule, no reason, or given twice.
    """
    rules = {rule.id: rule for rule in session.workspace.rules} if texts else {}
    found: dict[str, Override] = {}
    for text in texts:
        id, equals, reason = text.partition("=")
        reason = reason.strip()
        if not equals:
            raise UsageError.of(
                "bad-override",
                f"--override {text!r} is not RULE=REASON",
                hint=f"say why: --override '{id}=the customer asked for it, TS-1042'",
            )
        if id not in rules:
            raise UsageError.of("bad-override", f"there is no rule {id!r}", hint=_near(id, rules))
        if not SHORTEST <= len(reason) <= LONGEST or not reason.isprintable():
            raise UsageError.of(
                "bad-override",
                f"--override {id} needs a reason of {SHORTEST} to {LONGEST} characters on one line",
                hint="it is kept in history: say why, and the ticket",
            )
        if id in found:
            raise UsageError.of("bad-override", f"--override {id} is given twice")
        found[id] = Override(id, reason, session.operator, rules[id].digest)
    return tuple(found.values())


def _near(id: str, rules: Iterable[str]) -> str:
    from difflib import get_close_matches

    from reconciler.guard import LIMITED

    if id in LIMITED:
        return f"a limit is exceeded by its exact number: --allow {id}=COUNT"
    if id == "protected":
        return "protection is no rule: set `protected: false` and apply that change alone"
    if near := get_close_matches(id, rules, 1):
        return f"did you mean {near[0]}?"
    return f"reconciler.yaml has: {', '.join(rules)}" if rules else "reconciler.yaml has no rules"
