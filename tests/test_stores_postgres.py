"""The PostgreSQL store: conformance, many workspaces, and what it refuses."""

import traceback
from pathlib import Path

import psycopg
import pytest
from pooler import pooling
from store_conformance import (
    StoreConformance,
    holder,
    intent,
    record,
    run,
    seen,
    where,
)
from store_conformance_apps import AppsConformance
from store_conformance_journal import JournalConformance
from store_conformance_lock import LockConformance
from store_postgres import FIXTURES
from store_sqlite import fill

from reconciler.errors import ConfigError, StateError
from reconciler.stores import open_store
from reconciler.values import Reference
from reconciler.workspace import StateSettings
from tests.world import World

clock, database, opens, place = FIXTURES


@pytest.fixture
def stored(database):
    """Tell every row but the lock's by where it lies and which transaction wrote it."""

    def rows():
        tables = ("meta", "accounts", "serials", "runs", "journal")
        with psycopg.connect(f"{database} options='-c search_path=reconciler'") as connection:
            return [
                connection.execute(f"SELECT xmin::text, ctid::text FROM {table}").fetchall()
                for table in tables
            ]

    return rows


class TestStore(StoreConformance):
    """What every store keeps, kept in PostgreSQL."""


class TestJournal(JournalConformance):
    """The journal of every store, in PostgreSQL."""


class TestLock(LockConformance):
    """The lock of every store, in PostgreSQL."""


class TestApps(AppsConformance):
    """The locks of single apps, in PostgreSQL."""


# Settings


def test_open_store_picks_the_backend(database, tmp_path):
    """The settings name backend, database and schema; the reference is resolved, not told."""
    settings = StateSettings(
        "postgres", options={"url": Reference("env:STATE_URL"), "schema": "team_a"}
    )
    asked = []
    store = open_store(
        settings, tmp_path, "ws", resolve=lambda one: asked.append(one.text) or database
    )
    fill(store)
    store.close()
    assert asked == ["env:STATE_URL"]
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT workspace FROM team_a.meta").fetchall() == [("ws",)]


@pytest.mark.parametrize("schema", ["", "A", "a-b", 'a"b', "a b", "1a", "a" * 64])
def test_odd_schemas_are_refused(opens, schema):
    """A schema is a plain lower-case name."""
    with pytest.raises(ConfigError, match="schema"):
        opens(schema=schema)


@pytest.mark.parametrize(
    "url", ["hunter2 nonsense", "postgresql://u:hunter2@h/d?nonsense=1", "mysql://u:hunter2@h/d"]
)
def test_bad_url_is_not_told(opens, url):
    """What is no address is refused without a word of it, also in the chain of causes."""
    with pytest.raises(ConfigError) as refused:
        opens(url)
    assert "hunter2" not in "".join(traceback.format_exception(refused.value))


def test_server_that_is_not_there(opens, tmp_path):
    """A server that cannot be reached is an error that names host, database and schema only."""
    store = opens(f"host={tmp_path} user=ann password=hunter2 dbname=team")
    for ask in (store.identity, store.held, lambda: store.lock(holder()).__enter__()):
        with pytest.raises(StateError, match="cannot be reached") as refused:
            ask()
        told = "".join(traceback.format_exception(refused.value))
        assert "hunter2" not in told
        assert f"{tmp_path}:5432/team, schema reconciler" in told


def test_reading_makes_nothing(opens, database, tmp_path):
    """A store that is only read makes no schema and leaves no file behind."""
    store = opens()
    assert seen(store)[1:] == ([], [], (), {}, [])
    with pytest.raises(StateError, match="nobody"):
        store.force_unlock("no", run())
    with psycopg.connect(database) as connection:
        found = connection.execute("SELECT to_regnamespace('reconciler')").fetchone()
    assert found == (None,)
    assert not list(tmp_path.iterdir())


# Many workspaces


def test_workspaces_do_not_see_each_other(opens):
    """Two workspaces in one schema have locks, serials, journals and records of their own."""
    one, two = opens(workspace="one"), opens(workspace="two")
    fill(one)
    content = seen(one)
    assert seen(two)[1:] == ([], [], (), {}, [])
    with one.lock(holder()), two.lock(holder()) as writer:
        writer.begin(run())
        writer.bind({"cn": "app-2"})
        writer.save([record(3, "Z")], [where(0)], "import")
        writer.intend([intent("i-0")])
        assert two.held().id != one.held().id
    two.refresh()
    assert seen(opens(workspace="one")) == content
    assert [r.document["profile"]["name"] for r in two.everything()] == ["Z3"]
    assert (two.identity().serial, two.apps(), two.chain()) == (1, {"cn": "app-2"}, 1)


# What is refused


