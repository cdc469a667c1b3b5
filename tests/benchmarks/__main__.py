"""Measure the headline ratios and print them as a table: `python -m tests.benchmarks`."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.state import Store
from tests.benchmarks.measure import Measured, measure, once, pairs

SCAN = """
import sys, yaml
data = open(sys.argv[1], 'rb').read()
for _ in yaml.parse(data, Loader=yaml.CSafeLoader):
    pass
"""

WORKSPACE = """\
version: 1
workspace: bench
providers:
  cn-prod:
    type: yunxin
    endpoint: {endpoint}
    credentials: {{app_key: env:APP_KEY, app_secret: env:APP_SECRET}}
    rate: 100000
    concurrency: {threads}
"""

ENVIRON = {"APP_KEY": "demo-app-key", "APP_SECRET": "demo-app-secret"}


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
        return (
            f"| {self.what} | {self.against} | {self.bound} | **{middle:.2f}** "
            f"({low:.2f} to {high:.2f}) | {self.note} |"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--accounts", type=int, default=100_000, help="of the cold plan")
    parser.add_argument("--calls", type=int, default=4_000, help="of the apply")
    parser.add_argument("--threads", type=int, default=16, help="of the apply")
    parser.add_argument("--pairs", type=int, default=5, help="measured one after the other")
    wanted = parser.parse_args()
    print("| what | against | must be | ratio: median (lowest to highest) | note |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as name:
        root = Path(name)
        for part in (
            lambda: cold_plan(root / "cold", wanted.accounts, wanted.pairs),
            lambda: start_up(wanted.pairs),
            lambda: against_postgres(root / "stores", wanted.accounts, wanted.pairs),
            lambda: encrypting(root / "encrypting", wanted.accounts, wanted.pairs),
            lambda: rendering(wanted.pairs),
            lambda: importing(root / "import", wanted.accounts, wanted.pairs),
            lambda: applying(root / "apply", wanted.calls, wanted.threads, wanted.pairs),
        ):
            for row in part():
                print(row, flush=True)


def accounts(path: Path, count: int) -> None:
    """Write an account file of this many accounts, about 30 events each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.write("accounts:\n")
        file.writelines(
            f"  user-{number:07}:\n"
            f"    provider: cn-prod\n"
            f"    profile: {{name: 客服 {number}, avatar: https://cdn.example.com/{number}.png, "
            f"sign: hello, email: u{number}@example.com}}\n"
            "    banned: false\n"
            "    configuration:\n"
            "      p2p_chat_banned: false\n"
            "      team_chat_banned: true\n"
            "    labels: {team: support}\n"
            for number in range(count)
        )


def reconciler(root: Path, *words: str) -> list[str]:
    """Return the command line of a reconciler command."""
    return [sys.executable, "-P", "-m", "reconciler", "--chdir", str(root), *words]


def cold_plan(root: Path, count: int, repeat: int) -> Iterator[Row]:
    """Compare a cold plan with a bare event scan of the same bytes, as whole processes."""
    file = root / "accounts/all.yaml"
    accounts(file, count)
    (root / "reconciler.yaml").write_text(
        WORKSPACE.format(endpoint="http://127.0.0.1:9", threads=1)
    )
    scan = [sys.executable, "-c", SCAN, str(file)]
    for title, prepare in (
        ("nothing recorded", lambda: None),
        ("nothing changed", lambda: record(root)),
    ):
        prepare()
        found = list(
            pairs(
                lambda: measure(reconciler(root, "plan"), ENVIRON),
                lambda: measure(scan, ENVIRON),
                repeat,
            )
        )
        peak = max(plan.mebibytes for plan, _ in found)
        yield Row(
            f"cold `plan`, {count:,} accounts in one YAML file, {title}",
            "bare libyaml event scan",
            "≤ 2.0",
            tuple(a.seconds / b.seconds for a, b in found),
            f"{peak:.0f} MiB resident (≤ 600)",
        )


