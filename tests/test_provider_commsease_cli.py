"""A CommsEase v1 app through the command line: what people type, and what the vendor then holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.world import WORKSPACE, World

PUSH = "push_enabled_when_desktop_online"
TWO = """
alice:
  profile: {name: Alice, gender: 1}
  configuration: {team_chat_banned: true}
bob:
  profile: {name: Bob, sign: hello}
"""
BANNED = TWO + "  banned: {reason: spam, notify: bye}\n"
CLEAN = "Apply complete: 0 created, 0 updated, "


class Classic(World):
    """The same vendor through its server API v1."""

    def workspace(self, more: str = "", name: str = "test-im") -> None:
        """Write reconciler.yaml."""
        text = WORKSPACE.format(name=name, endpoint=f"{self.endpoint}/nimserver", more=more)
        self.write("reconciler.yaml", text.replace("type: yunxin", "type: commsease"))

    def kicks(self, account_id: str) -> list[str]:
        """Return the needkick of every block call about an account, the newest last."""
        calls = self.control("requests")["requests"]
        return [
            call["body"]["needkick"]
            for call in calls
            if call["api"] == "block" and call["account_ids"] == [account_id]
        ]


@pytest.fixture
def world(tmp_path: Path, endpoint: str) -> Classic:
    """A workspace in an empty folder whose provider is an unthrottled emulator."""
    return Classic(tmp_path, endpoint)


@pytest.fixture
def applied(world: Classic) -> Classic:
    """The same with alice and bob applied."""
    world.accounts(TWO)
    assert world.run("apply", "--auto-approve").code == 0
    return world


def test_create_then_nothing_to_do(world: Classic) -> None:
    """What was created with its mutes is held by the vendor, and planning again finds nothing."""
    world.accounts(TWO)

    assert world.run("validate").code == 0
    ended = world.run("apply", "--auto-approve")

    assert ended.last.startswith("Apply complete: 2 created,"), ended.err
    assert world.vendor("alice")["configuration"] == {"team_chat_banned": True}
    assert world.run("plan").last == "No changes. 2 accounts as recorded."
    assert world.run("plan", "--refresh").last == "No changes. 2 accounts as recorded."
    assert world.run("drift").code == 0


def test_a_ban_is_recorded_and_not_checked(applied: Classic) -> None:
    """A ban kicks once; no reading shows it, so coverage counts it as recorded only."""
    before = applied.run("drift", "--json").json["coverage"]
    applied.accounts(BANNED)

    ended = applied.run("apply", "--auto-approve")
    drift = applied.run("drift", "--json")

    held = applied.vendor("bob")
    assert ended.last == CLEAN + "1 blocked, 0 unblocked, 0 forgotten."
    assert (held["enabled"], held["kicks"], held["last_kick"]) == (False, 1, "bye")
    assert applied.run("plan").last == "No changes. 2 accounts as recorded."
    assert before == drift.json["coverage"] == {"checked": 5, "recorded_only": 2}
    assert drift.code == 0


def test_an_unban_behind_the_back_is_not_seen(applied: Classic) -> None:
    """Who enables the account at the console is not found out: version 1 does not tell."""
    applied.accounts(BANNED)
    applied.run("apply", "--auto-approve")
    applied.console("bob", enabled=True)

    assert applied.run("drift").code == 0
    assert applied.run("plan", "--refresh").last.startswith("No changes.")
    assert applied.run("state", "show", "cn-prod/bob", "--json").json["banned"] is True


def test_drift_of_what_can_be_read(applied: Classic) -> None:
    """A changed name and a changed mute are drift."""
    applied.console("alice", profile={"name": "Eve"}, configuration={"team_chat_banned": False})

    found = applied.run("drift", "--json")

    assert found.code == 2
    assert [change["path"] for change in found.json["drift"][0]["changes"]] == [
        "configuration.team_chat_banned",
        "profile.name",
    ]


@pytest.mark.parametrize("executed", [True, False])
def test_a_block_in_doubt_is_repeated_without_a_second_kick(
    applied: Classic, executed: bool
) -> None:
    """A lost reply cannot be settled by reading: the ban is sent again, its kick is not."""
    applied.accounts(BANNED)
    applied.faults({"match": {"api": "block"}, "fault": "close", "executed": executed})

    ended = applied.run("apply", "--auto-approve")

    assert ended.last == CLEAN + "1 blocked, 0 unblocked, 0 forgotten."
    assert applied.kicks("bob") == ["true", "false"]
    assert applied.vendor("bob")["enabled"] is False
    assert applied.vendor("bob")["kicks"] == int(executed)
    assert applied.run("plan").last == "No changes. 2 accounts as recorded."


@pytest.mark.parametrize("reverted", [False, True])
def test_a_block_that_stays_in_doubt_is_asked_for_again(applied: Classic, reverted: bool) -> None:
    """Three lost replies leave a doubt; the next apply makes the desired ban certain, kick-free."""
    applied.accounts(BANNED)
    applied.faults({"match": {"api": "block"}, "fault": "close", "executed": True, "times": 3})

    ended = applied.run("apply", "--auto-approve")
    if reverted:
        applied.accounts(TWO)
    planned = applied.run("plan", "--json").json
    again = applied.run("apply", "--auto-approve")

    assert ended.code == 3
    assert ended.last.endswith("1 in doubt.")
    assert applied.kicks("bob")[:3] == ["true", "false", "false"]
    assert [(a["action"], a["reason"]) for a in planned["actions"]] == [
        ("unblock" if reverted else "block", "in_doubt")
    ]
    assert again.code == 0, again.err
    assert applied.kicks("bob") == ["true", "false", "false"] + ["false"] * (not reverted)
    assert applied.vendor("bob")["enabled"] is reverted
    assert applied.run("plan").last == "No changes. 2 accounts as recorded."


def test_unblock(applied: Classic) -> None:
    """A ban that left the YAML is lifted by a call of its own."""
    applied.accounts(BANNED)
    applied.run("apply", "--auto-approve")
    applied.accounts(TWO)

    ended = applied.run("apply", "--auto-approve")

    assert ended.last == CLEAN + "0 blocked, 1 unblocked, 0 forgotten."
    assert applied.vendor("bob")["enabled"] is True
    assert applied.run("plan").last == "No changes. 2 accounts as recorded."


def test_a_banned_account_is_changed_without_waiting(applied: Classic) -> None:
    """Nothing is known to be refused for a blocked account, so nothing waits for the unblock."""
    applied.accounts(BANNED)
    applied.run("apply", "--auto-approve")
    applied.accounts(BANNED.replace("Bob", "Bobby"))

    assert applied.run("apply", "--auto-approve").code == 0
    assert applied.vendor("bob")["profile"]["name"] == "Bobby"
    assert applied.vendor("bob")["enabled"] is False


def test_a_token_follows_its_version(world: Classic) -> None:
    """A token is set at registration, and again when its version changes; no file holds it."""
    text = "bot:\n  token: {from: env:IM_TOKEN_A, version: 1}\n"
    world.accounts(text)
    assert world.run("apply", "--auto-approve").code == 0
    first = world.vendor("bot")["token_sha256"]
    assert world.run("plan").last.startswith("No changes.")

    world.environ["IM_TOKEN_A"] = "second-login-token"
    world.accounts(text.replace("version: 1", "version: 2"))
    ended = world.run("apply", "--auto-approve")

    assert ended.last.startswith("Apply complete: 0 created, 1 updated,")
    assert world.vendor("bot")["token_sha256"] != first
    secrets = (b"first-login-token", b"second-login-token")
    files = [path.read_bytes() for path in world.root.rglob("*") if path.is_file()]
    assert not any(secret in held for secret in secrets for held in files)


def test_the_push_switch_waits(world: Classic) -> None:
    """It is no failure before the first login, and follows with the next change."""
    text = f"bob:\n  configuration: {{{PUSH}: false}}\n"
    world.accounts(text)

    created = world.run("apply", "--auto-approve")
    quiet = world.run("plan", "--json").json
    world.console("bob", logged_in=True)
    world.accounts(text + "  profile: {name: Bob}\n")
    changed = world.run("apply", "--auto-approve")

    assert (created.code, changed.code) == (0, 0), created.err + changed.err
    assert quiet["actions"] == []
    assert [found["kind"] for found in quiet["diagnostics"]] == ["waiting"]
    assert world.vendor("bob")["configuration"] == {PUSH: False}
    again = world.run("plan", "--json").json
    assert (again["actions"], again["diagnostics"]) == ([], [])


def test_adopt_and_ban(world: Classic) -> None:
    """An account of the app's own server is adopted and banned; one that is not there fails."""
    world.seed("spammer-77")
    ban = ":\n  adopt: true\n  banned: {reason: spam}\n"
    world.accounts(f"spammer-77{ban}spamer-78{ban}")

    ended = world.run("apply", "--auto-approve")

    assert ended.code == 3
    assert "spamer-78" in ended.err
    assert (world.vendor("spammer-77")["enabled"], world.kicks("spammer-77")) == (False, ["true"])
    assert world.run("plan", "--json").json["summary"]["unchanged"] == 1


