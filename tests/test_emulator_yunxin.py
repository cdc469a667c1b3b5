"""The emulator's server API v2 keeps to what is known of the vendor, seen over a real socket."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tuned
from hypothesis import strategies as st

from reconciler.emulator import Clock, Settings
from tests.emulator_client import Caller, signed
from tests.shared_emulator import emulating

ACCOUNTS = "/im/v2/accounts"
USERS = "/im/v2/users"
PUSH = "push_enabled_when_desktop_online"
LIMITS = {
    "name": 64,
    "avatar": 1024,
    "sign": 256,
    "birthday": 16,
    "mobile": 32,
    "extension": 1024,
}


@contextmanager
def calling(settings: Settings, clock: Clock | None = None) -> Iterator[Caller]:
    with (
        emulating(settings, clock=clock) as url,
        httpx.Client(base_url=url, trust_env=False) as http,
    ):
        yield Caller(http)


@pytest.fixture(scope="module")
def shared() -> Iterator[Caller]:
    with calling(Settings(rate=0)) as caller:
        yield caller


@pytest.fixture
def caller(shared: Caller) -> Iterator[Caller]:
    yield shared
    shared.control("DELETE", "/guesses")


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """An account id that only this test uses."""
    return f"t{abs(hash(request.node.nodeid)) % 10**12}"


def test_paths_work_with_and_without_the_nimserver_prefix(caller: Caller, name: str) -> None:
    """The vendor's own SDKs send v2 below /nimserver, the vendor page does not: both work."""
    caller.create(name)
    assert caller.code("GET", f"{ACCOUNTS}/{name}") == 200
    assert caller.code("GET", f"/nimserver{ACCOUNTS}/{name}") == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        (lambda: signed("wrong"), 403),
        (lambda: signed(key="unknown"), 101303),
        (lambda: {**signed(), "CheckSum": signed()["CheckSum"].upper()}, 403),
        (lambda: {**signed(), "Nonce": "n" * 129}, 414),
        (lambda: {**signed(), "Nonce": ""}, 414),
        (lambda: {**signed(), "CurTime": "yesterday"}, 414),
        (lambda: signed(at=time.time() * 1000), 414),
        (dict, 414),
    ],
    ids=["secret", "key", "upper", "nonce-long", "nonce-empty", "no-time", "millis", "none"],
)
def test_a_call_that_is_not_signed_well_is_refused(
    caller: Caller, headers: Callable[[], dict[str, str]], code: int
) -> None:
    """Signature failures answer HTTP 200, a vendor code and empty data."""
    response = caller.http.get(f"{ACCOUNTS}/nobody", headers=headers())
    assert response.status_code == 200
    assert (response.json()["code"], response.json()["data"]) == (code, {})


@pytest.mark.parametrize(
    ("shift", "good"), [(-302, False), (-298, True), (298, True), (302, False)]
)
def test_the_clock_may_differ_by_five_minutes(caller: Caller, shift: int, good: bool) -> None:
    """CurTime is accepted up to 300 seconds away, on both sides."""
    headers = signed(at=time.time() + shift)
    code = caller.http.get(f"{ACCOUNTS}/nobody", headers=headers).json()["code"]
    assert code == (102404 if good else 414)


def test_header_names_are_matched_without_regard_to_case(caller: Caller) -> None:
    """The vendor's Go SDK sends Appkey, Curtime and Checksum."""
    headers = {key.title(): value for key, value in signed().items()}
    assert caller.http.get(f"{ACCOUNTS}/nobody", headers=headers).json()["code"] == 102404


def test_create_answers_account_token_flags_and_profile(caller: Caller, name: str) -> None:
    """Create answers what is now held, with the documented defaults."""
    data = caller.create(name, token="secret", user_information={"name": "云信", "gender": 2})
    assert data["account_id"] == name
    assert data["token"] == "secret"
    assert data["configuration"] == {
        "enabled": True,
        "p2p_chat_banned": False,
        "team_chat_banned": False,
        "chatroom_chat_banned": False,
        "qchat_chat_banned": False,
        PUSH: True,
    }
    assert data["user_information"]["name"] == "云信"
    assert data["user_information"]["gender"] == 2


def test_a_token_is_generated_when_absent(caller: Caller, name: str) -> None:
    """Create without a token answers one the vendor made, within its own limit."""
    assert 1 <= len(caller.create(name)["token"]) <= 128