def record(root: Path, environ: dict[str, str] | None = None) -> None:
    """Record every desired account as applied, without a vendor."""
    import os
    import socket

    from reconciler.config import desired, load
    from reconciler.providers import capabilities
    from reconciler.state import Holder, Record, Run

    workspace = load(root, capabilities=capabilities)
    tables = {name: capabilities(app.type) for name, app in workspace.apps.items()}
    store = opened(root, environ or {})
    holder = Holder("bench", socket.gethostname(), os.getpid(), "bench")
    with store.lock(holder) as writer:
        writer.begin(Run("bench", "bench", "2026-01-01T00:00:00Z"))
        records = [
            Record(one.address, one.written(), banned=False)
            for one in desired(workspace, tables, [])
        ]
        for start in range(0, len(records), 5000):
            writer.save(records[start : start + 5000], (), "bench")
    store.close()


def opened(root: Path, environ: dict[str, str]) -> Store:
    """Open the state of a workspace."""
    from reconciler.config import load
    from reconciler.providers import capabilities
    from reconciler.stores import open_store
    from reconciler.stores.keys import Keys

    workspace = load(root, capabilities=capabilities)
    return open_store(
        workspace.state,
        root,
        workspace.name,
        resolve=lambda one: environ[one.target],
        keys=Keys(workspace.state.encryption, lambda one: environ[one.target]),
    )


def start_up(repeat: int) -> Iterator[Row]:
    """Compare `--help` and `version` with the bare interpreter."""
    bare = [sys.executable, "-c", "pass"]
    for words in (["--help"], ["version"]):
        command = [sys.executable, "-P", "-m", "reconciler", *words]
        found = pairs(
            lambda command=command: measure(command, ENVIRON, times=10),
            lambda: measure(bare, ENVIRON, times=10),
            repeat,
        )
        yield Row(
            f"`{words[0]}`",
            "bare interpreter",
            "≤ 3",
            tuple(a.seconds / b.seconds for a, b in found),
        )


def against_postgres(root: Path, count: int, repeat: int) -> Iterator[Row]:
    """Compare PostgreSQL on this machine with SQLite; nothing where no server can be run."""
    from tests.benchmarks import stores
    from tests.postgres_server import NoServer, serving

    try:
        with serving() as folder:
            for what, bound, ratios, note in stores.measured(
                root, f"host={folder} user=postgres", count, repeat
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


def encrypting(root: Path, count: int, repeat: int) -> Iterator[Row]:
    """Compare encrypted state with clear state, both in SQLite."""
    from tests.benchmarks import stores

    for what, bound, ratios, note in stores.encrypted(root, count, repeat):
        yield Row(
            f"{what}, {count:,} accounts encrypted",
            "the same clear",
            f"≤ {bound}",
            tuple(ratios),
            note,
        )


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


def importing(root: Path, count: int, repeat: int) -> Iterator[Row]:
    """Hold the memory and the pace of an import against their bounds."""
    from tests.benchmarks import imports

    for what, against, bound, ratios, note in imports.measured(root, count, repeat):
        yield Row(what, against, bound, tuple(ratios), note)


def applying(root: Path, count: int, threads: int, repeat: int) -> Iterator[Row]:
    """Compare an apply of creates with a bare httpx.Client loop of as many threads.

    Both are calls per second, of the same POST, against a fresh unthrottled emulator each.
    """
    accounts(root / "accounts/all.yaml", count)

    def apply() -> Measured:
        with emulator() as endpoint:
            (root / "reconciler.yaml").write_text(
                WORKSPACE.format(endpoint=endpoint, threads=threads)
            )
            subprocess.run(["rm", "-rf", str(root / ".reconciler")], check=True)
            return once(reconciler(root, "apply", "--auto-approve"), ENVIRON)

    def bare() -> Measured:
        with emulator() as endpoint:
            return once(
                [
                    sys.executable,
                    "-m",
                    "tests.benchmarks.bare_loop",
                    endpoint,
                    str(count),
                    str(threads),
                ],
                ENVIRON,
            )

    found = list(pairs(apply, bare, repeat))
    slowest = statistics.median(count / a.seconds for a, _ in found)
    yield Row(
        f"`apply` of {count:,} creates, {threads} threads, whole process",
        "bare `httpx.Client` loop",
        "≥ 0.7",
        tuple(b.seconds / a.seconds for a, b in found),
        f"{slowest:.0f} creates/s, parsing and planning included",
    )


@contextmanager
def emulator() -> Iterator[str]:
    """Run an unthrottled emulator as a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "reconciler", "emulator", "--rate", "0"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip().removeprefix("listening on ")
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
