"""Pacing: never above the rate in any second, and close to it while work is left."""

import threading
import time
from bisect import bisect_left

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transport_faults import FakeClock

from reconciler.transport.clock import Clock
from reconciler.transport.pacing import Pacer


def fullest(times, window=1.0):
    """Return the most moments that any window of one second holds."""
    times = sorted(times)
    return max(bisect_left(times, start + window) - i for i, start in enumerate(times))


def drive(rate, work, *, latency=0.0, stalls=()):
    """Send `work` calls one after the other on a fake clock; return when each was sent and heard.

    `latency` is seconds until the vendor hears a call and as many until its answer; `stalls`
    are extra seconds that the process loses before the n-th call.
    """
    fake = FakeClock(time=0.0)
    pacer = Pacer(lambda api: rate, fake.clock, lambda: False)
    sent, heard = [], []
    for n in range(work):
        fake.time += dict(stalls).get(n, 0.0)
        slot = pacer.wait("api")
        sent.append(fake.time)
        heard.append(fake.time + latency)
        slot.answered(fake.time + 2 * latency)
    return sent, heard


@pytest.mark.parametrize("rate", [1, 2, 5, 80, 100, 160, 1000])
def test_the_rate_is_kept_and_used(rate):
    """No second holds more than the rate, and at least 95 % of it is used."""
    work = rate * 5 + 1
    sent, _ = drive(rate, work)
    assert fullest(sent) <= rate
    assert (work - 1) / (sent[-1] - sent[0]) >= 0.95 * rate


@pytest.mark.parametrize("rate", [80, 200])
@pytest.mark.parametrize("latency", [0.001, 0.015, 0.03, 0.1])
def test_a_slow_vendor_is_still_used(rate, latency):
    """Waiting for answers before a second begins costs no more than 5 % of the rate."""
    sent, heard = drive(rate, rate * 5 + 1, latency=latency)
    assert fullest(heard) <= rate
    assert rate * 5 / (sent[-1] - sent[0]) >= 0.95 * rate


@pytest.mark.parametrize(("rate", "count", "seconds"), [(0.5, 1, 2.0), (2.5, 2, 1.0)])
def test_a_fraction_is_rounded_down(rate, count, seconds):
    """A rate below one is one call in so many seconds; 2.5 is two in any second."""
    sent, _ = drive(rate, 20)
    assert fullest(sent, seconds) == count


@settings(max_examples=60, deadline=None)
@given(
    rate=st.integers(1, 60),
    work=st.integers(2, 150),
    stalls=st.dictionaries(st.integers(0, 150), st.floats(0, 3, allow_subnormal=False), max_size=6),
)
def test_a_stalled_process_sends_no_burst(rate, work, stalls):
    """However long the process sleeps in between, no second holds more than the rate."""
    sent, _ = drive(rate, work, stalls=stalls)
    assert fullest(sent) <= rate


@settings(max_examples=60, deadline=None)
@given(
    rate=st.integers(1, 40),
    usual=st.floats(0.0001, 0.009),
    hiccups=st.dictionaries(st.integers(1, 79), st.floats(0, 0.2), max_size=3),
)
def test_the_vendor_counts_no_more_than_we_do(rate, usual, hiccups):
    """A quick vendor that hears a few calls late still counts at most the rate."""
    fake = FakeClock(time=0.0)
    pacer = Pacer(lambda api: rate, fake.clock, lambda: False)
    heard = []
    for n in range(80):
        slot = pacer.wait("api")
        heard.append(fake.time + hiccups.get(n, usual))
        slot.answered(heard[-1])
    assert fullest(heard) <= rate


