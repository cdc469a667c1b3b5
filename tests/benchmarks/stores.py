"""PostgreSQL against SQLite: the same accounts recorded, read, and planned against."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import measure, pairs
from tests.benchmarks.scene import ENVIRON, WORKSPACE, accounts, reconciler, record


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


def _read(home: Path, environ: dict[str, str]) -> float:
    from reconciler.config import load
    from reconciler.providers import capabilities
    from reconciler.stores import open_store

    workspace = load(home, capabilities=capabilities)
    store = open_store(
        workspace.state, home, workspace.name, resolve=lambda one: environ[one.target]
    )
    try:
        started = time.perf_counter()
        deque(store.everything(), maxlen=0)
        return time.perf_counter() - started
    finally:
        store.close()
