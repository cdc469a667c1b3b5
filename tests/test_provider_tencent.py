"""Tencent Cloud Chat as data: every conversation is driven by hand, without a network."""

from __future__ import annotations

import base64
import json
import time
import zlib

import pytest
import TLSSigAPIv2

from reconciler.accounts import MISSING, Observed
from reconciler.capabilities import Support
from reconciler.conversation import (
    REGISTERED,
    Answer,
    Credentials,
    ReadFailed,
    Request,
    Result,
    Why,
)
from reconciler.providers import capabilities, provider
from reconciler.providers.usersig import usersig

TAG = "Tag_Profile_Custom_Blocked"
FOREVER = 4294967295
PLAIN, TAGGED = provider("tencent"), provider("tencent", {"blocked_tag": TAG})
TEAM, LEVEL = "Tag_Profile_Custom_Team", "Tag_Profile_Custom_Level"
NAMING = provider("tencent", {"blocked_tag": TAG}, ("profile.custom.Team", "profile.custom.Level"))
SECRET = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
CREDENTIALS = Credentials(
    {"sdk_app_id": "1400000000", "admin": "administrator", "secret_key": SECRET}
)


def request(service="profile", api="portrait_set"):
    return Request(api, "POST", f"/v4/{service}/{api}")


def answer(asked, code=0, **data):
    """Return the vendor's envelope as transport would hand it over."""
    body = {"ErrorCode": code, "ErrorInfo": "m", **data}
    return Answer(PLAIN.verdict(asked, 200, body), body)


class Talk:
    """One conversation: `says` answers the request that is waiting and takes the next."""

    def __init__(self, call):
        self.call, self.result = call, None
        self.asked = next(call)
        self.apis = [self.asked.api]

    def says(self, code=0, **data):
        try:
            self.asked = self.call.send(answer(self.asked, code, **data))
            self.apis.append(self.asked.api)
        except StopIteration as end:
            self.asked, self.result = None, end.value
        return self


def checked(**states):
    return {
        "ResultItem": [
            {"UserID": id, "ResultCode": 0, "AccountStatus": state} for id, state in states.items()
        ]
    }


def portrait(id, **tags):
    items = [{"Tag": tag, "Value": value} for tag, value in tags.items()]
    return {"To_Account": id, "ProfileItem": items, "ResultCode": 0, "ResultInfo": "OK"}


def mutes(c2c=0, group=0):
    return {"C2CmsgNospeakingTime": c2c, "GroupmsgNospeakingTime": group}


class TestSign:
    def test_the_vendors_signer_makes_the_same(self, monkeypatch):
        """The vendor's Python signer and ours say and sign the same at the same second."""
        monkeypatch.setattr(TLSSigAPIv2.time, "time", lambda: 1_700_000_000.9)
        theirs = TLSSigAPIv2.TLSSigAPIv2(1400000000, SECRET).gen_sig("administrator", 86400)
        ours = usersig("1400000000", "administrator", SECRET, 1_700_000_000.9)

        def opened(sig):
            return json.loads(
                zlib.decompress(base64.b64decode(sig.translate(str.maketrans("*-_", "+/="))))
            )

        assert opened(ours) == opened(theirs)

    def test_the_query_of_an_attempt(self):
        """Five parameters with the documented names; `random` is 32 bits of the nonce."""
        signed = PLAIN.sign(request(), CREDENTIALS, time.time(), "a" * 32)

        assert list(signed.query) == [
            "sdkappid",
            "identifier",
            "usersig",
            "random",
            "contenttype",
        ]
        assert signed.headers == {}
        assert 0 <= int(signed.query["random"]) <= FOREVER
        assert not set(signed.query["usersig"]) & set("+/=")

    def test_nothing_of_it_is_shown(self):
        """A provider that has signed shows neither secret nor signature."""
        one = provider("tencent")
        signed = one.sign(request(), CREDENTIALS, 1_700_000_000, "n")
        assert SECRET not in repr(one.__dict__)
        assert signed.query["usersig"] not in repr(one.__dict__)

    def test_the_app_is_its_number(self):
        """State is bound to the SDKAppID, which is no secret."""
        assert PLAIN.app(CREDENTIALS.values) == "tencent:1400000000"


