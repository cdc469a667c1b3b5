"""The simulator's command line: `python -m tests.simulator --seeds 1000000`, or `--seed N`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

TOLD = ("runs", "mutations", "moments", "faults", "crashes", "sleeps", "quiet runs")


def main(arguments=None):
    """Play schedules; prints what was counted, or the trace of the first violation."""
    sys.path.insert(0, str(Path(__file__).parent))
    from simulator_process import installed

    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20_000, help="how many schedules to play")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="replay one schedule with its trace")
    parser.add_argument("--way", choices=("short", "long"), help="without or with the transport")
    parser.add_argument("--keep-going", action="store_true", help="list every violation")
    parser.add_argument("--counts", action="store_true", help="count what every test run covers")
    given = parser.parse_args(arguments)
    with installed():
        return counted() if given.counts else played(given)


def played(given):
    """Play the schedules that were asked for and tell their counts; 1 for a violation."""
    from simulator_schedule import schedule
    from simulator_world import Violation

    counts, began, broken, done = Counter(), time.process_time(), 0, 0
    first = given.start if given.seed is None else given.seed
    for seed in range(first, first + (given.seeds if given.seed is None else 1)):
        done += 1
        try:
            counts.update(
                schedule(seed, print if given.seed is not None else None, given.way).counts
            )
        except Violation as violation:
            broken += 1
            print(f"violation: {violation}")
            print(f"replay: python -m tests.simulator --seed {seed}")
            if not given.keep_going:
                break
    seconds = time.process_time() - began
    print(f"{done} schedules in {seconds:.1f} s of CPU; violations: {broken}")
    print(", ".join(f"{name} {counts[name]}" for name in TOLD))
    return 1 if broken else 0


def counted():
    """Tell what the tests of every run cover, for the table in tests/README.md."""
    import test_crash_points as crash
    import test_mutants
    import test_simulator
    from simulator_schedule import schedule

    counts = Counter()
    for seed in range(test_simulator.SEEDS):
        counts.update(schedule(seed).counts)
    for name in TOLD:
        print(f"{name} in {test_simulator.SEEDS} schedules: {counts[name]}")
    singles = [len(crash.moments(*cell)) for cell in crash.CELLS]
    pairs = sum(
        len(crash.recovery(*cell, at)) for cell in crash.CELLS for at in crash.firsts(*cell)
    )
    print(
        f"crash points: {sum(singles)} in {len(singles)} cells, twice: the YAML stays or goes back"
    )
    print(f"crashes in the recovery from a crash: {pairs}")
    caught = len(test_mutants.MUTANTS) + len(test_mutants.SCENES) + len(test_mutants.LOCKS) + 3
    print(f"mutants: {caught}, all caught")
    return 0


if __name__ == "__main__":
    sys.exit(main())
