"""What the tests of the HTTP store share: a server, and a store on it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from state_server import PASSWORD, USER, serving
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
    def lock(self, holder, timeout=0.0, apps=None):
        with super().lock(holder, timeout, apps) as writer:
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


TIMEOUT = httpx.Timeout(0.3)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["plain", "gitlab"])
def server(request, clock):
    with serving(gitlab=request.param == "gitlab", clock=clock) as state:
        yield state


@pytest.fixture
def opens(server, clock, tmp_path):
    """Open the state of the server."""
    with opening(server, clock, tmp_path) as open_:
        yield open_


@pytest.fixture
def filled(server, opens):
    """A server that holds ten records, seen by a run from this folder; nobody has them open."""
    fill(opens())
    return server


FIXTURES = (clock, filled, opens, server)
"""For a module that names them so."""