def test_many_threads_share_one_pace():
    """Sixteen threads in real time are never above the rate in any second.

    How close to it they come is shown with a clock of our own, as a busy machine is no proof.
    """
    rate, work = 400, 500
    pacer = Pacer(lambda api: rate, Clock(), lambda: False)
    sent, lock = [], threading.Lock()

    def worker():
        while True:
            with lock:
                if len(sent) + 16 > work:
                    return
            slot = pacer.wait("api")
            with lock:
                sent.append(slot.sent)
            slot.answered(time.monotonic())

    threads = [threading.Thread(target=worker) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent.sort()
    assert fullest(sent) <= rate


def test_calls_leave_evenly():
    """A run does not begin with a burst: the first second is filled from end to end."""
    sent, _ = drive(50, 50)
    assert sent[-1] - sent[0] >= 0.9
    assert fullest(sent, 0.1) <= 8


def test_a_penalty_pauses_one_api_only():
    """A paused API waits its time; the others go on."""
    fake = FakeClock(time=0.0)
    pacer = Pacer(lambda api: 100, fake.clock, lambda: False)
    assert pacer.penalize("create", 10)
    pacer.wait("read")
    assert fake.time < 1
    pacer.wait("create")
    assert fake.time == pytest.approx(10, abs=0.01)


def test_a_second_penalty_extends_the_first():
    """Answers of calls that were under way prolong a pause, and it is one pause."""
    fake = FakeClock(time=0.0)
    pacer = Pacer(lambda api: 100, fake.clock, lambda: False)
    assert pacer.penalize("create", 10)
    fake.time = 3.0
    assert not pacer.penalize("create", 10)
    assert not pacer.penalize("create", 1)
    pacer.wait("create")
    assert fake.time == pytest.approx(13, abs=0.01)


def test_stopping_ends_the_wait_soon():
    """A pause of an hour ends within a moment once the run is stopped."""
    stopped = threading.Event()
    pacer = Pacer(lambda api: 100, Clock(), stopped.is_set)
    pacer.penalize("create", 3600)
    found = []
    waiting = [
        threading.Thread(target=lambda: found.append(pacer.wait("create"))) for _ in range(4)
    ]
    for thread in waiting:
        thread.start()
    stopped.set()
    for thread in waiting:
        thread.join(2)
    assert found == [None] * 4


@pytest.mark.parametrize("rate", [1, 5, 80, 400])
@pytest.mark.parametrize("gap", [0.0, 0.2, 5.0])
def test_another_process_goes_on_at_the_same_pace(rate, gap):
    """Ten processes one after the other keep the rate and use it, whatever each of them sent."""
    fake, before, left, sent, work = FakeClock(time=0.0), {}, 0.0, [], []
    for n in range(10):
        pacer = Pacer(lambda api: rate, fake.clock, lambda: False)
        pacer.resume(before, fake.time - left)
        began = fake.time
        for call in range((3 * rate, rate // 3 or 1)[n % 2]):
            api = ("api", "other")[n % 3 == 2 and call % 2]
            slot = pacer.wait(api)
            sent.append((api, fake.time))
            slot.answered(fake.time + 0.001)
        work.append(fake.time - began)
        before, left = pacer.told(), fake.time
        fake.time += gap
    for api in ("api", "other"):
        assert fullest([at for name, at in sent if name == api]) <= rate
    if not gap:
        assert len(sent) / (sum(work) + 1) >= 0.9 * rate


def test_who_follows_a_process_that_was_killed_waits_a_second():
    """Of one that left no word it is taken for sent what the rate allows; a pause goes on."""
    fake = FakeClock(time=0.0)
    pacer = Pacer(lambda api: 5, fake.clock, lambda: False)
    pacer.resume(None)
    assert pacer.told() is None
    sent = []
    for _ in range(6):
        slot = pacer.wait("api")
        sent.append(fake.time)
        slot.answered(fake.time)
    assert (sent[0] >= 1.0, fullest([0.0] * 5 + sent) <= 5) == (True, True)
    pacer.penalize("api", 30)
    after = Pacer(lambda api: 5, fake.clock, lambda: False)
    after.resume(pacer.told(), 10.0)
    began = fake.time
    after.wait("api")
    assert fake.time - began == pytest.approx(20.0, abs=0.2)