class TestVerdict:
    @pytest.mark.parametrize(
        ("service", "code", "why"),
        [
            *(("profile", code, Why.THROTTLED) for code in (60007, 60011, 60018, 60019)),
            *(("profile", code, Why.RETRY) for code in (60008, 60014, 70169, 70500, 40006)),
            *(("openconfigsvr", code, Why.RETRY) for code in (130014, 60008)),
            *(("profile", code, Why.AUTH) for code in (70001, 70003, 70009, 70013, 40004, 60010)),
            ("im_open_login_svc", 70403, Why.AUTH),
            ("im_open_login_svc", 70107, Why.MISSING),
            ("profile", 40003, Why.MISSING),
            ("im_open_login_svc", 70398, Why.QUOTA),
            *(("im_open_login_svc", code, Why.OTHER) for code in (70399, 70402, 40601)),
            *(("profile", code, Why.OTHER) for code in (40008, 40009, 40601, 40605)),
            ("openconfigsvr", 130008, Why.OTHER),
        ],
    )
    def test_codes(self, service, code, why):
        """A known code is a refusal of its kind, by service and number."""
        told = PLAIN.verdict(request(service), 200, {"ErrorCode": code, "ErrorInfo": "m"})
        assert (told.result, told.why, told.code) == (Result.REJECTED, why, str(code))

    @pytest.mark.parametrize(
        ("service", "body"),
        [
            ("profile", {"ErrorCode": 99999}),
            ("profile", {"ErrorCode": 130008}),
            ("openconfigsvr", {"ErrorCode": 40003}),
            ("profile", {"ErrorCode": True}),
            ("profile", {"ActionStatus": "OK"}),
            ("profile", {"ErrorCode": 0, "ActionStatus": "FAIL"}),
        ],
    )
    def test_what_is_not_known_is_ambiguous(self, service, body):
        """A number of another service, an unknown one, none, or a contradiction prove nothing."""
        assert PLAIN.verdict(request(service), 200, body).result is Result.AMBIGUOUS

    def test_action_status_is_optional(self):
        """The mute service sends none; ErrorCode 0 is success."""
        told = PLAIN.verdict(request("openconfigsvr"), 200, {"ErrorCode": 0})
        assert told.result is Result.CONFIRMED

    def test_a_kick_is_not_repeated_by_the_transport(self):
        """A kick that a backend timed out on may have ended sessions, so it is in doubt."""
        told = PLAIN.verdict(request("im_open_login_svc", "kick"), 200, {"ErrorCode": 70169})
        assert told.result is Result.AMBIGUOUS


