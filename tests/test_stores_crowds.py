"""Many at once on every store: appliers take turns, the stopped and the killed are taken over."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.register_assert_rewrite("store_child", "store_conformance", "store_postgres")

from bucket_server import bucket  # noqa: E402
from state_server import serving  # noqa: E402
from store_child import opened, turn  # noqa: E402
from store_conformance import holder, record, run, where  # noqa: E402
from store_postgres import child  # noqa: E402

pytest_plugins = ["store_postgres"]

CROWD = pytest.mark.crowd
KINDS = ["sqlite", "folder", "gitlab", "postgres"]
MORE = [*KINDS, "plain", "bucket"]


@pytest.fixture
def place(request, tmp_path):
    """Where a state of each kind is, as `store_child` is told."""
    match request.param:
        case "sqlite":
            yield str(tmp_path / "state.db")
        case "folder":
            yield f"{tmp_path}\n{(tmp_path / 'objects').as_uri()}"
        case "postgres":
            pytest.importorskip("psycopg")
            yield request.getfixturevalue("postgres_place")
        case "bucket":
            pytest.importorskip("obstore")
            with bucket(time.time) as server:
                yield f"{tmp_path}\n{server.endpoint}"
        case kind:
            with serving(gitlab=kind == "gitlab", clock=time.time) as server:
                yield f"{tmp_path}\n{json.dumps(server.options)}"


def took_turns(place, turns, earlier=0):
    """Check that no two overlapped, each had a higher fence, and nothing that one wrote is lost."""
    turns = sorted(turns)
    assert len({fence for fence, *_ in turns}) == len(turns)
    assert all(a[2] <= b[1] for a, b in itertools.pairwise(turns))
    store = opened(place, 60)
    try:
        assert [one.run.id for one in store.history()][earlier:] == [id for *_, id in turns]
        assert store.identity().serial == earlier + len(turns)
        assert store.unresolved() == ()
        assert store.held() is None
        store.chain()
    finally:
        store.close()


@pytest.mark.parametrize(
    ("place", "counts"),
    [(kind, (2, 4, 16) if kind == "gitlab" else (2, 4, 16, 64)) for kind in KINDS],
    indirect=["place"],
)
def test_appliers_take_turns(place, counts):
    """However many apply at once, one at a time writes, each under a higher fence.

    Behind HTTP each look at the lock is a request, so that 64 are among the slow tests.
    """
    done = 0
    for count in counts:

        def one(n, count=count):
            store = opened(place, 60, sleep=lambda _: time.sleep(0.1))
            try:
                return turn(store, f"{count}-{n}", n, timeout=1e9)
            finally:
                store.close()

        with ThreadPoolExecutor(count) as pool:
            turns = list(pool.map(one, range(count)))
        took_turns(place, turns, done)
        done += count


@CROWD
@pytest.mark.timeout(900)
@pytest.mark.parametrize("count", [2, 4, 16, 64])
@pytest.mark.parametrize("place", MORE, indirect=True)
def test_processes_take_turns(place, count):
    """The same, of so many processes."""
    processes = [child("queue", place, 1) for _ in range(count)]
    turns = []
    for process in processes:
        out, _ = process.communicate(timeout=600)
        assert process.returncode == 0
        turns += [line.split() for line in out.splitlines()]
    took_turns(place, [(int(a), int(b), int(c), id) for a, b, c, id in turns])


LEASE = 1.0


@pytest.mark.parametrize("place", KINDS, indirect=True)
def test_stopped_and_killed_holders_are_taken_over(place):
    """Who is stopped, or killed on another host, loses the lock within its lease and 5 s."""
    with child("stopped", place, lease=LEASE) as process:
        assert process.stdout.readline() == "locked\n"
        os.waitpid(process.pid, os.WUNTRACED)
        stopped = time.monotonic()
        store = opened(place, 60, sleep=lambda _: time.sleep(0.05))
        try:
            with store.lock(holder("bob"), timeout=1e9) as writer:
                assert time.monotonic() - stopped < LEASE + 5
                writer.begin(run("bob"))
                writer.save([record(1, "mine")], [], "import")
                os.kill(process.pid, signal.SIGCONT)
                assert process.stdout.read() == "refused\nrefused\n"
            (found,) = store.records([where(1)])
            assert found.document["profile"]["name"] == "mine1"
        finally:
            process.kill()
            store.close()
    with child("abroad", place, lease=LEASE) as process:
        process.communicate()
        killed = time.monotonic()
    store = opened(place, 60, sleep=lambda _: time.sleep(0.05))
    try:
        assert store.held().holder.host == "elsewhere"
        with store.lock(holder("bob"), timeout=1e9):
            assert time.monotonic() - killed < LEASE + 5
    finally:
        store.close()
