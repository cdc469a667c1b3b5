"""Measure whole processes in pairs, so that a noisy machine is noisy for both."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """Wall seconds of one run, and the most memory it held."""

    seconds: float
    mebibytes: float


def once(command: list[str], environ: dict[str, str]) -> Measured:
    """Run a command to its end, its output thrown away; raises if it fails."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        env={**os.environ, **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}: {errors[-2000:]}")
    return Measured(seconds, usage.ru_maxrss / 1024)


def measure(command: list[str], environ: dict[str, str], times: int = 1) -> Measured:
    """Run a short command some times and return the sum of its seconds."""
    runs = [once(command, environ) for _ in range(times)]
    return Measured(sum(run.seconds for run in runs), max(run.mebibytes for run in runs))


def pairs(
    one: Callable[[], Measured], other: Callable[[], Measured], repeat: int
) -> Iterator[tuple[Measured, Measured]]:
    """Yield pairs measured right after one another, after one warm-up of each."""
    one()
    other()
    for _ in range(repeat):
        yield one(), other()
