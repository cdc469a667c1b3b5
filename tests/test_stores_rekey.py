"""Changing keys: on, over and off, killed at every step, and schema versions on the way."""

from __future__ import annotations

import itertools
import json
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest
from state_server import Fault as Refusal
from store_conformance import Clock, holder, record, run, where
from store_encrypted import ID, fill, found, holds, kept, key_of, keys, rekeyed, told
from store_postgres import FIXTURES, breaking, crash
from store_postgres import WRITES as WRITING
from store_sqlite import WRITES, Fault, failing

from reconciler.errors import StateError
from reconciler.stores import backups
from reconciler.stores.backups import Opens
from reconciler.stores.keys import MAKE, NO_KEYS, read_key
from reconciler.stores.object import ObjectRemote, objects
from reconciler.stores.postgres import postgres_store
from reconciler.stores.postgres_place import packaged
from reconciler.stores.remote import RemoteStore
from reconciler.stores.sqlite import SqliteStore
from reconciler.stores.sqlite_migrate import APPLICATION_ID
from reconciler.stores.sqlite_migrate import packaged as sqlite_steps

pytest_plugins = ["store_encrypted"]

database = FIXTURES[1]


@pytest.mark.parametrize(
    ("before", "after", "ids"),
    [
        (NO_KEYS, keys("one"), ("", ID["one"])),
        (keys("one"), keys("two", "one"), (ID["one"], ID["two"])),
        (keys("one"), keys("", "one"), (ID["one"], "")),
    ],
    ids=["on", "over", "off"],
)
def test_keys_are_changed(home, before, after, ids):
    """All that was recorded is there under the other key, and only under it; history tells it."""
    fill(home.opens(before))
    content = kept(home, before)
    store = home.opens(after.also_clear())
    rekeyed(store)
    assert (told(store), store.identity().key) == (content, ids[1])
    last = list(store.history())[-1]
    assert last.action == {"action": "state rekey", "before": ids[0], "after": ids[1]}
    assert (last.address, last.run.id) == ("", "rekey")
    store.close()

    only = home.opens(keys("two") if ids[1] == ID["two"] else after)
    assert told(only) == content
    with only.lock(holder()) as writer:
        writer.begin(run("later"))
        writer.save([record(8)], [], "import")
    assert where(8) in dict(home.opens(after).index())
    only.chain()
    if ids[0]:
        with pytest.raises(StateError, match="not encrypted" if not ids[1] else ids[1]):
            home.opens(before).identity()


def test_rekeying_twice_changes_nothing(home):
    """Where the key is the first already, nothing is told in history and no serial is made."""
    fill(home.opens(keys()))
    store = home.opens(keys())
    rekeyed(store, "first")
    before = store.identity(), list(store.history()), list(store.everything())
    rekeyed(store, "second")
    assert (store.identity(), list(store.history()), list(store.everything())) == before


def test_other_machines_still_know_the_state(folder, tmp_path):
    """A mark that another machine kept before the key was changed fits the state after it."""
    fill(folder.opens(keys()))
    rekeyed(folder.opens(keys("two", "one")))
    assert folder.opens(keys("two")).identity().key == ID["two"]


def test_rekeying_vouches_for_nothing_forged(sqlite):
    """A state that was tampered with is refused, not encrypted anew."""
    fill(sqlite.opens(NO_KEYS))
    with closing(sqlite3.connect(sqlite.place)) as connection, connection:
        connection.execute("DELETE FROM journal WHERE seq = 2")
    with pytest.raises(StateError, match="journal"):
        rekeyed(sqlite.opens(keys().also_clear()))
    assert sqlite.opens(NO_KEYS).identity().key == ""


# Killed at every step


def turns():
    """Yield keys to change to and those before, in turn: one state serves all steps."""
    for to, of in itertools.cycle([("two", "one"), ("one", "two")]):
        yield keys(to, of), ID[to], ID[of]


def sound(home, with_, content, ids):
    """Check that the state is wholly under one of two keys; finish what was begun."""
    assert kept(home, with_) == content
    assert key_of(home, with_) in ids
    store = home.opens(with_)
    rekeyed(store, f"again-{store.identity().serial}")
    assert (told(store), store.identity().key) == (content, ids[0])
    store.chain()
    store.close()


