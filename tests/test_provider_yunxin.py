"""Yunxin as data: every conversation is driven by hand, without a network and without a mock."""

from __future__ import annotations

import hashlib
from typing import ClassVar

import pytest
from core_accounts import PUSH

from reconciler.accounts import MISSING, Observed
from reconciler.conversation import (
    Answer,
    Credentials,
    ReadFailed,
    Request,
    Result,
    Verdict,
    Why,
)
from reconciler.providers import TYPES, capabilities, provider
from reconciler.providers.yunxin import CAPABILITIES, PROVIDER
from reconciler.values import Reference

REQUEST = Request("x", "GET", "/")
SWITCH = f"configuration.{PUSH}"


def answer(code=200, data=None, status=200):
    """Return the vendor's envelope as transport would hand it over."""
    body = {"code": code, "msg": "m", "data": data or {}}
    return Answer(PROVIDER.verdict(REQUEST, status, body), body)


def ended(call, said):
    """Send the last answer and return what the conversation returns."""
    with pytest.raises(StopIteration) as end:
        call.send(said)
    return end.value.value


class TestCreate:
    def test_profile_flags_and_token_go_in_one_call(self):
        """Registering sends everything but the push switch, which waits unless it is default."""
        token = Reference("env:IM_TOKEN_BOT")
        call = PROVIDER.create(
            {
                "bot": {
                    "profile": {"name": "A", "gender": 1},
                    "configuration": {"p2p_chat_banned": True, PUSH: False},
                    "token": {"value": token},
                    "labels": {"team": "x"},
                }
            }
        )
        request = next(call)
        assert (request.api, request.method, request.path) == ("create", "POST", "/im/v2/accounts")
        assert request.body == {
            "account_id": "bot",
            "user_information": {"name": "A", "gender": 1},
            "configuration": {"p2p_chat_banned": True},
            "token": token,
        }
        assert (request.mutates, request.account_ids) == (True, ("bot",))
        outcome = ended(call, answer(data={"account_id": "bot"}))["bot"]
        assert (outcome.result, outcome.waiting) == (Result.CONFIRMED, (SWITCH,))

    def test_nothing_written_is_nothing_sent(self):
        """A bare account sends its id alone, and a default push switch does not wait."""
        call = PROVIDER.create({"bot": {"configuration": {PUSH: True}}})
        assert next(call).body == {"account_id": "bot"}
        assert ended(call, answer())["bot"].waiting == ()

    def test_each_account_has_its_own_outcome(self):
        """One that exists is rejected and does not keep the next from being registered."""
        call = PROVIDER.create({"a": {}, "b": {}})
        assert next(call).account_ids == ("a",)
        assert call.send(answer(102405)).account_ids == ("b",)
        outcomes = ended(call, answer(data={"account_id": "b"}))
        assert (outcomes["a"].result, outcomes["a"].why) == (Result.REJECTED, Why.EXISTS)
        assert outcomes["b"].result is Result.CONFIRMED

    def test_an_answer_about_another_account_is_ambiguous(self):
        """Success for somebody else proves nothing about this account."""
        call = PROVIDER.create({"bot": {}})
        next(call)
        outcome = ended(call, answer(data={"account_id": "cat"}))["bot"]
        assert outcome.result is Result.AMBIGUOUS
        assert "cat" in outcome.message


