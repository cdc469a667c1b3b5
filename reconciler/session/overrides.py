"""Overrides: rules that somebody does not let refuse one plan, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from reconciler.changes import Override
from reconciler.errors import UsageError
from reconciler.workspace import Rule

SHORTEST: Final = 8
LONGEST: Final = 500
"""Characters of a reason: enough to be one, and one line of history."""


def overrides(
    reasons: Mapping[str, str], rules: Iterable[Rule], operator: str
) -> tuple[Override, ...]:
    """Bind each reason to the rule of that id as it is now; `operator` is who gives it.

    Raises UsageError for what is no rule or no reason.
    """
    known = {rule.id: rule for rule in rules}
    found = []
    for id, told in reasons.items():
        reason = told.strip()
        if id not in known:
            raise UsageError.of("bad-override", f"there is no rule {id!r}", hint=_near(id, known))
        if not SHORTEST <= len(reason) <= LONGEST or not reason.isprintable():
            raise UsageError.of(
                "bad-override",
                f"--override {id} needs a reason of {SHORTEST} to {LONGEST} characters on one line",
                hint="it is kept in history: say why, and the ticket",
            )
        found.append(Override(id, reason, operator, known[id].digest))
    return tuple(found)


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
