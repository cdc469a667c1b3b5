"""The SQLite store: conformance, its files, and what it refuses."""

import json
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from store_conformance import (
    StoreConformance,
    holder,
    record,
    run,
    seen,
    where,
)
from store_conformance_apps import AppsConformance
from store_conformance_journal import JournalConformance
from store_conformance_lock import LockConformance
from store_sqlite import fill

from reconciler.errors import StateError
from reconciler.stores import open_store
from reconciler.workspace import StateSettings

pytest_plugins = ["store_sqlite"]


class TestStore(StoreConformance):
    """What every store keeps, kept in SQLite."""


class TestJournal(JournalConformance):
    """The journal of every store, in SQLite."""


class TestLock(LockConformance):
    """The lock of every store, in SQLite."""


class TestApps(AppsConformance):
    """The locks of single apps, in a SQLite file."""


# Files and folders


def test_open_store_picks_the_backend(tmp_path):
    """The settings name the backend; one that this version lacks is an error with those it has."""
    store = open_store(StateSettings(), tmp_path, "ws")
    assert store.identity().workspace == "ws"
    store.close()
    with pytest.raises(StateError, match="nonsense") as refused:
        open_store(StateSettings(backend="nonsense"), tmp_path, "ws")
    assert "sqlite" in refused.value.diagnostics[0].hint


def test_reading_makes_nothing(opens, place):
    """A store that is only read leaves no file and no folder behind."""
    store = opens()
    assert seen(store)[1:] == ([], [], (), {}, [])
    assert store.held() is None
    with pytest.raises(StateError):
        store.force_unlock("no", run())
    with pytest.raises(StateError):
        store.backup(place.with_name("copy.db"))
    assert not place.parent.exists()


@pytest.mark.parametrize("umask", [0o022, 0o000, 0o077])
def test_modes(opens, place, umask):
    """Files are 0600 and their folder 0700 under any umask, also beside an open store."""
    before = os.umask(umask)
    try:
        store = opens()
        with store.lock(holder()) as writer:
            writer.begin(run())
            writer.save([record(1)], [], "import")
            list(store.index())
            names = {
                file.name: stat.S_IMODE(file.stat().st_mode) for file in place.parent.iterdir()
            }
        assert names == dict.fromkeys(
            ("state.db", "state.db-wal", "state.db-shm", "state.db.high-water"), 0o600
        )
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
        store.backup(place.with_name("copy.db"))
        assert stat.S_IMODE(place.with_name("copy.db").stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_closing_leaves_two_files(filled, place):
    """A closed store is its file and the high-water mark: no WAL, nothing temporary."""
    assert sorted(os.listdir(place.parent)) == ["state.db", "state.db.high-water"]


def test_settings_of_every_connection(opens, filled):
    """Every connection syncs fully, checks foreign keys, trusts no schema and waits 10 seconds."""
    made = []

    def connect(*args, **how):
        made.append(sqlite3.connect(*args, **how))
        return made[-1]

    store = opens(connect=connect)
    with store.lock(holder()):
        store.identity()
        found = [
            [
                c.execute(f"PRAGMA {name}").fetchone()[0]
                for name in (
                    "journal_mode",
                    "synchronous",
                    "foreign_keys",
                    "trusted_schema",
                    "busy_timeout",
                )
            ]
            for c in made
        ]
    assert found == [["wal", 2, 1, 0, 10_000]] * 2


def refused(opens, *words, **how):
    """Check that the file is refused with these words, by reader and writer alike; return it."""
    with pytest.raises(StateError) as caught:
        opens(**how)
    (finding,) = caught.value.diagnostics
    assert finding.hint
    text = f"{finding.summary} {finding.detail} {finding.hint}"
    for word in words:
        assert word in text
    return finding


def test_empty_file_is_refused(opens, filled, place):
    """A file of 0 bytes is a loss and never an empty state, with or without a mark."""
    place.write_bytes(b"")
    refused(opens, "0 bytes", str(place), "state restore")
    place.with_name("state.db.high-water").unlink()
    refused(opens, "0 bytes", str(place))


def test_no_database_is_refused(opens, filled, place):
    """A file that is no database is refused by name."""
    place.write_bytes(b"accounts: {}\n" * 500)
    refused(opens, str(place), "state restore")


def test_foreign_database_is_refused(opens, place):
    """A database of some other program is left alone."""
    place.parent.mkdir(parents=True)
    with closing(sqlite3.connect(place)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    place.chmod(0o600)
    before = place.read_bytes()
    refused(opens, str(place), "something else")
    assert place.read_bytes() == before


def test_newer_schema_is_refused(opens, filled, place):
    """A state made by a newer version is refused, asking for an upgrade."""
    with closing(sqlite3.connect(place)) as connection:
        connection.execute("PRAGMA user_version = 9")
    refused(opens, str(place), "Upgrade", "9")


def test_changed_schema_is_refused(opens, filled, place):
    """Tables that are not exactly those of their schema version are refused."""
    with closing(sqlite3.connect(place)) as connection:
        connection.execute("DROP INDEX journal_in_doubt")
    refused(opens, str(place), "schema version 3")


def test_other_workspace_is_refused(opens, filled):
    """A file belongs to one workspace; both are named."""
    refused(opens, "'ws'", "'other'", workspace="other")


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_writable_by_others_is_refused(opens, filled, place, mode):
    """A file that others may write is refused with the command that repairs it."""
    place.chmod(mode)
    refused(opens, f"chmod 600 {place}")


def test_links_and_folders_are_refused(opens, filled, place):
    """A symbolic link or a folder in the place of the file is refused."""
    place.rename(place.with_name("real.db"))
    place.symlink_to("real.db")
    refused(opens, "symbolic link", str(place))
    place.unlink()
    place.mkdir()
    refused(opens, "no regular file", str(place))


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM accounts WHERE address = 'cn/user-00003'",
        "UPDATE accounts SET look_digest = NULL WHERE address = 'cn/user-00003'",
        "UPDATE accounts SET address = 'cn/user-99999' WHERE address = 'cn/user-00003'",
        "INSERT INTO accounts SELECT 'cn/x', look_digest, document, banned, version, observed,"
        " token_key, waiting, updated_at, run, seal FROM accounts LIMIT 1",
    ],
)
def test_index_finds_what_is_not_right(opens, filled, place, sql):
    """A vanished, added or changed row is found by the scan of the index."""
    with closing(sqlite3.connect(place)) as connection, connection:
        connection.execute(sql)
    with pytest.raises(StateError, match="accounts"):
        list(opens().index())