def test_killed_at_every_statement_of_sqlite(sqlite, clock):
    """Whichever statement is the last: one key or the other, all there, and run again it ends."""
    fill(sqlite.opens(keys()))
    content = kept(sqlite, keys())
    seen = set()
    for at, (with_, to, of) in zip(itertools.count(1), turns(), strict=False):
        connect, done = failing(at, Fault(), WRITES)
        with suppress(Fault), closing(sqlite.opens(with_, connect=connect)) as store:
            rekeyed(store, f"killed-{at}")
        clock.now += 61
        seen.add(key_of(sqlite, with_) == to)
        sound(sqlite, with_, content, (to, of))
        if len(done) < at:
            break
    assert at > 15
    assert seen == {True, False}


def test_killed_at_every_statement_of_postgres(postgres, clock):
    """Whichever statement is the last: one key or the other, all there, and run again it ends."""

    fill(postgres.opens(keys()))
    content = kept(postgres, keys())
    seen = set()
    for at, (with_, to, of) in zip(itertools.count(1), turns(), strict=False):
        connect, done = breaking(at, crash, what=WRITING)
        store = postgres.opens(with_, connect=connect, sleep=lambda _: None)
        with suppress(Fault):
            rekeyed(store, f"killed-{at}")
        store.close()
        clock.now += 61
        seen.add(key_of(postgres, with_) == to)
        sound(postgres, with_, content, (to, of))
        if len(done) < at:
            break
    assert at > 12
    assert seen == {True, False}


class Dying:
    """Objects of a process that ends at the n-th of its writes, before or after it."""

    def __init__(self, objects, at, *, late):
        self.objects, self.at, self.late, self.done = objects, at, late, 0

    def __getattr__(self, name):
        return getattr(self.objects, name)

    def _step(self, does, *words):
        self.done += 1
        if self.done == self.at and not self.late:
            raise Fault
        answer = does(*words)
        if self.done >= self.at:
            raise Fault
        return answer

    def put(self, *words):
        return self._step(self.objects.put, *words)

    def drop(self, names):
        return self._step(self.objects.drop, list(names))


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_killed_at_every_write_of_objects(folder, clock, late):
    """Whichever object is the last: one key or the other, all there, and run again it ends."""
    fill(folder.opens(keys()))
    content = kept(folder, keys())
    for at, (with_, to, of) in zip(itertools.count(1), turns(), strict=False):
        made = []

        def wraps(objects, at=at, made=made):
            made.append(Dying(objects, at, late=late))
            return made[-1]

        with suppress(Fault):
            rekeyed(folder.opens(with_, wraps=wraps), f"killed-{at}")
        clock.now += 61
        sound(folder, with_, content, (to, of))
        assert not [one for one in (folder.place / "steps").iterdir() if one.name[0] != "."]
        if made[0].done < at:
            break
    assert at > 4


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_server_that_fails_while_keys_are_changed(http, clock, after):
    """Whichever request the server does not answer: the state is under one key, all readable."""
    fill(http.opens(keys()))
    content = kept(http, keys())
    for skip, (with_, to, of) in zip(itertools.count(), turns(), strict=False):
        fault = Refusal("POST", 500, after=after, times=10**6, skip=skip, path="/im")
        http.server.faults.append(fault)
        with suppress(StateError):
            rekeyed(http.opens(with_), f"failed-{skip}")
        http.server.faults.clear()
        http.server.lock = None
        sound(http, with_, content, (to, of))
        if fault.skip:
            break
    assert skip > 1


def test_steps_that_stay_are_told(folder):
    """Where what was written before cannot be removed it is an error, and run again it is gone."""

    class Keeping:
        def __init__(self, objects):
            self.objects = objects

        def __getattr__(self, name):
            return getattr(self.objects, name)

        def drop(self, names):
            raise StateError.of("state-io", "no")

    store = folder.opens(NO_KEYS, wraps=Keeping)
    fill(store)
    assert found(folder.rest())
    with pytest.raises(StateError, match="could not be removed"):
        rekeyed(folder.opens(keys().also_clear(), wraps=Keeping))
    assert found(folder.rest())
    rekeyed(folder.opens(keys()), "again")
    assert found(folder.rest()) == set()


# Backups


def test_backups_follow(sqlite, tmp_path):
    """Backups of every kind come under the first key, in place, with nothing left beside them."""
    store = sqlite.opens(NO_KEYS)
    fill(store)
    place = tmp_path / ".reconciler" / "backups"
    backups.keep(store, place, "2027-01-15T08:00:00Z", NO_KEYS)
    (place / "hand.json").write_bytes(b"".join(backups.text(store, NO_KEYS)))
    content = list(store.everything())
    before = {path.name for path in place.iterdir()}
    for given in (keys(), keys("two", "one"), keys("", "two")):
        for path in backups.listed(tmp_path / ".reconciler"):
            opens = Opens("ws", given)
            assert backups.rekey(path, opens, run("rekey", "state rekey"), holder())
            assert not backups.rekey(path, opens, run("rekey-2", "state rekey"), holder())
            assert bool(found(path.read_bytes())) == (given.first == "")
            assert list(backups.read(path, opens).everything()) == content
        assert {path.name for path in place.iterdir()} == before


