"""Reads a workspace with real processes, which fail where they are told to; a process of its own.

`python shared_processes.py ROOT` has no thread, so it may fork; it prints what came of each case.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from config_capabilities import TABLES

from reconciler.config import crew, cuts, load, shared, stream
from reconciler.errors import ReconcilerError

SMALL = 96


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def killed_half_way():
    """Die in the middle of the next result."""
    write = os.write

    def half(end, data):
        write(end, data[: len(data) // 2])
        killed()

    os.write = half


def out_of_memory():
    raise MemoryError


FAULTS = {
    "killed": killed,
    "half": killed_half_way,
    "memory": out_of_memory,
    "left": lambda: os._exit(0),
}


class Faulty(shared.Shared):
    """Readers of which each fails at its n-th part."""

    fault, at, count = "", 0, 0

    def _work(self, number, part):
        Faulty.count += 1
        if Faulty.count == self.at:
            FAULTS[self.fault]()
        return super()._work(number, part)


def read(root: Path, processes: int):
    """Return the accounts, what failed, and whether a process is left."""
    stream.shared = lambda root, files, judge: (
        Faulty(root, files, judge, processes) if processes else None
    )
    workspace = load(root, capabilities=TABLES.get)
    tables = {name: TABLES[app.type] for name, app in workspace.apps.items()}
    desired = stream.Desired(workspace, tables, [])
    accounts, failure = [], ""
    try:
        accounts.extend(desired)
    except ReconcilerError as failed:
        failure = failed.diagnostics[0].id + ": " + failed.diagnostics[0].summary
    finally:
        desired.close()
    try:
        os.waitpid(-1, os.WNOHANG)
        left = True
    except ChildProcessError:
        left = False
    return accounts, failure, left


def main(root: Path) -> None:
    cuts.PIECE = SMALL
    assert crew.cores() > 1 or len(os.sched_getaffinity(0)) == 1
    # Whose children end unseen, or are somebody else's to wait for, has none.
    for how in (signal.SIG_IGN, lambda *_: None):
        signal.signal(signal.SIGCHLD, how)
        assert crew.cores() == 1
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    alone, failure, _ = read(root, 0)
    assert not failure
    told = []
    for processes in (1, 2, 3):
        accounts, failure, left = read(root, processes)
        told.append(["none", 0, accounts == alone, failure, left])
    for Faulty.fault in FAULTS:
        for Faulty.at in (1, 2, 3, 5, 9):
            Faulty.count = 0
            accounts, failure, left = read(root, 2)
            told.append(
                [Faulty.fault, Faulty.at, accounts == alone[: len(accounts)], failure, left]
            )
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
