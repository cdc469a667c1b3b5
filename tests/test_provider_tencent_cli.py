"""A Tencent Chat app through the command line: what people type, and what the vendor then holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.world import World

TAG = "Tag_Profile_Custom_Blocked"
WORKSPACE = """\
version: 1
workspace: {name}
providers:
  sg-chat:
    type: tencent
    endpoint: {endpoint}
    credentials: {{sdk_app_id: "1400000000", admin: administrator, secret_key: env:SECRET_KEY}}
    rate: 2000
{more}
"""
MARKED = f"    blocked_tag: {TAG}"
ACCOUNTS = "accounts/tencent/1400000000"
TWO = """
alice:
  profile: {name: Alice, sign: hi, birthday: 1990-01-31}
  configuration: {p2p_chat_banned: true, team_chat_banned: false}
bob:
  profile: {name: Bob}
"""
CUSTOM = TWO.replace("sign: hi", "sign: hi, custom: {Team: a}")
TEAM = "Tag_Profile_Custom_Team"
BANNED = TWO.replace("bob:", "  banned: {reason: spam}\nbob:")
CLEAN = "No changes. 2 accounts as recorded."


class Chat(World):
    """The same with a Tencent Chat app."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.environ["SECRET_KEY"] = "demo-secret-key"

    def workspace(self, more: str = MARKED, name: str = "test-im") -> None:
        """Write reconciler.yaml."""
        text = WORKSPACE.format(name=name, endpoint=self.endpoint, more=more)
        self.write("reconciler.yaml", text)

    def vendor(self, account_id: str) -> dict[str, Any]:
        """Return what the vendor holds of an account."""
        held: dict[str, Any] = self.control(f"{ACCOUNTS}/{account_id}")
        return held

    def console(self, account_id: str, **fields: Any) -> None:
        """Change an account as the vendor's console would."""
        self.control(f"{ACCOUNTS}/{account_id}", fields, "PATCH")

    def applies(self, accounts: str) -> str:
        """Write accounts and apply them; return the last line."""
        self.accounts(accounts)
        ended = self.run("apply", "--auto-approve")
        assert ended.code == 0, ended
        return ended.last

    def calls(self, api: str) -> list[dict[str, Any]]:
        """Return the requests so far to one API."""
        calls: list[dict[str, Any]] = self.control("requests")["requests"]
        return [call for call in calls if call["api"] == api]


@pytest.fixture
def world(tmp_path: Path, endpoint: str) -> Chat:
    """A workspace in an empty folder whose provider is an unthrottled emulator."""
    return Chat(tmp_path, endpoint)


def test_the_life_of_an_account(world: Chat) -> None:
    """Create, block with a kick, unblock: the vendor holds each, and planning again is empty."""
    assert "2 created" in world.applies(TWO)
    assert world.run("plan", "--refresh").last == CLEAN
    assert world.vendor("alice")["configuration"]["p2p_chat_banned"] is True

    assert "1 blocked" in world.applies(BANNED)
    held = world.vendor("alice")
    assert held["configuration"] == {"p2p_chat_banned": True, "team_chat_banned": True}
    assert (held["extra"][TAG], held["kicks"]) == ("1", 1)
    assert world.run("plan", "--refresh").last == CLEAN
    assert world.run("drift").code == 0

    assert "1 unblocked" in world.applies(TWO)
    held = world.vendor("alice")
    assert held["configuration"] == {"p2p_chat_banned": True, "team_chat_banned": False}
    assert (held["extra"][TAG], held["kicks"]) == ("", 1)
    assert world.run("plan", "--refresh").last == CLEAN
    assert world.run("drift").code == 0


def test_flags_wait_for_the_unblock(world: Chat) -> None:
    """While an account is banned its profile changes and its mutes wait; both hold afterwards."""
    world.applies(BANNED)
    changed = BANNED.replace("hi", "new").replace("p2p_chat_banned: true", "p2p_chat_banned: false")

    world.applies(changed)
    assert world.vendor("alice")["profile"]["sign"] == "new"
    assert world.vendor("alice")["configuration"]["p2p_chat_banned"] is True

    world.applies(changed.replace("  banned: {reason: spam}\n", ""))
    assert world.vendor("alice")["configuration"] == {
        "p2p_chat_banned": False,
        "team_chat_banned": False,
    }
    assert world.run("plan", "--refresh").last == CLEAN


def test_drift_and_coverage(world: Chat) -> None:
    """A console edit and a lifted mark are drift; every managed field was checked."""
    world.applies(BANNED)
    found = world.run("drift", "--json").json
    # alice: ban and three profile fields, her mutes being the ban's; bob: ban and name.
    assert found["coverage"] == {"checked": 6, "recorded_only": 2}

    world.console("bob", profile={"name": "Console"})
    world.console("alice", extra={TAG: ""})
    ended = world.run("drift", "--json")

    assert ended.code == 2
    assert {
        (one["address"], change["path"]) for one in ended.json["drift"] for change in one["changes"]
    } >= {("sg-chat/bob", "profile.name"), ("sg-chat/alice", "banned")}


