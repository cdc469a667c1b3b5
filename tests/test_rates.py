"""Rates as the vendors count them: never above in any second, and close to it while work is left.

`test_transport_pacing.py` looks at when calls leave; here counts when they are heard.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transport_faults import FakeClock, Server, app, http, resolve

from reconciler.conversation import Request, Result, Signed, Verdict
from reconciler.emulator import Clock as VendorClock
from reconciler.emulator import Settings
from reconciler.providers import TYPES, capabilities
from reconciler.transport import Clock, Transport
from reconciler.transport.pacing import Pacer
from tests.shared_emulator import emulating
from tests.test_provider_commsease_cli import Classic
from tests.test_provider_tencent_cli import Chat
from tests.world import World

WORLDS = {"yunxin": World, "commsease": Classic, "tencent": Chat}
UPDATES = {"yunxin": "profile_update", "commsease": "update_uinfo", "tencent": "portrait_set"}
V1_APIS = (
    "create",
    "update_uinfo",
    "mute_module",
    "update_token",
    "refresh_token",
    "set_donnop",
    "block",
    "unblock",
    "get_uinfos",
)
V2_APIS = (
    "create",
    "get_accounts",
    "get_users",
    "update_account",
    "update_user",
    "push_config",
    "disable",
    "refresh_token",
)
DOCUMENTED = {
    # doc.yunxin.163.com/messaging2/server-apis/DUzNjAzMTc, the list of v2 APIs, and that of v1
    "yunxin": dict.fromkeys(V2_APIS, 100),
    "commsease": dict.fromkeys(V1_APIS, 100),
    # cloud.tencent.com/document/product/269: the page of each API
    "tencent": {
        "account_import": 200,
        "multiaccount_import": 100,
        "account_check": 100,
        "kick": 200,
        "portrait_set": 200,
        "portrait_get": 200,
        "setnospeaking": 200,
        "getnospeaking": 200,
    },
}
"""What the vendors' pages allow of each API that is called, in calls per second."""


def fullest(times: Sequence[float], window: float = 1.0) -> int:
    """Return the most moments that any window holds."""
    times = sorted(times)
    return max(bisect_left(times, start + window) - i for i, start in enumerate(times))


def used(times: Sequence[float]) -> float:
    """Return how many calls came per second, from the first to the last."""
    return (len(times) - 1) / (max(times) - min(times))


def arrivals(world: World) -> dict[str, list[float]]:
    """Return when the vendor heard the calls of each API; none of them was refused for its rate."""
    heard = defaultdict(list)
    for call in world.control("requests")["requests"]:
        assert call["code"] not in (416, 60007), call
        heard[call["api"]].append(call["at"])
    return heard


