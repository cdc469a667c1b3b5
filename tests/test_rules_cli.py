"""Rules through the command line: each effect at plan, and again at the apply of a saved plan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.world import World

VIPS = "\n".join(f"vip-{n}:\n  profile: {{name: x}}\n  labels: {{tier: vip}}" for n in range(2))


@pytest.fixture
def world(tmp_path: Path, endpoint: str) -> World:
    """Two recorded vips whose ban is declared, their label taken off in the same change."""
    world = World(tmp_path, endpoint)
    world.accounts(VIPS)
    assert world.run("apply", "--auto-approve").code == 0
    world.accounts(VIPS.replace("labels: {tier: vip}", "banned: {reason: spam}"))
    world.control("requests", method="DELETE")
    return world


def rule(world: World, effect: str) -> None:
    """Write a workspace with one rule over bans of vips at one provider."""
    world.workspace(
        "rules:\n  - id: r1\n    when:\n      action: [block]\n      match: {labels.tier: vip, "
        f"provider: cn-*, account_id: vip-*, path: banned}}\n    {effect}"
    )


REFUSING = [
    ("deny: ask first", "accounts/team.yaml:2: error: block of cn-prod/vip-0 is denied by rule r1"),
    (
        "require: {banned.ticket: {pattern: '^TS-'}}",
        "accounts/team.yaml:5: error: block of cn-prod/vip-1: rule r1 requires banned.ticket",
    ),
    ("limit: {count: 1}", ":5: error: rule r1 allows 1 such actions, the plan holds 2"),
    ("limit: {percent: 50}", "block of cn-prod/vip-0 (accounts/team.yaml:2)"),
]


@pytest.mark.parametrize(("effect", "said"), REFUSING)
def test_what_refuses_refuses_at_plan_and_again_at_apply(
    world: World, effect: str, said: str
) -> None:
    """Exit 4 with account, file and line; the plan is shown and written all the same."""
    file = world.root / "next.plan.json"
    rule(world, effect)

    planned = world.run("plan", "--out", str(file))
    applied = world.run("apply", str(file))

    assert planned.code == applied.code == 4
    assert planned.last == (
        "Plan: 0 to create, 2 to update, 2 to block, 0 to unblock, 0 to forget."
    )
    assert said in planned.err
    assert said in applied.err
    assert not world.mutations()


@pytest.mark.parametrize(("effect", "said"), REFUSING)
def test_a_rule_that_a_saved_plan_never_met_is_asked_at_apply(
    world: World, effect: str, said: str
) -> None:
    """A plan from before the rule is judged by the rules of now."""
    file = world.root / "next.plan.json"
    assert world.run("plan", "--out", str(file)).code == 0
    rule(world, effect)

    applied = world.run("apply", str(file))

    assert applied.code == 4
    assert said in applied.err
    assert not world.mutations()


def test_a_warning_is_said_and_goes_on(world: World) -> None:
    """It is told at plan and at apply, and refuses neither."""
    rule(world, "warn: look twice")

    assert "warning: block of cn-prod/vip-0: look twice" in world.run("plan").err
    applied = world.run("apply", "--auto-approve")

    assert applied.code == 0
    assert "warning: block of cn-prod/vip-1: look twice" in applied.err


def test_approvals_are_in_the_plan_for_whoever_asks_for_them(world: World) -> None:
    """Rule, groups and addresses stand in the JSON and in the plan file; nothing is refused."""
    file = world.root / "next.plan.json"
    rule(world, "approval: [trust-and-safety, leads]")

    planned = world.run("plan", "--json", "--out", str(file))

    wanted = [
        {
            "rule": "r1",
            "groups": ["trust-and-safety", "leads"],
            "addresses": ["cn-prod/vip-0", "cn-prod/vip-1"],
        }
    ]
    assert planned.code == 0
    assert planned.json["approvals"] == json.loads(file.read_bytes())["approvals"] == wanted
    assert world.run("apply", str(file)).code == 0


@pytest.mark.parametrize("match", ["{labels.tier: gold}", "{account_id: bot-*}", "{path: token}"])
def test_what_does_not_match_is_not_judged(world: World, match: str) -> None:
    """Every part of a match must hold."""
    world.workspace(f"rules: [{{id: r1, when: {{match: {match}}}, deny: no}}]")

    assert world.run("plan").code == 0