class TestUpdate:
    FIELDS: ClassVar = {
        "profile.name": "B",
        "profile.sign": "",
        "configuration.p2p_chat_banned": True,
        SWITCH: False,
    }

    def test_an_update_is_split_into_its_calls(self):
        """Flags with token, then the profile, then the push switch; only what changes is sent."""
        token = Reference("env:T")
        call = PROVIDER.update("bot", self.FIELDS, token)
        first = next(call)
        assert (first.method, first.path) == ("PATCH", "/im/v2/accounts/bot")
        assert first.body == {"configuration": {"p2p_chat_banned": True}, "token": token}
        second = call.send(answer(data={"account_id": "bot"}))
        assert (second.path, second.body) == ("/im/v2/users/bot", {"name": "B", "sign": ""})
        third = call.send(answer())
        assert third.path == "/im/v2/accounts/bot/actions/push_config"
        assert third.body == {PUSH: False}
        outcome = ended(call, answer())
        assert outcome.result is Result.CONFIRMED
        assert set(outcome.done) == {*self.FIELDS, "token"}

    @pytest.mark.parametrize(
        ("fields", "token", "apis"),
        [
            ({"profile.name": "B"}, None, ["update_user"]),
            ({}, Reference("env:T"), ["update_account"]),
            ({SWITCH: True}, None, ["push_config"]),
        ],
    )
    def test_only_the_calls_that_are_needed_are_made(self, fields, token, apis):
        """A part that does not change has no call, and the cost says as many."""
        call = PROVIDER.update("bot", fields, token)
        assert [next(call).api] == apis
        ended(call, answer())
        assert list(CAPABILITIES.apis(next(iter(fields), "token"))) == apis

    def test_a_call_that_fails_ends_the_update_and_says_what_was_done(self):
        """What was confirmed before the failure is named, what follows is not sent."""
        call = PROVIDER.update("bot", self.FIELDS, None)
        next(call)
        call.send(answer())
        outcome = ended(call, answer(103451))
        assert (outcome.result, outcome.code) == (Result.REJECTED, "103451")
        assert outcome.done == ("configuration.p2p_chat_banned",)

    @pytest.mark.parametrize("code", [414, 102301])
    def test_a_refused_push_switch_waits(self, code):
        """Before the first login the vendor refuses the switch; that is no failure."""
        call = PROVIDER.update("bot", {SWITCH: False}, None)
        next(call)
        outcome = ended(call, answer(code))
        assert (outcome.result, outcome.waiting, outcome.done) == (Result.CONFIRMED, (SWITCH,), ())

    def test_a_push_switch_without_effect_waits(self):
        """A success that echoes the old value was none."""
        call = PROVIDER.update("bot", {SWITCH: False}, None)
        next(call)
        outcome = ended(call, answer(data={"account_id": "bot", "configuration": {PUSH: True}}))
        assert outcome.waiting == (SWITCH,)

    def test_a_push_switch_refused_for_a_ban_does_not_wait(self):
        """Another refusal is a failure like any other."""
        call = PROVIDER.update("bot", {SWITCH: False}, None)
        next(call)
        assert ended(call, answer(102422)).why is Why.BANNED


class TestBan:
    @pytest.mark.parametrize(
        ("ban", "body"),
        [
            ({}, {"enabled": False, "need_kick": True}),
            ({"kick": False}, {"enabled": False, "need_kick": False}),
            (
                {"notify": '{"a":1}', "reason": "x"},
                {"enabled": False, "need_kick": True, "kick_notify_extension": '{"a":1}'},
            ),
            ({"notify": ""}, {"enabled": False, "need_kick": True}),
        ],
    )
    def test_a_block_disables_and_kicks(self, ban, body):
        """The kick is on unless it was written off; a notification goes with it."""
        call = PROVIDER.block("bot", ban)
        request = next(call)
        assert (request.path, request.body) == ("/im/v2/accounts/bot/actions/disable", body)
        said = answer(data={"account_id": "bot", "configuration": {"enabled": False}})
        assert ended(call, said).result is Result.CONFIRMED

    def test_an_unblock_enables(self):
        """Enabling is the same call the other way round."""
        call = PROVIDER.unblock("bot", {})
        assert next(call).body == {"enabled": True}
        assert ended(call, answer()).result is Result.CONFIRMED

    @pytest.mark.parametrize(
        ("blocks", "echo"), [(True, True), (False, False), (True, "false"), (True, None)]
    )
    def test_an_echo_that_contradicts_is_ambiguous(self, blocks, echo):
        """An answer that says `enabled` is otherwise is no success."""
        call = PROVIDER.block("bot", {}) if blocks else PROVIDER.unblock("bot", {})
        next(call)
        outcome = ended(call, answer(data={"configuration": {"enabled": echo}}))
        assert outcome.result is Result.AMBIGUOUS

    def test_another_account_in_the_echo_is_ambiguous(self):
        """A ban of somebody else is not this ban."""
        call = PROVIDER.block("bot", {})
        next(call)
        assert ended(call, answer(data={"account_id": "cat"})).result is Result.AMBIGUOUS


def listed(*found, failed=()):
    return answer(data={"success_list": list(found), "failed_list": list(failed)})


def flags(id, enabled=True, **more):
    return {"account_id": id, "configuration": {"enabled": enabled, **more}}


