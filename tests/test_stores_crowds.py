"""Many at once on every store: appliers take turns, the stopped and the killed are taken over."""

from __future__ import annotations

import signal
import time

import pytest
from bucket_server import bucket
from state_server import serving
from store_child import child, opened, turns
from store_conformance import holder, record, run, where
from store_postgres import FIXTURES

database = FIXTURES[1]
KINDS = ["sqlite", "folder", "gitlab", "postgres"]
MORE = [*KINDS, "plain", "bucket"]
LEASE = 1.0


@pytest.fixture
def place(request, tmp_path):
    """Where a state of each kind is, as `store_child` knows it."""
    match request.param:
        case "sqlite":
            yield "sqlite", str(tmp_path / "state.db")
        case "folder":
            yield "object", (tmp_path / "objects").as_uri(), str(tmp_path)
        case "postgres":
            yield "postgres", request.getfixturevalue("database"), str(tmp_path)
        case "bucket":
            with bucket(time.time) as server:
                yield "object", server.endpoint, str(tmp_path)
        case kind:
            with serving(gitlab=kind == "gitlab", clock=time.time) as server:
                yield "http", server.options, str(tmp_path)


def here(place):
    """Open the state for this process, which looks often for the lock."""
    return opened((*place, 60.0), time.time, sleep=lambda _: time.sleep(0.05))


def take_turns(place, counts):
    """Let so many processes apply at once; demand that none overlapped and nothing is lost."""
    done = 0
    for count in counts:
        taken = turns([child("queue", place, 1) for _ in range(count)])
        store = here(place)
        try:
            assert [one.run.id for one in store.history()][done:] == [id for *_, id in taken]
            done += count
            assert store.identity().serial == done
            assert store.unresolved() == ()
            assert store.held() is None
            store.chain()
        finally:
            store.close()


@pytest.mark.parametrize("place", KINDS, indirect=True)
def test_appliers_take_turns(place):
    """However many apply at once, one at a time writes, each under a higher fence."""
    take_turns(place, (2, 4, 16))


@pytest.mark.parametrize("place", ["sqlite", "postgres"], indirect=True)
def test_64_appliers_take_turns(place):
    """So do 64, where looking at the lock costs little."""
    take_turns(place, (64,))


@pytest.mark.crowd
@pytest.mark.timeout(900)
@pytest.mark.parametrize("place", MORE, indirect=True)
def test_processes_take_turns(place):
    """So do 2, 4, 16 and 64 on every kind of store."""
    take_turns(place, (2, 4, 16, 64))


@pytest.mark.parametrize("place", KINDS, indirect=True)
def test_stopped_and_killed_holders_are_taken_over(place):
    """Who is stopped, or killed on another host, loses the lock within its lease and 5 s."""
    process = child("stopped", place, lease=LEASE)
    process.stopped()
    stopped = time.monotonic()
    store = here(place)
    try:
        with store.lock(holder("bob"), timeout=1e9) as writer:
            assert time.monotonic() - stopped < LEASE + 5
            writer.begin(run("bob"))
            writer.save([record(1, "mine")], [], "import")
            process.signal(signal.SIGCONT)
            process.wait()
            assert process.out == "refused\nrefused\n"
        (found,) = store.records([where(1)])
        assert found.document["profile"]["name"] == "mine1"
    finally:
        store.close()
    assert child("abroad", place, lease=LEASE).wait() == -signal.SIGKILL
    killed = time.monotonic()
    store = here(place)
    try:
        assert store.held().holder.host == "elsewhere"
        with store.lock(holder("bob"), timeout=1e9):
            assert time.monotonic() - killed < LEASE + 5
    finally:
        store.close()
