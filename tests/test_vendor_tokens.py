"""Tokens that the vendor mints: delivered to their sink and seen by nobody else, or minted anew."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest

from reconciler.conversation import (
    REGISTERED,
    Answer,
    Minted,
    Provider,
    Result,
    Sink,
    Verdict,
)
from reconciler.diagnostics import error
from reconciler.errors import SecretError
from reconciler.providers import commsease, yunxin
from reconciler.secrets import Resolver
from reconciler.values import Reference
from tests.forks import until
from tests.world import WORKSPACE, World

BOT = """
bot:
  profile: {name: Bot}
  token: {generate: vendor, sink: "file:secrets/bot", version: 1}
"""
MUTED = BOT + "  configuration: {p2p_chat_banned: true}\n"
REFRESH = {"match": {"api": "refresh_token"}}


class Both(World):
    """A workspace whose provider speaks one of the two NetEase generations."""

    type = "yunxin"

    def workspace(self, more: str = "", name: str = "test-im") -> None:
        """Write reconciler.yaml."""
        endpoint = self.endpoint + ("/nimserver" if self.type == "commsease" else "")
        text = WORKSPACE.format(name=name, endpoint=endpoint, more=more)
        self.write("reconciler.yaml", text.replace("type: yunxin", f"type: {self.type}"))

    @property
    def delivered(self) -> str:
        """The SHA-256 of what the sink holds; empty without one."""
        sink = self.root / "secrets" / "bot"
        return hashlib.sha256(sink.read_bytes()).hexdigest() if sink.exists() else ""

    @property
    def held(self) -> str:
        """The SHA-256 of the token that the vendor takes."""
        found: str = self.vendor("bot")["token_sha256"]
        return found

    def calls(self, api: str) -> int:
        """Return how many calls of an API the vendor has seen."""
        return sum(one["api"] == api for one in self.control("requests")["requests"])


class Classic(Both):
    """Server API v1."""

    type = "commsease"


@pytest.fixture(params=[Both, Classic], ids=["yunxin", "commsease"])
def world(request: pytest.FixtureRequest, tmp_path: Path, endpoint: str) -> Both:
    """A workspace in an empty folder whose provider is an unthrottled emulator."""
    return request.param(tmp_path, endpoint)


def test_a_new_account_brings_its_token(world: Both) -> None:
    """The answer to the registration is delivered: one call, a private file, nothing left over."""
    world.accounts(BOT)

    ended = world.run("apply", "--auto-approve")

    assert ended.code == 0, ended.err
    assert world.delivered == world.held
    sink = world.root / "secrets" / "bot"
    assert stat.S_IMODE(sink.stat().st_mode) == 0o600
    assert [path.name for path in sink.parent.iterdir()] == ["bot"]
    assert len(world.mutations()) == 1
    assert world.run("plan").last == "No changes. 1 account as recorded."


def test_nothing_but_the_sink_holds_it(world: Both) -> None:
    """No file beside the sink, no output and no emulator log entry repeats the token."""
    world.accounts(BOT)
    ended = world.run("--log-level", "debug", "apply", "--auto-approve", "--json")
    token = (world.root / "secrets" / "bot").read_text()

    others = [path for path in world.root.rglob("*") if path.is_file() and path.name != "bot"]
    assert not [path for path in others if token.encode() in path.read_bytes()]
    assert token not in ended.out + ended.err
    assert world.run("state", "show", "cn-prod/bot", "--json").json["token"]["version"] == 1


def test_a_new_version_mints_again(world: Both) -> None:
    """The vendor's reset is called once per version, and the plan says who mints."""
    world.accounts(BOT)
    world.run("apply", "--auto-approve")
    before = world.held
    world.accounts(BOT.replace("version: 1", "version: 2"))

    planned = world.run("plan")
    ended = world.run("apply", "--auto-approve")

    assert "minted by the vendor, delivered to file:secrets/bot" in planned.out
    assert ended.code == 0, ended.err
    assert world.delivered == world.held != before
    assert world.calls("refresh_token") == 1
    assert world.run("plan").last.startswith("No changes.")


@pytest.mark.parametrize("executed", [True, False])
def test_a_lost_answer_loses_the_token_and_the_next_apply_mints_again(
    world: Both, executed: bool
) -> None:
    """It is asked for once a run, as a late execution would void the one that came after it."""
    world.accounts(BOT)
    world.run("apply", "--auto-approve")
    world.accounts(BOT.replace("version: 1", "version: 2"))
    world.faults(REFRESH | {"fault": "close", "executed": executed})

    lost = world.run("apply", "--auto-approve")
    lost_calls = world.calls("refresh_token")
    planned = world.run("plan", "--json").json
    again = world.run("apply", "--auto-approve")

    assert (lost.code, lost_calls) == (3, 1), lost.err
    assert [(a["action"], a["reason"]) for a in planned["actions"]] == [("update", "token_version")]
    assert again.code == 0, again.err
    assert world.delivered == world.held
    assert world.run("plan").last.startswith("No changes.")


def test_a_lost_registration_is_found_and_its_token_minted_again(world: Both) -> None:
    """The account is there and its token went with the reply: flags and token follow at once."""
    world.accounts(MUTED)
    world.faults({"match": {"api": "create"}, "fault": "close", "executed": True})

    ended = world.run("apply", "--auto-approve")

    assert ended.code == 0, ended.err
    assert world.delivered == world.held
    assert world.vendor("bot")["configuration"] == {"p2p_chat_banned": True}
    assert world.run("plan").last.startswith("No changes.")


