"""What the tests of the PostgreSQL store share: databases and stores."""

from __future__ import annotations

import secrets

import psycopg
import pytest
from store_conformance import Clock
from store_sqlite import Fault

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
