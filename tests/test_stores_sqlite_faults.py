"""The SQLite store under fire: damage, full disks, kills, races, crashes and migrations."""

import os
import random
import signal
import sqlite3
import stat
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from store_child import child, turns
from store_conformance import T0, holder, intent, record, run, seen, where
from store_sqlite import Fault, failing, fill

from reconciler.errors import Locked, StateError
from reconciler.state import Settlement, Status
from reconciler.stores.held import Held, birth, gone

pytest_plugins = ["store_sqlite"]


# Damage


def outcome(opens, content):
    """Return whether a damaged file was refused; anything but the same content is a failure."""
    store = None
    try:
        store = opens()
        found = seen(store)
        store.held()
    except StateError:
        return True
    finally:
        if store is not None:
            store.close()
    assert found == content
    return False


def test_truncation(opens, filled, place):
    """A file cut at any multiple of 512 bytes is refused, but where a page without rows ends it.

    What is cut there are the zeros of that page, and SQLite reads them as such.
    """
    whole = place.read_bytes()
    blank = len(whole.rstrip(b"\0"))
    assert blank > len(whole) - 4096
    for size in range(0, len(whole), 512):
        place.write_bytes(whole[:size])
        assert outcome(opens, filled) or size > blank, size


@pytest.mark.timeout(600)
@pytest.mark.parametrize("flips", [300, pytest.param(3000, marks=pytest.mark.crowd)])
def test_bit_flips(opens, filled, place, flips):
    """A flipped bit is either harmless or refused: never other content, never nothing."""
    whole = place.read_bytes()
    dice = random.Random(20270115)
    found = 0
    for _ in range(flips):
        at = dice.randrange(len(whole))
        damaged = bytearray(whole)
        damaged[at] ^= 1 << dice.randrange(8)
        place.write_bytes(damaged)
        found += outcome(opens, filled)
        for name in (f"{place}-wal", f"{place}-shm"):
            Path(name).unlink(missing_ok=True)
    assert found > 30


def left_with_a_wal(opens, place):
    """Make a file whose last writes are only in its log, as a reader kept them there; return both.

    Also returned is what the whole says. The mark is the whole's.
    """
    reader = opens()
    list(reader.index())
    store = opens()
    with store.lock(holder()) as writer:
        writer.begin(run("late"))
        writer.save([record(70)], [], "import")
    wal = place.with_name("state.db-wal")
    whole, log = place.read_bytes(), wal.read_bytes()
    assert log
    content = seen(store)
    reader.close()
    store.close()
    for name in ("state.db-wal", "state.db-shm"):
        place.with_name(name).unlink(missing_ok=True)
    return whole, log, content


def test_a_file_without_its_log_is_refused(opens, filled, place):
    """A file copied without its log is older than the mark; with it, it is the whole."""
    whole, log, content = left_with_a_wal(opens, place)
    place.write_bytes(whole)
    with pytest.raises(StateError) as refused:
        opens()
    assert refused.value.diagnostics[0].id == "state-rolled-back"
    place.write_bytes(whole)
    place.with_name("state.db-wal").write_bytes(log)
    assert seen(opens()) == content


def test_a_foreign_log_changes_nothing(opens, filled, place, tmp_path):
    """The log of another file, half a log or nonsense beside a file is never taken for its own."""
    whole, log, content = left_with_a_wal(opens, place)
    other = tmp_path / "other" / "state.db"
    fill(opens(other))
    _, foreign, _ = left_with_a_wal(lambda path=other, **how: opens(path, **how), other)
    for beside in (foreign, log[: len(log) // 2], b"\0" * 4096, b"nonsense" * 999, b""):
        for name in ("state.db-wal", "state.db-shm"):
            place.with_name(name).unlink(missing_ok=True)
        place.write_bytes(whole)
        place.with_name("state.db-wal").write_bytes(beside)
        assert outcome(opens, content)


# Faults of disk and process


def script(store, told):
    """Do a small apply and tell each step when it was acknowledged."""
    with store.lock(holder(host="elsewhere")) as writer:
        writer.begin(run())
        for n in range(3):
            writer.intend([intent(f"i-{n}", n)])
            told.append(f"i-{n}")
            writer.settle([Settlement(f"i-{n}", Status.CONFIRMED, record=record(n, "Z" * 900))])
            told.append(where(n))


def keeps(opens, path, clock, told):
    """Check that all that was told is there, that no more is claimed, and that work goes on."""
    clock.now += 100
    store = opens(path)
    index = dict(store.index())
    known = {i.id for i in store.unresolved()} | {
        f"i-{int(e.address[-5:])}" for e in store.history()
    }
    assert {t for t in told if t.startswith("cn/")} <= set(index)
    assert {t for t in told if t.startswith("i-")} <= known
    assert len(index) <= len(told) // 2 + 1
    assert len(known) <= (len(told) + 1) // 2 + 1
    with store.lock(holder()) as writer:
        writer.begin(run("after"))
        writer.save([record(50)], [], "import")
    store.close()


@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError("disk I/O error"), Fault()], ids=["error", "crash"]
)
def test_every_statement_may_fail(opens, tmp_path, clock, error):
    """Whichever statement fails or is the last: nothing acknowledged is lost, work goes on."""
    at = 0
    while True:
        at += 1
        path = tmp_path / f"{at}" / "state.db"
        connect, done = failing(at, error)
        told = []
        store = None
        try:
            store = opens(path, connect=connect)
            script(store, told)
        except (StateError, Fault):
            pass
        finally:
            if store is not None:
                store.close()
        if len(done) < at:
            break
        keeps(opens, path, clock, told)
    assert at > 60
    assert len(told) == 6


