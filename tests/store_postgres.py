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
from store_sqlite import Fault

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


WRITES = ("BEGIN ISOLATION LEVEL READ", "COMMIT", "UPDATE", "INSERT", "DELETE", "COPY", "VACUUM")


def crash(connection):
    raise Fault


def breaking(at, act, *, late=False, what=""):
    """Return a connect function at whose n-th statement of all something happens, and a count.

    `act` is given the connection, before the statement is sent, or after it was answered. Counted
    are those that begin with `what`, one text or several.
    """
    done = []

    def reached(connection, query):
        text = query.decode() if isinstance(query, bytes) else str(query)
        if not text.startswith(what):
            return
        done.append(text)
        if len(done) == at or (len(done) > at and act is crash):
            act(connection)

    class Counted:
        def execute(self, query, *more, **how):
            if not late:
                reached(self.connection, query)
            found = super().execute(query, *more, **how)
            if late:
                reached(self.connection, query)
            return found

    class Cursor(Counted, psycopg.Cursor):
        def executemany(self, query, rows, **how):
            if not late:
                reached(self.connection, query)
            super().executemany(query, rows, **how)
            if late:
                reached(self.connection, query)

        def copy(self, query, *more, **how):
            reached(self.connection, query)
            return super().copy(query, *more, **how)

    class ServerCursor(Counted, psycopg.ServerCursor):
        def fetchmany(self, size=0):
            reached(self.connection, "FETCH")
            return super().fetchmany(size)

    def connect(**how):
        connection = psycopg.connect(**how, cursor_factory=Cursor)
        connection.server_cursor_factory = ServerCursor
        return connection

    return connect, done
