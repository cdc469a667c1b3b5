"""GitLab: the counts that a merge request's Terraform widget shows."""

from __future__ import annotations

from reconciler.changes import Plan
from reconciler.drift import Drift


def plan(planned: Plan) -> dict[str, int]:
    """Return the report of a plan: a block stands as a delete; adopt and forget are not counted."""
    counts = planned.summary()
    return {
        "create": counts["create"],
        "update": counts["update"] + counts["unblock"],
        "delete": counts["block"],
    }


def drift(found: Drift) -> dict[str, int]:
    """Return what it takes to mend the drift: a missing account is made, a changed one updated."""
    counts = found.summary()
    return {"create": counts["missing"], "update": counts["changed"], "delete": 0}