class TestRead:
    def test_two_batch_calls_read_flags_and_profiles(self):
        """Unset profile fields are the vendor's defaults; a disabled account is banned."""
        call = PROVIDER.read(["a", "b"])
        first = next(call)
        assert (first.method, first.path, first.mutates) == ("GET", "/im/v2/accounts", False)
        assert first.query == {"account_ids": "a,b"}
        second = call.send(listed(flags("a", p2p_chat_banned=True), flags("b", enabled=False)))
        assert (second.path, second.query) == ("/im/v2/users", {"account_ids": "a,b"})
        found = ended(
            call,
            listed(
                {"account_id": "a", "name": "A", "gender": 2}, {"account_id": "b", "name": None}
            ),
        )
        assert found["a"].profile["name"] == "A"
        assert found["a"].profile["gender"] == 2
        assert found["b"].profile == {
            "name": "",
            "avatar": "",
            "sign": "",
            "email": "",
            "birthday": "",
            "mobile": "",
            "gender": 0,
            "extension": "",
        }
        assert found["a"].configuration == {"p2p_chat_banned": True}
        assert (found["a"].banned, found["b"].banned) == (False, True)

    def test_an_unknown_id_is_missing_and_costs_no_second_call(self):
        """The failed list with its code says that an account does not exist."""
        call = PROVIDER.read(["a"])
        next(call)
        failed = [{"account_id": "a", "error_code": 102404}]
        assert ended(call, listed(failed=failed)) == {"a": MISSING}

    def test_an_id_that_failed_otherwise_or_stands_nowhere_is_not_told(self):
        """Only the code for missing proves that an account is missing."""
        call = PROVIDER.read(["a", "b"])
        next(call)
        assert ended(call, listed(failed=[{"account_id": "a", "error_code": 500}])) == {}

    def test_half_a_reading_is_none(self):
        """An account whose profile did not come is left out, not taken as empty."""
        call = PROVIDER.read(["a", "b"])
        next(call)
        call.send(listed(flags("a"), flags("b")))
        assert list(ended(call, listed({"account_id": "b"}))) == ["b"]

    @pytest.mark.parametrize(
        "junk",
        [None, 7, "a", [], {"account_id": ["a"]}, {"account_id": {}}, {"account_id": "stranger"}],
    )
    def test_junk_in_the_lists_is_ignored(self, junk):
        """Items that are no account that was asked for prove nothing and break nothing."""
        call = PROVIDER.read(["a"])
        next(call)
        assert ended(call, listed(junk, failed=[junk])) == {}

    @pytest.mark.parametrize("data", [{}, {"success_list": {}}, {"success_list": None}])
    def test_lists_that_are_none_tell_nothing(self, data):
        """An answer without lists is not `all accounts are gone`."""
        call = PROVIDER.read(["a"])
        next(call)
        assert ended(call, answer(data=data)) == {}

    @pytest.mark.parametrize("enabled", ["false", 0, None])
    def test_a_flag_that_is_no_flag_is_not_known(self, enabled):
        """Only true and false say whether an account is banned."""
        call = PROVIDER.read(["a"])
        next(call)
        call.send(listed(flags("a", enabled=enabled)))
        assert ended(call, listed({"account_id": "a"}))["a"].banned is None

    @pytest.mark.parametrize("which", [0, 1])
    def test_a_read_that_fails_is_no_reading(self, which):
        """Either call failing ends the reading with what is known of it."""
        call = PROVIDER.read(["a"])
        next(call)
        if which:
            call.send(listed(flags("a")))
        with pytest.raises(ReadFailed) as failed:
            call.send(answer(403))
        assert failed.value.outcome.why is Why.AUTH


