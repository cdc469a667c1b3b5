"""Processes that use a store as they are told: to be killed, stopped or raced."""

from __future__ import annotations

import os
import signal
import time
import uuid
from itertools import pairwise
from pathlib import Path

from store_conformance import Clock, holder, intent, record, run

from reconciler.accounts import Address
from reconciler.errors import Locked
from reconciler.state import Intent, Record, Settlement, Status
from reconciler.stores.remote import RemoteStore
from reconciler.stores.sqlite import SqliteStore
from tests.forks import forking


def child(what, place, *more, lease=60.0):
    """Start a function of this module on the state at `place`, as `opened` knows it."""
    words = ("sqlite", str(place)) if isinstance(place, Path) else place
    return forking().start(run=f"store_child:{what}", args=[(*words, lease), *more])


def turns(children):
    """Wait for racers; return their turns in order, no two at a time and each under its fence."""
    found = []
    for one in children:
        assert one.wait() == 0, one.err
        found += [line.split() for line in one.out.splitlines()]
    found = sorted(
        (int(fence), int(entered), int(left), *id) for fence, entered, left, *id in found
    )
    assert len({fence for fence, *_ in found}) == len(found)
    assert all(left <= entered for (_, _, left, *_), (_, entered, *_) in pairwise(found))
    return found


def opened(place, clock=None, **how):
    """Open what a place names: a kind of store, where it is, and the lease.

    Without a clock a remote has one that stands, as in most of its tests.
    """
    match place:
        case ("sqlite", path, lease):
            return SqliteStore(Path(path), "ws", lease=lease, **how)
        case ("postgres", url, root, lease):
            from reconciler.stores.postgres import postgres_store

            return postgres_store(url, "reconciler", Path(root), "ws", lease=lease, **how)
        case ("object", url, root, lease):
            from store_object import made

            return made(url, Path(root), clock or Clock(), lease=lease, **how)
        case ("http", options, root, lease):
            from store_http import remote

            found = remote(options, clock=clock or Clock())
            return RemoteStore(found, Path(root), "ws", lease=lease, **how)
    raise ValueError(place)


def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def die(place, apps=None):
    """Take the lock and be killed."""
    with opened(place).lock(holder("child"), apps=apps):
        os.kill(os.getpid(), signal.SIGKILL)


def die_after_writing(place):
    """Take the lock, write an intent and a record, and be killed."""
    with opened(place).lock(holder("child")) as writer:
        writer.begin(run("child"))
        writer.intend([intent("lost", run="child")])
        writer.save([record(77)], [], "import")
        os.kill(os.getpid(), signal.SIGKILL)


def work(place):
    """Write in small groups and say what was acknowledged, until killed."""
    mine = uuid.uuid4().hex[:8]
    store = opened(place)
    with store.lock(holder("child")) as writer:
        writer.begin(run(mine))
        say("locked", store.held().fence)
        for n in range(100_000):
            ids = [f"{mine}-{n}-{k}" for k in range(3)]
            writer.intend([intent(id, k, run=mine) for k, id in enumerate(ids)])
            say("intended", *ids)
            name = f"{mine}-{n}-"
            writer.settle(
                [
                    Settlement(id, Status.CONFIRMED, record=record(k, name))
                    for k, id in enumerate(ids)
                ]
            )
            say("settled", name, *ids)


def race(place, rounds):
    """Take and leave the lock, and say when it was entered and left."""
    done, store = 0, opened(place)
    while done < rounds:
        try:
            with store.lock(holder(f"child-{os.getpid()}")) as writer:
                fence = store.held().fence
                entered = time.monotonic_ns()
                writer.begin(run(f"{os.getpid()}-{done}"))
                left = time.monotonic_ns()
            say(fence, entered, left)
            done += 1
        except Locked:
            time.sleep(0.01)


def apply_app(place, app, rounds):
    """Stop oneself once the app is locked; when woken, change one of five accounts a round."""
    with opened(place).lock(holder(app), apps=[app]) as writer:
        writer.begin(run(app))
        os.kill(os.getpid(), signal.SIGSTOP)
        for n in range(rounds):
            where = Address(f"{app}/user-{n % 5:05d}")
            action = {"address": where, "action": "update", "changes": []}
            writer.intend([Intent(f"{app}-{n}", app, where, action)])
            changed = Record(where, {"profile": {"name": f"{n}-{n % 5}"}}, False)
            writer.settle([Settlement(f"{app}-{n}", Status.CONFIRMED, record=changed)])


def queue(place, rounds):
    """Apply a little as often as told, waiting for the lock each time; say when and what.

    Whoever waits here looks more often than it would, as all of them wait for one another.
    """
    store = opened(place, time.time, sleep=lambda _: time.sleep(0.25))
    for n in range(rounds):
        mine = f"{os.getpid()}-{n}"
        with store.lock(holder(mine), timeout=1e9) as writer:
            entered = time.monotonic_ns()
            writer.begin(run(mine))
            writer.intend([intent(mine, os.getpid(), run=mine)])
            done = Settlement(mine, Status.CONFIRMED, record=record(os.getpid(), f"{n}-"))
            writer.settle([done])
            # GitLab tells of a holder only once it has written.
            fence, left = store.held().fence, time.monotonic_ns()
        say(fence, entered, left, mine)


def abroad(place, apps=None):
    """Take the lock as another host, write, and be killed."""
    with opened(place, time.time).lock(holder("child", host="elsewhere"), apps=apps) as writer:
        writer.begin(run("abroad"))
        os.kill(os.getpid(), signal.SIGKILL)


def stopped(place):
    """Stop oneself inside the lock; when woken, try to write and say what came of it."""
    with opened(place, time.time).lock(holder("child", host="elsewhere")) as writer:
        writer.begin(run("child"))
        os.kill(os.getpid(), signal.SIGSTOP)
        for write in (writer.check, lambda: writer.save([record(1, "late")], [], "import")):
            try:
                write()
                say("written")
            except Locked:
                say("refused")
