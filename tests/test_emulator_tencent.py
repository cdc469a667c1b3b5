"""The emulated Tencent Cloud Chat keeps to what is known of the vendor, over a real socket."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as tuned
from hypothesis import strategies as st
from TLSSigAPIv2 import TLSSigAPIv2

from reconciler.emulator import Clock, Settings
from tests.shared_emulator import emulating

FOREVER = 4294967295
APP, ADMIN, SECRET = "1400000000", "administrator", "demo-secret-key"
ACCOUNT, PROFILE, MUTE = "im_open_login_svc", "profile", "openconfigsvr"


class Caller:
    """A caller that signs with the vendor's own signer and sends no Content-Type."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, trust_env=False)
        self.url = url

    def query(self, **other: str) -> dict[str, str]:
        sig = TLSSigAPIv2(int(APP), SECRET).gen_sig(ADMIN)
        about = {"sdkappid": APP, "identifier": ADMIN, "usersig": sig}
        return {**about, "random": "7", "contenttype": "json", **other}

    def __call__(self, path: str, body: Any = None, **query: str) -> dict[str, Any]:
        content = json.dumps({} if body is None else body).encode()
        answer = self.http.post(f"/v4/{path}", params=self.query(**query), content=content)
        assert answer.status_code == 200
        told: dict[str, Any] = answer.json()
        assert ("ActionStatus" in told) is not path.startswith(MUTE)
        return told

    def code(self, path: str, body: Any = None, **query: str) -> int:
        return int(self(path, body, **query)["ErrorCode"])

    def add(self, *ids: str) -> None:
        rows = [{"UserID": id} for id in ids]
        assert self(f"{ACCOUNT}/multiaccount_import", {"AccountList": rows})["FailAccounts"] == []

    def guess(self, **guesses: Any) -> None:
        assert self.http.patch("/_emulator/guesses", json=guesses).status_code == 200

    def held(self, id: str) -> dict[str, Any]:
        held: dict[str, Any] = self.http.get(f"/_emulator/accounts/tencent/{APP}/{id}").json()
        return held


@pytest.fixture
def caller() -> Iterator[Caller]:
    with emulating() as url:
        one = Caller(url)
        yield one
        one.http.close()


def test_a_published_client_gets_along(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client from the package index imports, checks, kicks, asks and deletes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the client is not ours to mend
        from tencentcloud_im.tcim_client import TCIMClient
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    sdk = TCIMClient(int(APP), SECRET, ADMIN, tencent_url=f"{caller.url}/v4")

    assert sdk.add_single_user("a", "A", "https://x/a.png").json()["ActionStatus"] == "OK"
    assert sdk.batch_add_users(["b", "c", "not ok"]).json()["FailAccounts"] == ["not ok"]
    states = sdk.search_user(["a", "nobody"]).json()["ResultItem"]
    assert [one["AccountStatus"] for one in states] == ["Imported", "NotImported"]
    assert sdk.abolition_user_sig("a").json()["ErrorCode"] == 0
    online = sdk.check_user_online(["a", "nobody"]).json()
    assert online["QueryResult"][0]["Status"] == "Offline"
    assert online["ErrorList"][0]["ErrorCode"] == 70107
    gone = sdk.del_user(["b", "nobody"]).json()["ResultItem"]
    assert [one["ResultCode"] for one in gone] == [0, 70107]
    assert caller.held("a")["profile"] == {"name": "A", "avatar": "https://x/a.png"}
    assert caller.held("a")["kicks"] == 1
    kinds = {entry["api"] for entry in caller.http.get("/_emulator/requests").json()["requests"]}
    assert {"account_import", "kick", "query_online_status"} <= kinds


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"usersig": "nonsense"}, 70003),
        ({"usersig": TLSSigAPIv2(int(APP), "other").gen_sig(ADMIN)}, 70009),
        ({"usersig": TLSSigAPIv2(int(APP), SECRET).gen_sig("bob")}, 70013),
        ({"usersig": TLSSigAPIv2(1400000001, SECRET).gen_sig(ADMIN)}, 70014),
        ({"usersig": TLSSigAPIv2(int(APP), SECRET).gen_sig(ADMIN, -1)}, 70001),
        ({"identifier": "bob", "usersig": TLSSigAPIv2(int(APP), SECRET).gen_sig("bob")}, 70403),
        ({"sdkappid": "1400000001"}, 70020),
        ({"random": "4294967296"}, 60025),
        ({"contenttype": "xml"}, 60025),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else next(iter(value)),
)
def test_who_may_call(caller: Caller, query: dict[str, str], code: int) -> None:
    """A UserSig is taken apart and signed again; each thing wrong with it has its code."""
    assert caller.code(f"{ACCOUNT}/account_check", {"CheckItem": []}, **query) == code