class TestRead:
    def test_three_steps_and_no_mute_of_a_missing_account(self):
        """Check, then profiles at once, then mutes one by one, of imported accounts only."""
        talk = Talk(TAGGED.read(["a", "gone", "b"]))
        assert talk.asked.body == {"CheckItem": [{"UserID": id} for id in ("a", "gone", "b")]}
        talk.says(**checked(a="Imported", gone="NotImported", b="Imported"))
        assert talk.asked.body["To_Account"] == ["a", "b"]
        assert TAG in talk.asked.body["TagList"]
        talk.says(UserProfileItem=[portrait("a", Tag_Profile_IM_Nick="A"), portrait("b")])
        assert talk.asked.body == {"Get_Account": "a"}
        talk.says(**mutes(7196, 0))
        assert talk.asked.body == {"Get_Account": "b"}
        talk.says(**mutes())

        seen = talk.result
        assert seen["gone"] == MISSING
        assert seen["a"].profile["name"] == "A"
        assert seen["a"].configuration == {"p2p_chat_banned": True, "team_chat_banned": False}
        assert seen["b"].profile["allow_type"] == "need_confirm"
        assert (seen["a"].banned, seen["b"].banned) == (False, False)

    def test_custom_tags_are_read_by_name(self):
        """Those the provider is made for are asked for; one that nobody set is empty."""
        talk = Talk(NAMING.read(["a", "b"])).says(**checked(a="Imported", b="Imported"))
        assert talk.asked.body["TagList"][-3:] == [TAG, LEVEL, TEAM]
        items = [portrait("a", **{TEAM: "x", TAG: "1"}), portrait("b", **{LEVEL: "3"})]
        talk.says(UserProfileItem=items).says(**mutes()).says(**mutes())
        assert talk.result["a"].profile["custom"] == {"Level": "", "Team": "x"}
        assert talk.result["b"].profile["custom"] == {"Level": "3", "Team": ""}

    def test_what_is_no_custom_field_is_not_asked_for(self):
        """The mark, a key that cannot be registered and other fields name no custom tag."""
        paths = ("profile.custom.Blocked", "profile.custom.a1", "profile.name", "labels.custom")
        talk = Talk(provider("tencent", {"blocked_tag": TAG}, paths).read(["a"]))
        named = talk.says(**checked(a="Imported")).asked.body["TagList"]
        assert [tag for tag in named if "Custom" in tag] == [TAG]

    @pytest.mark.parametrize("code", [40007, 40009])
    def test_a_custom_tag_that_is_not_given_spoils_nothing(self, code):
        """Each is then asked for alone; nothing is said of the one that is refused."""
        talk = Talk(NAMING.read(["a", "b"])).says(**checked(a="Imported", b="Imported"))
        talk.says(code)
        assert not {LEVEL, TEAM} & set(talk.asked.body["TagList"])
        talk.says(
            UserProfileItem=[portrait("a", Tag_Profile_IM_Nick="A"), {"To_Account": "b"}],
            Fail_Account=["b"],
        )
        assert talk.asked.body == {"To_Account": ["a"], "TagList": [LEVEL]}
        talk.says(code)
        assert talk.asked.body == {"To_Account": ["a"], "TagList": [TEAM]}
        talk.says(UserProfileItem=[portrait("a", **{TEAM: "x"})]).says(**mutes())
        seen = talk.result["a"].profile
        assert (seen["name"], seen["custom"]) == ("A", {"Team": "x"})

    def test_a_mark_that_is_not_given_is_no_reading(self):
        """Without its mark nothing is known of a ban, so the refusal is told as it is."""
        talk = Talk(NAMING.read(["a"])).says(**checked(a="Imported")).says(40009)
        with pytest.raises(ReadFailed):
            talk.says(40009)

    def test_an_item_that_failed_is_left_out(self):
        """One bad account of a profile batch is unknown, its neighbours are not."""
        talk = Talk(PLAIN.read(["a", "b"])).says(**checked(a="Imported", b="Imported"))
        talk.says(
            UserProfileItem=[portrait("a"), {"To_Account": "b", "ResultCode": 40003}],
            Fail_Account=["b"],
        ).says(**mutes())
        assert set(talk.result) == {"a"}

    def test_a_batch_that_failed_is_asked_one_by_one(self):
        """Where one bad account fails the whole call, the others are still read."""
        talk = Talk(PLAIN.read(["a", "b"])).says(**checked(a="Imported", b="Imported"))
        talk.says(40003).says(UserProfileItem=[portrait("a")]).says(40003).says(**mutes())
        assert set(talk.result) == {"a"}
        assert talk.apis.count("portrait_get") == 3

    def test_without_a_tag_a_ban_is_unknown(self):
        """Two permanent mutes may be a ban's: then nothing is said of ban or flags."""
        talk = Talk(PLAIN.read(["a"])).says(**checked(a="Imported"))
        talk.says(UserProfileItem=[portrait("a")]).says(**mutes(FOREVER, FOREVER))
        assert talk.result["a"].banned is None
        assert talk.result["a"].configuration == {}

    def test_a_refused_check_is_no_reading(self):
        """Nothing is known when the first call is refused."""
        with pytest.raises(ReadFailed):
            Talk(PLAIN.read(["a"])).says(70009)

    def test_answers_about_others_are_not_believed(self):
        """Only accounts that were asked for are read."""
        talk = Talk(PLAIN.read(["a"])).says(**checked(b="Imported"))
        assert talk.result == {}

    @pytest.mark.parametrize(("number", "text"), [(0, ""), (19900131, "1990-01-31")])
    def test_birthdays(self, number, text):
        """The vendor keeps a date as a number, and none as 0."""
        talk = Talk(PLAIN.read(["a"])).says(**checked(a="Imported"))
        talk.says(UserProfileItem=[portrait("a", Tag_Profile_IM_BirthDay=number)]).says(**mutes())
        assert talk.result["a"].profile["birthday"] == text