@pytest.mark.parametrize(
    "change",
    [
        "document = CAST('{}' AS BLOB)",
        "banned = 1",
        "version = 9",
        "token_key = 'x'",
        "waiting = CAST('[\"x\"]' AS BLOB)",
        "run = 'x'",
        "updated_at = 'x'",
        "observed = CAST('{}' AS BLOB)",
    ],
)
def test_record_is_sealed(opens, filled, place, change):
    """A changed cell of a record is found when the record is read, naming the account."""
    with closing(sqlite3.connect(place)) as connection, connection:
        connection.execute(f"UPDATE accounts SET {change} WHERE address = 'cn/user-00003'")
    store = opens()
    assert next(iter(store.records([where(4)])))
    with pytest.raises(StateError, match="user-00003"):
        list(store.records([where(3)]))
    with store.lock(holder()) as writer:
        writer.begin(run())
        with pytest.raises(StateError, match="user-00003"):
            writer.save([record(3, "C")], [], "refresh")


@pytest.mark.parametrize(
    ("sql", "read"),
    [
        ("DELETE FROM journal WHERE status = 'intent'", lambda s: s.unresolved()),
        (
            "UPDATE journal SET status = 'confirmed' WHERE status = 'intent'",
            lambda s: s.unresolved(),
        ),
        ("UPDATE journal SET known_absent = 1 WHERE status = 'intent'", lambda s: s.unresolved()),
        ("DELETE FROM journal WHERE seq = 2", lambda s: list(s.history())),
        ("UPDATE journal SET message = 'x' WHERE seq = 2", lambda s: list(s.history(where(1)))),
        ("UPDATE runs SET operator = 'x'", lambda s: list(s.history())),
        ("UPDATE lock SET fence = 0", lambda s: s.held()),
        ("DELETE FROM lock", lambda s: s.held()),
    ],
)
def test_journal_and_lock_are_sealed(opens, filled, place, sql, read):
    """A changed or vanished row of the journal, the runs or the lock is found when it is read."""
    with closing(sqlite3.connect(place)) as connection, connection:
        connection.execute(sql)
    with pytest.raises(StateError, match=r"state\.db"):
        read(opens())


# Rolling back


