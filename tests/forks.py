"""Forks: commands as processes of their own that cost no start-up, and waiting for what they do."""

from __future__ import annotations

import atexit
import functools
import marshal
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from reconciler.stores.held import birth

SERVER = Path(__file__).with_name("fork_server.py")


class Child:
    """A process of the fork server; what it prints goes to files, so it waits for no reader."""

    def __init__(self, asked: socket.socket, folder: Path) -> None:
        self._told, self.folder = asked.makefile(), folder
        self.pid = int(self._told.readline())
        self.code: int | None = None
        self.peak, self.seconds = 0, 0.0
        """Bytes of memory at most, and seconds of the processor, once it has ended."""

    def signal(self, number: int) -> None:
        """Send a signal, if it has not ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self) -> int:
        """Wait for its end and return its exit code, negative for the signal that ended it."""
        if self.code is None:
            code, peak, seconds = self._told.readline().split()
            self._told.close()
            self.code, self.peak, self.seconds = int(code), int(peak) * 1024, float(seconds)
        return self.code

    @property
    def ended(self) -> bool:
        """Whether it has ended, though nobody has waited for it yet."""
        return not birth(self.pid)

    def kill(self) -> int:
        """End it at once."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def stopped(self) -> None:
        """Wait until it has stopped itself."""
        stat = Path(f"/proc/{self.pid}/stat")
        until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "it does not stop")

    def reached(self) -> None:
        """Wait until it is at its point."""
        until(lambda: (self.folder / "reached").exists(), f"pid {self.pid} never got there")

    def go(self) -> None:
        """Let it go on from its point."""
        (self.folder / "go").touch()

    @property
    def out(self) -> str:
        """What it printed."""
        return (self.folder / "out").read_text()

    def said(self, text: str) -> None:
        """Wait until it has printed some text."""
        until(lambda: text in self.out, f"pid {self.pid} never said {text!r}")

    @property
    def err(self) -> str:
        """What it said."""
        return (self.folder / "err").read_text()


class Forks:
    """A server of processes."""

    def __init__(self, **environ: str) -> None:
        self.folder = Path(tempfile.mkdtemp(dir="/tmp"))  # a socket's path has to be short
        self.place = str(self.folder / "sock")
        self._served = subprocess.Popen(
            [sys.executable, "-P", str(SERVER), "serve", self.place],
            env={**os.environ, "PYTHONPATH": f"{SERVER.parent.parent}:{SERVER.parent}", **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._served.stdout is not None
        assert self._served.stdout.readline() == b"ready\n"
        self._count = 0
        self.started: list[Child] = []

    def start(
        self,
        argv: Sequence[str] = (),
        environ: Mapping[str, str] = os.environ,
        *,
        then: str = "die",
        **how: Any,
    ) -> Child:
        """Start a command, or what `run` names; see `fork_server.py` for `point`, `lease`, …"""
        self._count += 1
        folder = self.folder / str(self._count)
        folder.mkdir()
        order = marshal.dumps(
            {
                "argv": list(argv),
                "environ": dict(environ),
                "cwd": os.getcwd(),
                "then": then,
                "n": 1,
                **{name: str(folder / name) for name in ("reached", "go")},
                **how,
            }
        )
        with (
            socket.socket(socket.AF_UNIX) as asking,
            open(os.devnull) as nothing,
            open(folder / "out", "wb") as out,
            open(folder / "err", "wb") as err,
        ):
            asking.connect(self.place)
            streams = [one.fileno() for one in (nothing, out, err)]
            socket.send_fds(asking, [len(order).to_bytes(4, "big")], streams)
            asking.sendall(order)
            child = Child(asking, folder)
        self.started.append(child)
        return child

    @property
    def line(self) -> str:
        """A line of shell that is `reconciler`, in a process of the server."""
        return f'exec "{sys.executable}" -I -S "{SERVER}" "{self.place}" "$@"'

    def sweep(self) -> None:
        """End what a test left running."""
        while self.started:
            if (child := self.started.pop()).code is None:
                child.kill()

    def close(self) -> None:
        """End the server and what it started."""
        self.sweep()
        assert self._served.stdin is not None
        assert self._served.stdout is not None
        self._served.stdin.close()
        self._served.wait(20)
        self._served.stdout.close()
        shutil.rmtree(self.folder)


def until(
    holds: Callable[[], Any], otherwise: str = "it did not happen", seconds: float = 60.0
) -> Any:
    """Return what holds as soon as it does."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if told := holds():
            return told
        time.sleep(0.005)
    raise AssertionError(otherwise)


@functools.cache
def forking() -> Forks:
    """Return the server for all tests of this process, started when it is first asked for."""
    server = Forks()
    atexit.register(server.close)
    return server
