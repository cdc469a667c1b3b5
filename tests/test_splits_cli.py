"""One entry in two emulated apps through the command line: a split is told and goes first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.cli.progress import SPOKEN
from reconciler.config import schema_text
from tests.world import World

WORKSPACE = """\
version: 1
workspace: {name}
providers:
  cn-prod:
    type: yunxin
    endpoint: {endpoint}
    credentials: {{app_key: env:APP_KEY, app_secret: env:APP_SECRET}}
    rate: 2000
    concurrency: 1
  sg-chat:
    type: tencent
    endpoint: {endpoint}
    credentials: {{sdk_app_id: "1400000000", admin: administrator, secret_key: env:SECRET_KEY}}
    rate: 2000
    concurrency: 1
"""
GOOD = """
aide: {provider: sg-chat, profile: {name: Aide}}
spammer: {provider: [cn-prod, sg-chat], profile: {name: Eve}}
"""
BANNED = GOOD.replace("{name: Eve}}", "{name: Eve}, banned: {reason: spam}}")
SPLIT = "spammer: done in cn-prod, failed in sg-chat; run apply again, it goes first"


class Two(World):
    """The same with a Yunxin and a Tencent app on one emulator."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.environ["SECRET_KEY"] = "demo-secret-key"

    def workspace(self, more: str = "", name: str = "test-im") -> None:
        """Write reconciler.yaml."""
        text = WORKSPACE.format(name=name, endpoint=self.endpoint) + more
        self.write("reconciler.yaml", text)

    def muted(self) -> bool:
        """Tell whether the spammer is blocked in the Tencent app."""
        held = self.control("accounts/tencent/1400000000/spammer")
        return bool(held["configuration"].get("team_chat_banned"))


@pytest.fixture
def world(tmp_path: Path, endpoint: str) -> Two:
    """Both accounts applied; the Tencent app then refuses the next ban."""
    world = Two(tmp_path, endpoint)
    world.accounts(GOOD)
    assert world.run("apply", "--auto-approve").code == 0
    match = {"vendor": "tencent", "api": "setnospeaking"}
    world.faults({"match": match, "fault": "code", "code": 60003, "times": 1})
    world.accounts(BANNED)
    return world


def test_a_ban_that_one_app_refused_is_told_and_goes_first(world: Two) -> None:
    """Blocked in one app only: told as such, planned as such, done first from a saved plan."""
    ended = world.run("apply", "--auto-approve")
    assert ended.code == 3
    assert ended.out.splitlines()[-2:] == [
        SPLIT,
        "Apply incomplete: 1 failed, 0 skipped, 0 in doubt.",
    ]
    assert world.vendor("spammer")["enabled"] is False
    assert not world.muted()

    world.accounts(BANNED.replace("Aide", "Aida"))
    planned = world.run("plan", "--out", str(world.root / "next.json"))
    assert "spammer: not the same in cn-prod and sg-chat; done first in sg-chat" in planned.out
    assert planned.out.index("sg-chat/aide") < planned.out.index("sg-chat/spammer")

    world.control("requests", method="DELETE")
    ended = world.run("apply", str(world.root / "next.json"))
    assert ended.code == 0, ended
    assert "done in" not in ended.out
    touched = [call["account_ids"] for call in world.mutations()]
    assert (touched[0], touched[-1]) == (["spammer"], ["aide"])
    assert world.muted()
    assert world.run("plan").last == "No changes. 3 accounts as recorded."


def test_the_stream_names_what_is_done_and_what_is_left(world: Two) -> None:
    """In JSON the split is a diagnostic before the summary, and every line fits the schema."""
    ended = world.run("apply", "--auto-approve", "--json")
    lines: list[Any] = [json.loads(line) for line in ended.out.splitlines()]
    validator = Draft202012Validator(json.loads(schema_text("events")))
    for line in lines:
        validator.validate(line)
    told = lines[-2]
    assert (told["type"], told["diagnostic"]["id"]) == ("diagnostic", "split")
    assert (told["diagnostic"]["file"], told["diagnostic"]["line"]) == ("accounts/team.yaml", 3)
    assert told["message"] == SPLIT
    assert told["done"] == ["cn-prod/spammer"]
    assert told["left"] == [{"address": "sg-chat/spammer", "result": "failed"}]

    plan = world.run("plan", "--json").json
    Draft202012Validator(json.loads(schema_text("plan"))).validate(plan)
    assert [one["behind"] for one in plan["siblings"]] == [["sg-chat/spammer"]]


def test_one_app_as_a_target_is_no_split(world: Two) -> None:
    """Blocking in one app on purpose is done and not told as a split."""
    ended = world.run("apply", "--auto-approve", "--target", "cn-prod")
    assert ended.code == 0
    assert "spammer: done in" not in ended.out + ended.err


def test_many_splits_are_summed_up(world: Two) -> None:
    """When a whole app refuses, as many lines as for actions are told, then a number."""
    world.faults({"match": {"vendor": "tencent"}, "fault": "code", "code": 60003, "times": None})
    count = SPOKEN + 3
    entries = "".join(f"u{n}: {{provider: [cn-prod, sg-chat]}}\n" for n in range(count))
    world.accounts(GOOD + entries)

    told = world.run("apply", "--auto-approve").out.splitlines()

    assert sum("done in cn-prod, " in line for line in told) == SPOKEN
    assert told[-2] == (
        "3 more are done in some of their apps only; run apply again, they go first"
    )
    assert told[-1].startswith("Apply incomplete: ")
