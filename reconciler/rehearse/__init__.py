"""Rehearse: scenarios of a user played against vendors in memory, by the real plan and apply."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.capabilities import Capabilities
from reconciler.rehearse.compare import Comparing, failures
from reconciler.rehearse.stage import Stage
from reconciler.scenario import Mismatch, Played, Scenario
from reconciler.workspace import Workspace

__all__ = ["rehearse"]


def rehearse(
    scenario: Scenario, workspace: Workspace, tables: Mapping[str, Capabilities]
) -> Played:
    """Play a scenario in a workspace and return what is not as expected.

    `tables` are the capabilities by provider. Touches nothing outside, asks for no secret and
    waits for nothing. A step with a mismatch is the last one: what follows would stand on it.
    """
    stage = Stage(workspace, tables, scenario)
    if wrong := failures(stage.begin(scenario.given)):
        summary = "what is given cannot be applied"
        place = scenario.given.source
        return Played(scenario, (Mismatch(0, "given", place, summary, tuple(wrong)),))
    for number, step in enumerate(scenario.steps, 1):
        comparing = Comparing(number, step, stage)
        found = list(comparing.invalid())
        if not found and not step.when.written.errors:
            look = step.expect.drift is not None
            told = stage.play(step.when, look=look, rests=step.expect.rests)
            found = list(comparing.outcome(told))
        if found:
            return Played(scenario, tuple(found))
    return Played(scenario, ())