# Keys


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "0 bytes"),
        ("hunter2", "no base64|bytes"),
        ("c2hvcnQ=", "5 bytes"),
        ("A" * 43 + "=", "not random"),
        ("QUJD" * 10 + "QUI=", "not random"),
        ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "not random"),
        ("Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZSBmb3I=", "not random"),
        ("5" * 64, "48 bytes"),
        ("%" * 44, "no base64"),
        ("客" * 44, "no base64"),
    ],
)
def test_what_is_no_key_is_refused(text, why):
    """Short, patterned, thought of by a person or no base64: no key, and the text is not told."""
    with pytest.raises(ValueError, match=why) as refused:
        read_key(text)
    assert not text or text not in str(refused.value)


def test_a_key_is_made_by_a_bare_python():
    """The command of the hint makes a key that is taken, also without padding or with - and _."""
    import shlex
    import subprocess
    import sys

    command = shlex.split(MAKE)
    assert command[0] == "python3"
    made = {
        subprocess.run([sys.executable, "-I", "-S", *command[1:]], capture_output=True, check=True)
        .stdout.decode()
        .strip()
        for _ in range(2)
    }
    assert len({read_key(text).id for text in made}) == 2
    for text in made:
        url = text.replace("+", "-").replace("/", "_").rstrip("=")
        assert read_key(url) == read_key(text)
        assert len(read_key(text).id) == 12
        assert text not in repr(read_key(text))


def test_a_missing_package_is_named(sqlite, monkeypatch):
    """Without the package the finding says what to install; clear state does not need it."""
    import sys

    fill(sqlite.opens(NO_KEYS))
    for name in {"cryptography", *(one for one in sys.modules if one[:13] == "cryptography.")}:
        monkeypatch.setitem(sys.modules, name, None)
    assert key_of(sqlite, keys("", "one")) == ""
    with pytest.raises(Exception, match="package") as refused:
        rekeyed(sqlite.opens(keys().also_clear()))
    assert "pip install 'im-reconciler[encryption]'" in refused.value.diagnostics[0].hint


# Erasing, and what the chain keeps


def test_the_chain_does_not_tell_what_was_erased(sqlite):
    """What a record added to the sums that the chain keeps cannot be made from a guess at it."""
    store = sqlite.opens(NO_KEYS)
    fill(store)
    with store.lock(holder()) as writer:
        writer.begin(run("x"))
        writer.save([record(4, "secret")], [], "import")
    store.close()
    with closing(sqlite3.connect(sqlite.place)) as connection:
        ((cell,),) = connection.execute(
            "SELECT look_digest FROM accounts WHERE address = ?", (where(4),)
        )
    assert cell[:32] == record(4, "secret").index_digest
    store = sqlite.opens(NO_KEYS)
    with store.lock(holder()) as writer:
        writer.begin(run("y", "erase"))
        writer.erase(where(4), record(4, "erased"), lambda action: action)
    assert not holds(sqlite.rest(), cell[32:])
    assert not holds(sqlite.rest(), cell[:32])
    assert len(cell) == 48
    store.chain()


def test_a_document_does_not_name_one_with_what_was_erased(http):
    """After erasing, no digest of an earlier document is left in the one that is kept."""
    store = http.opens(NO_KEYS)
    fill(store)
    with store.lock(holder()) as writer:
        writer.begin(run("y", "erase"))
        writer.erase(where(1), record(1, "erased"), lambda action: {"action": "update"})
    last = json.loads(http.server.document)
    assert last["follows"] == ""
    *earlier, _ = http.server.versions
    assert not [one for one in earlier if json.loads(one)["digest"][7:].encode() in http.rest()]


# Schema versions

RELEASES = sorted(Path(__file__).with_name("golden").glob("released/*"))


@pytest.fixture(params=RELEASES, ids=lambda path: path.name)
def release(request):
    """What a release left behind."""
    return request.param


def workspace_of(release):
    return json.loads((release / "snapshot.json").read_text("utf-8"))["workspace"]


