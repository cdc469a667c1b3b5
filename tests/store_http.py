"""What the tests of the HTTP store share: a server, a store on it, and a process that dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
from state_server import PASSWORD, USER
from store_conformance import Clock, holder, intent, record, run

from reconciler.state import Settlement, Status
from reconciler.stores.http import HttpRemote
from reconciler.stores.http_settings import http_settings
from reconciler.stores.remote import RemoteStore
from reconciler.values import Reference

LOGIN = {"username": USER, "password": Reference("env:STATE_PASSWORD")}


def remote(options, root=Path("/nonexistent"), **how):
    """Return a remote with these settings and the test server's login."""
    settings = http_settings({**LOGIN, **options}, root, {}, lambda _: PASSWORD)
    return HttpRemote(settings, **how)


class Claiming(RemoteStore):
    """A store whose writer writes at once, as GitLab tells nothing of a holder before that."""

    @contextmanager
    def lock(self, holder, timeout=0.0):
        with super().lock(holder, timeout) as writer:
            writer.claim()
            yield writer


@contextmanager
def opening(server, clock, home, kind=RemoteStore):
    """Give what opens the state of the server as often as wanted; all are closed at the end."""
    opened = []

    def open_(root=home, workspace="ws", sleep=clock.sleep, lease=60.0, deadline=60.0, **how):
        how = {"clock": clock, "sleep": lambda _: None, "deadline": deadline, **how}
        made = remote(server.options, root, **how)
        opened.append(kind(made, root, workspace, lease=lease, sleep=sleep))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


def fill(store):
    """Record ten accounts."""
    with store.lock(holder()) as writer:
        writer.begin(run())
        writer.save([record(n) for n in range(10)], [], "import")


def write(store, n=50):
    """Write an intent and its outcome."""
    with store.lock(holder()) as writer:
        writer.begin(run("run-2"))
        writer.intend([intent("i-1", n, run="run-2")])
        writer.settle([Settlement("i-1", Status.CONFIRMED, record=record(n))])


def die_with_lock(options, root, wrote):
    """Run a process that takes the lock, perhaps writes, and is killed."""
    paths = [str(Path(__file__).parent.parent), str(Path(__file__).parent)]
    words = [sys.executable, __file__, str(root), wrote, *(f"{k}={v}" for k, v in options.items())]
    subprocess.run(words, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, check=False)


def main():
    root, wrote, *options = sys.argv[1:]
    found = remote(dict(option.split("=", 1) for option in options), clock=Clock())
    store = RemoteStore(found, Path(root), "ws")
    with store.lock(holder("child")) as writer:
        if wrote == "wrote":
            writer.begin(run("child"))
            writer.intend([intent("lost", run="child")])
            writer.save([record(77)], [], "import")
        os.kill(os.getpid(), signal.SIGKILL)


TIMEOUT = httpx.Timeout(0.3)


def until(true, seconds=20):
    """Wait until something is so that another thread or process does."""
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.01)


if __name__ == "__main__":
    main()
