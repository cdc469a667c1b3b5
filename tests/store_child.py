"""A process that uses a store as it is told on its command line: to be killed, stopped or raced."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import uuid
from pathlib import Path

from store_conformance import holder, intent, record, run

from reconciler.errors import Locked
from reconciler.state import Settlement, Status
from reconciler.stores.sqlite import SqliteStore


def opened(place, lease, **how):
    """Open the file at `place`; or, where it has two lines, what the second says.

    That is `file:` of a folder of objects, `http:` of the test server for them, the settings of a
    server for whole documents, or the address of a database. The first is the folder of the mark.
    """
    root, _, there = place.partition("\n")
    if not there:
        return SqliteStore(Path(place), "ws", lease=lease, **how)
    if there.startswith(("file:", "http:")):
        from store_object import made

        return made(there, Path(root), time.time, lease=lease, **how)
    if there.startswith("{"):
        from store_http import remote

        from reconciler.stores.remote import RemoteStore

        return RemoteStore(remote(json.loads(there)), Path(root), "ws", lease=lease, **how)
    from reconciler.stores.postgres import postgres_store

    return postgres_store(there, "reconciler", Path(root), "ws", lease=lease, **how)


def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def die(store):
    """Take the lock and be killed."""
    with store.lock(holder("child")):
        os.kill(os.getpid(), signal.SIGKILL)


def work(store):
    """Write in small groups and say what was acknowledged, until killed."""
    mine = uuid.uuid4().hex[:8]
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


def race(store, rounds):
    """Take and leave the lock, and say when it was entered and left."""
    done = 0
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
            time.sleep(0.002)


def turn(store, mine, n, timeout=100.0):
    """Wait for the lock and apply a little to one account; return when, and under which fence."""
    with store.lock(holder(mine), timeout=timeout) as writer:
        entered = time.monotonic_ns()
        writer.begin(run(mine))
        writer.intend([intent(mine, n, run=mine)])
        writer.settle([Settlement(mine, Status.CONFIRMED, record=record(n, f"{mine}-"))])
        fence = store.held().fence
        return fence, entered, time.monotonic_ns(), mine


def queue(store, rounds):
    """Apply a little as often as told; say when and what."""
    for n in range(rounds):
        say(*turn(store, f"{os.getpid()}-{n}", os.getpid(), timeout=1e9))


def abroad(store):
    """Take the lock as another host, write, and be killed."""
    with store.lock(holder("child", host="elsewhere")) as writer:
        writer.begin(run("abroad"))
        say("locked")
        os.kill(os.getpid(), signal.SIGKILL)


def stopped(store):
    """Stop oneself inside the lock; when woken, try to write and say what came of it."""
    with store.lock(holder("child", host="elsewhere")) as writer:
        writer.begin(run("child"))
        say("locked")
        os.kill(os.getpid(), signal.SIGSTOP)
        for write in (writer.check, lambda: writer.save([record(1, "late")], [], "import")):
            try:
                write()
                say("written")
            except Locked:
                say("refused")


def main():
    what, place, lease, *more = sys.argv[1:]
    # Whoever waits here looks more often than it would, as all of them wait for one another.
    how = {"sleep": lambda _: time.sleep(0.25)} if what == "queue" else {}
    store = opened(place, float(lease), **how)
    does = {"die": die, "work": work, "race": race, "stopped": stopped}
    does.update({"queue": queue, "abroad": abroad})
    does[what](store, *map(int, more))
    store.close()


if __name__ == "__main__":
    main()
