"""What the tests of the PostgreSQL store share: databases and stores."""

from __future__ import annotations

import secrets

import psycopg
import pytest
from store_conformance import Clock

from reconciler.stores.postgres import postgres_store


@pytest.fixture
def database(postgres_server):
    """The address of a new database."""
    name = f"db_{secrets.token_hex(6)}"
    with psycopg.connect(f"{postgres_server} dbname=postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield f"{postgres_server} dbname={name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def place(database, tmp_path):
    """Where the state is, for `store_child`."""
    return "postgres", database, str(tmp_path)


@pytest.fixture
def opens(database, clock, tmp_path):
    """Open the state as often as wanted; all are closed at the end."""
    opened = []

    def open_(url=database, schema="reconciler", root=tmp_path, workspace="ws", **how):
        opened.append(postgres_store(url, schema, root, workspace, **{"clock": clock, **how}))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


FIXTURES = (clock, database, opens, place)
"""For a module that names them so."""
