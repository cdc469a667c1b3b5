"""The embedded store: recorded state in one SQLite file, for one workspace on one machine."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from reconciler.stores.keys import NO_KEYS, Keys
from reconciler.stores.sqlite_file import Connect, SqliteFile, steps_of_this_version
from reconciler.stores.table_store import LEASE_SECONDS, TableStore


class SqliteStore(TableStore):
    """The store on the file at `path`, which need not exist yet.

    Opening raises StateError for a file that is not wholly this workspace's newest state.
    `clock` is in seconds since 1970, `lease` and `sleep` in seconds; `connect` makes connections
    as sqlite3.connect does.
    """

    def __init__(
        self,
        path: Path,
        workspace: str,
        *,
        keys: Keys = NO_KEYS,
        clock: Callable[[], float] = time.time,
        connect: Connect = sqlite3.connect,
        lease: float = LEASE_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._file = SqliteFile(path.absolute(), workspace, clock, connect, steps_of_this_version())
        super().__init__(self._file, keys=keys, lease=lease, sleep=sleep)
        self._found()

    def backup(self, target: Path) -> None:
        """Write the state as it is now to a new file, mode 0600; never overwrites.

        Raises StateError.
        """
        self._file.copy(target.absolute())