def test_a_registration_in_two_steps_that_is_cut(world: Classic) -> None:
    """A lost reply to the registration, then to the mutes: both are there at the end, once."""
    world.accounts(TWO)
    world.faults(
        {"match": {"api": "create"}, "fault": "reset", "executed": True},
        {"match": {"api": "mute_module"}, "fault": "truncated", "executed": False},
    )

    ended = world.run("apply", "--auto-approve")

    assert ended.code == 0, ended.err
    assert world.vendor("alice")["configuration"] == {"team_chat_banned": True}
    assert world.run("drift").code == 0


def test_a_wrong_secret_stops_the_run(world: Classic) -> None:
    """414 "checksum" is about the credentials: nothing is registered, and the message says so."""
    world.environ["APP_SECRET"] = "not-the-app-secret"
    world.accounts(TWO)

    ended = world.run("apply", "--auto-approve")

    assert ended.code != 0
    assert "checksum" in ended.err
    assert world.mutations() == []


def test_an_imported_account_is_no_banned_one(world: Classic) -> None:
    """Import records what can be read; a ban that v1 does not tell is not made up."""
    world.seed("old-hand")
    world.console("old-hand", enabled=False)

    imported = world.run("import", "cn-prod/old-hand")

    assert imported.code == 0, imported.err
    shown = world.run("state", "show", "cn-prod/old-hand", "--json").json
    assert shown["banned"] is False
    assert shown["observed"]["banned"] is None
    assert shown["observed"]["profile"]["name"] == "old-hand"
    world.accounts("old-hand:\n  profile: {name: old-hand}\n")
    assert world.run("plan").last.startswith("No changes.")
    assert world.mutations() == []


def test_a_ban_of_the_same_account_through_v2(world: Classic) -> None:
    """What is banned through v1 is drift for a workspace that looks through v2."""
    world.accounts(TWO)
    world.run("apply", "--auto-approve")
    world.accounts(BANNED)
    world.run("apply", "--auto-approve")
    newer = World(world.root / "newer", world.endpoint)
    newer.accounts("bob:\n  adopt: true\n")
    assert newer.run("apply", "--auto-approve").code == 0

    planned = newer.run("plan", "--json").json

    assert [action["action"] for action in planned["actions"]] == ["unblock"]
