"""The lock among processes: one applies at a time, and who lost it does nothing more."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.forks import Child, until
from tests.scene import Scene, staged

KEYS = {
    "held",
    "id",
    "holder",
    "host",
    "pid",
    "operation",
    "acquired_at",
    "expires_at",
    "fence",
    "locks",
}
LEASE = 1.0
"""Seconds of a lease that is to end while a process sleeps."""


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """One action of every kind to do."""
    with staged("yunxin", tmp_path) as scene:
        yield scene


def mutations(scene: Scene) -> int:
    """Return how many mutating requests came, executed or not."""
    return len([one for one in scene.requests() if one["api"] in scene.speaks.apis])


def holding(scene: Scene, point: str = "C6 intents committed", n: int = 1, **how: object) -> Child:
    """Start an apply that holds the lock and waits at a point."""
    holder = scene.apply(point=point, n=n, then="wait", **how)
    holder.reached()
    return holder


def asleep(scene: Scene, child: Child) -> None:
    """Stop a process, at a moment when its heartbeat is not in the middle of a transaction."""

    def free() -> bool:
        child.signal(signal.SIGSTOP)
        child.stopped()
        with closing(sqlite3.connect(scene.state, timeout=0, isolation_level=None)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                child.signal(signal.SIGCONT)
                return False
        return True

    until(free, "it is always in a transaction")


def refused(scene: Scene, late: Child, *, known: bool = True) -> None:
    """Let a process go on that has lost the lock; demand that it neither sends nor writes.

    Who cannot know yet that the lock was broken hears of it with the first outcome it records, and
    by then may have sent what it had intended: the three calls of the first group.
    """
    before = mutations(scene)
    history = scene.run("state", "history", "--json").out
    late.go()
    late.signal(signal.SIGCONT)
    assert late.wait() == 5, late.out + late.err
    assert "has lost the state lock" in late.err
    assert mutations(scene) <= before + (0 if known else 3)
    assert scene.broken == []
    assert scene.run("state", "history", "--json").out == history


@pytest.mark.parametrize("count", [2, 4, 16])
def test_of_many_applies_one_wins(scene: Scene, count: int) -> None:
    """Of processes that start together one applies; the others are exit 5 and name it."""
    children = [scene.apply(point="C3 judged", then="wait") for _ in range(count)]
    until(lambda: sum(one.ended for one in children) == count - 1, "more than one waits")
    (winner,) = (one for one in children if not one.ended)
    held = scene.run("lock", "status", "--json").json
    winner.go()

    assert winner.wait() == 0, winner.err
    assert held["pid"] == winner.pid
    for one in children:
        if one is not winner:
            assert one.wait() == 5, one.err
            for fact in (held["id"], held["holder"], str(winner.pid), held["expires_at"]):
                assert fact in one.err
    scene.complete()


def test_status_tells_all_of_the_holder(scene: Scene) -> None:
    """`lock status --json` has the same keys whether the lock is held or free."""
    free = scene.run("lock", "status", "--json").json
    holder = holding(scene)
    held = scene.run("lock", "status", "--json").json
    holder.go()

    assert holder.wait() == 0
    assert free.keys() == held.keys() == KEYS
    assert (free["held"], held["held"], held["operation"]) == (False, True, "apply")
    assert held["fence"] == free["fence"] + 1 if free["fence"] is not None else held["fence"] > 0


@pytest.mark.parametrize(("point", "n"), [("C6 intents committed", 1), ("paced", 4)])
def test_who_sleeps_beyond_the_lease_comes_too_late(scene: Scene, point: str, n: int) -> None:
    """Stopped beyond its lease, a process that wakes sends no call and writes nothing."""
    late = holding(scene, point, n, lease=LEASE)
    asleep(scene, late)
    sent = mutations(scene)

    ended = scene.run("apply", "--auto-approve", "--lock-timeout", "20")

    assert ended.code == 0, ended.err
    assert mutations(scene) > sent
    refused(scene, late)
    scene.complete()


def test_who_sleeps_in_a_transaction_is_waited_for(scene: Scene) -> None:
    """Stopped while it commits, a process holds the file itself; others hear that it is busy."""
    late = holding(scene, "C11 in the outcomes' transaction", lease=LEASE)
    late.signal(signal.SIGSTOP)
    until(lambda: not scene.run("lock", "status", "--json").json["held"], "the lease has no end")
    waiting = scene.apply("--lock-timeout", "20", busy=0.05)
    assert waiting.wait() == 1
    assert "busy" in waiting.err

    late.go()
    late.signal(signal.SIGCONT)

    assert late.wait() in (0, 5), late.err
    scene.settled()


def test_a_dead_heartbeat_stops_the_run(scene: Scene) -> None:
    """Without its heartbeat a run whose lease has ended stops before the next call."""
    late = holding(scene, lease=LEASE, heartbeat=False)
    until(lambda: not scene.run("lock", "status", "--json").json["held"], "the lease has no end")
    assert mutations(scene) == 0

    refused(scene, late)

    scene.settled()


def test_a_late_heartbeat_is_made_up_for(scene: Scene) -> None:
    """Without its heartbeat a run that is within its lease renews it and goes on."""
    slow = holding(scene, lease=60.0, heartbeat=False)
    slow.go()

    assert slow.wait() == 0, slow.err
    scene.complete()


def test_force_unlock_of_a_living_run(scene: Scene) -> None:
    """Only the exact id breaks the lock; history tells it, and the former holder stops."""
    late = holding(scene)
    id = scene.run("lock", "status", "--json").json["id"]

    wrong = [
        scene.run("force-unlock", text, "--auto-approve") for text in (id[:-1], id.upper(), "x")
    ]
    unasked = scene.run("force-unlock", id)
    right = scene.run("force-unlock", id, "--auto-approve")
    twice = scene.run("force-unlock", id, "--auto-approve")

    assert [one.code for one in wrong] == [5, 5, 5]
    assert all(id in one.err for one in wrong)
    assert (unasked.code, right.code, twice.code) == (64, 0, 1)
    told = [json.loads(line) for line in scene.run("state", "history", "--json").out.splitlines()]
    assert told[-1]["action"]["action"] == "force-unlock"
    assert told[-1]["action"]["lock"]["id"] == id
    assert told[-1]["action"]["lock"]["pid"] == late.pid
    assert told[-1]["run"]["operation"] == "force-unlock"
    refused(scene, late, known=False)
    scene.settled()


def test_a_killed_holder_is_taken_over_at_once(scene: Scene) -> None:
    """The lock of a process of this host that is gone is free, without a wait or a flag."""
    holder = holding(scene)
    before = scene.run("lock", "status", "--json").json
    holder.kill()

    after = scene.run("lock", "status", "--json").json

    assert (before["held"], after["held"]) == (True, False)
    scene.settled()


def test_a_held_lock_is_waited_for_if_asked(scene: Scene) -> None:
    """Without a timeout a held lock is exit 5 at once; with one the run waits and then goes on.

    As JSON, what is told before there is a plan comes behind the version, too.
    """
    holder = holding(scene)
    at_once = scene.run("apply", "--auto-approve")
    patient = scene.apply("--json", "--lock-timeout", "60")
    until(lambda: "lock_wait" in patient.out, "it does not say that it waits")
    holder.go()

    assert at_once.code == 5
    assert holder.wait() == 0
    assert patient.wait() == 0, patient.err
    kinds = [json.loads(line)["type"] for line in patient.out.splitlines()]
    assert kinds[:2] == ["version", "lock_wait"]
    assert kinds.count("version") == 1
    scene.complete()


def test_plans_wait_for_nobody(scene: Scene) -> None:
    """Planning and looking at the state need no lock."""
    holder = holding(scene)

    ended = [scene.run(*words) for words in (("plan",), ("state", "list"), ("state", "pull"))]

    assert [one.code for one in ended] == [0, 0, 0]
    holder.go()
    assert holder.wait() == 0
