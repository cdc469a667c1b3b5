"""A process that uses a store as it is told on its command line: to be killed, stopped or raced."""

from __future__ import annotations

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


def opened(place, lease):
    """Open the file at `place`; or, where it has two lines, the database at the second."""
    root, _, database = place.partition("\n")
    if not database:
        return SqliteStore(Path(place), "ws", lease=lease)
    from reconciler.stores.postgres import postgres_store

    return postgres_store(database, "reconciler", Path(root), "ws", lease=lease)


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


def queue(store, rounds):
    """Apply a little as often as told, waiting for the lock each time; say when and what."""
    for n in range(rounds):
        mine = f"{os.getpid()}-{n}"
        with store.lock(holder(mine), timeout=100) as writer:
            fence, entered = store.held().fence, time.monotonic_ns()
            writer.begin(run(mine))
            writer.intend([intent(mine, os.getpid(), run=mine)])
            done = Settlement(mine, Status.CONFIRMED, record=record(os.getpid(), f"{n}-"))
            writer.settle([done])
            left = time.monotonic_ns()
        say(fence, entered, left, mine)


def abroad(store):
    """Take the lock as another host and be killed."""
    with store.lock(holder("child", host="elsewhere")):
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
    store = opened(place, float(lease))
    does = {"die": die, "work": work, "race": race, "stopped": stopped}
    does.update({"queue": queue, "abroad": abroad})
    does[what](store, *map(int, more))
    store.close()


if __name__ == "__main__":
    main()
