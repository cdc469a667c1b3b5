"""CommsEase v1 as data: every conversation is driven by hand, without network or mock."""

from __future__ import annotations

import hashlib
from urllib.parse import parse_qs

import pytest
from core_accounts import PUSH

from reconciler.accounts import MISSING
from reconciler.capabilities import Support
from reconciler.conversation import (
    REGISTERED,
    Answer,
    Credentials,
    ReadFailed,
    Request,
    Result,
    Verdict,
    Why,
)
from reconciler.providers import TYPES, capabilities, provider
from reconciler.providers.commsease import PROVIDER
from reconciler.providers.commsease_fields import CAPABILITIES
from reconciler.providers.yunxin import CAPABILITIES as NEWER
from reconciler.transport.encode import encode
from reconciler.values import Reference

SWITCH = f"configuration.{PUSH}"
MUTE = "configuration.p2p_chat_banned"
LOST = Answer(Verdict(Result.AMBIGUOUS, "timeout", "no answer"))


def request(*ids, api="x"):
    return Request(api, "POST", "/", account_ids=ids)


def answer(code=200, desc="", **more):
    """Return the vendor's envelope as transport would hand it over."""
    body = {"code": code, **({"desc": desc} if desc else {}), **more}
    return Answer(PROVIDER.verdict(request("bot"), 200, body), body)


def ended(call, said):
    """Send the last answer and return what the conversation returns."""
    with pytest.raises(StopIteration) as end:
        call.send(said)
    return end.value.value


def sent(asked):
    """Return api, path and body of a request."""
    assert (asked.method, asked.encoding) == ("POST", "form")
    return asked.api, asked.path, dict(asked.body)


class TestCreate:
    def test_profile_and_token_go_in_one_call(self):
        """Registering sends id, profile by v1's names, and the token; false flags need no call."""
        token = Reference("env:IM_TOKEN_BOT")
        call = PROVIDER.create(
            {
                "bot": {
                    "profile": {"name": "A", "avatar": "I", "birthday": "B", "extension": "{}"},
                    "configuration": {"p2p_chat_banned": False, PUSH: True},
                    "token": {"value": token},
                    "labels": {"team": "x"},
                }
            }
        )
        assert sent(next(call)) == (
            "create",
            "/user/create.action",
            {"accid": "bot", "name": "A", "icon": "I", "birth": "B", "ex": "{}", "token": token},
        )
        outcome = ended(call, answer(info={"accid": "bot", "token": "(sealed)", "name": "A"}))
        assert (outcome["bot"].result, outcome["bot"].waiting) == (Result.CONFIRMED, ())

    def test_mutes_follow_the_registration(self):
        """Flags that are true are set by a second call, and only these."""
        flags = {"p2p_chat_banned": True, "team_chat_banned": False, PUSH: False}
        call = PROVIDER.create({"bot": {"configuration": flags}})
        assert next(call).body == {"accid": "bot"}
        second = call.send(answer(info={"accid": "BOT"}))
        assert sent(second) == (
            "mute_module",
            "/user/muteModule.action",
            {"accid": "bot", "muteP2P": True},
        )
        outcome = ended(call, answer(data={"muteP2P": True, "muteTeam": False}))["bot"]
        assert (outcome.result, outcome.waiting) == (Result.CONFIRMED, (SWITCH,))

    def test_an_existing_account_is_left_alone(self):
        """414 "already register" is not followed by mutes, and the next account is registered."""
        document = {"configuration": {"p2p_chat_banned": True}}
        call = PROVIDER.create({"a": document, "b": {}})
        next(call)
        assert call.send(answer(414, "already register")).body == {"accid": "b"}
        outcomes = ended(call, answer())
        assert (outcomes["a"].result, outcomes["a"].why) == (Result.REJECTED, Why.EXISTS)
        assert (outcomes["a"].done, outcomes["b"].result) == ((), Result.CONFIRMED)

    def test_refused_mutes_name_what_is_done(self):
        """The account and what it was registered with are told apart from what was refused."""
        document = {
            "profile": {"name": "A"},
            "configuration": {"p2p_chat_banned": True, "team_chat_banned": False, PUSH: False},
        }
        call = PROVIDER.create({"bot": document})
        next(call)
        call.send(answer())
        outcome = ended(call, answer(414, "bad value"))["bot"]
        assert outcome.result is Result.REJECTED
        assert outcome.done == (REGISTERED, "profile.name", "configuration.team_chat_banned")
        assert outcome.waiting == (SWITCH,)

    def test_mutes_whose_reply_is_lost_are_in_doubt(self):
        """The account is there; whether it is muted is for a reading to say."""
        call = PROVIDER.create({"bot": {"configuration": {"p2p_chat_banned": True}}})
        next(call)
        assert call.send(answer()).api == "mute_module"
        outcome = ended(call, LOST)["bot"]
        assert (outcome.result, outcome.done) == (Result.AMBIGUOUS, (REGISTERED,))

    def test_a_lost_registration_is_left_to_whoever_settles_it(self):
        """Nothing follows a reply that did not come: who reads the account asks for its mutes."""
        call = PROVIDER.create({"bot": {"configuration": {"p2p_chat_banned": True}}})
        next(call)
        assert ended(call, LOST)["bot"].result is Result.AMBIGUOUS

    @pytest.mark.parametrize("echo", ["cat", 7, None, ["bot"]])
    def test_an_answer_about_another_account_is_ambiguous(self, echo):
        """Success for somebody else proves nothing about this account."""
        call = PROVIDER.create({"bot": {}})
        next(call)
        assert ended(call, answer(info={"accid": echo}))["bot"].result is Result.AMBIGUOUS


