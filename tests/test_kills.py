"""Kills: an apply that SIGKILL ends anywhere is caught up with by the next, losing nothing."""

from __future__ import annotations

import itertools
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forks import until
from tests.scene import VENDORS, Scene, staged

ONCE = (
    "C1 before the lock",
    "C2 locked",
    "C3 judged",
    "C13 before the high-water mark",
    "C13 in the high-water mark",
    "C14 before the unlock",
    "C15 unlocked",
    "C15 before the file is shrunk",
)
COMMITS = (
    "C4 before the intents",
    "C5 in the intents' transaction",
    "C6 intents committed",
    "C11 in the outcomes' transaction",
    "C12 outcomes committed",
)
SENT = "C8 sent"
AROUND = ("C7 half the body sent", "C9 half the answer read", "C10 answer parsed")
RECOVERING = (
    "C16 before the read-back",
    "C16 read back",
    "C11 in the outcomes' transaction",
    "C12 outcomes committed",
    "C10 answer parsed",
)
MUTATIONS = {"yunxin": 10, "commsease": 11, "tencent": 17}
"""Mutating requests of an apply that nothing happens to."""


@pytest.fixture(params=list(VENDORS))
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    """One action of every kind to do, at each vendor."""
    with staged(request.param, tmp_path) as scene:
        yield scene


def killed(scene: Scene, point: str, n: int) -> bool:
    """Kill an apply at the n-th passing of a point and catch up; False if it ended before that."""
    scene.reset()
    code = scene.apply(point=point, n=n).wait()
    if code == -signal.SIGKILL:
        scene.settled()
        return True
    assert code == 0
    assert scene.violations() == []
    return False


def passings(scene: Scene, point: str) -> int:
    """Kill an apply at the first passing of the point, at the second and so on; return how many."""
    return next(n for n in itertools.count() if not killed(scene, point, n + 1))


def test_killed_around_the_lock_and_the_end(tmp_path: Path) -> None:
    """Killed before the first intent or after the last outcome, the next run ends it."""
    with staged("yunxin", tmp_path) as scene:
        for point in ONCE:
            assert killed(scene, point, 1), point


@pytest.mark.parametrize("point", COMMITS)
def test_killed_at_every_commit(tmp_path: Path, point: str) -> None:
    """Killed before, in or after any transaction of an apply, every action is done just once."""
    with staged("yunxin", tmp_path) as scene:
        assert passings(scene, point) >= 2


def test_killed_at_every_mutating_request(scene: Scene) -> None:
    """Killed when any mutating request is out, executed or not, every action is done just once."""
    assert passings(scene, SENT) == MUTATIONS[scene.speaks.type]


def test_killed_around_mutating_requests(scene: Scene) -> None:
    """Killed with half a request sent, half an answer read, or all of it: the next run ends it."""
    for n, point in zip(range(1, MUTATIONS[scene.speaks.type] + 1, 2), itertools.cycle(AROUND)):
        assert killed(scene, point, n), (point, n)


@pytest.mark.parametrize("executed", [True, False])
def test_killed_while_the_vendor_hangs(scene: Scene, executed: bool) -> None:
    """A command that is killed at a hanging vendor is caught up with."""
    api = {"yunxin": "disable", "commsease": "block", "tencent": "setnospeaking"}
    fault = {"fault": "hang", "executed": executed, "seconds": 60}
    scene.faults({"match": {"api": api[scene.speaks.type]}, **fault})

    process = scene.apply()
    until(lambda: any(one["fault"] for one in scene.requests()), "nothing hangs")

    assert process.kill() == -signal.SIGKILL
    scene.settled()


@pytest.mark.parametrize("point", RECOVERING)
def test_killed_while_it_recovers(scene: Scene, point: str) -> None:
    """A run that is killed while it catches up with a killed one is caught up with in turn."""
    assert scene.apply(point=SENT, n=4).wait() == -signal.SIGKILL
    assert scene.apply(point=point).wait() == -signal.SIGKILL
    scene.settled()


def test_killed_at_random_moments_in_a_row(tmp_path: Path) -> None:
    """Runs killed at random moments one after another lose nothing and do nothing twice."""
    dice = random.Random(20261122)
    ids = [f"u{n:02}" for n in range(40)]
    lines = "{0}:\n  profile: {{name: Name-{0}}}\n  banned: {{reason: spam}}\n"
    with staged("yunxin", tmp_path, empty=True) as scene:
        scene.workspace(concurrency=8)
        scene.accounts("".join(lines.format(id) for id in ids))
        slow = {"fault": "slow", "seconds": 0.01, "executed": True, "times": None}
        scene.faults({"match": {}, **slow})
        kills = 0
        for _ in range(12):
            child = scene.apply()
            wanted = scene.received_so_far + dice.randrange(4, 30)
            until(
                lambda c=child, w=wanted: scene.received_so_far >= w or c.ended, "it stands still"
            )
            if child.kill() == 0:
                break
            kills += 1
        scene.control("faults", method="DELETE")

        ended = scene.run("apply", "--auto-approve")

        assert ended.code == 0, ended.out + ended.err
        assert scene.run("plan", "--refresh").last == "No changes. 40 accounts as recorded."
        assert kills >= 3
        assert scene.broken == []
        done = Counter(
            (call["api"], id)
            for call in scene.requests()
            if call["mutated"] and call["code"] == 200
            for id in call["account_ids"]
        )
        assert {id: done["create", id] for id in ids} == dict.fromkeys(ids, 1)
        held = {one["account_id"]: one for one in scene.everyone()}
        assert not any(held[id]["enabled"] for id in ids)
        assert max(held[id]["kicks"] for id in ids) == 1
