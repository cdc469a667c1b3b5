"""The emulator's control routes, faults, data file and life cycle, seen over a real socket."""

import dataclasses
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import reconciler.emulator
from reconciler.emulator import Guesses, Settings, running, serve
from tests.emulator_client import Caller, calling, client

ACCOUNTS = "/im/v2/accounts"
HELD = "/accounts/yunxin/demo-app-key"

SERVING = """
import sys
from reconciler.emulator import Settings, serve
serve(Settings(data=sys.argv[1] or None, rate=0), announce=lambda line: print(line, flush=True))
"""


@pytest.fixture
def caller() -> Iterator[Caller]:
    with calling(Caller) as one:
        yield one


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """An account id that only this test uses."""
    return f"t{abs(hash(request.node.nodeid)) % 10**12}"


def script(caller: Caller, fault: str, name: str, **more: object) -> None:
    match = {"api": "create", "account_id": name}
    caller.control("POST", "/faults", [{"match": match, "fault": fault, **more}])


def creating(caller: Caller, name: str) -> httpx.Response:
    return caller.send("POST", ACCOUNTS, {"account_id": name, "token": "hush"})


def logged(caller: Caller, name: str) -> list[dict[str, Any]]:
    entries = caller.control("GET", "/requests")["requests"]
    return [entry for entry in entries if name in entry["account_ids"]]


def exists(caller: Caller, name: str) -> bool:
    return caller.code("GET", f"{ACCOUNTS}/{name}") == 200


def test_the_log_says_what_was_called_and_answered(caller: Caller, name: str) -> None:
    """One entry per request, with API, ids, code, whether it wrote, and times."""
    creating(caller, name)
    creating(caller, name)
    caller.call("GET", f"{ACCOUNTS}?account_ids={name},other")
    first, second, third = logged(caller, name)
    assert set(first) == {
        "seq", "at", "wall", "vendor", "app", "api", "method", "path", "account_ids", "code",
        "status", "mutated", "fault", "body",
    }  # fmt: skip
    assert (first["api"], first["code"], first["mutated"]) == ("create", 200, True)
    assert (second["api"], second["code"], second["mutated"]) == ("create", 102405, False)
    assert (third["api"], third["account_ids"]) == ("batch_get", [name, "other"])
    assert first["seq"] < second["seq"] < third["seq"]
    assert first["at"] <= second["at"] <= third["at"]
    assert first["wall"].endswith("Z")


@pytest.mark.parametrize(
    "content",
    ['{"account_id":"%s","token":"hush-1"}', '{"account_id":"%s","\\u0074oken":"hush-1"}'],
)
def test_the_log_hides_tokens_and_keeps_no_signature(
    caller: Caller, name: str, content: str
) -> None:
    """A token is *** in the log however its key is spelled; CheckSum and secret are not there."""
    response = caller.send("POST", ACCOUNTS, content=content % name)
    assert response.json()["data"]["token"] == "hush-1"
    text = caller.http.get("/_emulator/requests").text
    assert logged(caller, name)[0]["body"] == {"account_id": name, "token": "***"}
    for secret in ("hush-1", "demo-app-secret", response.request.headers["CheckSum"]):
        assert secret not in text


def test_the_log_is_read_on_from_a_number_and_cleared(caller: Caller, name: str) -> None:
    """`since` leaves older entries out; after clearing, sequence numbers go on."""
    creating(caller, name)
    last = caller.control("GET", "/requests")["last"]
    assert caller.control("GET", f"/requests?since={last}")["requests"] == []
    assert caller.control("DELETE", "/requests")["last"] == last
    creating(caller, name)
    assert logged(caller, name)[0]["seq"] > last
    assert caller.http.get("/_emulator/requests?since=x").status_code == 400


def test_an_account_shows_a_digest_of_its_token(caller: Caller, name: str) -> None:
    """The console view has the token's SHA-256 and never the token."""
    creating(caller, name)
    shown = caller.held(name)
    assert shown["token_sha256"] == hashlib.sha256(b"hush").hexdigest()
    assert "hush" not in json.dumps(shown)
    assert shown["kicks"] == 0
    assert abs(shown["created_at"] - time.time()) < 60