class TestCreate:
    def test_a_batch_is_one_import(self):
        """Names and avatars go with the import; nothing else is sent where nothing is written."""
        talk = Talk(PLAIN.create({"a": {"profile": {"name": "A"}}, "b": {}}))
        assert talk.asked.api == "multiaccount_import"
        assert talk.asked.body == {"AccountList": [{"UserID": "a", "Nick": "A"}, {"UserID": "b"}]}
        talk.says(FailAccounts=[])
        assert [one.result for one in talk.result.values()] == [Result.CONFIRMED] * 2

    def test_the_rest_follows(self):
        """Other tags follow with one call, mutes with another where one is on."""
        flags = {"p2p_chat_banned": True, "team_chat_banned": False}
        talk = Talk(
            PLAIN.create({"a": {"profile": {"name": "A", "gender": 1}, "configuration": flags}})
        )
        talk.says()
        assert talk.asked.body["ProfileItem"] == [
            {"Tag": "Tag_Profile_IM_Gender", "Value": "Gender_Type_Male"}
        ]
        talk.says()
        assert talk.asked.body == {"Set_Account": "a", **mutes(FOREVER, 0)}
        talk.says()
        assert talk.result["a"].result is Result.CONFIRMED

    def test_failed_accounts_are_asked_for_their_reason(self):
        """A quota that is reached is not run against again."""
        talk = Talk(PLAIN.create({"a": {}, "b": {}, "c": {}})).says(FailAccounts=["b", "c"])
        assert (talk.asked.api, talk.asked.body) == ("account_import", {"UserID": "b"})
        talk.says(70398)
        ended = talk.result
        assert ended["a"].result is Result.CONFIRMED
        assert (ended["b"].result, ended["b"].why) == (Result.REJECTED, Why.QUOTA)
        assert (ended["c"].result, ended["c"].why) == (Result.NOT_SENT, Why.QUOTA)

    @pytest.mark.parametrize("failed", ["a", [1], ["stranger"], {"a": 1}])
    def test_an_answer_about_others_proves_nothing(self, failed):
        """A list of failures that cannot be ours leaves every account in doubt."""
        talk = Talk(PLAIN.create({"a": {}, "b": {}})).says(FailAccounts=failed)
        assert {one.result for one in talk.result.values()} == {Result.AMBIGUOUS}

    def test_half_a_create_says_what_is_there(self):
        """An import that held and a profile that did not: registered, with its name."""
        talk = Talk(PLAIN.create({"a": {"profile": {"name": "A", "sign": "x"}}}))
        talk.says().says(40005)
        ended = talk.result["a"]
        assert (ended.result, ended.code) == (Result.REJECTED, "40005")
        assert ended.done == (REGISTERED, "profile.name")

    def test_a_backend_that_timed_out_leaves_doubt(self):
        """70169 is repeated by the transport, and in doubt when that did not help."""
        talk = Talk(PLAIN.create({"a": {}})).says(70169)
        assert talk.result["a"].result is Result.AMBIGUOUS