def test_the_life_of_a_custom_field(world: Chat) -> None:
    """It is checked like any other; once it has left the YAML it is empty at the vendor."""
    world.applies(CUSTOM)
    assert world.run("plan", "--refresh").last == CLEAN
    found = world.run("drift", "--json")
    # alice: ban, two flags, four profile fields; bob: ban and name.
    assert (found.code, found.json["coverage"]) == (0, {"checked": 9, "recorded_only": 0})

    world.console("alice", extra={TEAM: "console"})
    found = world.run("drift", "--json")
    assert found.code == 2
    assert found.json["drift"][0]["changes"] == [
        {
            "path": "profile.custom.Team",
            "recorded": "a",
            "observed": "console",
            "cause": "user_or_console",
        }
    ]
    assert world.run("refresh").last == "Refreshed: 2 accounts read, 2 records changed."
    assert world.run("refresh").last == "Refreshed: 2 accounts read, 0 records changed."
    assert [one["reason"] for one in world.run("plan", "--json").json["actions"]] == ["drift"]
    assert "1 updated" in world.applies(CUSTOM)
    assert world.vendor("alice")["extra"][TEAM] == "a"

    assert "1 updated" in world.applies(TWO)
    assert world.vendor("alice")["extra"][TEAM] == ""
    assert world.run("plan", "--refresh").last == CLEAN
    world.console("alice", extra={TEAM: "console"})
    assert world.run("drift").code == 0


def test_custom_fields_that_the_vendor_does_not_give_are_only_recorded(world: Chat) -> None:
    """A tag that the console lets nobody read is counted as unchecked, and stops no reading."""
    world.applies(CUSTOM)
    world.faults({"match": {"api": "portrait_get"}, "fault": "code", "code": 40007})
    world.faults({"match": {"api": "portrait_get"}, "fault": "code", "code": 40007, "after": 1})

    found = world.run("drift", "--json")

    assert (found.code, found.json["coverage"]) == (0, {"checked": 8, "recorded_only": 1})


def test_an_unregistered_custom_field_fails_its_own_account_only(world: Chat) -> None:
    """The reading before a create asks for it in vain, and the other accounts are created."""
    unknown = {"api": "portrait_get"}
    world.faults({"match": unknown, "fault": "code", "code": 40009})
    world.faults({"match": {"api": "portrait_set"}, "fault": "code", "code": 40009})
    world.control(f"{ACCOUNTS}/bob", {"profile": {"name": "Bob"}}, "PUT")
    world.accounts(CUSTOM.replace("bob:", "bob:\n  adopt: true"))

    ended = world.run("apply", "--auto-approve", "--json")

    assert (ended.code, ended.lines[-1]["failed"]) == (3, 1)
    assert ended.lines[-1]["applied"]["adopt"] == 1


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("executed", [True, False], ids=["carried out", "never arrived"])
def test_a_lost_reply_of_a_custom_field_is_settled_by_reading(
    world: Chat, executed: bool, times: int
) -> None:
    """What was carried out is found by name and not sent again, in this run or the next."""
    world.applies(TWO)
    world.faults(
        {"match": {"api": "portrait_set"}, "fault": "close", "executed": executed, "times": times}
    )
    world.accounts(CUSTOM)

    world.run("apply", "--auto-approve")
    sent = len(world.calls("portrait_set"))
    again = world.run("apply", "--auto-approve")

    assert again.code == 0
    assert world.vendor("alice")["extra"][TEAM] == "a"
    if executed:
        assert sent == len(world.calls("portrait_set")) == 2, "one of the create, one of the update"
    assert world.run("plan", "--refresh").last == CLEAN


def test_an_adopted_account_is_not_sent_the_custom_field_it_has(world: Chat) -> None:
    """The reading before an adoption names the tags that the YAML writes."""
    world.control(f"{ACCOUNTS}/bob", {"extra": {TEAM: "a"}}, "PUT")

    world.applies("bob:\n  adopt: true\n  profile: {custom: {Team: a}}")

    assert world.mutations() == []
    assert world.run("drift", "--json").json["coverage"] == {"checked": 2, "recorded_only": 0}


def test_without_a_tag_a_ban_is_only_recorded(world: Chat) -> None:
    """Without a marker the ban is carried out and recorded, and a reading cannot tell it."""
    world.workspace(more="")
    world.applies(BANNED)
    assert world.vendor("alice")["kicks"] == 1
    assert world.run("plan", "--refresh").last == CLEAN

    found = world.run("drift", "--json")

    assert found.code == 0
    assert found.json["coverage"]["recorded_only"] == 4
    assert "1 unblocked" in world.applies(TWO)
    assert world.vendor("alice")["configuration"]["team_chat_banned"] is False


def test_creates_go_in_batches_of_a_hundred(world: Chat) -> None:
    """250 new accounts are 3 import calls and nothing more, as only names are written."""
    ended = world.applies("\n".join(f"u{n}:\n  profile: {{name: N{n}}}" for n in range(250)))

    assert "250 created" in ended
    sizes = sorted(len(call["account_ids"]) for call in world.calls("multiaccount_import"))
    assert sizes == [50, 100, 100]
    assert {call["api"] for call in world.mutations()} == {"multiaccount_import"}