def test_a_console_edit_is_seen_by_the_api(caller: Caller, name: str) -> None:
    """Profile, flags and ban can be changed behind the caller's back; null unsets."""
    creating(caller, name)
    edit = {
        "profile": {"name": "edited", "sign": None},
        "configuration": {"p2p_chat_banned": True},
        "enabled": False,
    }
    caller.control("PATCH", f"{HELD}/{name.upper()}", edit)
    flags = caller.call("GET", f"{ACCOUNTS}/{name}")["data"]["configuration"]
    assert (flags["enabled"], flags["p2p_chat_banned"]) == (False, True)
    assert caller.call("GET", f"/im/v2/users/{name}")["data"]["name"] == "edited"


def test_an_account_can_vanish(caller: Caller, name: str) -> None:
    """DELETE drops an account as if it had never been; a second one is 404."""
    creating(caller, name)
    assert caller.control("DELETE", f"{HELD}/{name}") == {"deleted": name}
    assert not exists(caller, name)
    assert caller.http.delete(f"/_emulator{HELD}/{name}").status_code == 404


def test_many_accounts_are_seeded_at_once(caller: Caller, name: str) -> None:
    """PUT on an app puts a list of accounts; ids fold as the vendor folds them."""
    ids = [f"{name}{number}" for number in range(50)]
    seeds = [{"account_id": one.upper(), "profile": {"name": one}} for one in ids]
    assert caller.control("PUT", HELD, {"accounts": seeds}) == {"count": 50}
    asked = ",".join(ids)
    found = caller.call("GET", f"/im/v2/users?account_ids={asked}")["data"]["success_list"]
    assert [one["name"] for one in found] == ids
    assert caller.control("GET", HELD)["count"] >= 50


def test_apps_are_apart(caller: Caller, name: str) -> None:
    """An account of another app, or another vendor, is not this app's account."""
    caller.control("PUT", f"/accounts/yunxin/other-app/{name}", {})
    caller.control("PUT", f"/accounts/tencent/demo-app-key/{name.upper()}", {})
    assert not exists(caller, name)
    shown = caller.control("GET", f"/accounts/tencent/demo-app-key/{name.upper()}")
    assert shown["account_id"] == name.upper()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/guesses", {"no_such_guess": 1}),
        ("PATCH", "/guesses", {"yunxin_batch_max": "many"}),
        ("PATCH", "/guesses", {"yunxin_batch_max": True}),
        ("PATCH", "/guesses", {"yunxin_unset_texts": "gone"}),
        ("POST", "/faults", {"fault": "close"}),
        ("POST", "/faults", [{"fault": "explode"}]),
        ("POST", "/faults", [{"fault": "close", "match": {"colour": "red"}}]),
        ("POST", "/faults", [{"fault": "close", "times": 0}]),
        ("POST", "/faults", [{"fault": "slow", "seconds": -1}]),
        ("POST", "/faults", [{"fault": "close"}, {"fault": "close", "when": 1}]),
        ("PUT", f"{HELD}/x", {"enabled": "no"}),
        ("PUT", f"{HELD}/x", {"configuration": {"enabled": True}}),
        ("PUT", f"{HELD}/x", {"nonsense": True}),
        ("PUT", HELD, {"accounts": [{}]}),
    ],
)
def test_control_refuses_nonsense_with_400(
    caller: Caller, method: str, path: str, body: object
) -> None:
    """A control request that is wrong says why, and changes nothing."""
    response = caller.http.request(method, f"/_emulator{path}", json=body)
    assert response.status_code == 400
    assert response.json()["error"]
    assert caller.control("GET", "/faults") == {"faults": []}


def test_a_fault_counts_after_and_times(caller: Caller, name: str) -> None:
    """`after` requests pass, then `times` meet the fault, then it is gone."""
    script(caller, "code", name, code=449, after=1, times=2)
    assert caller.control("GET", "/faults")["faults"][0]["times"] == 2
    codes = [creating(caller, name).json()["code"] for _ in range(4)]
    assert codes == [200, 449, 449, 102405]
    assert caller.control("GET", "/faults") == {"faults": []}


def test_a_fault_meets_only_what_it_matches(caller: Caller, name: str) -> None:
    """Another account and another API pass untouched."""
    script(caller, "code", name, times=None)
    assert creating(caller, f"{name}b").json()["code"] == 200
    assert not exists(caller, name)
    assert creating(caller, name).json()["code"] == 500
    assert caller.control("DELETE", "/faults") == {"faults": []}
    assert creating(caller, name).json()["code"] == 200