class TestVerdict:
    @pytest.mark.parametrize(
        ("code", "result", "why"),
        [
            (200, Result.CONFIRMED, Why.OTHER),
            (102404, Result.REJECTED, Why.MISSING),
            (103404, Result.REJECTED, Why.MISSING),
            (102405, Result.REJECTED, Why.EXISTS),
            (102422, Result.REJECTED, Why.BANNED),
            (102434, Result.REJECTED, Why.QUOTA),
            (416, Result.REJECTED, Why.THROTTLED),
            (449, Result.REJECTED, Why.RETRY),
            (102449, Result.REJECTED, Why.RETRY),
            (398, Result.REJECTED, Why.RETRY),
            *(
                (code, Result.REJECTED, Why.AUTH)
                for code in (403, 315, 101301, 101302, 101303, 101304, 101305)
            ),
            *(
                (code, Result.REJECTED, Why.OTHER)
                for code in (404, 414, 463, 102301, 102421, 102426, 103451)
            ),
            *(
                (code, Result.AMBIGUOUS, Why.OTHER)
                for code in (0, -1, 431, 500, 503, 514, 99999999)
            ),
        ],
    )
    def test_every_class_of_code(self, code, result, why):
        """Known refusals are facts; what is not known to be refused before it ran is ambiguous."""
        verdict = PROVIDER.verdict(REQUEST, 200, {"code": code, "msg": "m"})
        assert (verdict.result, verdict.code, verdict.message, verdict.why) == (
            result,
            str(code),
            "m",
            why,
        )

    @pytest.mark.parametrize(
        "body",
        [{}, {"code": "200"}, {"code": True}, {"code": None}, {"code": 200.0}, {"code": [200]}],
    )
    def test_an_answer_without_a_code_is_ambiguous(self, body):
        """A code that is no integer is no verdict."""
        assert PROVIDER.verdict(REQUEST, 200, body).result is Result.AMBIGUOUS

    def test_success_needs_the_http_status_too(self):
        """A 200 in the body under another status is not believed."""
        assert PROVIDER.verdict(REQUEST, 502, {"code": 200}).result is Result.AMBIGUOUS


class TestIds:
    @pytest.mark.parametrize("id", ["a", "007", "a.b", "@foo", "-x", "...", "x" * 32, "A_b"])
    def test_ids_the_vendor_takes(self, id):
        """Letters, digits, _ @ . and - up to 32."""
        assert CAPABILITIES.id.pattern.fullmatch(id)

    @pytest.mark.parametrize(
        "id",
        ["", ".", "..", "a/b", "a b", "a?b", "a#b", "%2e", "x" * 33, "ａ", "а", "a\n", "a\u200bb"],
    )
    def test_ids_it_does_not_take(self, id):
        """Paths of dots, slashes, blanks, other scripts and long ids are refused."""
        assert not CAPABILITIES.id.pattern.fullmatch(id)

    def test_ids_are_folded_as_the_vendor_does(self):
        """The vendor lower-cases ids, so two that differ in case are one."""
        assert CAPABILITIES.id.fold("AlicE") == "alice"

    @pytest.mark.parametrize("hostile", ["../x", "a/b?c#d", "%2e%2e", "a b"])
    def test_an_id_in_a_path_is_quoted(self, hostile):
        """Whatever an id holds, it stays one segment of the path."""
        for call in (
            PROVIDER.block(hostile, {}),
            PROVIDER.unblock(hostile, {}),
            PROVIDER.update(hostile, {"profile.name": "x"}, None),
        ):
            path = next(call).path
            assert path.startswith("/im/v2/")
            assert len(path.split("/")) <= 7
            assert not {"?", "#", " "} & set(path)
            assert "/../" not in path


def test_a_signature_is_the_documented_checksum():
    """Four headers and a trace id that is new with every nonce; the secret is not among them."""
    credentials = Credentials({"app_key": "k", "app_secret": "s3cret"})
    signed = PROVIDER.sign(REQUEST, credentials, 1_800_000_000.9, "nonce-1")
    expected = hashlib.sha1(b"s3cretnonce-11800000000").hexdigest()
    assert dict(signed.headers) == {
        "AppKey": "k",
        "Nonce": "nonce-1",
        "CurTime": "1800000000",
        "CheckSum": expected,
        "X-custom-traceid": "nonce-1",
    }
    assert "s3cret" not in repr(credentials) + str(signed)
    assert PROVIDER.app(credentials.values) == "yunxin:k"


def test_providers_are_found_by_type():
    """A type this version lacks has no capabilities and no provider."""
    assert capabilities("yunxin") is CAPABILITIES
    assert provider("yunxin") is PROVIDER
    assert capabilities("unheard-of") is None
    with pytest.raises(KeyError):
        provider("unheard-of")
    assert "yunxin" in TYPES


def test_a_lost_answer_has_no_outcome_of_its_own():
    """What transport says of a call is passed on as it is."""
    call = PROVIDER.block("bot", {})
    next(call)
    outcome = ended(call, Answer(Verdict(Result.NOT_SENT, "", "refused")))
    assert (outcome.result, outcome.message) == (Result.NOT_SENT, "refused")


def test_a_sight_survives_its_json():
    """Observed.from_json(to_json(x)) is x."""
    full = Observed(True, {"name": "A", "custom": {"K": "v"}}, {PUSH: False}, None)
    for sight in (MISSING, full):
        assert Observed.from_json(sight.to_json()) == sight