@pytest.mark.parametrize("raw", [True, False])
def test_a_signature_may_be_percent_encoded(caller: Caller, raw: bool) -> None:
    """The query is decoded once, so both ways of writing a UserSig are the same."""
    query = caller.query()
    sig = query.pop("usersig")
    sig = sig if raw else "".join(f"%{byte:02X}" for byte in sig.encode())
    tail = "&".join(f"{name}={value}" for name, value in query.items())
    path = f"/v4/{ACCOUNT}/account_check?usersig={sig}&{tail}"
    told = caller.http.post(path, content=b'{"CheckItem":[{"UserID":"a"}]}').json()
    assert told["ErrorCode"] == 0


def test_methods_and_paths(caller: Caller) -> None:
    """POST is the documented method; a GET with a body is a guess; other paths are no API."""
    path, query = f"/v4/{ACCOUNT}/account_check", caller.query()
    content = b'{"CheckItem":[{"UserID":"a"}]}'
    get = lambda: caller.http.request("GET", path, params=query, content=content).json()  # noqa: E731
    assert get()["ErrorCode"] == 0
    caller.guess(tencent_get_accepted=False)
    assert get()["ErrorCode"] == 60002
    assert caller.code("nowhere/else") == 60009
    assert caller.http.post(path, params=query, content=b"{").json()["ErrorCode"] == 60003


@pytest.mark.parametrize("field", ["UserID", "Identifier"])
def test_both_spellings_of_an_account(caller: Caller, field: str) -> None:
    """Older pages and clients call the field Identifier, for import and kick alike."""
    assert caller.code(f"{ACCOUNT}/account_import", {field: "a"}) == 0
    assert caller.code(f"{ACCOUNT}/kick", {field: "a"}) == 0
    assert caller.held("a")["kicks"] == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 70402),
        ({"UserID": 5}, 60015),
        ({"UserID": "a" * 33}, 70402),
        ({"UserID": "@RBT#1"}, 70402),
        ({"UserID": "a", "Nick": "x" * 501}, 40601),
        ({"UserID": "a", "Nick": "客" * 167}, 40601),
    ],
)
def test_imports_that_are_refused(caller: Caller, body: dict[str, Any], code: int) -> None:
    """An id is 1 to 32 letters, digits, _ and -; texts are counted in bytes."""
    assert caller.code(f"{ACCOUNT}/account_import", body) == code


def test_a_batch_names_who_failed_and_not_why(caller: Caller) -> None:
    """The rest of it is imported; importing again sets the name that is given."""
    rows = [{"UserID": "a", "Nick": "A"}, {"UserID": "b c"}, {"UserID": "a"}]
    told = caller(f"{ACCOUNT}/multiaccount_import", {"AccountList": rows})
    assert (told["ErrorCode"], told["FailAccounts"]) == (0, ["b c", "a"])
    caller(f"{ACCOUNT}/multiaccount_import", {"AccountList": [{"UserID": "a", "Nick": "B"}]})
    assert caller.held("a")["profile"]["name"] == "B"
    many = [{"UserID": f"u{n}"} for n in range(101)]
    assert caller.code(f"{ACCOUNT}/multiaccount_import", {"AccountList": many}) == 70402