def test_ids_are_folded_to_lower_case(caller: Caller, name: str) -> None:
    """An id in another case is the same account, and is answered folded."""
    assert caller.create(name.upper())["account_id"] == name
    assert caller.code("POST", ACCOUNTS, {"account_id": name.title()}) == 102405
    assert caller.call("GET", f"{ACCOUNTS}/{name.upper()}")["data"]["account_id"] == name


@pytest.mark.parametrize("bad", ["", "a" * 33, "a b", "äöü", "a/b", "a\n", 7, None, True])
def test_ids_that_break_the_rules_are_refused(caller: Caller, bad: object) -> None:
    """An id is a text of 1 to 32 letters, digits, _ @ . and -."""
    assert caller.code("POST", ACCOUNTS, {"account_id": bad}) == 414


def test_every_character_an_id_may_have_is_taken(caller: Caller) -> None:
    """The whole alphabet of ids works, in body and path."""
    account_id = "a0_@.-" + "z" * 26
    caller.create(account_id)
    assert caller.code("GET", f"{ACCOUNTS}/{account_id}") == 200


@pytest.mark.parametrize(("field", "limit"), LIMITS.items())
def test_profile_texts_have_their_limits_in_characters(
    caller: Caller, name: str, field: str, limit: int
) -> None:
    """A text of the limit's length in wide characters passes, one more is refused."""
    caller.create(name)
    assert caller.code("PATCH", f"{USERS}/{name}", {field: "字" * limit}) == 200
    assert caller.code("PATCH", f"{USERS}/{name}", {field: "字" * (limit + 1)}) == 414
    assert caller.call("GET", f"{USERS}/{name}")["data"][field] == "字" * limit


@pytest.mark.parametrize(
    ("email", "code"),
    [("a@b.cn", 200), ("", 200), ("ab.cn", 414), ("a@b", 414), ("a" * 59 + "@b.cn", 200),
     ("a" * 60 + "@b.cn", 414)],
)  # fmt: skip
def test_an_email_has_the_shape_and_length_of_one(
    caller: Caller, name: str, email: str, code: int
) -> None:
    """The e-mail shape is checked, 64 characters are the limit, and the empty text clears."""
    caller.create(name)
    assert caller.code("PATCH", f"{USERS}/{name}", {"email": email}) == code


@pytest.mark.parametrize(
    "fields",
    [
        {"token": "t" * 129},
        {"token": 5},
        {"token": None},
        {"configuration": {"enabled": "true"}},
        {"configuration": {"p2p_chat_banned": 1}},
        {"configuration": {"no_such_flag": True}},
        {"configuration": []},
        {"user_information": {"gender": 3}},
        {"user_information": {"gender": "1"}},
        {"user_information": {"gender": True}},
        {"user_information": {"name": None}},
        {"user_information": {"name": "\ud800"}},
        {"user_information": "x"},
        {"antispam_configuration": 1},
        {"no_such_key": 1},
    ],
)
def test_create_refuses_what_breaks_a_rule_and_keeps_nothing(
    caller: Caller, name: str, fields: dict[str, object]
) -> None:
    """A parameter error is 414, and the account does not come to be."""
    body = b'{"account_id":"' + name.encode() + b'",' + json.dumps(fields).encode()[1:]
    assert caller.code("POST", ACCOUNTS, content=body) == 414
    assert caller.code("GET", f"{ACCOUNTS}/{name}") == 102404


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff", b'"x"', b"[" * 100_000, b'{"a":' + b"1" * 9999]
)
def test_a_body_that_is_no_object_is_a_parameter_error(caller: Caller, body: bytes) -> None:
    """Malformed JSON is 414 with HTTP 200, never a server error."""
    assert caller.code("POST", ACCOUNTS, content=body) == 414


