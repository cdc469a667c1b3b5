"""What the tests of the PostgreSQL store share: a server, databases, stores and processes."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from postgres_server import NoServer, serving
from store_conformance import Clock

from reconciler.stores.postgres import postgres_store

CHILD = Path(__file__).with_name("store_child.py")


@pytest.fixture(scope="session")
def postgres_server():
    """The address of a server, without a database."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(serving())
        except NoServer as why:
            pytest.skip(str(why))
        yield f"host={folder} user=postgres"


@pytest.fixture
def database(postgres_server):
    """The address of a new database."""
    name = f"db_{secrets.token_hex(6)}"
    with psycopg.connect(f"{postgres_server} dbname=postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield f"{postgres_server} dbname={name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_clock():
    return Clock()


@pytest.fixture
def postgres_place(database, tmp_path):
    """Where the state is, as one text: the folder of the mark, then the address."""
    return f"{tmp_path}\n{database}"


@pytest.fixture
def opens_postgres(database, postgres_clock, tmp_path):
    """Open the state as often as wanted; all are closed at the end."""
    opened = []

    def open_(url=database, schema="reconciler", root=tmp_path, workspace="ws", **how):
        opened.append(
            postgres_store(url, schema, root, workspace, **{"clock": postgres_clock, **how})
        )
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


def child(what, place, *more, lease=60, **how):
    """Start `store_child.py` on the state at `place`."""
    paths = [str(CHILD.parent.parent), str(CHILD.parent)]
    return subprocess.Popen(
        [sys.executable, str(CHILD), what, str(place), str(lease), *map(str, more)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        text=True,
        **how,
    )
