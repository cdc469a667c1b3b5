"""Measure the headline ratios and print them as a table: `python -m tests.benchmarks`."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks import applying, floor, peers, reading, starting, vendors
from tests.benchmarks.measure import Row


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", help="of the table; all of it where none is named")
    parser.add_argument("--sizes", default="1000,10000,100000", help="accounts of the plans")
    parser.add_argument("--peers", default="1000,10000", help="accounts of the peers' plans")
    parser.add_argument("--vendors", default="10000,100000", help="accounts to read at a vendor")
    parser.add_argument("--calls", type=int, default=4_000, help="of the apply")
    parser.add_argument("--threads", type=int, default=16, help="of the apply")
    parser.add_argument("--tencent", type=int, default=1_000_000, help="creates that are costed")
    parser.add_argument("--pairs", type=int, default=5, help="measured one after the other")
    wanted = parser.parse_args()
    sizes, few, read = (
        [int(one) for one in text.split(",")]
        for text in (wanted.sizes, wanted.peers, wanted.vendors)
    )
    repeat = wanted.pairs
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "start": lambda: starting.rows(repeat),
        "plan": lambda: reading.rows(sizes, repeat),
        "apply": lambda: applying.rows(wanted.calls, wanted.threads, repeat, wanted.tencent),
        "vendors": lambda: vendors.rows(read, min(repeat, 3)),
        "stores": lambda: against_postgres(max(sizes), repeat),
        "encryption": lambda: encrypting(max(sizes), repeat),
        "views": lambda: rendering(repeat),
        "imports": lambda: importing(max(sizes), min(repeat, 3)),
        "peers": lambda: peers.rows(few, min(repeat, 3)),
    }
    if unknown := set(wanted.parts) - parts.keys():
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(parts)}")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB, "
        f"CPython {platform.python_version()}; load {os.getloadavg()[0]:.1f} at the start; "
        f"pairs of a row: {repeat}\n"
    )
    print("| what | against | must be | ratio: median (lowest to highest) | note |")
    print("| --- | --- | --- | --- | --- |")
    for name in wanted.parts or parts:
        for row in parts[name]():
            print(row, flush=True)
    if not wanted.parts:
        print("", *floor.rows(100_000), sep="\n")


def against_postgres(count: int, repeat: int) -> Iterator[Row]:
    """Compare PostgreSQL on this machine with SQLite; nothing where no server can be run."""
    from tests.benchmarks import stores
    from tests.postgres_server import NoServer, serving

    try:
        with (
            tempfile.TemporaryDirectory(prefix="reconciler-bench-") as name,
            serving() as folder,
        ):
            for what, bound, ratios, note in stores.measured(
                Path(name), f"host={folder} user=postgres", count, repeat
            ):
                yield Row(
                    f"{what}, {count:,} accounts in PostgreSQL",
                    "the same in SQLite",
                    f"≤ {bound}",
                    tuple(ratios),
                    note,
                )
    except NoServer as why:
        print(why, file=sys.stderr)


def encrypting(count: int, repeat: int) -> Iterator[Row]:
    """Compare encrypted state with clear state, both in SQLite."""
    from tests.benchmarks import stores

    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as name:
        for what, bound, ratios, note in stores.encrypted(Path(name), count, repeat):
            yield Row(
                f"{what}, {count:,} accounts encrypted",
                "the same clear",
                f"≤ {bound}",
                tuple(ratios),
                note,
            )


def importing(count: int, repeat: int) -> Iterator[Row]:
    """Hold the memory and the pace of an import against their bounds."""
    from tests.benchmarks import imports

    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as name:
        for what, against, bound, ratios, note in imports.measured(Path(name), count, repeat):
            yield Row(what, against, bound, tuple(ratios), note)


def rendering(repeat: int, count: int = 20_000) -> Iterator[Row]:
    """Compare what a reader is shown of a plan with writing its plan file."""
    from tests.benchmarks import views

    for name, bound, ratios, seconds, size in views.measured(count, repeat):
        yield Row(
            f"`{name}` of {count:,} actions",
            "writing the plan file",
            f"≤ {bound}",
            tuple(ratios),
            f"{seconds:.2f} s, {size / 2**20:.1f} MiB",
        )


if __name__ == "__main__":
    main()
