"""Imports: the memory that many accounts take, and how close to a vendor's rate they are read."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from tests.benchmarks.measure import once, peak
from tests.benchmarks.scene import ENVIRON, WORKSPACE, emulator, reconciler

T = TypeVar("T")

RATE = 10
"""Calls per second of the throttled import: a batch of 100 accounts each."""


def measured(
    root: Path, count: int, repeat: int
) -> Iterator[tuple[str, str, str, list[float], str]]:
    """Yield what was measured, against what, its bound, the ratios, and a note."""
    held = [_import(root, count, 100_000, peak)[0] for _ in range(repeat)]
    whole = _import(root, count, 100_000, once)[0]
    yield (
        f"`import --write` of {count:,} accounts, resident memory",
        "300 MiB",
        "≤ 1",
        [one / 300 for one in held],
        f"{max(held):.0f} MiB, {count / whole.seconds:.0f} accounts/s unthrottled",
    )
    used = [_import(root, 100 * RATE * 15, RATE, once)[1] / RATE for _ in range(repeat)]
    yield (
        f"calls per second that the vendor hears of an import at `rate: {RATE}`",
        "its rate",
        "≥ 0.95, ≤ 1",
        used,
        f"{100 * RATE} accounts/s, in real time",
    )


def _import(
    root: Path, count: int, rate: int, measured: Callable[[list[str], dict[str, str]], T]
) -> tuple[T, float]:
    """Import accounts of a fresh vendor, measured; also return the calls per second it heard."""
    home = root / f"{count}-{rate}"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    with emulator() as endpoint:
        text = WORKSPACE.format(endpoint=endpoint, threads=16)
        (home / "reconciler.yaml").write_text(text.replace("rate: 100000", f"rate: {rate}"))
        ids = [f"user-{number:07}" for number in range(count)]
        (home / "ids.txt").write_text("\n".join(ids))
        for start in range(0, count, 5000):
            body = [
                {"account_id": one, "profile": {"name": f"客服 {one}", "sign": "hello"}}
                for one in ids[start : start + 5000]
            ]
            _control(endpoint, "accounts/yunxin/demo-app-key", {"accounts": body})
        words = ("import", "--from", "ids.txt", "--write", "accounts/app.yaml")
        run = measured(reconciler(home, *words), ENVIRON)
        calls = _control(endpoint, "requests")["requests"]
    heard = sorted(one["at"] for one in calls if one["api"] == "batch_get")
    return run, (len(heard) - 1) / (heard[-1] - heard[0])


def _control(endpoint: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{endpoint}/_emulator/{path}", data, method="GET" if body is None else "PUT"
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())