class TestUpdate:
    def test_an_update_is_split_into_its_calls(self):
        """Profile, mutes, token, push switch; only what changes is sent, and "" clears."""
        token = Reference("env:T")
        fields = {"profile.avatar": "", "profile.gender": 0, MUTE: False, SWITCH: False}
        call = PROVIDER.update("bot", fields, token)
        assert sent(next(call)) == (
            "update_uinfo",
            "/user/updateUinfo.action",
            {"accid": "bot", "icon": "", "gender": 0},
        )
        assert sent(call.send(answer())) == (
            "mute_module",
            "/user/muteModule.action",
            {"accid": "bot", "muteP2P": False},
        )
        assert sent(call.send(answer(data={"muteP2P": False}))) == (
            "update_token",
            "/user/update.action",
            {"accid": "bot", "token": token},
        )
        assert sent(call.send(answer())) == (
            "set_donnop",
            "/user/setDonnop.action",
            {"accid": "bot", "donnopOpen": True},
        )
        outcome = ended(call, answer())
        assert (outcome.result, set(outcome.done)) == (Result.CONFIRMED, {*fields, "token"})

    @pytest.mark.parametrize(
        ("fields", "token"),
        [
            ({"profile.name": "B"}, None),
            ({MUTE: True}, None),
            ({}, Reference("env:T")),
            ({SWITCH: True}, None),
        ],
    )
    def test_the_cost_of_a_path_is_the_call_that_is_made(self, fields, token):
        """The capability table names the API that a change of a path calls."""
        call = PROVIDER.update("bot", fields, token)
        path = next(iter(fields), "token")
        assert CAPABILITIES.apis(path) == (next(call).api,)
        assert ended(call, answer()).done == (path,)

    def test_a_call_that_fails_ends_the_update_and_says_what_was_done(self):
        """What was confirmed before the failure is named, what follows is not sent."""
        call = PROVIDER.update("bot", {"profile.name": "B", MUTE: True}, Reference("env:T"))
        next(call)
        call.send(answer())
        outcome = ended(call, answer(422))
        assert (outcome.why, outcome.done) == (Why.BANNED, ("profile.name",))

    def test_an_answer_that_contradicts_a_mute_is_ambiguous(self):
        """muteModule answers what holds now; another value than was sent is no success."""
        call = PROVIDER.update("bot", {MUTE: True}, None)
        next(call)
        assert ended(call, answer(data={"muteP2P": "false"})).result is Result.AMBIGUOUS

    @pytest.mark.parametrize("desc", ["", "param error", "bot never logged in"])
    def test_a_refused_push_switch_waits(self, desc):
        """414 for an account that never logged in is no failure."""
        call = PROVIDER.update("bot", {SWITCH: False}, None)
        next(call)
        outcome = ended(call, answer(414, desc))
        assert (outcome.result, outcome.waiting, outcome.done) == (Result.CONFIRMED, (SWITCH,), ())

    @pytest.mark.parametrize(
        ("said", "why"),
        [
            (answer(414, "bot is not registered"), Why.MISSING),
            (answer(414, "checksum"), Why.AUTH),
            (answer(422), Why.BANNED),
        ],
    )
    def test_a_push_switch_refused_otherwise_does_not_wait(self, said, why):
        """Other refusals are failures like any other."""
        call = PROVIDER.update("bot", {SWITCH: False}, None)
        next(call)
        outcome = ended(call, said)
        assert (outcome.why, outcome.waiting) == (why, ())


