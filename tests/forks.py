"""Forks: commands as processes of their own that cost no start-up, and waiting for what they do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reconciler.stores.lease import birth


@dataclass
class Child:
    """A process of the fork server."""

    forks: Forks
    pid: int
    folder: Path
    code: int | None = None

    def signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Wait for its end and return its exit code, negative for the signal that ended it."""
        if self.code is None:
            self.code = int(self.forks.ask({"do": "wait", "pid": self.pid})["code"])
        return self.code

    @property
    def ended(self) -> bool:
        """Whether it has ended, though nobody has waited for it yet."""
        return not birth(self.pid)

    def kill(self) -> int:
        """End it at once."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def reached(self) -> None:
        """Wait until it is at its point."""
        until(lambda: (self.folder / "reached").exists(), f"pid {self.pid} never got there")

    def go(self) -> None:
        """Let it go on from its point."""
        (self.folder / "go").touch()

    @property
    def out(self) -> str:
        """What it printed."""
        return self._read("out")

    @property
    def err(self) -> str:
        """What it said."""
        return self._read("err")

    def _read(self, name: str) -> str:
        path = self.folder / name
        return path.read_text() if path.exists() else ""


class Forks:
    """The client of `fork_server.py`."""

    def __init__(self, **environ: str) -> None:
        here = Path(__file__).parent
        self._served = subprocess.Popen(
            [sys.executable, "-P", str(here / "fork_server.py")],
            env={**os.environ, "PYTHONPATH": str(here.parent), **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._count = 0
        self.started: list[Child] = []

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """Give an order and return the answer."""
        assert self._served.stdin is not None
        assert self._served.stdout is not None
        self._served.stdin.write(json.dumps(order) + "\n")
        told: dict[str, Any] = json.loads(self._served.stdout.readline())
        return told

    def start(
        self, argv: list[str], environ: dict[str, str], root: Path, *, then: str = "die", **how: Any
    ) -> Child:
        """Start a command; see `fork_server.py` for `point`, `n`, `lease` and `limit`."""
        self._count += 1
        folder = root / f"process-{self._count}"
        folder.mkdir()
        order = {
            "do": "start",
            "argv": argv,
            "environ": environ,
            "then": then,
            "n": 1,
            **{name: str(folder / name) for name in ("out", "err", "reached", "go")},
            **how,
        }
        child = Child(self, int(self.ask(order)["pid"]), folder)
        self.started.append(child)
        return child

    def sweep(self) -> None:
        """End what a test left running."""
        for child in self.started:
            if child.code is None:
                child.signal(signal.SIGCONT)
                child.kill()
        self.started.clear()

    def close(self) -> None:
        """End the server."""
        assert self._served.stdin is not None
        assert self._served.stdout is not None
        self._served.stdin.close()
        self._served.wait(20)
        self._served.stdout.close()


def until(holds: Callable[[], Any], otherwise: str, seconds: float = 20.0) -> Any:
    """Return what holds as soon as it does."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if told := holds():
            return told
        time.sleep(0.005)
    raise AssertionError(otherwise)


@pytest.fixture(scope="session")
def fork_server() -> Iterator[Forks]:
    """One server of processes for all tests of this worker."""
    forks = Forks()
    yield forks
    forks.close()


@pytest.fixture
def forks(fork_server: Forks) -> Iterator[Forks]:
    """The server; what a test leaves running is ended."""
    yield fork_server
    fork_server.sweep()
