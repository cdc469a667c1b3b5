"""Signals: interrupted in any phase, a command leaves in time, unlocks, and loses nothing."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reconciler import transport
from reconciler.cli.interrupt import leaving
from reconciler.files import write_private
from reconciler.transport import wire
from tests.forks import Child, until
from tests.scene import Scene, staged

ONCE, TWICE, TERM = (signal.SIGINT,), (signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)
SIGNALS = [
    pytest.param(ONCE, id="SIGINT"),
    pytest.param(TWICE, id="SIGINT-twice"),
    pytest.param(TERM, id="SIGTERM"),
]
RAISING = ["C1 before the lock", "planning", "C16 before the read-back"]
"""Phases without a mutating call under way: before the lock, planning, recovering."""


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """One action of every kind to do."""
    with staged("yunxin", tmp_path) as scene:
        yield scene


def lock(scene: Scene) -> str:
    """Return the id in the row of the lock, whoever wrote it, alive or not."""
    with closing(sqlite3.connect(f"file:{scene.state}?mode=ro", uri=True)) as other:
        (id,) = other.execute("SELECT id FROM lock").fetchone()
        return str(id)


def send(child: Child, numbers: tuple[signal.Signals, ...]) -> None:
    """Send signals, each after the one before was taken notice of."""
    for place, number in enumerate(numbers, 1):
        child.signal(number)
        if place < len(numbers):
            until(lambda: "nterrupted" in child.err or child.ended, "the signal was not noticed")


def summary(child: Child) -> dict[str, Any]:
    """Return the last line of the event stream."""
    told: dict[str, Any] = json.loads(child.out.splitlines()[-1])
    return told


@pytest.mark.parametrize("numbers", SIGNALS)
@pytest.mark.parametrize("phase", RAISING)
def test_interrupted_with_nothing_under_way(
    scene: Scene, phase: str, numbers: tuple[signal.Signals, ...]
) -> None:
    """Before the lock, while planning and while recovering: 130, the lock is free, nothing lost."""
    if phase.startswith("C16"):
        assert scene.apply(point="C8 sent", n=2).wait() == -signal.SIGKILL
    child = scene.apply(point=phase, then="wait")
    child.reached()

    send(child, numbers)

    assert child.wait() == 130, child.err
    assert "Traceback" not in child.err
    if len(numbers) == 1:
        assert not lock(scene)
    scene.settled()


@pytest.mark.parametrize("numbers", SIGNALS)
def test_interrupted_while_it_waits_for_the_lock(
    scene: Scene, numbers: tuple[signal.Signals, ...]
) -> None:
    """A run that waits for the lock leaves at once; the holder keeps it and finishes."""
    holder = scene.apply(point="C3 judged", then="wait")
    holder.reached()
    held = lock(scene)
    child = scene.apply("--lock-timeout", "60", point="the lock was asked for", then="wait")
    child.reached()

    send(child, numbers)

    assert child.wait() == 130, child.err
    assert lock(scene) == held != ""
    holder.go()
    assert holder.wait() == 0
    scene.settled()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_in_flight_is_finished(scene: Scene, number: signal.Signals) -> None:
    """A call under way is answered and recorded, no other begins, and nothing is in doubt."""
    scene.faults({"match": {"api": "disable"}, "fault": "slow", "seconds": 0.5, "executed": True})
    child = scene.apply("--json")
    until(lambda: any(one["fault"] for one in scene.requests()), "no call is slow")

    child.signal(number)

    assert child.wait() == 130, child.err
    told = summary(child)
    assert (told["applied"]["block"], told["failed"], told["in_doubt"]) == (1, 0, 0)
    assert told["skipped"]
    assert scene.requests()[-1]["fault"] == "slow"
    assert not lock(scene)
    scene.settled()


def test_a_second_interrupt_leaves_at_once(scene: Scene) -> None:
    """Twice in flight: the process ends without an answer, and the next run finds out."""
    scene.faults({"match": {"api": "disable"}, "fault": "hang", "seconds": 60, "executed": True})
    child = scene.apply(grace=60)
    until(lambda: any(one["fault"] for one in scene.requests()), "no call hangs")

    send(child, TWICE)

    assert child.wait() == 130
    scene.settled()


@pytest.mark.parametrize("numbers", SIGNALS)
def test_interrupted_while_it_commits(scene: Scene, numbers: tuple[signal.Signals, ...]) -> None:
    """In the transaction that records outcomes: once it ends, twice it is as if never begun."""
    child = scene.apply(point="C11 in the outcomes' transaction", then="wait")
    child.reached()

    send(child, numbers)
    if len(numbers) == 1:
        until(lambda: "Interrupted" in child.err, "the signal was not noticed")
        child.go()

    assert child.wait() == 130, child.err
    if len(numbers) == 1:
        assert not lock(scene)
    scene.settled()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("executed", [True, False])
def test_a_vendor_that_hangs_does_not_hold_the_command(
    scene: Scene, number: signal.Signals, executed: bool
) -> None:
    """A call that is not answered within the grace ends in doubt; lock free, state saved."""
    scene.faults(
        {"match": {"api": "disable"}, "fault": "hang", "seconds": 60, "executed": executed}
    )
    child = scene.apply("--json", grace=0.2)
    until(lambda: any(one["fault"] for one in scene.requests()), "no call hangs")

    child.signal(number)

    assert child.wait() == 130, child.err
    assert summary(child)["in_doubt"] == 1
    assert not lock(scene)
    assert scene.run("state", "list").out.count("in doubt") == 1
    scene.control("faults", method="DELETE")
    scene.settled()


def test_the_grace_is_shorter_than_that_of_a_ci_job() -> None:
    """What is in flight has ended by 7 s, before a cancelled job gets its second signal."""
    assert transport._GRACE + wire._SLICE + wire._CONNECT / 10 < 7
    assert wire._CONNECT < 7


@pytest.mark.parametrize("deaf", [False, True])
def test_a_cancelled_job(scene: Scene, deaf: bool) -> None:
    """SIGINT, then SIGTERM, then SIGKILL to all of it: whichever ends it, the next run recovers.

    The steps of 7.5 and 2.5 s are scaled down; a deaf process is one that is stopped.
    """
    scene.faults({"match": {"api": "disable"}, "fault": "hang", "seconds": 60, "executed": True})
    child = scene.apply(grace=60)
    until(lambda: any(one["fault"] for one in scene.requests()), "no call hangs")
    if deaf:
        child.signal(signal.SIGSTOP)

    child.signal(signal.SIGINT)
    if not deaf:
        until(lambda: "Interrupted" in child.err, "the signal was not noticed")
    child.signal(signal.SIGTERM)
    if not deaf:
        until(lambda: child.ended, "the second signal did not end it")
    child.signal(signal.SIGKILL)

    assert child.wait() == (-signal.SIGKILL if deaf else 130)
    scene.control("faults", method="DELETE")
    scene.settled()


@pytest.mark.parametrize("words", [("refresh",), ("drift",), ("plan", "--refresh")])
def test_reading_commands_leave_at_once(scene: Scene, words: tuple[str, ...]) -> None:
    """SIGTERM at a vendor that does not answer ends a reading command at once, lock free."""
    scene.faults({"match": {"api": "batch_get"}, "fault": "hang", "seconds": 60})
    child = scene.start(*words)
    until(lambda: any(one["fault"] for one in scene.requests()), "no call hangs")

    began = time.monotonic()
    child.signal(signal.SIGTERM)

    assert child.wait() == 130, child.err
    assert time.monotonic() - began < 10  # and not the 15 s that an answer may take
    assert not lock(scene)
    scene.control("faults", method="DELETE")
    scene.settled()


def test_an_interrupt_as_a_file_takes_its_name_is_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes when the file is in its place and the temporary one is gone: it stays what it is."""
    rename = os.rename

    def renamed(*names: str, **folders: int) -> None:
        rename(*names, **folders)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", renamed)
    with pytest.raises(KeyboardInterrupt):
        write_private(tmp_path / "mark", [b"new"])
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("mark", b"new")]


def test_an_interrupt_in_a_destructor_is_one_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python ignores what is raised there; the command ends as interrupted all the same."""
    ignored: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)

    class Client:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt), leaving(()):
        Client()
    assert len(ignored) == 1
