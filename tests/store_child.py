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
    store = SqliteStore(Path(place), "ws", lease=float(lease))
    {"die": die, "work": work, "race": race, "stopped": stopped}[what](store, *map(int, more))
    store.close()


if __name__ == "__main__":
    main()
