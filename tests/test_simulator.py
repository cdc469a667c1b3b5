"""The simulator: thousands of seeded schedules of faults, deaths and people, and no broken law."""

from __future__ import annotations

from collections import Counter

import pytest
import simulator
from mutants import MUTANTS
from simulator_process import installed
from simulator_schedule import schedule
from simulator_world import Violation, World
from test_crash_points import ACTIONS, clean, scene

from reconciler.errors import StateError
from reconciler.exits import Exit

SEEDS, PARTS = 1600, 8
"""How many schedules every run plays; `python -m tests.simulator --seeds 1000000` plays more."""


@pytest.mark.parametrize("part", range(PARTS))
def test_no_schedule_breaks_a_law(part):
    """Whatever fails, dies or is meddled with: nothing is lost, done twice or let through."""
    counts = Counter()
    with installed():
        for seed in range(part, SEEDS, PARTS):
            counts.update(schedule(seed).counts)
    # Were the faults not reached, nothing would be proved.
    assert counts["faults"] > SEEDS / PARTS
    assert counts["crashes"] > 100
    assert counts["sleeps"] > 25
    assert counts["mutations"] > 4 * counts["crashes"]


@pytest.mark.parametrize("way", ["short", "long"])
def test_a_seed_is_played_the_same_again(way):
    """The same seed gives the same trace to the last word, so a violation can be replayed."""
    told = []
    with installed():
        for _ in range(2):
            lines = []
            schedule(42, lines.append, way)
            told.append(lines)
    assert told[0] == told[1]
    assert len(told[0]) > 50


def test_the_command_line_tells_what_it_played(capsys):
    """Without violations it ends with 0 and the counts."""
    assert simulator.main(["--seeds", "12"]) == 0
    assert "12 schedules" in capsys.readouterr().out


def test_the_command_line_tells_the_seed_of_a_violation(capsys):
    """A violation is told with the command that replays it, and the exit code is 1."""
    with pytest.MonkeyPatch.context() as patch:
        MUTANTS["no intents"].put(patch)
        assert simulator.main(["--seeds", "12"]) == 1
        assert "replay: python -m tests.simulator --seed 0" in capsys.readouterr().out


@pytest.mark.parametrize("action", ACTIONS)
def test_every_write_may_fail(action):
    """The n-th write meets a full disk, for every n there is: the next runs need no hand."""
    with installed():
        for number in range(100):
            world = scene("yunxin", action)
            writes = iter(range(100))

            def fail(name, request, number=number, writes=writes):
                real = request is None and name.startswith("before ") and "unlock" not in name
                if real and next(writes) == number:
                    raise StateError.of("state-full", "the disk is full")

            world.hooks = [fail]
            code = world.apply()
            world.hooks = []
            clean(world)
            if code == Exit.DONE:
                break
    assert number >= 4


def test_a_law_that_is_broken_says_how_to_see_it():
    """The message names the law, the facts, the seed and the vendor."""
    with installed(), pytest.raises(Violation, match=r"kick: .* \(seed 5, tencent\)"):
        World(5, "tencent").broken("kick", "twice")