def test_portraits(caller: Caller) -> None:
    """Tags are set and read by name; an account that is missing fails alone, or with all."""
    caller.add("a")
    tags = {"Tag_Profile_IM_Level": 3, "Tag_Profile_IM_Gender": "Gender_Type_Male"}
    tags |= {"Tag_Profile_Custom_Team": "x"}
    items = [{"Tag": tag, "Value": value} for tag, value in tags.items()]
    body = {"From_Account": "a", "ProfileItem": items}
    assert caller.code(f"{PROFILE}/portrait_set", body) == 0
    asked = {"To_Account": ["a", "no"], "TagList": [*tags, "Tag_Profile_IM_Nick"]}
    told = caller(f"{PROFILE}/portrait_get", asked)
    good, bad = told["UserProfileItem"]
    assert {one["Tag"]: one["Value"] for one in good["ProfileItem"]} == tags
    assert (bad["ResultCode"], "ProfileItem" in bad) == (40003, False)
    assert told["Fail_Account"] == ["no"]
    caller.guess(tencent_portrait_missing="whole", tencent_unset_tags="default")
    assert caller.code(f"{PROFILE}/portrait_get", asked) == 40003
    told = caller(f"{PROFILE}/portrait_get", {**asked, "To_Account": ["a"]})
    assert len(told["UserProfileItem"][0]["ProfileItem"]) == 4


@pytest.mark.parametrize(
    ("tag", "value", "code"),
    [
        ("Tag_Profile_IM_Nothing", "x", 40009),
        ("Tag_Profile_Custom_TooLongKey", "x", 40009),
        ("Tag_Profile_IM_Gender", "male", 40605),
        ("Tag_Profile_IM_Level", "3", 40610),
        ("Tag_Profile_IM_Nick", 3, 40610),
        ("Tag_Profile_Custom_Team", "x" * 501, 40601),
    ],
)
def test_tags_that_are_refused(caller: Caller, tag: str, value: Any, code: int) -> None:
    """A refused tag keeps the whole call from being carried out, unless the guess says else."""
    caller.add("a")
    items = [{"Tag": "Tag_Profile_IM_Nick", "Value": "A"}, {"Tag": tag, "Value": value}]
    body = {"From_Account": "a", "ProfileItem": items}
    assert caller.code(f"{PROFILE}/portrait_set", body) == code
    assert caller.held("a")["profile"] == {}
    caller.guess(tencent_portrait_atomic=False)
    assert caller.code(f"{PROFILE}/portrait_set", body) == code
    assert caller.held("a")["profile"] == {"name": "A"}
    assert caller.code(f"{PROFILE}/portrait_set", {**body, "From_Account": "no"}) == 40003


def test_mutes_count_down() -> None:
    """A timed mute reads back as what is left of it; the other one is left as it was."""
    passed = [0.0]
    clock = Clock(lambda: time.time() + passed[0], time.monotonic)
    with emulating(clock=clock) as url:
        caller = Caller(url)
        caller.add("a")
        both = {"C2CmsgNospeakingTime": FOREVER, "GroupmsgNospeakingTime": 7200}
        assert caller.code(f"{MUTE}/setnospeaking", {"Set_Account": "a", **both}) == 0
        passed[0] = 100
        left = caller(f"{MUTE}/getnospeaking", {"Get_Account": "a"})
        assert left["C2CmsgNospeakingTime"] == FOREVER
        assert 7090 < left["GroupmsgNospeakingTime"] <= 7100
        passed[0] = 8000
        only = {"Set_Account": "a", "C2CmsgNospeakingTime": 0}
        assert caller.code(f"{MUTE}/setnospeaking", only) == 0
        told = caller(f"{MUTE}/getnospeaking", {"Get_Account": "a"})
        assert (told["C2CmsgNospeakingTime"], told["GroupmsgNospeakingTime"]) == (0, 0)
        caller.http.close()