KEYS = st.sampled_from(
    [
        "account_id", "token", "configuration", "user_information", "antispam_configuration",
        "enabled", "need_kick", "kick_notify_extension", "name", "email", "gender", "type",
        "device_id_list", "p2p_chat_banned", PUSH,
    ]
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
SURROGATES = st.text(st.characters(categories=["Cs"]), min_size=1, max_size=2)
VALUES = st.recursive(
    SCALARS | SURROGATES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)
CALLS = st.sampled_from(
    [
        ("POST", ACCOUNTS),
        ("PATCH", f"{ACCOUNTS}/fuzzed"),
        ("PATCH", f"{ACCOUNTS}/fuzzed/actions/disable"),
        ("PATCH", f"{ACCOUNTS}/fuzzed/actions/push_config"),
        ("POST", f"{ACCOUNTS}/fuzzed/actions/kick"),
        ("PATCH", f"{USERS}/fuzzed"),
        ("GET", f"{USERS}/fuzzed"),
    ]
)


@tuned(
    max_examples=150,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(call=CALLS, body=st.dictionaries(KEYS, VALUES, max_size=5) | VALUES)
def test_no_json_makes_the_emulator_fail(
    caller: Caller, call: tuple[str, str], body: object
) -> None:
    """Whatever JSON is sent, the answer is an envelope with HTTP status 200."""
    caller.call("POST", ACCOUNTS, {"account_id": "fuzzed"})
    code = caller.code(*call, content=json.dumps(body).encode())
    assert code in {200, 414, 102404, 102405, 102422}


def test_a_second_create_is_refused_and_changes_nothing(caller: Caller, name: str) -> None:
    """Create is not idempotent: 102405, and the first token stays."""
    caller.create(name, token="first")
    before = caller.held(name)
    assert caller.code("POST", ACCOUNTS, {"account_id": name, "token": "second"}) == 102405
    assert caller.held(name) == before


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", ACCOUNTS, None),
        ("PATCH", ACCOUNTS, {"token": "x"}),
        ("PATCH", f"{ACCOUNTS}/ID/actions/disable", {"enabled": False}),
        ("PATCH", f"{ACCOUNTS}/ID/actions/refresh_token", None),
        ("PATCH", f"{ACCOUNTS}/ID/actions/push_config", {PUSH: True}),
        ("POST", f"{ACCOUNTS}/ID/actions/kick", {"type": 1}),
        ("GET", USERS, None),
        ("PATCH", USERS, {"name": "x"}),
    ],
)
def test_an_account_that_does_not_exist_is_102404(
    caller: Caller, name: str, method: str, path: str, body: object
) -> None:
    """Every call for one account says 102404 when there is none."""
    path = path.replace("ID", name) if "ID" in path else f"{path}/{name}"
    assert caller.code(method, path, body) == 102404


def test_a_disabled_account_is_read_and_enabled_but_not_changed(caller: Caller, name: str) -> None:
    """Writes to a disabled account answer 102422; disabling again, reading and enabling work."""
    caller.create(name, token="t")
    disable = f"{ACCOUNTS}/{name}/actions/disable"
    for _ in range(2):
        answer = caller.call("PATCH", disable, {"enabled": False})
        assert answer["data"]["configuration"]["enabled"] is False
    writes: list[tuple[str, object]] = [
        (f"{ACCOUNTS}/{name}", {"token": "new"}),
        (f"{ACCOUNTS}/{name}", {"configuration": {"enabled": True}}),
        (f"{USERS}/{name}", {"name": "new"}),
        (f"{ACCOUNTS}/{name}/actions/refresh_token", None),
        (f"{ACCOUNTS}/{name}/actions/push_config", {PUSH: False}),
    ]
    assert [caller.code("PATCH", path, body) for path, body in writes] == [102422] * 5
    assert caller.code("GET", f"{USERS}/{name}") == 200
    assert caller.call("GET", f"{ACCOUNTS}/{name}")["data"]["configuration"]["enabled"] is False
    assert caller.code("PATCH", disable, {"enabled": True}) == 200
    assert caller.code("PATCH", f"{USERS}/{name}", {"name": "new"}) == 200


def test_disable_kicks_when_asked(caller: Caller, name: str) -> None:
    """need_kick counts a kick and keeps its notification, of at most 256 characters."""
    caller.create(name)
    disable = f"{ACCOUNTS}/{name}/actions/disable"
    caller.call("PATCH", disable, {"enabled": False})
    assert caller.held(name)["kicks"] == 0
    body = {"enabled": False, "need_kick": True, "kick_notify_extension": "n" * 256}
    assert caller.code("PATCH", disable, body) == 200
    assert (caller.held(name)["kicks"], caller.held(name)["last_kick"]) == (1, "n" * 256)
    assert caller.code("PATCH", disable, {**body, "kick_notify_extension": "n" * 257}) == 414
    assert caller.code("PATCH", disable, {}) == 414
    assert caller.code("PATCH", disable, {"enabled": 0}) == 414


def test_kick_answers_empty_lists(caller: Caller, name: str) -> None:
    """A kick of an account with no device online succeeds, and is counted."""
    caller.create(name)
    kick = f"{ACCOUNTS}/{name}/actions/kick"
    data = caller.call("POST", kick, {"type": 1, "kick_notify_extension": "bye"})["data"]
    assert data == {"success_list": [], "failed_list": []}
    assert caller.held(name)["last_kick"] == "bye"
    assert caller.code("POST", kick, {"type": 4}) == 414
    assert caller.code("POST", kick, {"type": 2, "device_id_list": ["d"] * 21}) == 414