def test_a_released_file_is_migrated(release, tmp_path, clock):
    """A file of a release is read as it is, and brought up to date at the first lock.

    A process that ends at any statement on the way leaves it whole.
    """
    place, name = tmp_path / "state.db", workspace_of(release)

    def opens(with_=NO_KEYS, **how):
        return closing(SqliteStore(place, name, keys=with_, clock=clock, **how))

    for at in itertools.count(1):
        for path in tmp_path.glob("state.db*"):
            path.unlink()
        with closing(sqlite3.connect(place)) as connection:
            connection.executescript((release / "state.sql").read_text("utf-8"))
        place.chmod(0o600)
        with opens() as store:
            content = told(store)
            assert store.locks() == ()
        connect, done = failing(at, Fault(), (*WRITES, "PRAGMA user_version ="))
        with (
            suppress(Fault),
            opens(connect=connect) as store,
            store.lock(holder(host="elsewhere")),
        ):
            pass
        with opens() as store:
            assert told(store) == content
        if len(done) < at:
            break
    assert at > 5
    with opens(keys().also_clear()) as store:
        store.refresh()
        rekeyed(store)
    with opens(keys()) as store:
        store.chain()
        assert told(store) == content


def test_a_released_schema_is_migrated(release, database, tmp_path, clock):
    """Tables of a release are read as they are, and brought up to date at the first lock.

    A process that ends at any statement on the way leaves them whole.
    """

    def opens(with_=NO_KEYS, **how):
        how = {"clock": clock, "sleep": lambda _: None, **how}
        name = workspace_of(release)
        return closing(postgres_store(database, "reconciler", tmp_path, name, keys=with_, **how))

    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute((release / "postgres.sql").read_bytes())
        with opens() as store:
            content = told(store)
            assert store.locks() == ()
        for at in itertools.count(1):
            connect, done = breaking(at, crash, what=("BEGIN", "SELECT pg_adv", "--", *WRITING))
            with suppress(Fault), opens(connect=connect) as store, store.lock(holder()):
                pass
            clock.now += 61
            with opens() as store:
                assert told(store) == content
            if len(done) < at:
                break
        found = connection.execute("SELECT max(version) FROM reconciler.schema_version")
        assert found.fetchone() == (len(packaged()),)
    assert at > 5
    with opens(keys().also_clear()) as store:
        rekeyed(store)
    with opens(keys()) as store:
        store.chain()
        assert told(store) == content


STATES = Path(__file__).with_name("states")


def test_what_was_encrypted_once_is_read(sqlite, tmp_path):
    """Rows, document, steps and backup that the first version encrypted are read for ever."""
    shape = json.loads((STATES / "encrypted-v2.json").read_text("utf-8"))
    sqlite.place.parent.mkdir()
    with closing(sqlite3.connect(sqlite.place, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for step in sqlite_steps()[:2]:
            connection.executescript(step)
        connection.execute("PRAGMA user_version = 2")
        for table, rows in shape["tables"].items():
            for row in rows:
                names = {**({"one": 1} if table in ("meta", "lock") else {}), **row}
                cells = [
                    bytes.fromhex(cell["hex"]) if isinstance(cell, dict) else cell
                    for cell in names.values()
                ]
                marks = ",".join("?" * len(cells))
                connection.execute(
                    f"INSERT INTO {table} ({','.join(names)}) VALUES ({marks})", cells
                )
    sqlite.place.chmod(0o600)
    store = sqlite.opens(keys())
    assert shape_of(store) == shape["told"]
    store.chain()
    found = backups.snapshot(shape["snapshot"].encode(), "x", keys())
    assert list(found.everything()) == list(store.everything())

    place = tmp_path / "objects"
    (place / "steps").mkdir(mode=0o700, parents=True)
    place.chmod(0o700)
    (place / "state.json").write_text(shape["document"])
    for name, step in shape["steps"].items():
        (place / "steps" / name).write_text(step)
    made = ObjectRemote("x", objects(place.as_uri()), clock=Clock())
    store = RemoteStore(made, tmp_path, "ws", keys=keys())
    assert shape_of(store) == shape["told of the document"]


def shape_of(store):
    """Return what a store tells, as the kept files have it."""
    who = store.identity()
    return {
        "identity": [who.workspace, who.lineage, who.serial, who.chain],
        "index": [[address, look.hex() if look else None] for address, look in store.index()],
        "records": [{**one.to_json(), "token_key": one.token_key} for one in store.everything()],
        "unresolved": [
            [
                *(one.id, one.run, one.address, dict(one.action), one.known_absent),
                *(str(one.status), one.at),
            ]
            for one in store.unresolved()
        ],
        "apps": dict(store.apps()),
        "history": [
            [
                *(one.at, one.run.id, one.run.operator, one.address, dict(one.action)),
                *(str(one.status), one.code, one.message),
            ]
            for one in store.history()
        ],
    }
