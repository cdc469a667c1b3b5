"""PostgreSQL against SQLite, encrypted against clear: recorded, read, and planned against."""

from __future__ import annotations

import base64
import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tests.benchmarks.measure import measure, pairs
from tests.benchmarks.scene import ENVIRON, WORKSPACE, accounts, opened, reconciler, record


def measured(
    root: Path, server: str, count: int, repeat: int
) -> Iterator[tuple[str, str, list[float], str]]:
    """Yield what was compared, its bound, the ratios, and a note."""
    environ = {**ENVIRON, "STATE_URL": f"{server} dbname=postgres"}
    homes = {"sqlite": root / "sqlite", "postgres": root / "postgres"}
    for name, home in homes.items():
        accounts(home / "accounts/all.yaml", count)
        text = WORKSPACE.format(endpoint="http://127.0.0.1:9", threads=1)
        if name == "postgres":
            text += "state: {backend: postgres, url: env:STATE_URL}\n"
        (home / "reconciler.yaml").write_text(text)
        record(home, environ)
    one, other = homes["postgres"], homes["sqlite"]
    found = list(pairs(lambda: _read(one, environ), lambda: _read(other, environ), repeat))
    yield "reading a snapshot", "2.0", [a / b for a, b in found], f"{found[0][0]:.2f} s"
    planned = list(
        pairs(
            lambda: measure(reconciler(one, "plan", "--no-cache"), environ),
            lambda: measure(reconciler(other, "plan", "--no-cache"), environ),
            repeat,
        )
    )
    yield "`plan`, nothing changed", "1.3", [a.seconds / b.seconds for a, b in planned], ""


def encrypted(root: Path, count: int, repeat: int) -> Iterator[tuple[str, str, list[float], str]]:
    """Yield the same for encrypted state against clear."""
    key = base64.b64encode(os.urandom(32)).decode()
    environ = {**ENVIRON, "STATE_KEY": key}
    one, other = root / "encrypted", root / "clear"
    for home in (one, other):
        accounts(home / "accounts/all.yaml", count)
        text = WORKSPACE.format(endpoint="http://127.0.0.1:9", threads=1)
        if home == one:
            text += "state: {encryption: {key: env:STATE_KEY}}\n"
        (home / "reconciler.yaml").write_text(text)
        record(home, environ)
    for what, bound, reads in (
        ("reading the index", "1.5", "index"),
        ("reading a snapshot", "2.0", "everything"),
    ):
        found = list(
            pairs(
                lambda reads=reads: _read(one, environ, reads),
                lambda reads=reads: _read(other, environ, reads),
                repeat,
            )
        )
        yield what, bound, [a / b for a, b in found], f"{found[0][0]:.2f} s"
    planned = list(
        pairs(
            lambda: measure(reconciler(one, "plan", "--no-cache"), environ),
            lambda: measure(reconciler(other, "plan", "--no-cache"), environ),
            repeat,
        )
    )
    yield "`plan`, nothing changed", "1.2", [a.seconds / b.seconds for a, b in planned], ""


def _read(home: Path, environ: dict[str, str], reads: str = "everything") -> float:
    with closing(opened(home, environ)) as store:
        started = time.perf_counter()
        deque(getattr(store, reads)(), maxlen=0)
        return time.perf_counter() - started