@pytest.mark.parametrize("executed", [False, True])
@pytest.mark.parametrize(
    ("fault", "status"),
    [("code", 200), ("status", 503), ("html", 200), ("empty", 200), ("garbage", 200)],
)
def test_faults_that_answer_something_else(
    caller: Caller, name: str, fault: str, status: int, executed: bool
) -> None:
    """The answer is the fault's; whether the account came to be is `executed`."""
    script(caller, fault, name, executed=executed, code=102449, status=503)
    response = creating(caller, name)
    assert response.status_code == status
    if fault == "code":
        assert response.json()["code"] == 102449
    elif fault == "empty":
        assert response.content == b""
    elif fault == "garbage":
        with pytest.raises(UnicodeDecodeError):
            response.content.decode()
    else:
        assert response.headers["content-type"].startswith("text/html")
        assert response.text.startswith("<!DOCTYPE html>")
    (entry,) = logged(caller, name)
    assert (entry["fault"], entry["status"], entry["mutated"]) == (fault, status, executed)
    assert exists(caller, name) is executed


@pytest.mark.parametrize("executed", [False, True])
@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("close", httpx.RemoteProtocolError),
        ("reset", httpx.ReadError),
        ("truncated", httpx.RemoteProtocolError),
        ("hang", httpx.ReadTimeout),
    ],
)
def test_faults_that_break_the_connection(
    caller: Caller, name: str, fault: str, seen: type[Exception], executed: bool
) -> None:
    """The client sees a broken exchange; whether the account came to be is `executed`."""
    script(caller, fault, name, executed=executed, seconds=30)
    with pytest.raises(seen):
        caller.send("POST", ACCOUNTS, {"account_id": name}, timeout=httpx.Timeout(5, read=0.15))
    assert logged(caller, name)[0]["mutated"] is executed
    assert exists(caller, name) is executed


def test_a_hang_ends_by_closing(caller: Caller, name: str) -> None:
    """A hanging request is closed without an answer after its seconds."""
    script(caller, "hang", name, seconds=0.05)
    with pytest.raises(httpx.RemoteProtocolError):
        creating(caller, name)
    assert logged(caller, name)[0]["status"] is None


@pytest.mark.parametrize("executed", [False, True])
def test_slow_answers_truly_but_late(caller: Caller, name: str, executed: bool) -> None:
    """A slow answer is the true one; the effect comes before or after the wait."""
    script(caller, "slow", name, seconds=0.1, executed=executed)
    started = time.monotonic()
    assert creating(caller, name).json()["data"]["account_id"] == name
    assert time.monotonic() - started >= 0.1


def test_late_executes_after_the_connection_is_gone(caller: Caller, name: str) -> None:
    """The connection closes at once, and the account comes to be a while later."""
    script(caller, "late", name, seconds=0.15)
    with pytest.raises(httpx.RemoteProtocolError):
        creating(caller, name)
    assert not exists(caller, name)
    deadline = time.monotonic() + 5
    while not exists(caller, name):
        assert time.monotonic() < deadline
    entry = logged(caller, name)[0]
    assert (entry["mutated"], entry["code"], entry["status"]) == (True, None, None)


@pytest.mark.parametrize("executed", [False, True])
def test_wrong_account_echoes_another_id(caller: Caller, name: str, executed: bool) -> None:
    """The answer names somebody else; unless executed, it is a rehearsal that leaves nothing."""
    script(caller, "wrong_account", name, executed=executed)
    envelope = creating(caller, name).json()
    assert envelope["code"] == 200
    assert envelope["data"]["account_id"] == "someone-else"
    assert exists(caller, name) is executed


def test_duplicate_keys_say_two_things(caller: Caller, name: str) -> None:
    """The answer has the key `code` twice with different values."""
    script(caller, "duplicate_keys", name, executed=True)
    pairs = json.loads(creating(caller, name).content, object_pairs_hook=lambda pairs: pairs)
    assert [value for key, value in pairs if key == "code"] == [0, 200]