def test_a_registration_settled_by_a_later_run_claims_no_token(world: Both) -> None:
    """Killed before the answer, the account is recorded without a token, and the plan mints one."""
    world.accounts(BOT)
    world.faults({"match": {"api": "create"}, "fault": "hang", "executed": True, "seconds": 30})
    process = world.start("apply", "--auto-approve")
    until(lambda: world.calls("create"))
    process.kill()

    planned = world.run("plan", "--json").json
    ended = world.run("apply", "--auto-approve")

    assert [one["reason"] for one in planned["actions"]] == ["in_doubt"]
    assert ended.code == 0, ended.err
    again = world.run("apply", "--auto-approve")
    assert again.code == 0, again.err
    assert world.delivered == world.held
    assert world.run("plan").last.startswith("No changes.")


def test_a_sink_that_cannot_be_written_is_found_before_the_vendor_is_asked(world: Both) -> None:
    """What is in the way is named, and no token is minted that nobody would get."""
    world.accounts(BOT)
    world.write("secrets", "a file where a folder should be")

    ended = world.run("apply", "--auto-approve")

    assert ended.code == 3
    assert "file:secrets/bot" in ended.err
    assert world.mutations() == []


def test_a_token_that_cannot_be_delivered_is_said_to_be_lost(
    world: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account is recorded, its token is not; the next apply has the vendor mint another."""
    world.accounts(MUTED)

    def full(self: Resolver, ref: Reference, value: str) -> None:
        raise SecretError(error("secret-reference", f"The secret {ref} cannot be used: disk full."))

    with monkeypatch.context() as patch:
        patch.setattr(Resolver, "deliver", full)
        ended = world.run("apply", "--auto-approve", "--json")
    shown = world.run("state", "show", "cn-prod/bot", "--json").json
    planned = world.run("plan", "--json").json
    again = world.run("apply", "--auto-approve")

    assert ended.code == 3
    errored = next(line for line in ended.lines if line["type"] == "apply_errored")
    assert errored["code"] == "undelivered"
    assert "disk full" in errored["message"]
    assert "mint another" in errored["message"]
    assert (shown["token"], shown["attributes"]["profile"]) == (None, {"name": "Bot"})
    assert [change["path"] for change in planned["actions"][0]["changes"]] == ["token"]
    assert again.code == 0, again.err
    assert world.delivered == world.held


@pytest.mark.parametrize(
    ("provider", "at"),
    [(yunxin.PROVIDER, ("data", "token")), (commsease.PROVIDER, ("info", "token"))],
    ids=["yunxin", "commsease"],
)
class TestConversation:
    """What the providers ask for, as data."""

    SINK = Sink(Reference("file:secrets/bot"))
    GONE = Answer(
        Verdict(Result.CONFIRMED, "200"), {"code": 200}, undelivered="the answer holds no token"
    )

    def test_the_reset_comes_last_and_without_a_token(
        self, provider: Provider, at: tuple[str, ...]
    ) -> None:
        """Profile first, so that what fails before it costs no token."""
        call = provider.update("bot", {"profile.name": "B"}, self.SINK)
        first = next(call)
        assert first.minted is None
        second = call.send(Answer(Verdict(Result.CONFIRMED, "200"), {"code": 200}))
        assert (second.api, second.minted) == ("refresh_token", Minted(at, self.SINK))
        assert "token" not in (second.body or {})

    def test_a_registration_whose_token_is_lost_has_done_the_rest(
        self, provider: Provider, at: tuple[str, ...]
    ) -> None:
        """The outcome names the account and its fields as done, and not the token."""
        document = {"profile": {"name": "B"}, "token": {"value": self.SINK}}
        call = provider.create({"bot": document})
        assert next(call).minted == Minted(at, self.SINK)
        with pytest.raises(StopIteration) as end:
            call.send(self.GONE)
        outcome = end.value.value["bot"]
        assert (outcome.result, outcome.code) == (Result.REJECTED, "undelivered")
        assert outcome.done == (REGISTERED, "profile.name")


SHARED = """
version: 1
workspace: two-apps
providers:
  cn: {type: yunxin, region: china, credentials: {app_key: k, app_secret: env:CN_SECRET}}
  sg: {type: commsease, region: singapore, credentials: {app_key: k, app_secret: env:SG_SECRET}}
secrets: {allow: ["file:secrets/*"]}
"""


@pytest.mark.parametrize(
    ("accounts", "place", "told"),
    [
        (
            'bot: {provider: [cn, sg], token: {generate: true, sink: "file:secrets/bot"}}',
            "accounts/team.yaml:2:",
            "gets a token of its own in each",
        ),
        (
            'a: {provider: cn, token: {generate: vendor, sink: "file:secrets/bot"}}\n'
            'b: {provider: sg, token: {generate: true, sink: "file:secrets/bot"}}',
            "accounts/team.yaml:3:",
            "takes the token of a already (accounts/team.yaml:2)",
        ),
    ],
    ids=["several apps", "two accounts"],
)
def test_a_sink_takes_one_token(tmp_path: Path, accounts: str, place: str, told: str) -> None:
    """Two tokens in one sink would lose the first; validate says so, offline."""
    world = World(tmp_path, "http://127.0.0.1:9")
    world.write("reconciler.yaml", SHARED)
    world.accounts(accounts)

    ended = world.run("validate")

    assert ended.code == 1
    assert place in ended.err
    assert told in ended.err