@pytest.mark.parametrize(
    ("sql", "read"),
    [
        ("UPDATE accounts SET banned = 1", lambda s: list(s.everything())),
        ("UPDATE accounts SET look_digest = NULL WHERE address ~ '3$'", lambda s: list(s.index())),
        ("DELETE FROM accounts WHERE address ~ '3$'", lambda s: list(s.index())),
        ("DELETE FROM journal WHERE status = 'intent'", lambda s: s.unresolved()),
        ("UPDATE journal SET message = 'x' WHERE seq = 2", lambda s: list(s.history())),
        ("UPDATE runs SET operator = 'x'", lambda s: list(s.history())),
        ("UPDATE meta SET serial = 1", lambda s: s.identity()),
        ("UPDATE serials SET content = '\\x00'", lambda s: s.identity()),
        (
            "UPDATE serials SET at = '' WHERE serial = 1; UPDATE serials SET prev = '\\x00'"
            " WHERE serial = 1",
            lambda s: s.chain(),
        ),
        ("UPDATE lock SET fence = 0", lambda s: s.held()),
        ("DELETE FROM lock", lambda s: s.held()),
        ("DROP TABLE journal", lambda s: list(s.history())),
    ],
)
def test_what_was_changed_is_found(opens, database, sql, read):
    """A row that somebody changed or removed behind our back is found when it is read."""
    store = opens()
    fill(store)
    store.close()
    with psycopg.connect(f"{database} options='-c search_path=reconciler'") as connection:
        connection.execute(sql)
    with pytest.raises(StateError, match="damaged"):
        read(opens())


def test_newer_schema_is_refused(opens, database):
    """Tables that a newer version made are refused, for reader and lock, asking for an upgrade."""
    fill(opens())
    with psycopg.connect(database) as connection:
        connection.execute("INSERT INTO reconciler.schema_version VALUES (9)")
    store = opens()
    for ask in (store.identity, lambda: store.lock(holder()).__enter__()):
        with pytest.raises(StateError, match="newer"):
            ask()


def test_older_database_is_refused(opens, postgres_server, database, tmp_path):
    """A database that was put back from a copy is older than the mark here, and refused."""
    store = opens()
    fill(store)
    store.close()
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    with psycopg.connect(f"{postgres_server} dbname=postgres", autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}_old TEMPLATE {name}")
        store = opens()
        with store.lock(holder()) as writer:
            writer.begin(run())
            writer.save([record(70)], [], "import")
        store.close()
        admin.execute(f"DROP DATABASE {name}")
        admin.execute(f"ALTER DATABASE {name}_old RENAME TO {name}")
        with pytest.raises(StateError, match="rolled back"):
            opens().identity()
        with pytest.raises(StateError, match="rolled back"):
            opens().lock(holder()).__enter__()
        admin.execute(f"DROP DATABASE {name}")
        admin.execute(f"CREATE DATABASE {name}")
    with pytest.raises(StateError, match="missing"):
        opens().identity()
    (mark,) = (tmp_path / ".reconciler").glob("postgres-*.high-water")
    mark.unlink()
    assert opens().identity().serial == 0


def test_pool_of_transactions_is_refused(opens, postgres_server, database):
    """A proxy that hands backends out per transaction is refused, one that keeps them is not."""
    given = psycopg.conninfo.conninfo_to_dict(database)
    for shared in (True, False):
        with pooling(f"{given['host']}/.s.PGSQL.5432", shared=shared) as pooler:
            store = opens(
                f"host=127.0.0.1 port={pooler.port} user=postgres dbname={given['dbname']}"
                " sslmode=disable gssencmode=disable"
            )
            if shared:
                with pytest.raises(StateError, match="pools transactions"):
                    store.identity()
            else:
                fill(store)
                assert len(list(store.index())) == 10
            store.close()


# What is written


def test_intents_in_doubt_are_found_by_an_index(opens, database):
    """Finding the intents in doubt reads no settled row, however many there are."""
    fill(opens(), 3000)
    with psycopg.connect(f"{database} options='-c search_path=reconciler'") as connection:
        connection.execute("ANALYZE journal")
        plan = connection.execute(
            "EXPLAIN SELECT * FROM journal WHERE workspace = 'ws'"
            " AND status IN ('intent', 'ambiguous') ORDER BY seq"
        ).fetchall()
    assert "journal_in_doubt" in str(plan)


def test_erasing_leaves_nothing_in_the_tables(opens, postgres_server, database):
    """What was erased is in none of the files that hold records and journal."""
    store = opens()
    with store.lock(holder()) as writer:
        writer.begin(run())
        writer.save([record(n, "canary-") for n in range(2)], [], "import")

    def found():
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
            (data,) = connection.execute("SHOW data_directory").fetchone()
            paths = connection.execute(
                "SELECT pg_relation_filepath('reconciler.accounts'),"
                " pg_relation_filepath('reconciler.journal')"
            ).fetchone()
        return b"canary-1" in b"".join(Path(data, path).read_bytes() for path in paths)

    assert found()
    with store.lock(holder()) as writer:
        writer.begin(run("run-2", "erase"))
        writer.erase(where(1), record(1, "hidden"), lambda action: action)
    assert not found()


# The command line


def test_same_plan_against_another_store(database, tmp_path, endpoint):
    """Applied against the emulator, drift finds nothing; state moved between stores plans none."""
    world = World(tmp_path, endpoint)
    world.environ["STATE_URL"] = database

    def does(*words):
        ended = world.run(*words)
        assert ended.code == 0, ended.err
        assert database not in ended.out + ended.err
        return ended.out

    def moves(more):
        kept = world.write("pulled.json", does("state", "pull"))
        world.workspace(more)
        does("state", "push", str(kept), "--auto-approve")
        assert "No changes." in does("plan")

    world.workspace("state: {backend: postgres, url: env:STATE_URL}")
    world.accounts("".join(f"a{n}:\n  profile: {{name: N{n}}}\n" for n in range(20)))
    does("apply", "--auto-approve")
    does("drift")
    assert "No changes." in does("plan")
    moves("")
    moves("state: {backend: postgres, url: env:STATE_URL, schema: second}")
