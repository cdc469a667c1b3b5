"""Tencent Cloud Chat against its emulated vendor: the suite that every provider passes."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from reconciler.conversation import Result, Why
from reconciler.providers import provider
from reconciler.transport import Clock, Transport
from reconciler.values import Reference
from reconciler.workspace import App
from tests.provider_conformance import ProviderConformance, Vendor

TAG = "Tag_Profile_Custom_Blocked"


@pytest.fixture
def vendor(endpoint: str) -> Iterator[Vendor]:
    """Tencent Chat with a marker tag on loopback; a pause after throttling passes at once."""
    passed = [0.0]
    real = Clock()
    clock = Clock(
        real.now,
        lambda: real.monotonic() + passed[0],
        lambda seconds: passed.__setitem__(0, passed[0] + seconds),
        real.random,
        real.nonce,
    )

    def control(path: str, body: Any = None, method: str = "GET") -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{endpoint}/_emulator/{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")

    def held(account_id: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = control(f"accounts/tencent/1400000000/{account_id}")
        return found

    def faults(api: str, **fault: Any) -> None:
        if api == "guesses":
            control("guesses", fault, "PATCH")
        else:
            control("faults", [{"match": {"api": api}, **fault}], "POST")

    app = App(
        "sg-chat",
        "tencent",
        endpoint,
        rate=2000,
        credentials={
            "sdk_app_id": "1400000000",
            "admin": "administrator",
            "secret_key": Reference("env:SECRET"),
        },
    )
    speaks = provider("tencent", {"blocked_tag": TAG}, ("profile.custom.Team",))
    with Transport(speaks, app, lambda ref: "demo-secret-key", clock=clock) as transport:
        yield Vendor(speaks, transport, held, faults)


class TestTencent(ProviderConformance):
    """Tencent Cloud Chat, server API v4."""

    THROTTLED = 60007
    UPSERTS = True

    def test_a_ban_is_read_from_its_mark(self, vendor: Vendor) -> None:
        """Two permanent mutes are no ban, a mark is one, and its mutes are no flags."""
        vendor.create("muted", configuration=dict.fromkeys(self.FLAGS, True))
        vendor.create("bad")
        vendor.block("bad")

        seen = vendor.read("muted", "bad")

        assert (seen["muted"].banned, seen["bad"].banned) == (False, True)
        assert seen["muted"].configuration == dict.fromkeys(self.FLAGS, True)
        assert seen["bad"].configuration == {}

    def test_every_profile_field_comes_back(self, vendor: Vendor) -> None:
        """Dates, numbers and choices survive the vendor's own ways of writing them."""
        profile = {
            "birthday": "1990-01-31",
            "location": "深圳",
            "language": 7,
            "level": 4294967295,
            "role": 1,
            "allow_type": "deny_any",
            "gender": 2,
        }
        profile["custom"] = {"Team": "a"}
        made = vendor.create("alice", profile=profile)

        seen = vendor.read("alice")["alice"].profile

        assert made.result is Result.CONFIRMED
        assert {name: seen[name] for name in profile} == profile
        assert vendor.held("alice")["extra"]["Tag_Profile_Custom_Team"] == "a"

    def test_a_custom_field_can_be_cleared(self, vendor: Vendor) -> None:
        """It goes back to the empty text, which is also what an account has that never had it."""
        vendor.create("alice", profile={"custom": {"Team": "a"}})
        vendor.create("bob")

        done = vendor.transport.run(
            vendor.provider.update("alice", {"profile.custom.Team": ""}, None)
        )

        assert done.result is Result.CONFIRMED
        for seen in vendor.read("alice", "bob").values():
            assert seen.profile["custom"] == {"Team": ""}

    @pytest.mark.parametrize(
        "guess",
        [
            {"tencent_portrait_missing": "whole"},
            {"tencent_unset_tags": "default"},
            {"tencent_unknown_mute": "error"},
            {"tencent_import_overwrites": False},
            {"tencent_mute_missing_code": 70107},
            {"tencent_get_accepted": False},
            {"tencent_identifier_accepted": False},
        ],
        ids=lambda guess: next(iter(guess)),
    )
    def test_it_works_whatever_the_vendor_turns_out_to_do(
        self, vendor: Vendor, guess: dict[str, Any]
    ) -> None:
        """What no page settles makes no difference to a whole life of an account."""
        vendor.faults("guesses", **guess)
        assert vendor.create("alice", profile=self.PROFILE).result is Result.CONFIRMED
        assert vendor.block("alice").result is Result.CONFIRMED
        seen = vendor.read("alice", "nobody")
        assert (seen["alice"].banned, seen["nobody"].exists) == (True, False)
        assert vendor.unblock("alice").result is Result.CONFIRMED
        assert vendor.read("alice")["alice"].configuration == dict.fromkeys(self.FLAGS, False)
        assert vendor.block("nobody").why is Why.MISSING

    def test_one_bad_account_fails_alone(self, vendor: Vendor) -> None:
        """Of a batch, the account the vendor names as failed is asked for its reason."""
        many = {"good": {}, "bad": {"profile": {"name": "x" * 501}}, "fine": {}}

        ended = vendor.transport.run(vendor.provider.create(many))

        assert ended["good"].result is ended["fine"].result is Result.CONFIRMED
        assert (ended["bad"].result, ended["bad"].code) == (Result.REJECTED, "40601")
