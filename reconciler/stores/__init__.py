"""Stores: where the recorded state is kept, one file per backend, picked by the settings."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from reconciler.errors import StateError
from reconciler.state import Store
from reconciler.stores.keys import NO_KEYS, Keys
from reconciler.values import Reference
from reconciler.workspace import StateSettings

BACKENDS = ("sqlite", "postgres", "http", "object")


def open_store(
    settings: StateSettings,
    root: Path,
    workspace: str,
    *,
    clock: Callable[[], float] = time.time,
    environ: Mapping[str, str] = os.environ,
    resolve: Callable[[Reference], str] = str,
    keys: Keys = NO_KEYS,
) -> Store:
    """Open the store that the settings name; a relative path is beneath `root`.

    `clock` returns seconds since 1970, `resolve` the value of a reference in the settings; `keys`
    are what the state is encrypted with. Nothing is created before the lock is taken. Raises
    StateError for an unknown backend and for recorded state that cannot be trusted, ConfigError for
    settings that cannot be used.
    """
    if settings.backend == "sqlite":
        from reconciler.stores.sqlite import SqliteStore

        return SqliteStore(root / settings.path, workspace, keys=keys, clock=clock)
    if settings.backend == "postgres":
        try:
            from reconciler.stores.postgres import SCHEMA, postgres_store
        except ModuleNotFoundError as missing:
            raise StateError.of(
                "no-psycopg",
                "the state backend postgres needs psycopg, which is not installed",
                hint="pip install 'im-reconciler[postgres]'",
            ) from missing

        url, schema = settings.options["url"], str(settings.options.get("schema", SCHEMA))
        url = resolve(url) if isinstance(url, Reference) else str(url)
        return postgres_store(url, schema, root, workspace, keys=keys)
    if settings.backend == "http":
        from reconciler.stores.http import HttpRemote
        from reconciler.stores.http_settings import http_settings
        from reconciler.stores.remote import RemoteStore

        found = http_settings(settings.options, root, environ, resolve)
        return RemoteStore(HttpRemote(found, clock=clock), root, workspace, keys=keys)
    if settings.backend == "object":
        from reconciler.stores.object import ObjectRemote, objects
        from reconciler.stores.remote import RemoteStore

        url = settings.options["url"]
        url = resolve(url) if isinstance(url, Reference) else str(url)
        remote = ObjectRemote(url, objects(url), clock=clock)
        return RemoteStore(remote, root, workspace, keys=keys)
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
        raise StateError.of(
            "unmovable",
            "this state is not a file that could be moved aside",
            hint="put its last good version back where it is stored, or name another address",
        )
    place = root / settings.path
    folder = place.with_name(f"{place.name}.damaged-{time.time_ns()}")
    folder.mkdir(mode=0o700)
    for end in ("", "-wal", "-shm", ".high-water"):
        file = place.with_name(place.name + end)
        if file.is_symlink() or file.exists():
            file.rename(folder / file.name)
    return folder
