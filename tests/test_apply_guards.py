"""Guards at apply: a plan that was fine when made is judged again before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.world import World

IDS = [f"u{n}" for n in range(5)]


@pytest.fixture
def world(tmp_path: Path, endpoint: str) -> World:
    """Five recorded accounts, and a saved plan that blocks four of them."""
    world = World(tmp_path, endpoint)
    declare(world)
    assert world.run("apply", "--auto-approve").code == 0
    declare(world, banned=IDS[:4])
    saved = world.run("plan", "--out", str(plan(world)), "--allow", "block=4")
    assert saved.code == 0, saved.err
    world.control("requests", method="DELETE")
    return world


def plan(world: World) -> Path:
    """Return where the plan is saved."""
    return world.root / "ban.plan.json"


def declare(world: World, banned: list[str] | None = None, more: str = "") -> None:
    """Write the accounts."""
    ban = "  banned: {reason: spam}\n"
    lines = (f"{id}:\n  profile: {{name: x}}\n{ban if id in (banned or []) else ''}" for id in IDS)
    world.accounts("".join(lines) + more)


def refused(world: World, code: int, *words: str) -> str:
    """Apply the plan; demand that it is refused with this code and that nothing was sent."""
    before = world.serial()
    ended = world.run("apply", str(plan(world)), *words)
    assert ended.code == code, ended.out + ended.err
    assert [call for call in world.control("requests")["requests"] if call["mutated"]] == []
    assert world.serial() == before
    return ended.err


def test_the_plan_as_it_was_judged(world: World) -> None:
    """Nothing changed since: the override in the plan file holds."""
    ended = world.run("apply", str(plan(world)))

    assert ended.code == 0, ended.err
    assert "4 blocked" in ended.last


def test_a_limit_that_was_tightened(world: World) -> None:
    """A rule of the workspace with a limit below the plan is exit 4."""
    world.workspace("rules:\n  - {id: few, when: {action: [block]}, limit: {count: 2}}\n")

    assert "few" in refused(world, 4)


def test_a_rule_that_was_added(world: World) -> None:
    """A rule that denies what the plan does is exit 4 and names the account."""
    world.workspace("rules:\n  - {id: no-bans, when: {action: [block]}, deny: not on Fridays}\n")

    told = refused(world, 4)

    assert "no-bans" in told
    assert "cn-prod/u0" in told


def test_an_account_that_was_protected(world: World) -> None:
    """An account that another apply has protected since makes the plan stale."""
    declare(world)
    text = (world.root / "accounts/team.yaml").read_text()
    world.write("accounts/team.yaml", text.replace("  u0:\n", "  u0:\n    protected: true\n"))
    assert world.run("apply", "--auto-approve").code == 0

    assert "cn-prod/u0" in refused(world, 6)
    # Planned anew, the ban of a protected account is refused for what it is.
    text = (world.root / "accounts/team.yaml").read_text()
    world.write(
        "accounts/team.yaml",
        text.replace("    protected: true\n", "    protected: true\n    banned: true\n"),
    )
    again = world.run("apply", "--auto-approve")
    assert (again.code, "protected" in again.err) == (4, True)


@pytest.mark.parametrize("count", [3, 5, 40])
def test_an_override_is_exact(world: World, count: int) -> None:
    """An override at apply takes the place of the plan's, and must name the exact count."""
    assert "--allow block=4" in refused(world, 4, "--allow", f"block={count}")


def test_an_override_of_another_kind_does_not_help(world: World) -> None:
    """A count for one kind of action says nothing of another."""
    refused = world.run("apply", "--auto-approve", "--allow", "unblock=4")

    assert refused.code == 4
    assert "--allow block=4" in refused.err


def test_another_app(world: World) -> None:
    """With another app's credentials the plan is exit 6."""
    world.environ["APP_KEY"] = "another-app-key"

    assert "another app" in refused(world, 6)


def test_another_workspace(world: World) -> None:
    """A plan of another workspace is exit 6, also where its state would be empty."""
    other = World(world.root / "other", world.endpoint)
    other.workspace(name="other-im")

    ended = other.run("apply", str(plan(world)))

    assert ended.code == 6
    assert "test-im" in ended.err


def test_a_provider_that_is_gone(world: World) -> None:
    """A plan for a provider that the workspace has no more is exit 6."""
    text = (world.root / "reconciler.yaml").read_text()
    world.write("reconciler.yaml", text.replace("cn-prod", "cn-new"))

    assert "cn-prod" in refused(world, 6)


def test_the_expected_fingerprint(world: World) -> None:
    """`--expect` of another plan is exit 6; that of this one applies."""
    assert "expected" in refused(world, 6, "--expect", "sha256:" + "0" * 64)
    fingerprint = world.run("show", str(plan(world)), "--json").json["fingerprint"]

    assert world.run("apply", str(plan(world)), "--expect", fingerprint).code == 0


def test_a_plan_is_applied_once(world: World) -> None:
    """The same plan a second time is exit 6 and changes nothing."""
    assert world.run("apply", str(plan(world))).code == 0
    world.control("requests", method="DELETE")

    refused(world, 6)