def test_full_disk(opens, tmp_path, clock):
    """However early the disk is full, it is a StateError and no acknowledged row is lost."""
    pages, failures = 1, 0
    while True:
        path = tmp_path / f"{pages}" / "state.db"

        def connect(*args, most=pages, **how):
            connection = sqlite3.connect(*args, **how)
            connection.execute(f"PRAGMA max_page_count = {most}")
            return connection

        told = []
        store = opens(path, connect=connect)
        said = ""
        try:
            script(store, told)
        except StateError as error:
            said = str(error)
        finally:
            store.close()
        if not said:
            break
        failures += 1
        assert "full" in said
        keeps(opens, path, clock, told)
        pages += 1
    assert failures > 10
    assert len(told) == 6


def test_kill(opens, place):
    """Killed at 21 random moments, a writer loses nothing it acknowledged, and the lock is free."""
    dice = random.Random(7)
    settled, intended = {}, set()
    for _ in range(21):
        process = child("work", place)
        process.said("locked")
        time.sleep(dice.uniform(0, 0.08))
        assert process.kill() == -signal.SIGKILL
        for word, *ids in map(str.split, process.out.split("\n")[1:-1]):
            if word == "intended":
                intended.update(ids)
            else:
                settled.update(dict.fromkeys(ids[1:], ids[0]))
        store = opens()
        assert store.held() is None
        known = {i.id for i in store.unresolved()}
        assert not known & set(settled)
        assert len(list(store.index())) in (0, 3)
        list(store.history())
        store.close()
    with closing(sqlite3.connect(place)) as connection:
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
        rows = dict(connection.execute("SELECT id, status FROM journal WHERE id IS NOT NULL"))
    assert intended <= set(rows)
    assert {rows[id] for id in settled} <= {"confirmed"}
    assert len(settled) > 21


@pytest.mark.parametrize(("count", "rounds"), [(2, 12), (8, 12), (16, 2)])
def test_contenders(opens, place, count, rounds):
    """Of many processes one at a time holds the lock, each time under a higher fence."""
    fill(opens())
    assert len(turns([child("race", place, rounds) for _ in range(count)])) == count * rounds


def test_heartbeat_keeps_the_lock(opens, place):
    """The heartbeat prolongs the lease in the background and ends with the lock."""
    store = opens(clock=time.time, lease=0.8)
    before = threading.active_count()
    with store.lock(holder(host="elsewhere")) as writer:
        first = store.held()
        writer.begin(run())
        for _ in range(4):
            time.sleep(0.3)
            writer.check()
        assert store.held().id == first.id
        with pytest.raises(Locked), opens(clock=time.time).lock(holder("bob")):
            pass
    assert threading.active_count() == before


def test_recycled_pid_is_not_the_holder(opens, filled, place):
    """A later process with the holder's number does not keep the lock alive."""
    mine = birth(os.getpid())
    assert not gone(os.getpid(), mine)
    here, _, ticks = mine.rpartition("/")
    assert gone(os.getpid(), f"{here}/{int(ticks) - 1}")
    assert not gone(os.getpid(), f"another-boot/{ticks}")


# Schema steps, network, backup, size


@pytest.fixture
def one_more_step(monkeypatch):
    """Make this version know another schema step."""
    from reconciler.stores import sqlite
    from reconciler.stores.sqlite_migrate import packaged

    steps = (*packaged(), "CREATE TABLE extra (a INTEGER) STRICT;\nCREATE INDEX by_a ON extra (a);")
    monkeypatch.setattr(sqlite, "steps_of_this_version", lambda: steps)