@pytest.mark.parametrize(
    ("command", "body", "code"),
    [
        ("setnospeaking", {}, 130004),
        ("setnospeaking", {"Set_Account": 5, "C2CmsgNospeakingTime": 0}, 130005),
        ("setnospeaking", {"Set_Account": "a", "C2CmsgNospeakingTime": "0"}, 130006),
        ("setnospeaking", {"Set_Account": "a", "GroupmsgNospeakingTime": -1}, 130007),
        ("setnospeaking", {"Set_Account": "a"}, 130008),
        ("setnospeaking", [], 130001),
        ("getnospeaking", {}, 130002),
        ("getnospeaking", {"Get_Account": 5}, 130003),
    ],
)
def test_mutes_that_are_refused(caller: Caller, command: str, body: Any, code: int) -> None:
    """The mute service has codes of its own, and no ActionStatus."""
    assert caller.code(f"{MUTE}/{command}", body) == code


@pytest.mark.parametrize(("guess", "read"), [("muted", FOREVER), ("free", 0), ("error", None)])
def test_the_mute_of_nobody(caller: Caller, guess: str, read: int | None) -> None:
    """An account that does not exist is said to be muted for good, which is a trap."""
    caller.guess(tencent_unknown_mute=guess)
    told = caller(f"{MUTE}/getnospeaking", {"Get_Account": "nobody"})
    assert told.get("C2CmsgNospeakingTime") == read


def test_the_rate_and_faults(caller: Caller) -> None:
    """Calls over the rate answer 60007; a scripted code is worded as the service does."""
    fault = [{"match": {"api": "getnospeaking"}, "fault": "code", "code": 130014}]
    assert caller.http.post("/_emulator/faults", json=fault).status_code == 200
    assert caller.code(f"{MUTE}/getnospeaking", {"Get_Account": "a"}) == 130014
    with emulating(Settings(rate=2), clock=Clock(monotonic=lambda: 5.0)) as url:
        slow = Caller(url)
        body = {"CheckItem": [{"UserID": "a"}]}
        codes = [slow.code(f"{ACCOUNT}/account_check", body) for _ in range(3)]
        assert codes == [0, 0, 60007]
        assert slow.code(f"{MUTE}/getnospeaking", {"Get_Account": "a"}) == 0
        slow.http.close()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["a", "", "\ud800", "Tag_Profile_"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["UserID", "AccountList", "Accounts", "CheckItem", "DeleteItem"])
            | st.sampled_from(
                ["To_Account", "From_Account", "TagList", "ProfileItem", "Tag", "Value"]
            )
            | st.sampled_from(["Set_Account", "Get_Account", "C2CmsgNospeakingTime", "Nick"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def shared() -> Iterator[Caller]:
    with emulating() as url:
        one = Caller(url)
        yield one
        one.http.close()


@tuned(max_examples=60, deadline=None)
@given(
    st.sampled_from(
        [
            f"{ACCOUNT}/account_import",
            f"{ACCOUNT}/multiaccount_import",
            f"{ACCOUNT}/account_check",
            f"{ACCOUNT}/account_delete",
            f"{ACCOUNT}/kick",
            f"{PROFILE}/portrait_set",
            f"{PROFILE}/portrait_get",
            f"{MUTE}/setnospeaking",
            f"{MUTE}/getnospeaking",
            "openim/query_online_status",
        ]
    ),
    JSON,
)
def test_any_body_has_an_answer(shared: Caller, path: str, body: Any) -> None:
    """Whatever JSON arrives, the answer is an envelope with HTTP 200."""
    assert isinstance(shared(path, body)["ErrorCode"], int)


def test_deleting_can_be_switched_off(caller: Caller) -> None:
    """Deletion must be enabled in the console on most plans."""
    caller.add("a")
    caller.guess(tencent_delete_enabled=False)
    body = {"DeleteItem": [{"UserID": "a"}]}
    assert caller.code(f"{ACCOUNT}/account_delete", body) == 71000
    assert caller.held("a")["account_id"] == "a"
