"""The PostgreSQL store under fire: ended connections, kills, races, crashes and migrations."""

import itertools
import time

import psycopg
import pytest
from store_conformance import holder, intent, record, run, seen, where
from store_postgres import FIXTURES, breaking, crash
from store_sqlite import Fault, fill

from reconciler.accounts import Address
from reconciler.errors import Locked, StateError
from reconciler.state import Record, Settlement, Status
from reconciler.stores import postgres_place, postgres_tables

clock, database, opens, place = FIXTURES


ENDS = [
    pytest.param("crash", False, id="crash-before"),
    pytest.param("crash", True, id="crash-after"),
    pytest.param("terminate", False, id="terminate"),
]
"""How it ends. A backend knows of nothing between an answer and the next statement."""


@pytest.fixture
def terminate(postgres_server):
    """End a connection's backend, and wait until it has ended."""

    def ended(connection):
        with psycopg.connect(f"{postgres_server} dbname=postgres", autocommit=True) as other:
            pid = connection.info.backend_pid
            other.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))

    return ended


def script(store, told, apps=None):
    """Do a small apply and tell each step when it was acknowledged."""
    with store.lock(holder(host="elsewhere"), apps=apps) as writer:
        writer.begin(run())
        writer.bind({"cn": "app"})
        for n in range(2):
            writer.intend([intent(f"i-{n}", n)])
            told.append(f"i-{n}")
            writer.settle([Settlement(f"i-{n}", Status.CONFIRMED, record=record(n))])
            told.append(where(n))
        writer.save([record(0, "B")], [where(1)], "refresh")


def keeps(opens, schema, clock, told):
    """Check that all that was told is there, that no more is claimed, and that work goes on."""
    clock.now += 100
    store = opens(schema=schema)
    known = {i.id for i in store.unresolved()} | {
        f"i-{int(e.address[-5:])}" for e in store.history() if e.action["action"] == "update"
    }
    assert {t for t in told if t.startswith("i-")} <= known
    assert len(known) <= (len(told) + 1) // 2 + 1
    if told and told[-1].startswith("cn/"):
        assert where(0) in dict(store.index())
    with store.lock(holder()) as writer:
        writer.begin(run("after"))
        writer.save([record(50)], [], "import")
    store.chain()
    store.close()


@pytest.mark.parametrize(
    ("how", "late", "apps"),
    [
        *(pytest.param(*one.values, None, id=one.id) for one in ENDS),
        pytest.param("terminate", False, ["cn"], id="terminate-app"),
    ],
)
def test_every_statement_may_be_the_last(opens, clock, tmp_path, terminate, how, late, apps):
    """Whichever statement the process or its backend ends at: nothing acknowledged is lost.

    A backend that ends while the lock is held is not even noticed: the writer connects anew,
    verifies lock and fence, and knows whether its last commit took effect.
    """
    act = crash if how == "crash" else terminate
    unharmed = why = None
    ended = []
    for at in itertools.count(1):
        schema, told = f"s{at}", []
        connect, done = breaking(at, act, late=late)
        store = opens(schema=schema, root=tmp_path / schema, connect=connect, sleep=lambda _: None)
        try:
            script(store, told, apps)
            ended.append("done")
        except (StateError, Fault) as error:
            ended.append("failed")
            why = (at, done[at - 1], error)
        finally:
            store.close()
        if len(done) < at:
            break
        if ended[-1] == "done":
            found = [(e.address, e.action, e.status) for e in opens(schema=schema).history()]
            unharmed = unharmed or found
            assert found == unharmed
        else:
            keeps(opens, schema, clock, told)
    assert at > 60
    assert len(told) == 4
    if how == "terminate":
        assert "failed" not in ended, why


def test_no_lost_answer_is_taken_for_another_writers(opens, tmp_path):
    """Where the answer to a commit is lost, and another app's writer commits next, all is once.

    The writer of an app then cannot tell by the row of meta whether its own took effect.
    """

    def gone(connection):
        if next(calls) == 1:
            other.save([Record(Address("sg/a"), {"profile": {"name": str(at)}}, False)], [], "x")
        connection.close()
        raise psycopg.OperationalError("the answer is lost")

    for at in itertools.count(1):
        schema, calls = f"s{at}", itertools.count(1)
        connect, done = breaking(at, gone, late=True, what="COMMIT")
        with opens(schema=schema).lock(holder(host="elsewhere"), apps=["sg"]) as other:
            other.begin(run("other"))
            store = opens(schema=schema, root=tmp_path / schema, connect=connect)
            with store.lock(holder(host="elsewhere"), apps=["cn"]) as writer:
                writer.begin(run())
                writer.bind({"cn": "app"})
                for n in range(2):
                    writer.intend([intent(f"i-{n}", n)])
                    settled = Settlement(f"i-{n}", Status.CONFIRMED, record=record(n))
                    writer.settle([settled])
                writer.save([record(0, "B")], [where(1)], "refresh")
                writer.check()
            assert store.locks() == opens(schema=schema).locks()
        cn = [(one.address, one.action["action"]) for one in store.history() if one.address < "d"]
        names = "update", "update", "refresh", "refresh"
        assert cn == list(zip(map(where, (0, 1, 1, 0)), names, strict=True))
        assert store.chain() == store.identity().serial == 3 + (len(done) >= at)
        assert store.unresolved() == ()
        if len(done) < at:
            break
    assert at == 10