def version(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def test_reader_of_an_older_schema(opens, filled, place, one_more_step):
    """Reading an older file works and leaves it as it is."""
    before = place.read_bytes()
    assert seen(opens()) == filled
    assert place.read_bytes() == before


def test_writer_brings_the_schema_up_to_date(opens, filled, place, one_more_step):
    """Taking the lock migrates, after a copy of the older file was made."""
    store = opens()
    assert seen(store) == filled
    with store.lock(holder()) as writer:
        assert seen(store) == filled
        writer.begin(run())
        writer.save([record(70)], [], "import")
    assert where(70) in dict(store.index())
    store.close()
    (copy,) = place.parent.glob("state.db.before-v4-*")
    assert (version(place), version(copy)) == (4, 3)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_an_older_version_that_holds_the_lock_goes_on(opens, place, monkeypatch):
    """A writer of an older schema is in the way of apps too, and writes on after the migration."""
    from reconciler.stores import sqlite
    from reconciler.stores.sqlite_migrate import packaged

    with monkeypatch.context() as older:
        older.setattr(sqlite, "steps_of_this_version", lambda: packaged()[:2])
        before = opens()
        held = before.lock(holder("old", host="elsewhere"))
        writer = held.__enter__()
        writer.begin(run())
    assert version(place) == 2
    assert [lock.holder.name for lock in opens().locks()] == ["old"]
    with pytest.raises(Locked, match="the state is locked by old"):
        opens().lock(holder("new"), apps=["cn"]).__enter__()
    assert version(place) == 3
    writer.save([record(1)], [], "import")
    held.__exit__(None, None, None)
    with opens().lock(holder("new"), apps=["cn"]) as writer:
        writer.begin(run("run-2"))
        writer.save([record(2)], [], "import")
    assert [one.address for one in opens().everything()] == [where(1), where(2)]


def test_the_whole_taken_behind_an_apps_back_is_seen(opens, place):
    """An older version does not know of apps: where it takes the whole lock, their writers stop."""
    with opens().lock(holder(host="elsewhere"), apps=["cn"]) as writer:
        writer.begin(run())
        tables = place_of(opens())
        with tables.transaction():
            tables.put_lock(Held(id="old", fence=9, expires=T0 + 60).row())
        tables.close()
        with pytest.raises(Locked, match="has lost"):
            writer.save([record(1)], [], "import")
    assert list(opens().everything()) == []


def place_of(store):
    return store._place.write(lambda *_: None)


def test_crash_in_a_migration(opens, filled, place, one_more_step):
    """A migration that ends at any statement leaves the old version or the new one, whole."""
    at = 0
    while True:
        at += 1
        connect, done = failing(at, Fault())
        store = None
        try:
            store = opens(connect=connect)
            with store.lock(holder()):
                pass
        except Fault:
            pass
        finally:
            if store is not None:
                store.close()
        store = opens()
        assert seen(store) == filled
        store.close()
        if len(done) < at:
            break
    assert version(place) == 4
    assert at > 20


def test_network_file_systems():
    """The file system of the longest mount point counts, and network ones are known."""
    from reconciler.stores.sqlite_file import network_file_system

    mounts = (
        "/dev/vda / ext4 rw 0 0\nnas:/x /mnt/nas nfs4 rw 0 0\n"
        "tmpfs /mnt/nas/local tmpfs rw 0 0\n//w/s /my\\040disk cifs rw 0 0\nbroken\n"
    )
    assert network_file_system(Path("/home/a/state.db"), mounts) == ""
    assert network_file_system(Path("/mnt/nas/a/state.db"), mounts) == "nfs4"
    assert network_file_system(Path("/mnt/nas/local/state.db"), mounts) == ""
    assert network_file_system(Path("/mnt/nashorn/state.db"), mounts) == ""
    assert network_file_system(Path("/my disk/state.db"), mounts) == "cifs"


def test_network_is_refused(opens, filled, monkeypatch):
    """A state on a network file system is refused with what to do instead."""
    from reconciler.stores import sqlite_file

    monkeypatch.setattr(sqlite_file, "network_file_system", lambda *_: "nfs4")
    with pytest.raises(StateError, match="nfs4") as caught:
        opens()
    assert "local path" in caught.value.diagnostics[0].hint


def test_backup(opens, filled, place, tmp_path):
    """A backup holds the same content, opens as a store, and is never overwritten."""
    copy = tmp_path / "copy.db"
    opens().backup(copy)
    assert seen(opens(copy)) == filled
    before = copy.read_bytes()
    with pytest.raises(StateError, match="exists"):
        opens().backup(copy)
    assert copy.read_bytes() == before


def test_backup_that_fails_leaves_nothing(opens, filled, tmp_path):
    """A backup into a folder that is not there is an error that leaves no file."""
    with pytest.raises(StateError, match="nowhere"):
        opens().backup(tmp_path / "nowhere" / "copy.db")
    assert not (tmp_path / "nowhere").exists()


def test_intents_in_doubt_are_found_by_an_index(opens, filled, place):
    """Finding the intents in doubt reads no settled row, however many there are."""
    with closing(sqlite3.connect(place)) as connection:
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT * FROM journal"
            " WHERE status IN ('intent', 'ambiguous') ORDER BY seq"
        ).fetchall()
    assert [row[-1] for row in plan] == ["SCAN journal USING INDEX journal_in_doubt"]


def test_no_error_of_sqlite_gets_out(opens, filled, place):
    """A store kept busy by another process is a StateError that says so."""

    def connect(*args, **how):
        return sqlite3.connect(*args, **{**how, "timeout": 0.05})

    store = opens(connect=connect)
    with closing(sqlite3.connect(place, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError, match="busy"), store.lock(holder()):
            pass
        other.execute("ROLLBACK")