class TestBan:
    @pytest.mark.parametrize(
        ("ban", "body"),
        [
            ({}, {"needkick": True}),
            ({"kick": False}, {"needkick": False}),
            ({"notify": "bye", "reason": "x"}, {"needkick": True, "kickNotifyExt": "bye"}),
            ({"notify": ""}, {"needkick": True}),
        ],
    )
    def test_a_block_kicks_unless_told_otherwise(self, ban, body):
        """The vendor's own default is not to kick, so needkick is always written."""
        call = PROVIDER.block("bot", ban)
        assert sent(next(call)) == ("block", "/user/block.action", {"accid": "bot", **body})
        assert ended(call, answer()).result is Result.CONFIRMED

    def test_an_unblock_is_a_call_of_its_own(self):
        """unblock needs the id alone."""
        call = PROVIDER.unblock("bot", {})
        assert sent(next(call)) == ("unblock", "/user/unblock.action", {"accid": "bot"})
        assert ended(call, answer()).result is Result.CONFIRMED

    @pytest.mark.parametrize(
        ("code", "result"),
        [(422, Result.CONFIRMED), (417, Result.AMBIGUOUS), (431, Result.AMBIGUOUS)],
    )
    def test_a_ban_that_may_stand_already(self, code, result):
        """422 names the ban; a repeated call or operation does not say that it took effect."""
        call = PROVIDER.block("bot", {})
        next(call)
        assert ended(call, answer(code)).result is result


