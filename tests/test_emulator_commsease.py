"""The emulator's server API v1 keeps to what is known of the vendor, seen over a real socket."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from reconciler.emulator import Clock, Settings
from tests.emulator_client import Caller, signed
from tests.shared_emulator import emulating

FORM = "application/x-www-form-urlencoded;charset=utf-8"
MUTES = ("muteP2P", "muteTeam", "muteRoom", "muteQChat")


@dataclass
class Forms(Caller):
    """Call the API v1 with forms."""

    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": FORM})

    def post(self, action: str, form: Any = None, **headers: str) -> dict[str, Any]:
        """Send one signed form and return the envelope."""
        response = self.http.post(
            f"/nimserver/user/{action}.action",
            content=form if isinstance(form, bytes) else str(httpx.QueryParams(form or {})),
            headers={**signed(), **self.headers, **headers},
        )
        assert response.status_code == 200
        envelope: dict[str, Any] = response.json()
        assert ("desc" in envelope) == (envelope["code"] != 200)
        return envelope

    def guess(self, **guesses: object) -> None:
        """Change guesses."""
        self.control("PATCH", "/guesses", guesses)


@contextmanager
def calling(settings: Settings, clock: Clock | None = None) -> Iterator[Forms]:
    with (
        emulating(settings, clock=clock) as url,
        httpx.Client(base_url=url, trust_env=False) as http,
    ):
        yield Forms(http)


@pytest.fixture(scope="module")
def shared() -> Iterator[Forms]:
    with calling(Settings(rate=0)) as caller:
        yield caller


@pytest.fixture
def caller(shared: Forms) -> Iterator[Forms]:
    yield shared
    shared.control("DELETE", "/guesses")


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """An account id that only this test uses."""
    return f"t{abs(hash(request.node.nodeid)) % 10**12}"


def test_a_registration_answers_id_token_and_name(caller: Forms, name: str) -> None:
    """The shape of the vendor page: code and info; the id in lower case."""
    made = caller.post("create", {"accid": name.upper(), "token": "abcdef", "name": "张三"})

    assert made == {"code": 200, "info": {"accid": name, "token": "abcdef", "name": "张三"}}
    assert len(caller.post("create", {"accid": f"{name}-b"})["info"]["token"]) == 32


def test_a_second_registration_is_refused(caller: Forms, name: str) -> None:
    """414 "already register", also under another spelling; the account stays as it was."""
    caller.post("create", {"accid": name, "name": "first"})

    again = caller.post("create", {"accid": name.upper(), "name": "second"})

    assert again == {"code": 414, "desc": "already register"}
    assert caller.held(name)["profile"] == {"name": "first"}


@pytest.mark.parametrize(
    ("headers", "desc"),
    [
        (lambda: signed("wrong"), "checksum"),
        (lambda: signed(key="unknown"), "appkey"),
        (lambda: signed(at=time.time() - 400), "CurTime is expired"),
        (lambda: signed(at=time.time() * 1000), "CurTime is expired"),
    ],
    ids=["secret", "key", "old", "millis"],
)
def test_a_call_that_is_not_signed_well_is_told_by_desc(
    caller: Forms, headers: Callable[[], dict[str, str]], desc: str
) -> None:
    """Every signature failure is 414; the desc is what third parties have seen."""
    assert caller.post("block", {"accid": "x"}, **headers()) == {"code": 414, "desc": desc}


@pytest.mark.parametrize(
    "action",
    ["update", "refreshToken", "block", "unblock", "updateUinfo", "muteModule", "mute"],
)
def test_an_unknown_account(caller: Forms, name: str, action: str) -> None:
    """414 and "<accid> is not registered", or the words a client of 2018 quotes."""
    form = {
        "accid": name,
        **{"muteModule": {"muteP2P": "true"}, "mute": {"mute": "true"}}.get(action, {}),
    }
    assert caller.post(action, form) == {"code": 414, "desc": f"{name} is not registered"}

    caller.guess(commsease_missing_words="not register")
    assert caller.post(action, form)["desc"] == f"{name} not register"


def test_a_profile_leaves_out_what_is_unset(caller: Forms, name: str) -> None:
    """Unset texts are left out; an empty text clears; gender is always there."""
    caller.post("create", {"accid": name, "name": "N", "icon": "I", "birth": "B", "ex": "{}"})
    caller.post("updateUinfo", {"accid": name, "name": "", "gender": "2"})

    (item,) = caller.post("getUinfos", {"accids": f'["{name}"]'})["uinfos"]

    assert item == {
        "accid": name,
        "icon": "I",
        "birth": "B",
        "ex": "{}",
        "gender": 2,
        "valid": True,
        "mute": False,
    }
    caller.guess(commsease_uinfos="old")
    (old,) = caller.post("getUinfos", {"accids": f'["{name}"]', "muteStatus": "true"})["uinfos"]
    assert {*item, *old} - set(old) == {"valid", "mute"}


def test_mutes_are_shown_where_they_are_asked_for(caller: Forms, name: str) -> None:
    """muteModule answers all four; getUinfos shows them with muteStatus and not without."""
    caller.post("create", {"accid": name})
    assert caller.post("muteModule", {"accid": name})["code"] == 414

    answered = caller.post("muteModule", {"accid": name, "muteTeam": "true"})
    caller.post("mute", {"accid": name, "mute": "true"})

    assert answered["data"] == dict.fromkeys(MUTES, False) | {"muteTeam": True}
    (item,) = caller.post("getUinfos", {"accids": f'["{name}"]', "muteStatus": "true"})["uinfos"]
    assert [key for key in MUTES if item[key]] == ["muteTeam"]
    assert item["mute"] is True
    v2 = caller.call("GET", f"/im/v2/accounts/{name}")["data"]["configuration"]
    assert v2 == {
        "enabled": True,
        "p2p_chat_banned": False,
        "team_chat_banned": True,
        "chatroom_chat_banned": False,
        "qchat_chat_banned": False,
        "push_enabled_when_desktop_online": True,
    }


def test_unknown_ids_are_absent_or_refused(caller: Forms, name: str) -> None:
    """Nobody knows what an unknown id does to a batch, so both can be had."""
    caller.post("create", {"accid": name})
    ask = {"accids": f'["{name}", "{name}-x"]'}

    assert [one["accid"] for one in caller.post("getUinfos", ask)["uinfos"]] == [name]
    caller.guess(commsease_unknown_ids="refuse")
    assert caller.post("getUinfos", ask)["desc"] == f"{name}-x is not registered"
    assert caller.post("userOnlineStatus", ask)["data"] == {
        "invalidAccids": [f"{name}-x"],
        "status": {name: []},
    }


@pytest.mark.parametrize(
    "accids", ["", "x", "[1]", "{}", "[]", '["\\ud800"]', "[" * 9999, str(["x"] * 201)]
)
def test_a_list_that_is_none_is_refused(caller: Forms, accids: str) -> None:
    """What is no JSON list of 1 to 200 texts answers 414."""
    assert caller.post("getUinfos", {"accids": accids.replace("'", '"')})["code"] == 414


def test_a_ban_kicks_once_and_can_be_repeated(caller: Forms, name: str) -> None:
    """needkick is False by default; v2 shows the ban, v1 does not, and the profile stays open."""
    caller.post("create", {"accid": name})
    caller.post("block", {"accid": name})
    caller.post("block", {"accid": name, "needkick": "true", "kickNotifyExt": "bye"})

    held = caller.held(name)
    assert (held["enabled"], held["kicks"], held["last_kick"]) == (False, 1, "bye")
    assert caller.post("updateUinfo", {"accid": name, "name": "N"}) == {"code": 200}
    (item,) = caller.post("getUinfos", {"accids": f'["{name}"]'})["uinfos"]
    assert item["valid"] is True
    caller.guess(commsease_blocked_code=422, commsease_blocked_is_valid=False)
    assert caller.post("update", {"accid": name, "token": "t"})["code"] == 422
    assert caller.post("unblock", {"accid": name}) == {"code": 200}
    assert caller.held(name)["enabled"] is True


def test_tokens_are_set_and_refreshed(caller: Forms, name: str) -> None:
    """update sets the token that is given, refreshToken answers a random one."""
    caller.post("create", {"accid": name, "token": "one"})
    first = caller.held(name)["token_sha256"]

    assert caller.post("update", {"accid": name, "token": "two"}) == {"code": 200}
    second = caller.held(name)["token_sha256"]
    info = caller.post("refreshToken", {"accid": name})["info"]

    assert info["accid"] == name
    assert len({first, second, caller.held(name)["token_sha256"]}) == 3
    assert "two" not in str(caller.control("GET", "/requests"))


def test_the_push_switch_needs_a_login(caller: Forms, name: str) -> None:
    """414 before the first login; afterwards a capital True is true, and v2 sees the inverse."""
    caller.post("create", {"accid": name})
    assert caller.post("setDonnop", {"accid": name, "donnopOpen": "true"})["code"] == 414

    caller.control("PATCH", f"/accounts/commsease/demo-app-key/{name}", {"logged_in": True})

    assert caller.post("setDonnop", {"accid": name, "donnopOpen": "True"}) == {"code": 200}
    assert caller.held(name)["configuration"] == {"push_enabled_when_desktop_online": False}


def test_the_quirks_of_known_clients(caller: Forms, name: str) -> None:
    """Header names in any case, a semicolon after the content type, blanks in a list: all work."""
    caller.post("create", {"accid": name})
    headers = {key.title(): value for key, value in signed().items()}
    response = caller.http.post(
        "/nimserver/user/getUinfos.action",
        content=f"accids=%5B%22{name}%22%2C+%22x%22%5D",
        headers={**headers, "Content-Type": f"{FORM};"},
    )
    assert [one["accid"] for one in response.json()["uinfos"]] == [name]


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"name": "n" * 65}, 414),
        ({"ex": "x" * 1025}, 414),
        ({"gender": "3"}, 414),
        ({"email": "nobody"}, 10431),
        ({"nickname": "n"}, 414),
        ({"name": "客" * 64, "email": "a@b.cc", "bid": "x"}, 200),
        ({}, 200),
    ],
    ids=["name", "ex", "gender", "email", "unknown", "good", "nothing"],
)
def test_profile_limits(caller: Forms, name: str, form: dict[str, str], code: int) -> None:
    """Texts have limits in characters, gender three values, an e-mail its shape."""
    caller.post("create", {"accid": name})
    assert caller.post("updateUinfo", {"accid": name, **form})["code"] == code


@pytest.mark.parametrize("body", [b"", b"{}", b'{"accid":"x"}', b"accid", b"accid=%ff", b"\xff"])
def test_bodies_that_are_no_form(caller: Forms, body: bytes) -> None:
    """What cannot be read as a form is a wrong parameter, and the log can still be read."""
    assert caller.post("block", body)["code"] == 414
    assert caller.control("GET", "/requests")["requests"]


def test_only_post_and_known_paths(caller: Forms) -> None:
    """Another method or path answers a vendor code under HTTP 200."""
    assert caller.send("GET", "/nimserver/user/create.action").json()["code"] == 414
    assert caller.post("nothing")["code"] == 404


def test_a_repeated_request_id_is_noticed(caller: Forms, name: str) -> None:
    """431 for a second call with one RequestId; the call is not carried out."""
    caller.post("create", {"accid": name})
    first = caller.post("block", {"accid": name, "needkick": "true"}, RequestId=name)
    second = caller.post("block", {"accid": name, "needkick": "true"}, RequestId=name)

    assert (first["code"], second["code"]) == (200, 431)
    assert caller.held(name)["kicks"] == 1


def test_too_many_calls_block_one_api_for_ten_seconds() -> None:
    """The call over the rate answers 416 and blocks its own API for ten seconds, no other."""
    now = [1000.0]
    clock = Clock(time.time, lambda: now[0])
    with calling(Settings(rate=3), clock) as caller:
        codes = [caller.post("unblock", {"accid": "x"})["code"] for _ in range(4)]
        assert codes == [414, 414, 414, 416]
        assert caller.post("block", {"accid": "x"})["code"] == 414
        now[0] += 9.9
        assert caller.post("unblock", {"accid": "x"})["code"] == 416
        now[0] += 0.2
        assert caller.post("unblock", {"accid": "x"})["code"] == 414


def test_faults_and_the_log_know_the_api(caller: Forms, name: str) -> None:
    """Faults are matched by the names of v1, and a scripted code has its envelope."""
    fault = {"match": {"api": "block", "vendor": "commsease", "account_id": name}, "fault": "code"}
    caller.control("POST", "/faults", [{**fault, "code": 503}])
    caller.post("create", {"accid": name})

    assert caller.post("block", {"accid": name}) == {"code": 503, "desc": "server busy"}

    entries = [
        e for e in caller.control("GET", "/requests")["requests"] if name in e["account_ids"]
    ]
    assert [(e["vendor"], e["api"], e["code"]) for e in entries] == [
        ("commsease", "create", 200),
        ("commsease", "block", 503),
    ]
