"""The store for teams: recorded state in a schema of a PostgreSQL database, for many workspaces."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from reconciler.stores.keys import NO_KEYS, Keys
from reconciler.stores.postgres_place import SCHEMA, Connect, PostgresPlace
from reconciler.stores.table_store import LEASE_SECONDS, TableStore

__all__ = ["SCHEMA", "postgres_store"]


def postgres_store(
    url: str,
    schema: str,
    root: Path,
    workspace: str,
    *,
    keys: Keys = NO_KEYS,
    clock: Callable[[], float] | None = None,
    connect: Connect = psycopg.connect,
    lease: float = LEASE_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> TableStore:
    """Return the store in a schema of the database at `url`; nothing is asked of it yet.

    `root` is the workspace's folder, where the high-water mark goes.
    """
    place = PostgresPlace(url, schema, root, workspace, clock=clock, connect=connect, sleep=sleep)
    return TableStore(place, keys=keys, lease=lease, sleep=sleep)