class TestRead:
    def test_one_call_reads_profiles_and_mutes(self):
        """Unset texts are the defaults; the ban and the push switch are never known."""
        call = PROVIDER.read(["a", "b"])
        asked = next(call)
        assert sent(asked) == (
            "get_uinfos",
            "/user/getUinfos.action",
            {"accids": ["a", "b"], "muteStatus": True},
        )
        assert (asked.mutates, asked.account_ids) == (False, ("a", "b"))
        assert parse_qs(encode(asked, str).decode()) == {
            "accids": ['["a","b"]'],
            "muteStatus": ["true"],
        }
        item = {"accid": "a", "icon": "I", "gender": 2, "valid": False, "mute": True}
        mutes = {"muteP2P": True, "muteTeam": False, "muteRoom": "true", "muteQChat": 1}
        found = ended(call, answer(uinfos=[{**item, **mutes}]))
        assert found["b"] is MISSING
        assert found["a"].profile["avatar"] == "I"
        assert found["a"].profile["gender"] == 2
        assert found["a"].profile["name"] == found["a"].profile["extension"] == ""
        assert found["a"].configuration == {
            "p2p_chat_banned": True,
            "team_chat_banned": False,
            "chatroom_chat_banned": True,
        }
        assert found["a"].banned is None

    def test_a_body_of_2017(self):
        """Recorded shape without `valid`, `mute` and mutes: flags are not known, not false."""
        item = {"email": "t1@163.com", "accid": "t1", "name": "abc", "gender": 1, "mobile": "1860"}
        call = PROVIDER.read(["t1"])
        next(call)
        seen = ended(call, answer(uinfos=[item]))["t1"]
        assert (seen.profile["email"], seen.profile["mobile"]) == ("t1@163.com", "1860")
        assert (seen.configuration, seen.banned) == ({}, None)

    @pytest.mark.parametrize("words", ["not register", "is not registered", "Not Registered"])
    def test_a_batch_refused_for_an_unknown_id(self, words):
        """Each id is then asked alone, once, and its own refusal says that it is missing."""
        call = PROVIDER.read(["a", "b"])
        next(call)
        alone = call.send(answer(414, f"b {words}"))
        assert alone.body["accids"] == ["a"]
        call.send(answer(uinfos=[{"accid": "a"}]))
        found = ended(call, answer(414, f"b {words}"))
        assert found["a"].exists
        assert found["b"] is MISSING

    def test_one_id_refused_is_missing_without_another_call(self):
        """There is nothing to tell apart."""
        call = PROVIDER.read(["a"])
        next(call)
        assert ended(call, answer(414, "a not register")) == {"a": MISSING}

    def test_asking_one_by_one_ends_with_the_first_failure(self):
        """What was read until then is told; nothing read at all is a failed reading."""
        call = PROVIDER.read(["a", "b", "c"])
        next(call)
        call.send(answer(414, "c not register"))
        call.send(answer(uinfos=[{"accid": "a"}]))
        assert list(ended(call, answer(503))) == ["a"]

        call = PROVIDER.read(["a", "b"])
        next(call)
        call.send(answer(414, "b not register"))
        with pytest.raises(ReadFailed):
            call.send(answer(503))

    @pytest.mark.parametrize(
        "junk", [None, 7, "a", [], {"accid": ["a"]}, {"accid": "stranger"}, {"name": "a"}]
    )
    def test_an_answer_about_others_proves_no_absence(self, junk):
        """Silence counts only where everything that is said is about who was asked for."""
        call = PROVIDER.read(["a", "b"])
        next(call)
        assert list(ended(call, answer(uinfos=[junk, {"accid": "B"}]))) == ["b"]

    @pytest.mark.parametrize("more", [{}, {"uinfos": None}, {"uinfos": {}}, {"uinfos": "[]"}])
    def test_an_answer_without_a_list_tells_nothing(self, more):
        """It is not `all accounts are gone`."""
        call = PROVIDER.read(["a"])
        next(call)
        assert ended(call, answer(**more)) == {}

    @pytest.mark.parametrize("said", [answer(414, "bad array"), answer(403), answer(500), LOST])
    def test_a_read_that_fails_is_no_reading(self, said):
        """Nothing is known, least of all that an account is missing."""
        call = PROVIDER.read(["a"])
        next(call)
        with pytest.raises(ReadFailed):
            call.send(said)