class TestChanges:
    def test_an_update_sends_only_what_changed(self):
        """One tag is one item; one mute leaves the other field out."""
        fields = {"profile.birthday": "1990-01-31", "configuration.team_chat_banned": False}
        talk = Talk(PLAIN.update("a", fields, None))
        assert talk.asked.body["ProfileItem"] == [
            {"Tag": "Tag_Profile_IM_BirthDay", "Value": 19900131}
        ]
        talk.says()
        assert talk.asked.body == {"Set_Account": "a", "GroupmsgNospeakingTime": 0}
        talk.says(130006)
        assert talk.result.done == ("profile.birthday",)

    def test_a_block_mutes_kicks_and_marks(self):
        """In that order: a session ends with the mute in place, and the mark says all is done."""
        talk = Talk(TAGGED.block("a", {}))
        assert talk.asked.body == {"Set_Account": "a", **mutes(FOREVER, FOREVER)}
        talk.says().says(70107)
        assert talk.asked.body["ProfileItem"] == [{"Tag": TAG, "Value": "1"}]
        talk.says()
        assert talk.apis == ["setnospeaking", "kick", "portrait_set"]
        assert talk.result.result is Result.CONFIRMED

    def test_an_interrupted_block_fails_as_its_call_did(self):
        """What follows the failing call is not sent."""
        talk = Talk(TAGGED.block("a", {})).says().says().says(40003)
        assert (talk.result.result, talk.result.why) == (Result.REJECTED, Why.MISSING)

    def test_an_unblock_restores_the_declared_mutes(self):
        """The mute that is declared stays, the other goes, and then the mark."""
        talk = Talk(TAGGED.unblock("a", {"configuration": {"p2p_chat_banned": True}}))
        assert talk.asked.body == {"Set_Account": "a", **mutes(FOREVER, 0)}
        talk.says()
        assert talk.asked.body["ProfileItem"] == [{"Tag": TAG, "Value": ""}]
        assert talk.says().result.result is Result.CONFIRMED


class TestTable:
    @pytest.mark.parametrize("path", ["token", "banned.notify", "profile.email", "profile.mobile"])
    def test_what_the_vendor_lacks(self, path):
        """It stores no token, tells a kicked client nothing and has no such profile fields."""
        assert PLAIN.capabilities.field(path).support is Support.UNSUPPORTED

    @pytest.mark.parametrize("key", ["Toolongkey", "a1", "", "Blocked"])
    def test_custom_keys_are_eight_letters_and_not_the_mark(self, key):
        """A key that cannot be registered, or marks bans, is no field."""
        field = TAGGED.capabilities.field(f"profile.custom.{key}")
        assert field.support is Support.UNSUPPORTED
        assert TAGGED.capabilities.field("profile.custom.Team").limit == 500

    def test_a_ban_is_emulated_and_says_so(self):
        """The note names what stands in for the ban and what people must do themselves."""
        table = capabilities("tencent")
        assert table.field("banned").support is Support.EMULATED
        assert "UserSig" in table.field("banned").note
        assert table.waits == ("configuration.",)
        assert table.batch == {"read": 100, "create": 100}
        assert (table.rate("account_check"), table.rate("account_import")) == (100, 200)

    @pytest.mark.parametrize(
        ("id", "good"),
        [("A-z_0", True), ("a" * 32, True), ("a" * 33, False), ("@RBT#1", False), ("é", False)],
    )
    def test_ids(self, id, good):
        """Letters, digits, _ and -; the vendor keeps their case."""
        rule = PLAIN.capabilities.id
        assert bool(rule.pattern.fullmatch(id)) is good
        assert rule.fold("Ab") == "Ab"


def test_observed_defaults_are_complete():
    """A bare account reads as every default of the table."""
    talk = Talk(TAGGED.read(["a"])).says(**checked(a="Imported"))
    talk.says(UserProfileItem=[portrait("a")]).says(**mutes())
    table = TAGGED.capabilities
    assert talk.result["a"] == Observed(
        exists=True,
        profile={
            path.partition(".")[2]: field.default
            for path, field in table.fields.items()
            if path.startswith("profile.") and "custom" not in path
        },
        configuration=dict.fromkeys(("p2p_chat_banned", "team_chat_banned"), False),
        banned=False,
    )