def test_a_reset_is_a_tcp_reset(caller: Caller, name: str) -> None:
    """The reset fault is an RST on the wire, not an orderly close."""
    caller.control("POST", "/faults", [{"match": {"api": "get"}, "fault": "reset"}])
    port = caller.http.base_url.port
    assert port is not None
    with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
        peer.sendall(f"GET {ACCOUNTS}/{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        with pytest.raises(ConnectionResetError):
            peer.recv(1)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com", ""])
def test_only_loopback_is_served(host: str) -> None:
    """The emulator never listens where another machine could reach it."""
    with pytest.raises(ValueError, match="loopback only"):
        serve(Settings(host=host), announce=lambda _: None)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none_is_told(port: int) -> None:
    """A number that no port has is wrong usage and no defect."""
    with pytest.raises(ValueError, match="from 0 to 65535"):
        serve(Settings(port=port), announce=lambda _: None)


def started(data: Path | None) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SERVING, str(data or "")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("listening on http://127.0.0.1:"), line
    return process, line.removeprefix("listening on ").strip()


def ended(process: subprocess.Popen[str], number: int) -> tuple[int, str, str]:
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    return process.returncode, out, err


def test_accounts_survive_being_killed(tmp_path: Path) -> None:
    """With a data file, what was answered is still held after SIGKILL and a new start."""
    data = tmp_path / "emulator.db"
    process, base = started(data)
    with client(base) as http:
        caller = Caller(http)
        caller.create("alive", token="t", user_information={"name": "云"})
        caller.create("gone")
        caller.call("PATCH", f"{ACCOUNTS}/alive/actions/disable", {"enabled": False})
        caller.control("PUT", HELD, {"accounts": [{"account_id": "seeded"}]})
        caller.control("DELETE", f"{HELD}/gone")
        script(caller, "wrong_account", "rehearsed")
        creating(caller, "rehearsed")
        before = caller.control("GET", "/accounts")
        assert ended(process, signal.SIGKILL)[0] == -signal.SIGKILL
    process, base = started(data)
    with client(base) as http:
        assert Caller(http).control("GET", "/accounts") == before
        assert before["count"] == 2
        assert ended(process, signal.SIGTERM) == (0, "", "")


def test_one_data_file_has_one_emulator(tmp_path: Path) -> None:
    """A second emulator on the same file, and a file that is something else, are refused."""
    data = tmp_path / "emulator.db"
    with (
        running(Settings(data=data)),
        pytest.raises(ValueError, match="another emulator"),
        running(Settings(data=data)),
    ):
        pass
    other = tmp_path / "other.db"
    other.write_text("this is no database, and is long enough not to look empty" * 20)
    with pytest.raises(ValueError, match="no emulator data file"), running(Settings(data=other)):
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_cleanly_and_soon(number: int) -> None:
    """Neither an idle kept-alive connection nor a hanging request holds the emulator back."""
    process, base = started(None)
    with client(base) as http:
        caller = Caller(http)
        caller.control(
            "POST", "/faults", [{"match": {"api": "get"}, "fault": "hang", "seconds": 60}]
        )
        port = httpx.URL(base).port
        assert port is not None
        with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
            peer.sendall(f"GET {ACCOUNTS}/x HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            while not caller.control("GET", "/requests")["requests"]:
                pass
            began = time.monotonic()
            assert ended(process, number) == (0, "", "")
            assert time.monotonic() - began < 20


def test_importing_it_loads_no_server() -> None:
    """The room costs nothing until somebody serves."""
    code = (
        "import sys, reconciler.emulator;"
        "sys.exit(bool({'starlette', 'uvicorn', 'httpx', 'asyncio'} & set(sys.modules)))"
    )
    environment = {**os.environ, "COVERAGE_PROCESS_START": ""}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0


def test_the_readme_lists_every_guess_and_where_it_starts() -> None:
    """The table of guesses in the README and the values in force are the same."""
    readme = Path(reconciler.emulator.__file__).with_name("README.md").read_text("utf-8")
    for one in dataclasses.fields(Guesses):
        start = json.dumps(getattr(Guesses(), one.name))
        assert f"| `{one.name}` | `{start}` |" in readme
    rows = sum(readme.count(f"| `{name}_") for name in ("yunxin", "commsease", "tencent"))
    assert rows == len(dataclasses.fields(Guesses))
