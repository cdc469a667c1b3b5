"""Start-up: what a command takes before there is much to do, against the bare interpreter."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import Row, measure, pairs, ratios, spent
from tests.benchmarks.scene import ENVIRON, reconciler, record, workspace

COMMANDS = {"--help": "≤ 3", "version": "≤ 3", "validate": "", "plan": ""}


def rows(repeat: int) -> Iterator[Row]:
    """Compare commands on a file of ten accounts with `python -c pass`, ten starts each."""
    bare = [sys.executable, "-c", "pass"]
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as name:
        home = workspace(Path(name) / "small", 10)
        record(home)
        for word, bound in COMMANDS.items():
            found = pairs(
                lambda word=word: measure(reconciler(home, word), ENVIRON, times=10),
                lambda: measure(bare, {}, times=10),
                repeat,
            )
            yield Row(f"`{word}`", "bare interpreter", bound, ratios(found), spent(found))