def test_older_copy_is_refused(opens, place):
    """A copied-back older file is refused with both serials and the way out."""
    store = opens()
    fill(store)
    store.close()
    older = place.read_bytes()
    store = opens()
    with store.lock(holder()) as writer:
        writer.begin(run())
        writer.save([record(70)], [], "import")
    store.close()
    place.write_bytes(older)
    finding = refused(opens, "serial 2", "3", "state restore", "delete", "state.db.high-water")
    assert finding.id == "state-rolled-back"


def test_forked_copy_is_refused(opens, place):
    """A copy that went its own way since is refused, also at a higher serial."""
    fill(opens())
    base = place.with_name("base.db")
    opens().backup(base)

    def go_on(path, name, times):
        store = opens(path)
        with store.lock(holder()) as writer:
            writer.begin(run())
            for n in range(times):
                writer.save([record(n, name)], [], "import")
        store.close()

    go_on(place, "X", 1)
    for times in (1, 3):
        fork = place.with_name(f"fork-{times}.db")
        fork.write_bytes(base.read_bytes())
        fork.chmod(0o600)
        go_on(fork, "Y", times)
        for name in (f"{place}-wal", f"{place}-shm"):
            Path(name).unlink(missing_ok=True)
        place.write_bytes(fork.read_bytes())
        refused(opens, "rolled back")


def test_other_lineage_is_refused(opens, filled, place, tmp_path):
    """Another state of the same workspace in this one's place is refused."""
    other = tmp_path / "other.db"
    store = opens(other)
    fill(store)
    store.close()
    place.write_bytes(other.read_bytes())
    refused(opens, "lineage", filled[0].lineage)


def test_missing_file_is_refused(opens, filled, place):
    """A file that is gone while its mark remains is missing, not new, for reader and lock."""
    store = opens()
    place.unlink()
    refused(opens, "missing", "serial 2", str(place))
    with pytest.raises(StateError, match="missing"), store.lock(holder()):
        pass
    assert not place.exists()


def test_deleting_the_mark_is_the_way_out(opens, filled, place):
    """Without its mark a store opens again."""
    place.with_name("state.db.high-water").write_text(
        json.dumps({"lineage": filled[0].lineage, "serial": 99, "digest": "00" * 32})
    )
    refused(opens, "99")
    place.with_name("state.db.high-water").unlink()
    assert seen(opens()) == filled


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"serial": 1}',
        b'{"digest": "zz", "lineage": "x", "serial": 1}',
    ],
)
def test_unreadable_mark_is_refused(opens, filled, place, body):
    """A mark that cannot be read hides whether the state is older, so it is refused."""
    place.with_name("state.db.high-water").write_bytes(body)
    refused(opens, "high-water")


def test_mark_is_kept_from_the_first_write(opens, place):
    """The mark is there after the first write and follows at the end of the lock."""
    store = opens()
    mark = place.with_name("state.db.high-water")
    with store.lock(holder()) as writer:
        assert not mark.exists()
        writer.begin(run())
        assert json.loads(mark.read_text())["serial"] == 0
        writer.save([record(1)], [], "import")
    assert json.loads(mark.read_text()) == {
        "lineage": store.identity().lineage,
        "serial": 1,
        "digest": json.loads(mark.read_text())["digest"],
    }


def test_mark_that_cannot_be_kept(opens, filled, monkeypatch):
    """Where the mark cannot be written it is an error, but the lock is free and nothing is lost."""
    from reconciler.stores import table_writer

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(table_writer, "write_mark", full)
    store = opens()
    lock = store.lock(holder())
    writer = lock.__enter__()
    writer.begin(run())
    writer.save([record(70)], [], "import")
    with pytest.raises(StateError, match="No space left"):
        lock.__exit__(None, None, None)
    assert store.held() is None
    assert where(70) in dict(store.index())


def test_read_only_folder(opens, filled, place, monkeypatch):
    """A state that may only be read can be read, and is left without a trace."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert seen(opens()) == filled
    assert sorted(os.listdir(place.parent)) == ["state.db", "state.db.high-water"]


def test_replaced_under_a_writer(opens, filled, place):
    """A writer whose file was replaced or deleted meanwhile refuses to go on writing."""
    store = opens()
    with store.lock(holder()) as writer:
        writer.begin(run())
        place.rename(place.with_name("moved.db"))
        with pytest.raises(StateError, match="replaced"):
            writer.save([record(70)], [], "import")
