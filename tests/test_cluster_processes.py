"""Many machines: worker processes share a queue, and one that is killed is taken over."""

from __future__ import annotations

import random
import signal
from bisect import bisect_left
from collections import Counter
from functools import partial

import pytest
import store_postgres

from reconciler.cluster import chunks
from tests.cluster_world import clustered
from tests.forks import until
from tests.shared_emulator import control

database = store_postgres.database
RATE = 50
RECORDED = [f"old{n}: {{profile: {{name: Old}}}}" for n in range(15)]
DESIRED = [
    *(f"old{n}: {{profile: {{name: New}}}}" for n in range(5)),
    *(f"old{n}: {{profile: {{name: Old}}, banned: {{reason: spam}}}}" for n in range(5, 10)),
    *(f"new{n}: {{profile: {{name: N{n}}}}}" for n in range(75)),
    *(f"bad{n}: {{profile: {{name: B{n}}}, banned: {{reason: spam}}}}" for n in range(10)),
]
"""Per app: five accounts to update, to block and to forget, 85 to create, ten of them banned."""


def fullest(times):
    """Return the most moments that any window of one second holds."""
    times = sorted(times)
    return max((bisect_left(times, one + 1) - n for n, one in enumerate(times)), default=0)


EXPECTED = sorted(
    [("create", f"new{n}") for n in range(75)]
    + [("create", f"bad{n}") for n in range(10)]
    + [("disable", f"bad{n}") for n in range(10)]
    + [("disable", f"old{n}") for n in range(5, 10)]
    + [("profile_update", f"old{n}") for n in range(5)]
)


def have_been_sent(world, least):
    """Tell whether the vendors have carried out so many calls."""
    return sum(len(world.told(app)) for app in world.apps) >= least


def assert_done_once(world, rate):
    """Assert that each app has had every call once, and no API more than its rate in a second."""
    for app in world.apps:
        told = world.told(app)
        assert (app, Counter(told) - Counter(EXPECTED), told) == (app, Counter(), EXPECTED)
        for api in {call["api"] for call in world.calls(app)}:
            times = [call["at"] for call in world.calls(app) if call["api"] == api]
            assert fullest(times) <= rate, (app, api)


def test_workers_share_the_apps_and_take_over_from_one_that_is_killed(
    tmp_path,
    database,
    monkeypatch,
):
    """Three apps, four workers, one killed in mid-chunk: all is done, once, below each rate."""
    monkeypatch.setattr(chunks, "LARGEST", 40)
    with clustered(tmp_path, database, "abc") as world:
        world.declare(*RECORDED)
        assert world.run("apply", "--auto-approve").code == 0
        for endpoint in world.apps.values():
            control(endpoint, "requests", method="DELETE")
        hang = {"fault": "hang", "executed": True, "seconds": 600}
        hang["match"] = {"api": "create", "account_id": "new40"}
        control(world.apps["b"], "faults", [hang], "POST")
        world.rate = RATE
        world.workspace()
        world.declare(*DESIRED)

        queued = world.run("apply", "--auto-approve", "--enqueue")
        assert queued.last == "Enqueued 3 apps, 9 chunks, 330 actions; run: reconciler worker"
        workers = [world.start("worker", "--drain") for _ in range(4)]
        until(lambda: any(one["fault"] == "hang" for one in world.calls("b")))
        (((pid,),)) = world.ask(
            "SELECT pid FROM reconciler_workers w JOIN reconciler_chunks c ON c.worker = w.id"
            " WHERE app = 'b' AND done_at IS NULL"
        )
        killed = next(one for one in workers if one.pid == pid)
        assert killed.kill() == -signal.SIGKILL
        workers.remove(killed)
        assert [(one.wait(), one.err[-500:]) for one in workers if one.wait()] == []

        assert_done_once(world, RATE)
        assert world.run("plan", "--detailed-exitcode").code == 0
        assert world.run("state", "verify").code == 0
        status = world.run("worker", "--status", "--json").json
        assert status["workers"] == []
        ended = {one["app"]: (one["done"], one["failed"]) for one in status["queue"]}
        assert ended == dict.fromkeys(world.apps, (3, 0))
        assert world.ask("SELECT count(*) FROM reconciler_chunks WHERE body IS NOT NULL") == [(0,)]


@pytest.mark.crowd
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(5))
def test_workers_that_die_all_the_time(tmp_path, database, monkeypatch, seed):
    """Whichever worker is killed or told to stop, and when: all is done, once, below each rate."""
    monkeypatch.setattr(chunks, "LARGEST", 40)
    chance = random.Random(seed)
    with clustered(tmp_path, database, "abc") as world:
        world.declare(*RECORDED)
        assert world.run("apply", "--auto-approve").code == 0
        for endpoint in world.apps.values():
            control(endpoint, "requests", method="DELETE")
        world.rate = RATE // 2
        world.workspace()
        world.declare(*DESIRED)
        assert world.run("apply", "--auto-approve", "--enqueue").code == 0

        workers = [world.start("worker") for _ in range(4)]
        done = kills = 0
        while world.ask("SELECT 1 FROM reconciler_chunks WHERE done_at IS NULL"):
            done += chance.randrange(5, 40)
            until(partial(have_been_sent, world, min(done, 300)))
            if kills < 20:
                chance.shuffle(workers)
                kills += 1
                killed = workers.pop()
                killed.signal(chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
                killed.wait()
                workers.append(world.start("worker"))
        for worker in workers:
            worker.signal(signal.SIGTERM)
            worker.wait()
        assert kills > 5
        assert_done_once(world, RATE // 2)
        assert world.run("plan", "--detailed-exitcode").code == 0
        assert world.run("state", "verify").code == 0
