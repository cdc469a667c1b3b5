"""Measure whole processes in pairs, so that a noisy machine is noisy for both."""

from __future__ import annotations

import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Measured:
    """Wall seconds of one run, and the processor's, of the process and those that it began."""

    seconds: float
    cpu: float = 0.0


@dataclass(frozen=True)
class Row:
    """One line of the table; `ratios` are of pairs measured one after the other."""

    what: str
    against: str
    bound: str
    ratios: tuple[float, ...]
    note: str = ""

    def __str__(self) -> str:
        low, middle, high = min(self.ratios), statistics.median(self.ratios), max(self.ratios)
        digits = 3 if high < 0.1 else 2
        return (
            f"| {self.what} | {self.against} | {self.bound} | **{middle:.{digits}f}** "
            f"({low:.{digits}f} to {high:.{digits}f}) | {self.note} |"
        )


def ratios(found: Iterable[tuple[Measured, Measured]]) -> tuple[float, ...]:
    """Return the ratio of each pair in wall time."""
    return tuple(one.seconds / other.seconds for one, other in found)


def spent(found: Iterable[tuple[Measured, Measured]]) -> str:
    """Return what the pairs took of the processor, for a note."""
    one, other = (statistics.median(m.cpu for m in side) for side in zip(*found, strict=True))
    return f"{one:.2f} s of processor against {other:.2f} s"


def once(command: list[str], environ: dict[str, str], *, one_core: bool = False) -> Measured:
    """Run a command to its end, its output thrown away; raises if it fails."""

    def bind() -> None:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=_environ(environ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=bind if one_core else None,
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}: {errors[-2000:]}")
    return Measured(seconds, usage.ru_utime + usage.ru_stime)


def _environ(environ: dict[str, str]) -> dict[str, str]:
    # As installed: compiled modules are there, from the warm-up at the latest.
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **environ}


def measure(command: list[str], environ: dict[str, str], times: int = 1) -> Measured:
    """Run a short command some times and return the sum of what it took."""
    runs = [once(command, environ) for _ in range(times)]
    return Measured(sum(run.seconds for run in runs), sum(run.cpu for run in runs))


def pairs(one: Callable[[], T], other: Callable[[], T], repeat: int) -> list[tuple[T, T]]:
    """Return pairs measured right after one another, after one warm-up of each."""
    one()
    other()
    return [(one(), other()) for _ in range(repeat)]


def peak(command: list[str], environ: dict[str, str]) -> float:
    """Return the most MiB that a command and its processes held at once.

    Pages that they share count once: it is the sum of `Pss` in `/proc/*/smaps_rollup`, looked at
    every 20 ms.
    """
    process = subprocess.Popen(
        command, env=_environ(environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    most, over = 0.0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.02):
            most = max(most, sum(map(_resident, _tree(process.pid))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    process.wait()
    over.set()
    watcher.join()
    return most / 1024


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _tree(int(child))


def _resident(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