def test_an_account_that_exists_is_left_alone(world: Chat) -> None:
    """An import would overwrite it, so the reading before a create refuses it."""
    world.control(f"{ACCOUNTS}/bob", {"profile": {"name": "theirs"}}, "PUT")
    world.accounts(TWO)

    ended = world.run("apply", "--auto-approve")

    assert ended.code == 3
    assert world.vendor("bob")["profile"]["name"] == "theirs"


def test_half_a_create_is_recorded_and_finished_by_the_next_plan(world: Chat) -> None:
    """Registered without its profile: the create failed, what held is recorded, the rest planned.

    Trying to create it again would find an account that exists and end there.
    """
    fault = {"match": {"api": "portrait_set"}, "fault": "code", "code": 40005}
    world.faults(fault)
    world.accounts(TWO)
    assert world.run("apply", "--auto-approve").code == 3
    recorded = world.run("state", "show", "sg-chat/alice", "--json").json
    assert recorded["attributes"]["profile"] == {"name": "Alice"}

    planned = world.run("plan")
    assert planned.last == "Plan: 0 to create, 1 to update, 0 to block, 0 to unblock, 0 to forget."
    world.applies(TWO)

    assert world.vendor("alice")["profile"]["sign"] == "hi"
    assert world.run("plan", "--refresh").last == CLEAN


@pytest.mark.parametrize("executed", [True, False], ids=["carried out", "never arrived"])
@pytest.mark.parametrize("api", ["multiaccount_import", "portrait_set", "setnospeaking"])
def test_a_lost_reply_of_a_create_loses_nothing(world: Chat, api: str, executed: bool) -> None:
    """Whichever of a create's replies is lost, all that is written holds in the end."""
    world.faults({"match": {"api": api}, "fault": "close", "executed": executed})

    assert "2 created" in world.applies(TWO)

    held = world.vendor("alice")
    assert (held["profile"]["sign"], held["profile"]["birthday"]) == ("hi", 19900131)
    assert held["configuration"]["p2p_chat_banned"] is True
    assert world.run("plan", "--refresh").last == CLEAN


def test_a_create_in_doubt_is_settled_by_what_the_vendor_holds(world: Chat) -> None:
    """A run that ended between import and profile: the next one sets the rest."""
    lost = {"fault": "close", "times": None}
    world.faults(
        {"match": {"api": "portrait_set"}, **lost}, {"match": {"api": "portrait_get"}, **lost}
    )
    world.faults({"match": {"api": "getnospeaking"}, **lost})
    world.accounts(CUSTOM)
    first = world.run("apply", "--auto-approve", "--json")
    assert (first.code, first.lines[-1]["in_doubt"]) == (3, 1)
    world.control("faults", method="DELETE")

    assert world.run("apply", "--auto-approve").code == 0

    held = world.vendor("alice")
    assert held["profile"]["sign"] == "hi"
    assert held["extra"][TEAM] == "a"
    assert world.run("plan", "--refresh").last == CLEAN


def test_a_lost_block_kicks_once(world: Chat) -> None:
    """The reply of the kick is lost: the ban is sent again and marked, and nobody kicks again."""
    world.applies(TWO)
    world.faults({"match": {"api": "kick"}, "fault": "close", "executed": True})

    assert "1 blocked" in world.applies(BANNED)

    assert world.vendor("alice")["kicks"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        "profile: {email: a@b.c}",
        "token: {from: env:IM_TOKEN_A, version: 1}",
        "banned: {notify: bye}",
        "profile: {custom: {Blocked: x}}",
        "profile: {name: " + "客" * 167 + "}",
        "configuration: {qchat_chat_banned: true}",
    ],
)
def test_what_the_vendor_cannot_hold_does_not_validate(world: Chat, wrong: str) -> None:
    """Fields it lacks, its own mark as a custom field, and texts over its bytes are errors."""
    world.accounts(f"alice:\n  {wrong}")
    assert world.run("validate").code == 1


def test_a_tag_that_cannot_be_registered_does_not_validate(world: Chat) -> None:
    """`blocked_tag` is a custom tag of at most eight letters."""
    world.workspace(more="    blocked_tag: Tag_Profile_Custom_TooLongName")
    world.accounts(TWO)
    ended = world.run("validate")
    assert ended.code == 1
    assert "Tag_Profile_Custom_" in ended.out + ended.err


def test_a_plan_says_that_a_ban_is_emulated(world: Chat) -> None:
    """Whoever reviews a block at this vendor is told what it is, once."""
    world.accounts(TWO)
    assert world.run("apply", "--auto-approve").code == 0
    world.accounts(BANNED)

    planned = world.run("plan", "--json").json

    (told,) = [one for one in planned["diagnostics"] if one["kind"] == "emulated"]
    assert told["summary"] == "sg-chat: banned is emulated"
    assert "UserSig" in told["detail"]
