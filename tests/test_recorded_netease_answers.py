"""What NetEase's public pages say about answers, and how both versions read them.

The pages are listed in `recorded_netease.py`; what only the vendor's server SDK tells is marked.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from recorded_netease import (
    PUSH,
    TEXTS,
    TOKEN_SINK,
    Speak,
    banned,
    changed,
    lifted,
    made,
    read,
    spoken,
)

from reconciler.accounts import Observed
from reconciler.conversation import Outcome, Result, Why


class Said(NamedTuple):
    """How an answer is read, and how often the call was sent before that was the outcome."""

    result: Result
    why: Why = Why.OTHER
    sent: int = 1


REFUSED, UNSURE = Said(Result.REJECTED), Said(Result.AMBIGUOUS)
AUTH = Said(Result.REJECTED, Why.AUTH)
MISSING = Said(Result.REJECTED, Why.MISSING)
EXISTS = Said(Result.REJECTED, Why.EXISTS)
BUSY = Said(Result.REJECTED, Why.THROTTLED, 60)
AGAIN = Said(Result.REJECTED, Why.RETRY, 5)

MEANINGS = {
    # One code for all of these: only `desc` tells them apart (register account; overview; ban).
    "already register": EXISTS,
    "zhangsan is not registered": MISSING,
    "zhangsan not register": MISSING,
    "checksum": AUTH,
    "appkey": AUTH,
    "CurTime is expired": AUTH,
    "param error": REFUSED,
    "gender is none of 0, 1, 2": REFUSED,
    "": REFUSED,
}
CODES_1 = {
    301: Said(Result.REJECTED, Why.BANNED),
    315: AUTH,
    403: AUTH,
    404: REFUSED,
    405: REFUSED,
    406: REFUSED,
    416: BUSY,
    419: Said(Result.REJECTED, Why.QUOTA),
    422: Said(Result.REJECTED, Why.BANNED),
    449: AGAIN,
    10431: REFUSED,
    10432: REFUSED,
    # Of these no page says whether the call was carried out first; 201, 302, 413, 418, 423 and 508
    # belong to logins and messages.
    **dict.fromkeys((201, 302, 408, 413, 415, 417, 418, 423, 431, 500, 503, 508), UNSURE),
    **dict.fromkeys((509, 514, 998, 999), UNSURE),
}
CODES_2 = {
    398: AGAIN,
    403: AUTH,
    404: REFUSED,
    414: REFUSED,
    416: BUSY,
    449: AGAIN,
    463: REFUSED,
    **dict.fromkeys((399, 500, 503, 511, 514, 599, 997, 998, 999), UNSURE),
    **dict.fromkeys((101301, 101302, 101303, 101304, 101305), AUTH),
    102301: REFUSED,
    102404: MISSING,
    102405: EXISTS,
    102421: REFUSED,
    102422: Said(Result.REJECTED, Why.BANNED),
    102426: REFUSED,
    102434: Said(Result.REJECTED, Why.QUOTA),
    102449: AGAIN,
    103404: MISSING,
    103451: REFUSED,
    **dict.fromkeys((102302, 102303), UNSURE),
}


def heard(vendor: str, speak: Speak, answer: Any) -> Said:
    """Return how an operation on `zhangsan` reads an answer."""
    outcome, seen = spoken(vendor, speak, answer)
    if isinstance(outcome, dict):
        outcome = outcome["zhangsan"]
    assert isinstance(outcome, Outcome)
    return Said(outcome.result, outcome.why, len(seen))


@pytest.mark.parametrize("desc", MEANINGS)
def test_the_meanings_of_414(desc: str) -> None:
    """Version 1 answers 414 for five different things; each is told by its words."""
    answer = {"code": 414, "desc": desc} if desc else {"code": 414}
    assert heard("commsease", made(), answer) == MEANINGS[desc]
    assert heard("commsease", banned(), answer) == MEANINGS[desc]


@pytest.mark.parametrize("desc", ["checksum", "appkey", "CurTime is expired"])
@pytest.mark.parametrize("vendor", ["commsease", "yunxin"])
def test_a_push_switch_that_was_not_signed_well_does_not_wait(vendor: str, desc: str) -> None:
    """414 before the first login is no failure; 414 about the signature is one, in both versions.

    A user of version 2 reports 414 for a bad CheckSum, where the page lists 403.
    """
    speak = changed(**{f"configuration__{PUSH}": False})
    answer = {"code": 414, "desc": desc, "msg": desc, "data": {}}
    assert heard(vendor, speak, answer) == AUTH


@pytest.mark.parametrize("account_id", ["c", "key", "expired", "checksums"])
def test_an_id_in_the_words_of_a_refusal(account_id: str) -> None:
    """An id that is part of such a word, or holds one, does not change what 414 means."""
    for desc, why in (("checksum", Why.AUTH), (f"{account_id} is not valid", Why.OTHER)):
        answer = {"code": 414, "desc": desc}
        outcome, _ = spoken("commsease", lambda speaks: speaks.unblock(account_id, {}), answer)
        assert (outcome.result, outcome.why) == (Result.REJECTED, why), desc


@pytest.mark.parametrize("code", CODES_1)
def test_the_codes_of_version_1(code: int) -> None:
    """Each documented code is a refusal, to be repeated, or not known to have had no effect."""
    assert heard("commsease", lifted, {"code": code, "desc": "words"}) == CODES_1[code]


@pytest.mark.parametrize("code", CODES_2)
def test_the_codes_of_version_2(code: int) -> None:
    """The same for version 2, whose codes are 1, a resource and a cause, or generic."""
    answer = {"code": code, "msg": "words", "data": {}}
    assert heard("yunxin", lifted, answer) == CODES_2[code]


def test_a_ban_of_a_disabled_account_stands() -> None:
    """422 to a block says that the account is disabled, which is what was asked for."""
    assert heard("commsease", banned(), {"code": 422, "desc": "x"}) == Said(Result.CONFIRMED)


SUCCESSES = {
    "v1 create": ("commsease", made(), {"code": 200, "info": {"token": "xx", "accid": "zhangsan"}}),
    "v1 create, id in upper case": (
        "commsease",
        made(),
        {"code": 200, "info": {"token": "xx", "accid": "ZhangSan", "name": ""}},
    ),
    "v1 update": ("commsease", changed(profile__name="A"), {"code": 200}),
    "v1 mutes answer the whole state": (
        "commsease",
        changed(configuration__p2p_chat_banned=True),
        {
            "code": 200,
            "data": {"muteP2P": True, "muteTeam": True, "muteRoom": False, "muteQChat": False},
        },
    ),
    "v1 block": ("commsease", banned(), {"code": 200}),
    "v2 create, `success.`": (
        "yunxin",
        made(),
        {
            "code": 200,
            "msg": "success.",
            "data": {
                "account_id": "zhangsan",
                "token": "fafsda232@623#*42",
                "configuration": {"enabled": True, PUSH: True},
                "user_information": {"name": "张三"},
            },
        },
    ),
    "v2 update, no token": (
        "yunxin",
        changed(configuration__p2p_chat_banned=True),
        {"code": 200, "msg": "success", "data": {"account_id": "zhangsan", "configuration": {}}},
    ),
    "v2 disable echoes enabled": (
        "yunxin",
        banned(),
        {
            "code": 200,
            "msg": "success",
            "data": {"account_id": "zhangsan", "configuration": {"enabled": False}},
        },
    ),
    "v2 empty data": ("yunxin", lifted, {"code": 200, "msg": "success", "data": {}}),
}


@pytest.mark.parametrize(("vendor", "speak", "answer"), SUCCESSES.values(), ids=SUCCESSES)
def test_documented_successes(vendor: str, speak: Speak, answer: Any) -> None:
    """The samples of the pages are read as what they are, whatever they leave out."""
    assert heard(vendor, speak, answer) == Said(Result.CONFIRMED)


def test_a_profile_list_of_version_1() -> None:
    """Texts that are not set are left out, mutes come when asked for, `valid` says nothing of bans.

    An account that the list does not name is taken for missing.
    """
    listed = {
        "code": 200,
        "uinfos": [
            {
                "accid": "zhangsan",
                "name": "张三",
                "icon": "https://netease/xxx.png",
                "ex": '{"level":1}',
                "gender": 1,
                "valid": True,
                "mute": False,
                "muteP2P": True,
                "muteTeam": False,
                "muteRoom": False,
                "muteQChat": False,
            },
            # As in 2017, without mutes and validity.
            {"accid": "old", "gender": 0},
        ],
    }
    found, _ = spoken("commsease", read("zhangsan", "old", "nobody"), listed)
    empty = dict.fromkeys(TEXTS, "")
    assert found["zhangsan"] == Observed(
        exists=True,
        profile={
            **empty,
            "gender": 1,
            "name": "张三",
            "avatar": "https://netease/xxx.png",
            "extension": '{"level":1}',
        },
        configuration={
            "p2p_chat_banned": True,
            "team_chat_banned": False,
            "chatroom_chat_banned": False,
            "qchat_chat_banned": False,
        },
        banned=None,
    )
    assert found["old"] == Observed(exists=True, profile={**empty, "gender": 0})
    assert not found["nobody"].exists


def test_a_list_of_version_2() -> None:
    """A mix of known and unknown ids is a success; `enabled` is the ban, a failed item missing."""
    flags = {"enabled": False, "p2p_chat_banned": True, PUSH: False}
    accounts = {
        "code": 200,
        "msg": "success",
        "data": {
            "success_list": [{"account_id": "zhangsan", "configuration": flags}],
            "failed_list": [
                {"account_id": "nobody", "error_code": 102404, "error_msg": "nobody not valid"}
            ],
        },
    }
    users = {
        "code": 200,
        "msg": "success",
        "data": {"success_list": [{"account_id": "zhangsan", "name": "张三", "gender": 2}]},
    }
    found, _ = spoken("yunxin", read("zhangsan", "nobody"), accounts, users)
    seen = found["zhangsan"]
    assert (seen.banned, seen.configuration) == (
        True,
        {"p2p_chat_banned": True, PUSH: False},
    )
    assert (seen.profile["name"], seen.profile["gender"], seen.profile["sign"]) == ("张三", 2, "")
    assert not found["nobody"].exists


@pytest.mark.parametrize("code", ["200", True, None, 200.5])
@pytest.mark.parametrize("vendor", ["commsease", "yunxin"])
def test_a_code_of_another_kind_proves_nothing(vendor: str, code: Any) -> None:
    """The pages say that `code` is an integer; anything else is no fact about the vendor."""
    assert heard(vendor, lifted, {"code": code, "msg": "success", "data": {}}) == UNSURE


@pytest.mark.parametrize(
    ("vendor", "answer"),
    [
        ("commsease", {"code": 200, "info": {"token": "fafsda232", "accid": "zhangsan"}}),
        (
            "yunxin",
            {
                "code": 200,
                "msg": "success",
                # The page's sample misspells it.
                "data": {"account_id": "zhangsan", "token": "fafsda232", "configration": {}},
            },
        ),
    ],
)
def test_a_token_that_an_answer_brings(vendor: str, answer: Any) -> None:
    """It is found where the sample has it, whatever stands beside it."""
    minted: list[str] = []
    outcome, _ = spoken(vendor, changed(TOKEN_SINK), answer, minted=minted)
    assert (outcome.result, minted) == (Result.CONFIRMED, ["fafsda232"])