def test_update_changes_only_what_is_sent(caller: Caller, name: str) -> None:
    """PATCH accounts sets token, flags and profile one by one, and answers the flags."""
    caller.create(name, token="old", user_information={"name": "N", "sign": "S"})
    body = {"configuration": {"team_chat_banned": True}, "user_information": {"sign": ""}}
    data = caller.call("PATCH", f"{ACCOUNTS}/{name}", body)["data"]
    assert data["token"] == "old"
    assert data["configuration"]["team_chat_banned"] is True
    assert data["configuration"]["p2p_chat_banned"] is False
    profile = caller.call("GET", f"{USERS}/{name}")["data"]
    assert (profile["name"], profile["sign"]) == ("N", "")
    assert caller.call("PATCH", f"{ACCOUNTS}/{name}", {"token": "new"})["data"]["token"] == "new"


def test_refresh_token_answers_a_new_token(caller: Caller, name: str) -> None:
    """refresh_token takes no body and answers a token the account did not have."""
    caller.create(name, token="old")
    data = caller.call("PATCH", f"{ACCOUNTS}/{name}/actions/refresh_token")["data"]
    assert data["account_id"] == name
    assert data["token"] != "old"
    assert "configuration" in data


def test_reads_never_answer_a_token(caller: Caller, name: str) -> None:
    """The token is write-only: no read shows it."""
    caller.create(name, token="very-secret")
    for path in (f"{ACCOUNTS}/{name}", f"{USERS}/{name}", f"{ACCOUNTS}?account_ids={name}"):
        assert "very-secret" not in caller.send("GET", path).text


def test_the_push_switch_waits_for_the_first_login(caller: Caller, name: str) -> None:
    """Before an account logged in once both ways to set the push switch fail; after it, none."""
    caller.create(name)
    by_action = ("PATCH", f"{ACCOUNTS}/{name}/actions/push_config", {PUSH: False})
    by_update = ("PATCH", f"{ACCOUNTS}/{name}", {"configuration": {PUSH: False}})
    assert caller.code(*by_action) == 414
    assert caller.code(*by_update) == 414
    caller.control("PATCH", f"/accounts/yunxin/demo-app-key/{name}", {"logged_in": True})
    assert caller.call(*by_action)["data"]["configuration"][PUSH] is False
    assert caller.code(*by_update) == 200


def test_create_cannot_set_the_push_switch(caller: Caller, name: str) -> None:
    """A create that carries the push switch keeps the default; the guess can refuse it."""
    body = {"account_id": name, "configuration": {PUSH: False}}
    caller.control("PATCH", "/guesses", {"yunxin_push_at_create": "reject"})
    assert caller.code("POST", ACCOUNTS, body) == 414
    caller.control("DELETE", "/guesses")
    assert caller.call("POST", ACCOUNTS, body)["data"]["configuration"][PUSH] is True


@pytest.mark.parametrize("path", [ACCOUNTS, USERS])
def test_a_batch_read_sorts_known_from_unknown(caller: Caller, name: str, path: str) -> None:
    """The top code is 200 with a mix; order follows the request and a duplicate counts once."""
    for suffix in "ab":
        caller.create(f"{name}{suffix}")
    asked = f"{name}b,{name}x,{name}A,{name}b,{name}a"
    data = caller.call("GET", f"{path}?account_ids={asked}")["data"]
    assert [one["account_id"] for one in data["success_list"]] == [f"{name}b", f"{name}a"]
    assert [(one["account_id"], one["error_code"]) for one in data["failed_list"]] == [
        (f"{name}x", 102404)
    ]
    assert all("error_msg" in one for one in data["failed_list"])


def test_a_batch_read_takes_1_to_100_ids(caller: Caller) -> None:
    """No id and more than 100 are parameter errors; the maximum is a guess that can be changed."""
    assert caller.code("GET", ACCOUNTS) == 414
    many = [f"n{number}" for number in range(101)]
    assert caller.code("GET", f"{ACCOUNTS}?account_ids={','.join(many)}") == 414
    assert caller.code("GET", f"{USERS}?account_ids={','.join(many[:100])}") == 200
    caller.control("PATCH", "/guesses", {"yunxin_batch_max": 101})
    assert caller.code("GET", f"{ACCOUNTS}?account_ids={','.join(many)}") == 200