@pytest.mark.parametrize("vendor", WORLDS)
def test_a_run_keeps_to_its_rate_and_uses_it(
    vendor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apply, drift and an update of everything: no API hears more than `rate` in any second.

    The API that the update calls hears at least 95 % of it. One thread, and one clock that passes
    only in waits, so that nothing but pacing takes time.
    """
    rate, count = 40, 130
    fake = FakeClock()
    pace = f"    rate: {rate}\n    concurrency: 1\n"
    monkeypatch.setattr("reconciler.transport.Transport", partial(Transport, clock=fake.clock))
    clock = VendorClock(lambda: fake.time, lambda: fake.time)
    with emulating(Settings(rate=rate), clock=clock) as endpoint:
        world = WORLDS[vendor](tmp_path, endpoint)
        path = world.root / "reconciler.yaml"
        path.write_text(path.read_text().replace("    rate: 2000\n", pace))
        text = "\n".join(f"u{n}:\n  profile: {{name: N{n}, sign: a}}" for n in range(count))
        world.accounts(text)
        first = world.run("apply", "--auto-approve")
        drift = world.run("drift")
        world.accounts(text.replace("sign: a", "sign: b"))
        second = world.run("apply", "--auto-approve", "--allow", f"update={count}")
        assert (first.code, drift.code, second.code) == (0, 0, 0), first.err + second.err
        heard = arrivals(world)
    assert {api for api, times in heard.items() if fullest(times) > rate} == set()
    assert used(heard[UPDATES[vendor]][-count:]) >= 0.95 * rate


READS = {
    "yunxin": ("batch_get", 100),
    "commsease": ("get_uinfos", 200),
    "tencent": ("getnospeaking", 1),
}
"""The API that tells of accounts at each vendor's own pace, and of how many at once."""


@pytest.mark.parametrize("vendor", WORLDS)
def test_an_import_keeps_to_its_rate_and_uses_it(
    vendor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many accounts a call tells of, an import hears them at 95 % of the rate or more."""
    rate, (api, batch) = 10, READS[vendor]
    fake = FakeClock()
    monkeypatch.setattr("reconciler.transport.Transport", partial(Transport, clock=fake.clock))
    clock = VendorClock(lambda: fake.time, lambda: fake.time)
    with emulating(Settings(rate=rate), clock=clock) as endpoint:
        world = WORLDS[vendor](tmp_path, endpoint)
        path = world.root / "reconciler.yaml"
        pace = f"    rate: {rate}\n    concurrency: 1\n"
        path.write_text(path.read_text().replace("    rate: 2000\n", pace))
        ids = [f"u{n}" for n in range(22 * batch)]
        app = "tencent/1400000000" if vendor == "tencent" else "yunxin/demo-app-key"
        body = {"accounts": [{"account_id": one} for one in ids]}
        world.control(f"accounts/{app}", body, "PUT")
        world.write("ids.txt", "\n".join(ids))
        ended = world.run("import", "--from", "ids.txt", "--write", "accounts/app.yaml")
        heard = arrivals(world)
    assert ended.code == 0, ended.err
    assert {name for name, times in heard.items() if fullest(times) > rate} == set()
    assert len(heard[api]) == 22
    assert used(heard[api]) >= 0.95 * rate


def test_two_entries_of_one_app_share_its_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vendor counts by app, so two names for the same app have one pace between them."""
    rate, count = 40, 60
    fake = FakeClock()
    monkeypatch.setattr("reconciler.transport.Transport", partial(Transport, clock=fake.clock))
    clock = VendorClock(lambda: fake.time, lambda: fake.time)
    with emulating(Settings(rate=rate), clock=clock) as endpoint:
        world = World(tmp_path, endpoint)
        path = world.root / "reconciler.yaml"
        text = path.read_text().replace("rate: 2000", f"rate: {rate}\n    concurrency: 1")
        entry = text[text.index("  cn-prod:") : text.index("secrets:")]
        path.write_text(text.replace(entry, entry + entry.replace("cn-prod", "cn-twin")))
        world.accounts(
            "\n".join(
                f"{name}-{n}: {{provider: {name}}}"
                for name in ("cn-prod", "cn-twin")
                for n in range(count)
            )
        )
        ended = world.run("apply", "--auto-approve")
        heard = arrivals(world)
    assert ended.code == 0, ended.err
    assert len(heard["create"]) == 2 * count
    assert fullest(heard["create"]) <= rate


@pytest.mark.parametrize(
    ("vendor", "api"), [(name, api) for name, apis in DOCUMENTED.items() for api in apis]
)
def test_by_default_a_fifth_of_the_documented_rate_is_left(vendor: str, api: str) -> None:
    """Where nothing is configured, an API hears 80 % of what its page allows, and no more."""
    table = capabilities(vendor)
    assert table is not None
    rate = DOCUMENTED[vendor][api] * 8 // 10
    fake, heard = FakeClock(), []
    speaks: Any = _Speaks(table)

    def note(exchange: Any) -> object:
        heard.append(fake.time)
        return http('{"code":200}')(exchange)

    def call() -> Any:
        for _ in range(rate * 5 // 4):
            answer = yield Request(api, "POST", "/x", body={})
            assert answer.verdict.result is Result.CONFIRMED

    with (
        Server(note) as server,
        Transport(speaks, app(server.endpoint), resolve, clock=fake.clock) as transport,
    ):
        transport.run(call())
    assert 0.95 * rate <= used(heard)
    assert fullest(heard) <= rate


def test_every_api_that_is_called_has_a_documented_rate() -> None:
    """The table above names every API of every capability table, and no table allows more."""
    assert DOCUMENTED.keys() == set(TYPES)
    for name, documented in DOCUMENTED.items():
        table = capabilities(name)
        assert table is not None
        called = {api for apis in table.calls.values() for api in apis} | set(table.rates) - {""}
        assert called - documented.keys() == set()
        assert {api: table.rate(api) for api in documented} == documented


def test_sixteen_threads_in_real_time(tmp_path: Path) -> None:
    """However the machine schedules it, no second of the vendor's own log holds more than `rate`.

    That holds on any machine and needs no allowance: a call leaves only a whole second after the
    answer to the call `rate` places before it, less what the quickest answer takes beyond 40 ms,
    which on loopback is nothing; the vendor hears a call before it answers, and after it left; and
    both sides read one monotonic clock. How close to the rate it comes is no matter here.
    """
    rate, count = 150, 350
    with emulating(Settings(rate=rate)) as endpoint:
        world = World(tmp_path, endpoint)
        path = world.root / "reconciler.yaml"
        path.write_text(path.read_text().replace("rate: 2000", f"rate: {rate}"))
        world.accounts("\n".join(f"u{n}:\n  profile: {{name: N{n}}}" for n in range(count)))
        assert world.run("apply", "--auto-approve").code == 0
        heard = arrivals(world)
    assert len(heard["create"]) == count
    assert fullest(heard["create"]) <= rate


class _Speaks:
    """A provider that signs nothing and takes every answer for a success."""

    def __init__(self, table: Any) -> None:
        self.capabilities = table

    def app(self, *_: object) -> str:
        return "app"

    def sign(self, *_: object) -> Signed:
        return Signed()

    def verdict(self, *_: object) -> Verdict:
        return Verdict(Result.CONFIRMED)


def drive(
    rate: int, work: int, flight: Callable[[int, float], tuple[float, float]], threads: int = 64
) -> tuple[list[float], list[float]]:
    """Send calls from `threads` that wait for their answers; return when each was sent and heard.

    `flight(n, sent)` says when the vendor hears the n-th call and when its answer is here.
    """
    now = 0.0
    pending: list[tuple[float, int, Any]] = []

    def until(moment: float) -> None:
        nonlocal now
        while pending and pending[0][0] <= moment:
            ends, _, slot = heapq.heappop(pending)
            now = max(now, ends)
            slot.answered(now)
        now = max(now, moment)

    clock = Clock(monotonic=lambda: now, sleep=lambda seconds: until(now + seconds))
    pacer = Pacer(lambda api: rate, clock, lambda: False)
    sent, heard = [], []
    for n in range(work):
        while len(pending) >= threads:
            until(pending[0][0])
        slot = pacer.wait("api")
        assert slot is not None
        hears, ends = flight(n, now)
        sent.append(now)
        heard.append(hears)
        heapq.heappush(pending, (ends, n, slot))
    return sent, heard


@pytest.mark.parametrize("usual", [0.01, 0.06, 0.15])
@pytest.mark.parametrize("lasts", [0.1, 0.3, 1.0, 4.0])
def test_a_network_that_holds_calls_back_makes_no_burst(usual: float, lasts: float) -> None:
    """What a stalled network delivers at once, and what follows, is not above the rate together."""

    def flight(n: int, sent: float) -> tuple[float, float]:
        hears = sent + usual / 2
        hears = 2.0 + lasts if 2.0 <= hears < 2.0 + lasts else hears
        return hears, hears + usual / 2

    _, heard = drive(100, 600, flight)
    assert fullest(heard) <= 100


@pytest.mark.parametrize("usual", [0.002, 0.03, 0.05, 0.1, 0.3])
def test_a_steady_way_of_any_length_is_used(usual: float) -> None:
    """However far the vendor is, 95 % of the rate is used once every thread has connected."""

    def flight(n: int, sent: float) -> tuple[float, float]:
        connecting = 2 * usual if n < 64 else 0.0
        return sent + connecting + usual / 2, sent + connecting + usual + (n % 7) / 1000

    sent, heard = drive(100, 1500, flight)
    assert fullest(heard) <= 100
    assert used(sent[200:]) >= 95


def test_a_way_that_becomes_longer_is_found_out() -> None:
    """Calls that take longer from some moment on cost rate for seconds, not for good."""

    def flight(n: int, sent: float) -> tuple[float, float]:
        took = 0.01 if n < 300 else 0.15
        return sent + took / 2, sent + took

    sent, heard = drive(100, 3000, flight)
    assert fullest(heard) <= 100
    assert used(sent[-1000:]) >= 95


def test_a_call_without_an_answer_takes_one_place_and_no_more() -> None:
    """One call that hangs for fifteen seconds leaves the others their pace."""

    def flight(n: int, sent: float) -> tuple[float, float]:
        return (sent + 14.9, sent + 15.0) if n == 150 else (sent + 0.005, sent + 0.01)

    sent, heard = drive(100, 1500, flight)
    assert fullest(heard) <= 100
    assert used(sent) >= 95


@settings(max_examples=80, deadline=None)
@given(
    rate=st.integers(1, 60),
    base=st.floats(0.0, 0.04),
    jitter=st.floats(0.0, 2.0),
    seed=st.randoms(use_true_random=False),
)
def test_any_jitter_on_a_short_way_makes_no_burst(
    rate: int, base: float, jitter: float, seed: Any
) -> None:
    """Where some answers take at most 40 ms, no latency of others lets a second hold too much."""

    def flight(n: int, sent: float) -> tuple[float, float]:
        late = jitter if n % 5 else 0.0
        hears = sent + base / 2 + seed.random() * late
        return hears, hears + base / 2 + seed.random() * late

    _, heard = drive(rate, 150, flight)
    assert fullest(heard) <= rate
