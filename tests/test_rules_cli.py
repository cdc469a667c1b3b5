"""Rules through the command line: each effect at plan, and again at the apply of a saved plan."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from reconciler.cli.arguments import _REVIEWS
from reconciler.config import schema_text
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


def test_what_the_guard_finds_stands_in_the_json(world: World) -> None:
    """A program reads there why a plan is refused; a plan file leaves it to whoever applies it."""
    file = world.root / "next.plan.json"
    rule(world, "deny: ask first")

    planned = world.run("plan", "--json", "--out", str(file))

    told = planned.json["diagnostics"]
    assert planned.code == 4
    assert [(one["severity"], one["address"]) for one in told] == [
        ("error", "cn-prod/vip-0"),
        ("error", "cn-prod/vip-1"),
    ]
    assert all("ask first" in one["summary"] for one in told)
    assert json.loads(file.read_bytes())["diagnostics"] == []


@pytest.mark.parametrize("match", ["{labels.tier: gold}", "{account_id: bot-*}", "{path: token}"])
def test_what_does_not_match_is_not_judged(world: World, match: str) -> None:
    """Every part of a match must hold."""
    world.workspace(f"rules: [{{id: r1, when: {{match: {match}}}, deny: no}}]")

    assert world.run("plan").code == 0


WHY = "r1=the lawyer asked for it, TS-7"


def test_an_override_is_reviewed_applied_and_kept(world: World) -> None:
    """The plan file carries it, its apply needs no second one, and history says who and why."""
    file = world.root / "next.plan.json"
    rule(world, "deny: ask first")
    world.environ["CI"], world.environ["GITHUB_ACTIONS"] = "", "true"
    world.environ["GITHUB_TRIGGERING_ACTOR"] = "ann"
    assert world.run("plan", "--out", str(file)).code == 4
    assert world.run("apply", str(file)).code == 4

    planned = world.run("plan", "--out", str(file), "--override", WHY, "--json")
    world.environ["GITHUB_TRIGGERING_ACTOR"] = "bob"
    applied = world.run("apply", str(file))

    over = planned.json["overrides"][0]
    told = [one for one in planned.json["diagnostics"] if one["kind"] == "rule-r1"]
    assert (planned.code, applied.code) == (0, 0), applied.err
    assert (over["rule"], over["reason"], over["by"]) == (
        "r1",
        "the lawyer asked for it, TS-7",
        "ann",
    )
    assert [one["severity"] for one in told] == ["warning", "warning"]
    assert "Overridden by ann: the lawyer asked for it, TS-7" in applied.err
    assert "2 blocked" in applied.last
    jsonschema.validate(planned.json, json.loads(schema_text("plan")))
    last = world.run("state", "history", "--json").lines[-1]
    jsonschema.validate(last, json.loads(schema_text("history")))
    assert last["run"]["overrides"] == [over]
    assert last["run"]["fingerprint"] == planned.json["fingerprint"]
    assert last["run"]["operator"] == "bob"
    history = world.run("state", "history", "cn-prod/vip-0").out
    assert "    rule r1 overridden by ann: the lawyer asked for it, TS-7\n" in history


@pytest.mark.parametrize("format", _REVIEWS)
def test_every_format_shows_what_was_overridden(format: str, overridden: World) -> None:
    """A saved plan with an override says who and why to every reader but a widget of counts."""
    shown = overridden.run("show", "next.plan.json", "--format", format)

    assert shown.code == 0
    assert ("the lawyer asked for it, TS-7" in shown.out) is (format != "gitlab")
    assert ("cn-prod/vip-0 is denied by rule r1" in shown.out) is (format != "gitlab")
    assert "豁免：规则 r1" in overridden.run("show", "next.plan.json", "--lang", "zh-CN").out


@pytest.fixture(scope="module")
def overridden(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A plan that is saved with an override."""
    world = World(tmp_path_factory.mktemp("overridden"), "http://127.0.0.1:9")
    rule(world, "deny: ask first")
    world.accounts(VIPS.replace("tier: vip}", "tier: vip}\n  banned: true"))
    planned = world.run("plan", "--out", "next.plan.json", "--override", WHY)
    assert planned.code == 0, planned.err
    return world


def test_an_apply_without_a_plan_file_names_the_plan(world: World) -> None:
    """Without --expect an override is a blank cheque, which is wrong usage; with it, it holds."""
    rule(world, "deny: ask first")
    expect = world.run("plan", "--json").json["fingerprint"]

    blank = world.run("apply", "--auto-approve", "--override", WHY)
    other = world.run("apply", "--auto-approve", "--expect", "sha256:00", "--override", WHY)
    done = world.run("apply", "--auto-approve", "--expect", expect, "--override", WHY, "--json")

    assert (blank.code, other.code, done.code) == (64, 6, 0)
    assert "a blank cheque" in blank.err
    warnings = [one["diagnostic"] for one in done.lines if one["type"] == "diagnostic"]
    assert [one["id"] for one in warnings] == ["rule-r1", "rule-r1"]
    assert "Overridden by" in warnings[0]["detail"]
    assert world.vendor("vip-0")["enabled"] is False


def test_an_override_is_of_a_rule_that_refuses_as_it_did(world: World) -> None:
    """One that nothing needs, and one whose rule was changed since, refuse; nothing is sent."""
    file = str(world.root / "next.plan.json")
    rule(world, "deny: ask first")
    assert world.run("plan", "--out", file, "--override", WHY).code == 0

    rule(world, "deny: ask twice")
    changed = world.run("apply", file)
    again = world.run("apply", file, "--override", "r1=asked twice, she said yes")
    rule(world, "warn: look twice")
    idle = world.run("plan", "--override", WHY)

    assert (changed.code, again.code, idle.code) == (4, 0, 4)
    assert "overrode it before the rule was changed" in changed.err
    assert "rule r1 refuses nothing here" in idle.err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("r1", "--override 'r1' is not RULE=REASON"),
        ("r1=because", "--override r1 needs a reason of 8 to 500 characters"),
        (f"r1={'x' * 501}", "--override r1 needs a reason of 8 to 500 characters"),
        ("r1=two\nlines of it", "--override r1 needs a reason of 8 to 500 characters on one line"),
        ("r2=the lawyer asked", "there is no rule 'r2'\n    hint: reconciler.yaml has: r1"),
        ("r11=the lawyer asked", "there is no rule 'r11'\n    hint: did you mean r1?"),
        ("block=the lawyer asked", "--allow block=COUNT"),
        ("protected=the lawyer asked", "set `protected: false`"),
    ],
)
def test_what_is_no_override_is_wrong_usage(overridden: World, given: str, said: str) -> None:
    """Exit 64, and what to write instead."""
    for words in (("plan",), ("apply", "next.plan.json")):
        ended = overridden.run(*words, "--override", given)
        assert ended.code == 64
        assert said in ended.err
    twice = overridden.run("plan", "--override", WHY, "--override", WHY)
    assert "given twice" in twice.err


def test_a_rule_may_forbid_to_be_overridden(world: World) -> None:
    """`override: false` refuses all the same, and is an error beside what refuses nothing."""
    rule(world, "deny: never\n    override: false")
    assert world.run("validate").code == 0
    planned = world.run("plan", "--override", WHY)
    assert planned.code == 4
    assert "it cannot be overridden" in planned.err
    rule(world, "warn: never\n    override: false")
    assert "a rule with warn refuses nothing" in world.run("validate").err.lower()
    rule(world, "deny: never\n    warn: never\n    override: false")
    assert "A rule has exactly one effect." in world.run("validate").err