def test_unset_texts_are_empty_or_absent(caller: Caller, name: str) -> None:
    """Both ways a vendor may show a text nobody set can be had."""
    caller.create(name, user_information={"name": "N"})
    assert caller.call("GET", f"{USERS}/{name}")["data"] == {
        "account_id": name, "name": "N", "avatar": "", "sign": "", "email": "", "birthday": "",
        "mobile": "", "extension": "", "gender": 0,
    }  # fmt: skip
    caller.control("PATCH", "/guesses", {"yunxin_unset_texts": "absent"})
    shown = caller.call("GET", f"{USERS}/{name}")["data"]
    assert shown == {"account_id": name, "name": "N", "gender": 0}


def test_guesses_about_updates_can_be_changed(caller: Caller, name: str) -> None:
    """Empty updates, partial profile answers and enabling by update follow their guesses."""
    caller.create(name)
    assert caller.code("PATCH", f"{ACCOUNTS}/{name}", {}) == 200
    edit = {
        "yunxin_empty_update_code": 414,
        "yunxin_profile_answer": "changed",
        "yunxin_update_enables": True,
        "yunxin_update_answers_token": False,
        "yunxin_text_unit": "utf16",
    }
    caller.control("PATCH", "/guesses", edit)
    assert caller.code("PATCH", f"{ACCOUNTS}/{name}", {}) == 414
    answer = caller.call("PATCH", f"{USERS}/{name}", {"name": "N"})["data"]
    assert answer == {"account_id": name, "name": "N"}
    assert caller.code("PATCH", f"{USERS}/{name}", {"name": "😀" * 33}) == 414
    caller.call("PATCH", f"{ACCOUNTS}/{name}/actions/disable", {"enabled": False})
    enable = {"configuration": {"enabled": True}}
    assert "token" not in caller.call("PATCH", f"{ACCOUNTS}/{name}", enable)["data"]
    assert caller.held(name)["enabled"] is True


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("DELETE", ACCOUNTS, 414),
        ("POST", f"{ACCOUNTS}/x/actions/disable", 414),
        ("PUT", f"{USERS}/x", 414),
        ("POST", "/im/v2/nothing", 404),
        ("GET", f"{ACCOUNTS}/", 404),
    ],
)
def test_a_wrong_method_or_path_answers_in_the_vendors_way(
    caller: Caller, method: str, path: str, code: int
) -> None:
    """HTTP status stays 200: the failure is a code in the envelope."""
    assert caller.code(method, path) == code


def test_a_repeated_trace_id_is_refused(caller: Caller) -> None:
    """The server tells repeated requests by X-custom-traceid; one without it is never a repeat."""
    again = Caller(caller.http, {"X-custom-traceid": "one-and-the-same"})
    codes = [again.code("GET", f"{ACCOUNTS}/nobody") for _ in range(2)]
    assert codes == [102404, 431]
    assert caller.code("GET", f"{ACCOUNTS}/nobody") == 102404


@dataclass
class Hands:
    """A monotonic clock that a test moves by hand."""

    at: float = 1000.0

    def read(self) -> float:
        return self.at


def test_a_call_over_the_rate_blocks_that_api_for_ten_seconds() -> None:
    """Two calls a second pass, the third is 416 and blocks its API, and no other, for 10 s."""
    hands = Hands()
    with calling(Settings(rate=2), Clock(monotonic=hands.read)) as caller:
        read = ("GET", f"{ACCOUNTS}/nobody")
        assert [caller.code(*read) for _ in range(3)] == [102404, 102404, 416]
        assert caller.code("GET", f"{USERS}/nobody") == 102404
        hands.at += 9.9
        assert caller.code(*read) == 416
        hands.at += 0.2
        assert caller.code(*read) == 102404


def test_the_window_of_the_rate_slides() -> None:
    """Calls at 0, 0.6 and 1.0 s pass at a rate of 2; one more at 1.5 s is over it."""
    hands = Hands()
    with calling(Settings(rate=2), Clock(monotonic=hands.read)) as caller:
        codes = []
        for step in (0.0, 0.6, 0.4, 0.5):
            hands.at += step
            codes.append(caller.code("GET", f"{ACCOUNTS}/nobody"))
        assert codes == [102404, 102404, 102404, 416]


def test_calls_that_are_not_signed_do_not_count() -> None:
    """A stranger's calls do not use up the app's rate."""
    with calling(Settings(rate=1), Clock(monotonic=Hands().read)) as caller:
        for _ in range(3):
            caller.http.get(f"{ACCOUNTS}/nobody", headers=signed("wrong"))
        assert caller.code("GET", f"{ACCOUNTS}/nobody") == 102404
