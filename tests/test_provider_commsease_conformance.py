"""CommsEase v1 against its emulated vendor: the suite that every provider passes, and v1's own."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from reconciler.conversation import Result, Why
from reconciler.providers import provider
from reconciler.transport import Clock, Transport
from reconciler.values import Reference
from reconciler.workspace import App
from tests.provider_conformance import TOKEN, ProviderConformance, Vendor

PUSH = "push_enabled_when_desktop_online"
SECRETS = {
    "env:SECRET": "demo-app-secret",
    "env:IM_TOKEN": "a-first-token",
    "env:OTHER_TOKEN": "another-token",
}


@dataclass
class Loopback:
    """The emulator, and providers that speak to it."""

    endpoint: str
    clock: Clock

    def control(self, path: str, body: Any = None, method: str = "GET") -> Any:
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.endpoint}/_emulator/{path}"
        request = urllib.request.Request(url, data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")

    def held(self, account_id: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.control(f"accounts/commsease/demo-app-key/{account_id}")
        return found

    def faults(self, api: str, **fault: Any) -> None:
        self.control("faults", [{"match": {"api": api}, **fault}], "POST")

    def guess(self, **guesses: Any) -> None:
        self.control("guesses", guesses, "PATCH")

    def calls(self) -> list[str]:
        return [entry["api"] for entry in self.control("requests")["requests"]]

    def vendor(self, type: str, path: str) -> Vendor:
        app = App(
            "app",
            type,
            self.endpoint + path,
            rate=2000,
            credentials={"app_key": "demo-app-key", "app_secret": Reference("env:SECRET")},
        )
        speaks = provider(type)
        transport = Transport(speaks, app, lambda ref: SECRETS[ref.text], clock=self.clock)
        return Vendor(speaks, transport, self.held, self.faults)


@pytest.fixture
def loopback(endpoint: str) -> Loopback:
    """An emulator; a pause after throttling passes at once."""
    passed = [0.0]
    real = Clock()
    clock = Clock(
        real.now,
        lambda: real.monotonic() + passed[0],
        lambda seconds: passed.__setitem__(0, passed[0] + seconds),
        real.random,
        real.nonce,
    )
    return Loopback(endpoint, clock)


@pytest.fixture
def vendor(loopback: Loopback) -> Iterator[Vendor]:
    """CommsEase v1 on loopback."""
    made = loopback.vendor("commsease", "/nimserver")
    with made.transport:
        yield made


@pytest.fixture
def newer(loopback: Loopback) -> Iterator[Vendor]:
    """The same app through the server API v2."""
    made = loopback.vendor("yunxin", "")
    with made.transport:
        yield made


class TestCommsEase(ProviderConformance):
    """NetEase CommsEase, classic server API v1."""


class TestCommsEaseAsGuessedOtherwise(ProviderConformance):
    """The same where the vendor answers otherwise wherever nobody knows what it answers."""

    OTHERWISE: ClassVar = {
        "commsease_unknown_ids": "refuse",
        "commsease_missing_words": "not register",
        "commsease_blocked_is_valid": False,
        "commsease_blocked_code": 422,
        "commsease_block_again_code": 422,
        "commsease_mute_sets_modules": True,
        "commsease_block_prolongs": True,
        "commsease_repeat_seconds": 3600.0,
        "commsease_too_long_code": 405,
        "commsease_bad_email_code": 414,
        "commsease_empty_token_code": 200,
        "commsease_empty_update_code": 414,
    }

    @pytest.fixture
    def vendor(self, vendor: Vendor, loopback: Loopback) -> Vendor:
        """CommsEase v1 with every other guess."""
        loopback.guess(**self.OTHERWISE)
        return vendor


class TestBothVersions:
    """Version 1 and version 2 are two doors to the same accounts."""

    def test_a_v2_read_shows_what_v1_did(self, vendor: Vendor, newer: Vendor) -> None:
        """A v1 account, its mutes and its ban are what v2 reads."""
        vendor.create(
            "alice",
            profile={"name": "Alice", "avatar": "https://x/a.png", "extension": '{"a":1}'},
            configuration={"team_chat_banned": True, "qchat_chat_banned": True},
        )
        vendor.block("alice", kick=False)

        seen = newer.read("alice")["alice"]

        assert seen.banned is True
        assert (seen.profile["avatar"], seen.profile["extension"]) == ("https://x/a.png", '{"a":1}')
        assert [name for name, muted in seen.configuration.items() if muted] == [
            "team_chat_banned",
            "qchat_chat_banned",
            PUSH,
        ]

    def test_a_v1_read_shows_what_v2_did(self, vendor: Vendor, newer: Vendor) -> None:
        """A v2 account is read through v1, but for its ban, which v1 does not tell."""
        newer.create("bob", profile={"sign": "hi"}, configuration={"p2p_chat_banned": True})
        newer.block("bob")

        seen = vendor.read("bob")["bob"]

        assert (seen.exists, seen.banned, seen.profile["sign"]) == (True, None, "hi")
        assert seen.configuration["p2p_chat_banned"] is True
        assert vendor.create("bob").why is Why.EXISTS


class TestEveryGuess:
    """What nobody knows of the vendor must not matter."""

    def test_a_batch_refused_for_unknown_ids_is_asked_one_by_one(
        self, vendor: Vendor, loopback: Loopback
    ) -> None:
        """With 414 for a whole batch each id is asked once more, and no more than that."""
        loopback.guess(commsease_unknown_ids="refuse", commsease_missing_words="not register")
        vendor.create("alice")

        seen = vendor.read("nobody", "alice", "noone")

        assert [name for name, one in seen.items() if one.exists] == ["alice"]
        assert len(seen) == 3
        assert loopback.calls().count("get_uinfos") == 4

    def test_a_body_of_2017_has_no_mutes(self, vendor: Vendor, loopback: Loopback) -> None:
        """Without mute fields the flags are not known, and the account is read all the same."""
        loopback.guess(commsease_uinfos="old")
        vendor.create("alice", profile={"name": "A"})

        seen = vendor.read("alice")["alice"]

        assert (seen.profile["name"], dict(seen.configuration)) == ("A", {})

    def test_a_ban_that_stands_is_a_ban(self, vendor: Vendor, loopback: Loopback) -> None:
        """422 for a second block says that the account is blocked, which is what was wanted."""
        loopback.guess(commsease_block_again_code=422)
        vendor.create("alice")

        assert vendor.block("alice").result is vendor.block("alice").result is Result.CONFIRMED

    def test_a_blocked_account_that_takes_nothing(self, vendor: Vendor, loopback: Loopback) -> None:
        """422 for a profile update is a refusal because of the ban; 200 is a change."""
        vendor.create("alice")
        vendor.block("alice")
        assert vendor.update("alice", profile__name="A").result is Result.CONFIRMED

        loopback.guess(commsease_blocked_code=422)

        refused = vendor.update("alice", profile__name="B")
        assert (refused.result, refused.why) == (Result.REJECTED, Why.BANNED)

    def test_a_wrong_secret_is_told_from_a_wrong_parameter(self, loopback: Loopback) -> None:
        """The 414 of a bad CheckSum is about the credentials, and says so."""
        made = loopback.vendor("commsease", "/nimserver")
        app = App(
            "app",
            "commsease",
            f"{loopback.endpoint}/nimserver",
            credentials={"app_key": "demo-app-key", "app_secret": Reference("env:OTHER_TOKEN")},
        )
        with Transport(made.provider, app, lambda ref: SECRETS[ref.text]) as transport:
            done = transport.run(made.provider.block("alice", {}))
        assert (done.code, done.why) == ("414", Why.AUTH)


class TestPushSwitch:
    def test_it_waits_for_the_first_login(self, vendor: Vendor, loopback: Loopback) -> None:
        """It waits at registration and before a login; afterwards it is set as its inverse."""
        made = vendor.create("alice", configuration={PUSH: False})
        early = vendor.update("alice", **{f"configuration__{PUSH}": False})
        loopback.control("accounts/commsease/demo-app-key/alice", {"logged_in": True}, "PATCH")
        late = vendor.update("alice", **{f"configuration__{PUSH}": False})

        assert made.waiting == early.waiting == (f"configuration.{PUSH}",)
        assert made.result is early.result is late.result is Result.CONFIRMED
        assert late.waiting == ()
        assert loopback.held("alice")["configuration"] == {PUSH: False}


class TestCreateInTwoSteps:
    def test_refused_mutes_leave_a_registration_that_is_told(self, vendor: Vendor) -> None:
        """What was done before the refusal is named, the account first."""
        vendor.faults("mute_module", fault="code", code=403)

        made = vendor.create(
            "alice",
            profile={"name": "A"},
            token={"value": TOKEN},
            configuration={"p2p_chat_banned": True, "team_chat_banned": False},
        )

        assert (made.result, made.why) == (Result.REJECTED, Why.AUTH)
        assert set(made.done[1:]) == {"profile.name", "token", "configuration.team_chat_banned"}


@pytest.mark.parametrize("fault", ["wrong_account", "truncated", "duplicate_keys", "garbage"])
def test_a_mangled_answer_to_a_read_is_no_absence(vendor: Vendor, fault: str) -> None:
    """An answer that speaks of somebody else, or of nobody, does not make an account missing."""
    vendor.create("alice")
    vendor.faults("get_uinfos", fault=fault)

    seen = vendor.read("alice")

    assert seen.get("alice") is None or seen["alice"].exists