@pytest.mark.parametrize(("how", "late"), ENDS)
def test_every_statement_of_a_migration_may_be_the_last(
    opens, database, monkeypatch, terminate, how, late
):
    """A migration that ends at any statement leaves the old version or the new one, whole."""
    fill(opens())
    content = seen(opens())
    act = crash if how == "crash" else terminate
    steps = list(postgres_place.packaged())
    for at in itertools.count(1):
        steps.append(f"CREATE TABLE extra{at} (a int); CREATE INDEX by_a{at} ON extra{at} (a)")
        monkeypatch.setattr(postgres_place, "packaged", lambda: tuple(steps))
        connect, done = breaking(at, act, late=late)
        store = opens(connect=connect, sleep=lambda _: None)
        try:
            with store.lock(holder(host="elsewhere", pid=1)):
                pass
        except (Fault, StateError):
            pass
        finally:
            store.close()
        with psycopg.connect(database) as other:
            (version,) = other.execute(
                "SELECT max(version) FROM reconciler.schema_version"
            ).fetchone()
            (table,) = other.execute(f"SELECT to_regclass('reconciler.extra{at}')").fetchone()
        assert version in (len(steps) - 1, len(steps))
        assert (table is not None) == (version == len(steps))
        store = opens()
        with psycopg.connect(database) as other:
            other.execute("UPDATE reconciler.lock SET expires = expires")
        try:
            with store.lock(holder(), timeout=0):
                pass
        except Locked as held:
            (finding,) = held.diagnostics
            store.force_unlock(finding.hint.rpartition(" ")[2].strip("`."), run(f"u-{at}"))
        assert seen(store)[1:4] == content[1:4]
        store.close()
        if len(done) < at:
            break
    assert at > 15


def test_reader_goes_on_after_its_backend_ended(opens, terminate, monkeypatch):
    """Reading goes on over a new connection, in the middle of a stream too, at the same moment."""
    monkeypatch.setattr(postgres_tables, "_FETCH", 5)
    with opens().lock(holder()) as writer:
        writer.begin(run())
        writer.save([record(n) for n in range(12)], [], "import")
    content = seen(opens())
    for what, most in (("SELECT", 12), ("FETCH", 12)):
        for at in range(1, most):
            connect, _ = breaking(at, terminate, what=what)
            store = opens(connect=connect)
            assert seen(store) == content
            store.close()


def test_reader_whose_moment_is_gone_says_so(opens, terminate):
    """Where something was written since, a reader that lost its connection does not mix moments."""
    fill(opens())
    connect, _ = breaking(10**9, terminate)
    kept = []
    store = opens(connect=lambda **how: kept.append(connect(**how)) or kept[-1])
    store.identity()
    with opens().lock(holder()) as writer:
        writer.begin(run())
        writer.save([record(50)], [], "import")
    terminate(kept[-1])
    with pytest.raises(StateError, match="changed since"):
        list(store.index())
    store.refresh()
    assert where(50) in dict(store.index())


def test_heartbeat_outlives_its_backend(opens, terminate):
    """The heartbeat prolongs the lease over a connection of its own, and makes a new one."""
    kept = []

    def connect(**how):
        kept.append(psycopg.connect(**how))
        return kept[-1]

    store = opens(clock=None, lease=1.2, connect=connect)
    with store.lock(holder(host="elsewhere")) as writer:
        before = store.held()
        writer.begin(run())
        ends = time.monotonic() + 30
        for _ in range(2):
            held = store.held()
            for connection in [one for one in kept if not one.closed]:
                terminate(connection)
            while store.held() is None or store.held().expires_at <= held.expires_at:
                assert time.monotonic() < ends
                time.sleep(0.05)
        writer.check()
        assert store.held().id == before.id
        writer.save([record(1)], [], "import")
    assert store.held() is None


def test_a_row_that_somebody_keeps_is_told(opens, database, monkeypatch):
    """A writer that another session keeps waiting gives up, says so, and has written nothing."""
    monkeypatch.setattr(postgres_place, "BUSY_SECONDS", 0.2)
    fill(opens())
    content = seen(opens())
    with psycopg.connect(database) as other:
        other.execute("SELECT 1 FROM reconciler.lock FOR UPDATE")
        with pytest.raises(StateError, match="busy"), opens().lock(holder()):
            pass
        assert seen(opens()) == content


def test_a_login_that_ends_midway(opens, terminate):
    """Where the server lets nobody in any more, the run ends, and what it was told is there."""
    fill(opens(), 3)
    refused, kept = [], []

    def connect(**how):
        if refused:
            raise psycopg.OperationalError("password authentication failed for user hunter2")
        kept.append(psycopg.connect(**how))
        return kept[-1]

    store = opens(connect=connect, sleep=lambda _: None)

    def fails():
        with store.lock(holder(host="elsewhere")) as writer:
            writer.begin(run("run-2"))
            writer.intend([intent("i-9", 9, run="run-2")])
            refused.append(True)
            for connection in kept:
                if not connection.closed:
                    terminate(connection)
            writer.settle([Settlement("i-9", Status.CONFIRMED, record=record(9))])

    with pytest.raises(StateError, match="cannot be reached, or refused the login") as failed:
        fails()
    assert "hunter2" not in str(failed.value)
    assert "i-9" in {one.id for one in opens().unresolved()}