class TestVerdict:
    @pytest.mark.parametrize(
        ("desc", "why"),
        [
            ("already register", Why.EXISTS),
            ("Already Registered", Why.EXISTS),
            ("bot not register", Why.MISSING),
            ("bot is not registered", Why.MISSING),
            ("checksum", Why.AUTH),
            ("appkey", Why.AUTH),
            ("CurTime is expired", Why.AUTH),
            ("gender", Why.OTHER),
            ("", Why.OTHER),
        ],
    )
    def test_the_five_meanings_of_414(self, desc, why):
        """Only the text tells them apart; what it does not name is a wrong parameter."""
        verdict = PROVIDER.verdict(request("bot"), 200, {"code": 414, "desc": desc})
        assert (verdict.result, verdict.code, verdict.why) == (Result.REJECTED, "414", why)

    def test_an_id_is_no_meaning(self):
        """An account may be called after a word that means something."""
        missing = {"code": 414, "desc": "checksum is not registered"}
        wrong = {"code": 414, "desc": "appkey-1: gender"}
        assert PROVIDER.verdict(request("checksum"), 200, missing).why is Why.MISSING
        assert PROVIDER.verdict(request("appkey-1"), 200, wrong).why is Why.OTHER

    @pytest.mark.parametrize("desc", [None, 7, {}, ["checksum"]])
    def test_a_desc_that_is_no_text(self, desc):
        """It breaks nothing."""
        verdict = PROVIDER.verdict(request("bot"), 200, {"code": 414, "desc": desc})
        assert verdict.result is Result.REJECTED

    @pytest.mark.parametrize(
        ("code", "result", "why"),
        [
            (200, Result.CONFIRMED, Why.OTHER),
            (301, Result.REJECTED, Why.BANNED),
            (422, Result.REJECTED, Why.BANNED),
            (403, Result.REJECTED, Why.AUTH),
            (315, Result.REJECTED, Why.AUTH),
            (416, Result.REJECTED, Why.THROTTLED),
            (419, Result.REJECTED, Why.QUOTA),
            (449, Result.REJECTED, Why.RETRY),
            *((code, Result.REJECTED, Why.OTHER) for code in (404, 405, 406, 10431, 10432)),
            *(
                (code, Result.AMBIGUOUS, Why.OTHER)
                for code in (0, -1, 408, 415, 417, 431, 500, 503, 514, 998, 99999999)
            ),
        ],
    )
    def test_every_class_of_code(self, code, result, why):
        """Known refusals are facts; what is not known to be refused before it ran is ambiguous."""
        verdict = PROVIDER.verdict(request("bot"), 200, {"code": code, "desc": "m"})
        assert (verdict.result, verdict.code, verdict.message, verdict.why) == (
            result,
            str(code),
            "m",
            why,
        )

    @pytest.mark.parametrize(
        "body", [{}, {"code": "200"}, {"code": True}, {"code": None}, {"code": 200.0}]
    )
    def test_an_answer_without_a_code_is_ambiguous(self, body):
        """A code that is no integer is no verdict; nor is success under another HTTP status."""
        assert PROVIDER.verdict(request(), 200, body).result is Result.AMBIGUOUS
        assert PROVIDER.verdict(request(), 502, {"code": 200}).result is Result.AMBIGUOUS


def test_a_form_is_what_the_vendor_reads():
    """Truth values are the texts true and false, numbers digits, and other scripts UTF-8."""
    call = PROVIDER.update("bot", {"profile.name": "客服&=", "profile.gender": 1}, None)
    assert encode(next(call), str) == b"accid=bot&name=%E5%AE%A2%E6%9C%8D%26%3D&gender=1"
    assert encode(next(PROVIDER.block("b@c", {})), str) == b"accid=b%40c&needkick=true"


def test_a_signature_is_the_documented_checksum():
    """Four headers and a RequestId that is new with every nonce."""
    credentials = Credentials({"app_key": "k", "app_secret": "s3cret"})
    signed = PROVIDER.sign(request(), credentials, 1_800_000_000.9, "nonce-1")
    assert dict(signed.headers) == {
        "AppKey": "k",
        "Nonce": "nonce-1",
        "CurTime": "1800000000",
        "CheckSum": hashlib.sha1(b"s3cretnonce-11800000000").hexdigest(),
        "RequestId": "nonce-1",
    }
    assert "s3cret" not in str(signed)
    assert PROVIDER.app(credentials.values) == "commsease:k"


def test_the_table_says_what_cannot_be_read():
    """Ban, token and push switch are unreadable; nothing waits while an account is banned."""
    unreadable = {
        path for path, field in CAPABILITIES.fields.items() if field.support is Support.UNREADABLE
    }
    assert unreadable == {"banned", "token", SWITCH}
    assert not any(map(CAPABILITIES.waits_while_banned, CAPABILITIES.fields))
    assert (CAPABILITIES.batch["read"], CAPABILITIES.penalty) == (200, 10.0)


def test_both_versions_hold_the_same_accounts():
    """Ids, fields, limits and defaults are those of version 2."""
    assert CAPABILITIES.id == NEWER.id
    assert list(CAPABILITIES.fields) == list(NEWER.fields)
    for path, field in CAPABILITIES.fields.items():
        other = NEWER.fields[path]
        assert (field.default, field.limit, field.choices) == (
            other.default,
            other.limit,
            other.choices,
        )


def test_the_provider_is_found_by_type():
    """A workspace names it `commsease`; its regions end in the path that all calls follow."""
    assert "commsease" in TYPES
    assert provider("commsease") is PROVIDER
    assert capabilities("commsease") is CAPABILITIES
    assert all(host.endswith("/nimserver") for host in CAPABILITIES.regions.values())
