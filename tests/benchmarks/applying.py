"""Applies against an emulator: as fast as it goes, and at a vendor's rate."""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import Measured, Row, once, pairs, ratios, spent
from tests.benchmarks.scene import ENVIRON, TENCENT, WORKSPACE, emulator, reconciler, workspace


def unthrottled(root: Path, count: int, threads: int, repeat: int) -> Iterator[Row]:
    """Compare an apply of creates with a bare httpx.Client loop of as many threads.

    Both are calls per second, of the same POST, against a fresh unthrottled emulator each.
    """
    home = workspace(root / "apply", count)

    def apply() -> Measured:
        with emulator() as endpoint:
            _settings(home, WORKSPACE.format(endpoint=endpoint, threads=threads))
            return once(reconciler(home, "apply", "--auto-approve"), ENVIRON)

    def bare() -> Measured:
        with emulator() as endpoint:
            words = ["-m", "tests.benchmarks.bare_loop", endpoint, str(count), str(threads)]
            return once([sys.executable, *words], ENVIRON)

    found = pairs(apply, bare, repeat)
    slowest = statistics.median(count / a.seconds for a, _ in found)
    yield Row(
        f"`apply` of {count:,} creates, {threads} threads, whole process",
        "bare `httpx.Client` loop",
        "≥ 0.8",
        tuple(1 / ratio for ratio in ratios(found)),
        f"{slowest:.0f} creates/s, parsing and planning included; {spent(found)}",
    )


def _settings(home: Path, text: str) -> None:
    (home / "reconciler.yaml").write_text(text)
    shutil.rmtree(home / ".reconciler", ignore_errors=True)


def at_a_rate(root: Path, count: int, rate: int, repeat: int) -> Iterator[Row]:
    """Compare the time that a plan estimates with what its apply takes at a rate, start included.

    The emulator refuses what comes faster, and then the apply fails.
    """
    home = workspace(root / "rate", count)
    took, windows = [], []
    for _ in range(repeat):
        with emulator("--rate", str(rate)) as endpoint:
            text = WORKSPACE.format(endpoint=endpoint, threads=16)
            _settings(home, text.replace("rate: 100000", f"rate: {rate}"))
            planned = _json(reconciler(home, "plan", "--json"))["cost"]["cn-prod"]
            began = time.monotonic()
            starts = _starts(reconciler(home, "apply", "--auto-approve"))
            took.append((time.monotonic() - began) / planned["seconds"])
            windows.append(starts)
    yield Row(
        f"`apply` of {count:,} creates at a rate of {rate}/s, whole process",
        "the seconds that its plan told",
        "0.95 to 1.05",
        tuple(took),
        f"{planned['calls']:,} calls told; the emulator refuses more than {rate} in any second; "
        f"throttled: {sum(windows)}",
    )


def _starts(command: list[str]) -> int:
    """Apply and return how often the vendor throttled it."""
    ended = subprocess.run(
        [*command, "--json"], env={**_base(), **ENVIRON}, capture_output=True, text=True, check=True
    )
    return len(re.findall(r'"type": ?"throttled"', ended.stdout))


def _json(command: list[str]) -> dict:
    ended = subprocess.run(
        command, env={**_base(), **ENVIRON}, capture_output=True, text=True, check=True
    )
    return json.loads(ended.stdout)


def _base() -> dict[str, str]:
    import os

    return dict(os.environ)


def tencent(root: Path, count: int, repeat: int) -> Iterator[Row]:
    """Plan so many Tencent creates and tell what they cost."""
    from tests.benchmarks.reading import SCAN, plan, reading

    home = workspace(root / "tencent", count, text=TENCENT)
    for file in home.glob("accounts/*"):
        # What a batch of a hundred registers; anything more is a call an account.
        text = re.sub(r", sign: [^}]*", "", file.read_text())
        file.write_text(re.sub(r"    configuration:\n(?:      .*\n)*", "", text))
    found = pairs(lambda: plan(home, "--no-cache"), lambda: once(reading(SCAN, home), {}), repeat)
    said = subprocess.run(
        reconciler(home, "plan", "--no-cache"),
        env={**_base(), **ENVIRON},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    cost = next(line for line in said.splitlines()[-12:] if "calls" in line)
    yield Row(
        f"cold `plan` of {count:,} creates at Tencent",
        "bare libyaml event scan",
        "",
        ratios(found),
        cost.strip(),
    )


def rows(count: int, threads: int, repeat: int, million: int) -> Iterator[Row]:
    """Measure all of it."""
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as name:
        root = Path(name)
        yield from unthrottled(root, count, threads, repeat)
        yield from at_a_rate(root, 4_000, 200, min(repeat, 3))
        yield from tencent(root, million, min(repeat, 3))
