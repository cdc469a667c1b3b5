"""Stores: where the recorded state is kept, one file per backend, picked by the settings."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from reconciler.errors import StateError
from reconciler.state import Store
from reconciler.workspace import StateSettings

BACKENDS = ("sqlite",)


def open_store(
    settings: StateSettings, root: Path, workspace: str, *, clock: Callable[[], float] = time.time
) -> Store:
    """Open the store that the settings name; a relative path is beneath `root`.

    `clock` returns seconds since 1970. Nothing is created before the lock is taken. Raises
    StateError for an unknown backend and for recorded state that cannot be trusted.
    """
    if settings.backend == "sqlite":
        from reconciler.stores.sqlite import SqliteStore

        return SqliteStore(root / settings.path, workspace, clock=clock)
    raise StateError.of(
        "unknown-backend",
        f"the state backend {settings.backend!r} is not known to this version",
        hint=f"This version has: {', '.join(BACKENDS)}.",
    )


def set_aside(settings: StateSettings, root: Path) -> Path:
    """Move recorded state that cannot be used out of the way; return the folder it is in now.

    Raises StateError where the backend has nothing that could be moved.
    """
    if settings.backend != "sqlite":
        raise StateError.of("unmovable", "this state is not a file that could be moved aside")
    place = root / settings.path
    folder = place.with_name(f"{place.name}.damaged-{time.time_ns()}")
    folder.mkdir(mode=0o700)
    for end in ("", "-wal", "-shm", ".high-water"):
        file = place.with_name(place.name + end)
        if file.is_symlink() or file.exists():
            file.rename(folder / file.name)
    return folder
