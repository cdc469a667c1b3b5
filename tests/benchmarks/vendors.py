"""Refresh and drift of many recorded accounts, in batches, against an unthrottled emulator."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import Measured, Row, once, pairs, peak
from tests.benchmarks.scene import (
    ENVIRON,
    WORKSPACE,
    account,
    emulator,
    reconciler,
    record,
    workspace,
)


def rows(sizes: list[int], repeat: int) -> Iterator[Row]:
    """Compare the time an account takes, and the memory, of many accounts and of fewer."""
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as name:
        few, many = (_Recorded(Path(name), count) for count in sizes)
        for command in ("drift", "refresh"):
            found = pairs(
                lambda command=command: many.run(command),
                lambda command=command: few.run(command),
                repeat,
            )
            held = [one.peak(command) for one in (many, few)]
            yield Row(
                f"`{command}` of {many.count:,} accounts, seconds an account",
                f"of {few.count:,}",
                "≤ 1.2",
                tuple((a.seconds / many.count) / (b.seconds / few.count) for a, b in found),
                f"{found[0][0].seconds:.1f} s; {held[0]:.0f} MiB against {held[1]:.0f}",
            )


class _Recorded:
    """A workspace whose accounts are recorded, and held by the vendor as they are."""

    def __init__(self, root: Path, count: int) -> None:
        from reconciler.emulator.store import Account, Store

        self.count, self.data = count, root / f"vendor-{count}.db"
        self.home = workspace(root / f"recorded-{count}", count)
        record(self.home, known={"cn-prod": "yunxin:demo-app-key"})
        store = Store(self.data)
        accounts = (
            Account(
                "yunxin",
                "demo-app-key",
                f"user-{number:07}",
                "token",
                0.0,
                0.0,
                profile=account(number)["profile"],
                configuration=account(number)["configuration"],
            )
            for number in range(count)
        )
        store.put_all(accounts)
        store.close()

    def run(self, command: str) -> Measured:
        with emulator("--data", str(self.data)) as endpoint:
            self._at(endpoint)
            return once(reconciler(self.home, command), ENVIRON)

    def peak(self, command: str) -> float:
        with emulator("--data", str(self.data)) as endpoint:
            self._at(endpoint)
            return peak(reconciler(self.home, command), ENVIRON)

    def _at(self, endpoint: str) -> None:
        text = WORKSPACE.format(endpoint=endpoint, threads=16)
        (self.home / "reconciler.yaml").write_text(text)
