"""Plans of many accounts: read for the first time, and again when little or nothing has changed."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import Measured, Row, once, pairs, peak, ratios, spent
from tests.benchmarks.scene import ENVIRON, reconciler, record, workspace

SCAN = """
import sys, yaml
for name in sys.argv[1:]:
    data = open(name, 'rb').read()
    for _ in yaml.parse(data, Loader=yaml.CSafeLoader):
        pass
"""

JSON = """
import json, sys
for name in sys.argv[1:]:
    for line in open(name, encoding='utf-8'):
        json.loads(line)
"""

CSV = """
import csv, sys
for name in sys.argv[1:]:
    for row in csv.reader(open(name, encoding='utf-8', newline='')):
        pass
"""

BARE = {".jsonl": ("`json` line by line", JSON), ".csv": ("`csv` row by row", CSV)}


def reading(program: str, root: Path) -> list[str]:
    """Return the command that only reads the account files."""
    files = sorted(str(file) for file in root.glob("accounts/*"))
    return [sys.executable, "-c", program, *files]


def plan(root: Path, *words: str, one_core: bool = False) -> Measured:
    """Plan."""
    return once(reconciler(root, "plan", *words), ENVIRON, one_core=one_core)


def cold(root: Path, count: int, repeat: int) -> Iterator[Row]:
    """Compare a plan that reads all with a bare event scan of the same bytes in one process."""
    bounds = {100_000: ("≤ 1.2", 400), 1_000_000: ("linear", 1024)}
    bound, memory = bounds.get(count, ("", 400))
    home = workspace(root / f"yaml-{count}", count)
    scan = reading(SCAN, home)
    for title in ("nothing recorded", "nothing changed"):
        if title == "nothing changed":
            record(home)
        for cores in (2, 1):
            if cores == 1 and count != 100_000:
                continue
            found = pairs(
                lambda cores=cores: plan(home, "--no-cache", one_core=cores == 1),
                lambda: once(scan, {}),
                repeat,
            )
            held = peak(reconciler(home, "plan", "--no-cache"), ENVIRON)
            yield Row(
                f"cold `plan`, {count:,} accounts in YAML, {title}"
                + ("" if cores > 1 else ", on one core"),
                "bare libyaml event scan",
                bound if cores > 1 else "≤ 2.0",
                ratios(found),
                f"{spent(found)}; {held:.0f} MiB (≤ {memory})",
            )
    for suffix, (title, program) in BARE.items():
        other = workspace(root / f"{suffix[1:]}-{count}", count, suffix)
        for against, command in (
            ("event scan of the same accounts in YAML", scan),
            (title, reading(program, other)),
        ):
            found = pairs(
                lambda other=other: plan(other, "--no-cache"),
                lambda command=command: once(command, {}),
                repeat,
            )
            yield Row(
                f"cold `plan`, {count:,} accounts in {suffix[1:].upper()}, nothing recorded",
                against,
                "",
                ratios(found),
                spent(found),
            )


def warm(root: Path, cache: str, count: int, repeat: int) -> Iterator[Row]:
    """Compare a second plan with a cold one: nothing changed, and one file of a hundred."""
    environ = {**ENVIRON, "XDG_CACHE_HOME": cache}
    home = workspace(root / f"warm-{count}", count, files=100)
    record(home)
    edited = sorted(home.glob("accounts/*"))[50]
    plain = edited.read_text()
    turn = 0

    def changed() -> Measured:
        nonlocal turn
        turn += 1
        edited.write_text(plain.replace("sign: hello", f"sign: hello {turn}", 1))
        return same()

    def same() -> Measured:
        return once(reconciler(home, "plan"), environ)

    for title, bound, again in (
        ("nothing changed", "≤ 0.05", same),
        ("one file of 100 changed", "≤ 0.15", changed),
    ):
        same()
        for cores in (2, 1):
            found = pairs(
                again,
                lambda cores=cores: plan(home, "--no-cache", one_core=cores == 1),
                repeat,
            )
            yield Row(
                f"second `plan`, {count:,} accounts, {title}",
                "the cold plan" + ("" if cores > 1 else " on one core"),
                bound,
                ratios(found),
                spent(found),
            )
    edited.write_text(plain)


def rows(sizes: list[int], repeat: int) -> Iterator[Row]:
    """Measure all sizes."""
    with (
        tempfile.TemporaryDirectory(prefix="reconciler-bench-") as name,
        # A cache counts only where no folder but the home holds it together with the workspace.
        tempfile.TemporaryDirectory(prefix=".reconciler-bench-", dir=Path.home()) as cache,
    ):
        for count in sizes:
            yield from cold(Path(name), count, repeat)
        for count in sizes:
            if count >= 100_000:
                yield from warm(Path(name), cache, count, repeat)
