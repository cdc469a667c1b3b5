"""Encrypted state: conformance, what can be read at rest, forged and swapped rows, wrong keys."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from store_conformance import StoreConformance, holder, record, run, seen, where
from store_conformance_journal import JournalConformance
from store_encrypted import (
    CANARIES,
    ID,
    RUN,
    canary,
    fill,
    found,
    holds,
    keys,
    rekeyed,
    told,
)
from store_object import lying
from store_postgres import FIXTURES
from store_sqlite import rows

from reconciler.errors import StateError
from reconciler.state import Settlement, Status
from reconciler.stores import backups
from reconciler.stores.backups import Opens
from reconciler.stores.envelope import closed
from reconciler.stores.high_water import beside
from reconciler.stores.keys import NO_KEYS
from reconciler.stores.rows import (
    link,
    number,
    seal,
    stored,
    term,
)
from reconciler.values import canonical

pytest_plugins = ["store_encrypted"]

database = FIXTURES[1]


class TestTables(StoreConformance, JournalConformance):
    """What every store keeps, kept encrypted in tables."""

    @pytest.fixture
    def opens(self, sqlite):
        return lambda **how: sqlite.opens(keys(), **how)

    @pytest.fixture
    def stored(self, sqlite):
        return lambda: rows(sqlite.place)


class TestDocuments(StoreConformance, JournalConformance):
    """What every store keeps, kept encrypted in a document and its steps."""

    @pytest.fixture
    def opens(self, folder):
        return lambda **how: folder.opens(keys(), **how)

    @pytest.fixture
    def stored(self, folder, clock):
        return lambda: lying(folder.place.as_uri(), clock)


# At rest


def clear_digests(home, store):
    """Return the digests that a clear state keeps: whoever has one can try guesses against it."""
    kept = [one.index_digest for one in store.everything() if one.index_digest]
    if home.name == "sqlite":
        with closing(sqlite3.connect(home.place)) as connection:
            kept += [row[0] for row in connection.execute("SELECT seal FROM accounts")]
            kept += [row[0][-16:] for row in connection.execute("SELECT look_digest FROM accounts")]
            kept += [row[0] for row in connection.execute("SELECT seal FROM journal")]
            kept += connection.execute("SELECT told, doubt, seal FROM meta").fetchone()
    return kept


def test_nothing_hidden_is_at_rest(home):
    """Encrypted, a state shows no canary in any encoding, and no digest to try guesses against.

    Clear it shows them all, so the scan bites; of what was clear nothing is left behind.
    """
    store = home.opens(NO_KEYS)
    fill(store)
    content, digests = told(store), clear_digests(home, store)
    store.close()
    assert found(home.rest()) == {*CANARIES}
    if home.name in ("sqlite", "postgres"):
        assert all(holds(home.rest(), one) for one in digests)

    store = home.opens(keys().also_clear())
    rekeyed(store)
    store.close()
    assert found(home.rest()) == set()
    store = home.opens(keys())
    assert told(store) == content
    assert store.identity().key == ID["one"]
    store.chain()

    with store.lock(holder()) as writer:
        writer.begin(replace(RUN, id="run-d"))
        said = CANARIES["vendor's code"], CANARIES["vendor's message"]
        writer.settle([Settlement("i-2", Status.CONFIRMED, *said, canary("C", 2))])
        writer.save([canary("D", 7)], [where(3)], "import")
        assert found(home.rest()) == set()
    store.close()
    assert not [one for one in digests if holds(home.rest(), one)]
    assert found(home.rest()) == set()


@pytest.mark.parametrize("kind", ["sqlite", "folder"])
def test_backups_are_encrypted_as_the_state_is(request, tmp_path, kind):
    """A backup shows no canary, and can be read with its key and with no other."""
    home = request.getfixturevalue(kind)
    store = home.opens(keys())
    fill(store)
    made = backups.keep(store, tmp_path / "backups", "2027-01-15T08:00:00Z", keys())
    snapshot = tmp_path / "backups" / "by-hand.json"
    snapshot.write_bytes(b"".join(backups.text(store, keys())))
    content = list(store.everything())
    store.close()

    for path in (made, snapshot):
        assert found(path.read_bytes()) == set()
        assert list(backups.read(path, Opens("ws", keys())).everything()) == content
        assert list(backups.read(path, Opens("ws", keys("two", "one"))).everything()) == content
        for wrong in (NO_KEYS, keys("two")):
            with pytest.raises(StateError, match=ID["one"]):
                backups.read(path, Opens("ws", wrong))


def test_an_envelope_says_whose_it_is(http):
    """What is stored behind HTTP says version, serial and lineage, as GitLab wants, and no more."""
    store = http.opens(keys())
    fill(store)
    documents = [json.loads(one) for one in http.server.versions]
    assert [one["serial"] for one in documents] == list(range(1, len(documents) + 1))
    assert {one["lineage"] for one in documents} == {store.identity().lineage}
    assert documents[-1].keys() == {
        *("encrypted", "encryption", "lineage", "serial", "tool", "version", "workspace", "digest")
    }
    assert (documents[-1]["version"], documents[-1]["tool"]) == (1, "reconciler")
    assert documents[-1]["encryption"] == {"key": ID["one"], "of": "state"}
    http.server.document = json.dumps(documents[-1], indent=1).encode()
    assert len(list(http.opens(keys()).everything())) == 5


def test_what_cannot_be_saved_is_kept_aside_encrypted(folder, tmp_path):
    """The emergency file of an encrypted state is encrypted, also before anything was stored."""

    class Full:
        def __init__(self, objects):
            self.objects, self.full = objects, False

        def __getattr__(self, name):
            return getattr(self.objects, name)

        def put(self, name, data, tag):
            if self.full and name.startswith(("state", "steps")):
                raise StateError.of("state-io", "no room")
            return self.objects.put(name, data, tag)

    made = []
    store = folder.opens(keys(), wraps=lambda objects: made.append(Full(objects)) or made[-1])

    def fails():
        with store.lock(holder()) as writer:
            writer.begin(RUN)
            made[0].full = True
            writer.save([canary()], [], "import")

    with pytest.raises(StateError, match="no room"):
        fails()
    path = tmp_path / ".reconciler" / "errored-run-c.json"
    assert found(path.read_bytes()) == set()
    assert backups.read(path, Opens("ws", keys())).accounts[where(1)].document == canary().document


def test_erasing_leaves_no_ciphertext_either(sqlite):
    """What was erased is not left behind encrypted, for whoever has the key."""
    store = sqlite.opens(keys())
    fill(store)
    store.close()
    with closing(sqlite3.connect(sqlite.place)) as connection:
        cells = connection.execute(
            "SELECT document FROM accounts WHERE address = 'cn/user-00001' UNION ALL"
            " SELECT action FROM journal WHERE address = 'cn/user-00001' AND id IS NOT NULL"
        ).fetchall()
    assert len(cells) == 2
    store = sqlite.opens(keys())
    with store.lock(holder()) as writer:
        writer.begin(run("erase", "erase"))
        hides = lambda action: {"action": action["action"]}  # noqa: E731
        assert writer.erase(where(1), record(1, "hidden"), hides) == 2
        assert not [cell for (cell,) in cells if cell in sqlite.rest()]
    assert not [cell for (cell,) in cells if cell in sqlite.rest()]
    store.chain()


# Forgery: by somebody who can write the file, knows its layout, and has no key


def forge(place: Path, *statements: str) -> None:
    """Change rows, and make every seal and sum fit again, which needs no key."""
    with closing(sqlite3.connect(place)) as connection, connection:
        does = connection.execute
        does("PRAGMA foreign_keys = OFF")
        for statement in statements:
            does(statement)
        for table, key in (("accounts", "address"), ("journal", "seq"), ("runs", "id")):
            for row in does(f"SELECT * FROM {table}").fetchall():
                does(f"UPDATE {table} SET seal = ? WHERE {key} = ?", (seal(*row[:-1]), row[0]))
        content = sum(term(*row) for row in does("SELECT address, look_digest FROM accounts"))
        sums = {True: 0, False: 0}
        for status, kept in does("SELECT status, seal FROM journal"):
            sums[status in ("intent", "ambiguous")] += number(kept)
        serial, tip, prev, *_ = does("SELECT * FROM serials ORDER BY serial DESC").fetchone()
        tip = link(prev, stored(content), serial)
        does(
            "UPDATE serials SET content = ?, digest = ? WHERE serial = ?",
            (stored(content), tip, serial),
        )
        meta = list(does("SELECT * FROM meta").fetchone())[1:]
        meta[3:7] = stored(content), tip, stored(sums[True]), stored(sums[False])
        does(
            "UPDATE meta SET content = ?, tip = ?, doubt = ?, told = ?, seal = ?",
            (*meta[3:7], seal(*meta[:8])),
        )
    beside(place).unlink(missing_ok=True)


def swap(table: str, key: str, one: object, other: object, *columns: str) -> list[str]:
    """Return the statement that exchanges cells of two rows."""
    cells = [
        f"{column} = (SELECT t.{column} FROM {table} t WHERE t.{key} ="
        f" CASE {table}.{key} WHEN {one!r} THEN {other!r} ELSE {one!r} END)"
        for column in columns
    ]
    return [f"UPDATE {table} SET {', '.join(cells)} WHERE {key} IN ({one!r}, {other!r})"]


A, B = "cn/user-00001", "cn/user-00002"
WHOLE = ("look_digest", "document", "version", "updated_at", "run")
FORGED = {
    "records swapped": swap("accounts", "address", A, B, *WHOLE),
    "what they hide swapped": swap("accounts", "address", A, B, "document"),
    "index digests swapped": swap("accounts", "address", A, B, "look_digest"),
    "a record under another address": [
        f"UPDATE accounts SET address = 'cn/x' WHERE address = '{A}'"
    ],
    "a record gone": [f"DELETE FROM accounts WHERE address = '{A}'"],
    "another version": [f"UPDATE accounts SET version = 9 WHERE address = '{A}'"],
    "another time": [f"UPDATE accounts SET updated_at = '2020' WHERE address = '{A}'"],
    "a flipped bit": [
        "UPDATE accounts SET look_digest = CAST(substr(look_digest, 1, 40) || X'00000000000000'"
        f" AS BLOB) WHERE address = '{A}'"
    ],
    "an index digest cut": [f"UPDATE accounts SET look_digest = X'00' WHERE address = '{A}'"],
    "no index digest": [f"UPDATE accounts SET look_digest = NULL WHERE address = '{A}'"],
    "clear text in a record": [
        f"UPDATE accounts SET document = CAST('{{}}' AS BLOB) WHERE address = '{A}'"
    ],
    "a doubt settled": ["UPDATE journal SET status = 'confirmed' WHERE status = 'intent'"],
    "an outcome undone": ["UPDATE journal SET status = 'intent' WHERE id = 'i-1'"],
    "actions swapped": swap("journal", "seq", 1, 2, "action"),
    "a line gone": ["DELETE FROM journal WHERE seq = 2"],
    "lines out of order": ["UPDATE journal SET seq = 99 WHERE seq = 2"],
    "a line of another run": ["UPDATE journal SET run = 'run-e' WHERE seq = 2"],
    "runs swapped": swap("runs", "id", "run-c", "run-e", "context"),
    "another serial": ["UPDATE meta SET serial = serial - 1"],
    "another app": ['UPDATE meta SET apps = CAST(\'{"cn":"x"}\' AS BLOB)'],
    "another workspace": ["UPDATE meta SET workspace = 'other'"],
    "another lineage": ["UPDATE meta SET lineage = 'other'"],
    "no proof": ["UPDATE meta SET proof = X''"],
    "a proof cut": ["UPDATE meta SET proof = substr(proof, 1, 20)"],
    "another link": ["UPDATE serials SET content = prev WHERE serial = 1"],
}


@pytest.fixture(scope="module")
def genuine(tmp_path_factory):
    """The bytes of an encrypted file."""
    from reconciler.stores.sqlite import SqliteStore

    place = tmp_path_factory.mktemp("genuine") / "state.db"
    store = SqliteStore(place, "ws", keys=keys())
    fill(store)
    with store.lock(holder()) as writer:
        writer.begin(replace(RUN, id="run-e"))
        writer.save([canary("E")], [], "refresh")
    store.close()
    return place.read_bytes()


@pytest.fixture
def given(sqlite, genuine):
    """A place with that file."""
    sqlite.place.parent.mkdir()
    sqlite.place.write_bytes(genuine)
    sqlite.place.chmod(0o600)
    return sqlite


def refused(home) -> StateError:
    """Read everything that a store tells; return how it refused."""

    def reads():
        store = home.opens(keys())
        seen(store)
        store.chain()

    with pytest.raises(StateError) as failed:
        reads()
    return failed.value


@pytest.mark.parametrize("statements", FORGED.values(), ids=FORGED)
def test_forged_rows_are_found(given, statements):
    """Whoever changes, moves or drops a row, and all that can be made to fit, is found out."""
    forge(given.place, *statements)
    assert refused(given).diagnostics[0].id in ("state-corrupt", "state-not-encrypted")


def test_genuine_rows_are_not(given):
    """Making everything fit changes nothing where nothing was forged."""
    forge(given.place)
    store = given.opens(keys())
    assert len(list(store.everything())) == 5
    store.chain()


@pytest.mark.parametrize(
    ("table", "key", "of"),
    [("accounts", "address", f"'{A}'"), ("journal", "id", "'i-1'"), ("meta", "one", "1")],
)
def test_an_older_row_is_found(given, table, key, of):
    """A row that was genuine once is refused in a state that has gone on."""
    with closing(sqlite3.connect(given.place)) as connection:
        older = connection.execute(f"SELECT * FROM {table} WHERE {key} = {of}").fetchone()
    store = given.opens(keys())
    with store.lock(holder()) as writer:
        writer.begin(replace(RUN, id="run-f"))
        writer.settle([Settlement("i-2", Status.CONFIRMED, record=canary("F"))])
        writer.erase(where(1), canary("G"), lambda action: {"action": action["action"]})
    store.close()
    marks = ",".join("?" * len(older))
    with closing(sqlite3.connect(given.place)) as connection, connection:
        connection.execute(f"DELETE FROM {table} WHERE {key} = {of}")
        connection.execute(f"INSERT INTO {table} VALUES ({marks})", older)
    forge(given.place)
    refused(given)


def test_a_row_of_another_state_is_found(given, tmp_path):
    """The same account under the same key in another lineage is another row."""
    from reconciler.stores.sqlite import SqliteStore

    other = tmp_path / "other" / "state.db"
    store = SqliteStore(other, "ws", keys=keys())
    fill(store)
    store.close()
    with closing(sqlite3.connect(given.place)) as connection:
        connection.execute("ATTACH ? AS other", (str(other),))
        with connection:
            connection.execute(
                "UPDATE accounts SET document = o.document, look_digest = o.look_digest,"
                " version = o.version, updated_at = o.updated_at, run = o.run"
                " FROM other.accounts o WHERE accounts.address = o.address"
            )
    forge(given.place)
    refused(given)


def test_a_clear_state_in_its_place_is_refused(given, tmp_path):
    """A whole clear state, sound in itself, is not taken for the encrypted one."""
    from reconciler.stores.sqlite import SqliteStore

    other = tmp_path / "other" / "state.db"
    store = SqliteStore(other, "ws")
    fill(store)
    store.close()
    given.place.write_bytes(other.read_bytes())
    assert refused(given).diagnostics[0].id == "state-not-encrypted"


def enveloped(folder):
    """Return an encrypted document with two steps behind it, and the folder they are in."""
    store = folder.opens(keys())
    fill(store)
    document = json.loads((folder.place / "state.json").read_text())
    with store.lock(holder(host="elsewhere")) as writer:
        writer.begin(replace(RUN, id="run-e"))
        writer.save([canary("E", 9)], [], "import")
        steps = {
            one.name: json.loads(one.read_text()) for one in (folder.place / "steps").glob("0*")
        }
    (folder.place / "state.json").write_text(json.dumps(document))
    for name, step in steps.items():
        (folder.place / "steps" / name).write_text(json.dumps(step))
    beside(next((folder.place.parent / ".reconciler").glob("remote-*")).with_suffix("")).unlink()
    return document, steps


def put(path: Path, shape: dict) -> None:
    """Write an envelope with the digest that it must have, which needs no key."""
    import hashlib

    shape = {**shape}
    parts, _ = shape.pop("encrypted"), shape.pop("digest")
    told_ = hashlib.sha256(canonical(shape))
    for part in parts:
        told_.update(part.encode() + b"\n")
    path.write_text(
        json.dumps({**shape, "encrypted": parts, "digest": f"sha256:{told_.hexdigest()}"})
    )


@pytest.mark.parametrize(
    "what",
    [
        *("serial", "lineage", "workspace", "of", "key", "part", "no part", "a step", "a snapshot"),
        *("clear step", "clear document"),
    ],
)
def test_forged_envelopes_are_found(folder, what):
    """An envelope whose head or text was changed, or that is of something else, is refused."""
    document, steps = enveloped(folder)
    assert len(list(folder.opens(keys()).everything())) == 6
    state, last = folder.place / "state.json", sorted(steps)[-1]
    match what:
        case "serial" | "lineage" | "workspace":
            value = document["serial"] + 1 if what == "serial" else "x"
            put(state, {**document, what: value})
        case "of":
            put(state, {**document, "encryption": {**document["encryption"], "of": "step"}})
        case "key":
            put(state, {**document, "encryption": {"key": ID["two"], "of": "state"}})
        case "part":
            put(state, {**document, "encrypted": steps[last]["encrypted"]})
        case "no part":
            put(state, {**document, "encrypted": []})
        case "a step":
            put(state, steps[last])
        case "a snapshot":
            store = folder.opens(keys())
            state.write_bytes(b"".join(backups.text(store, keys())))
        case "clear step" | "clear document":
            clear = folder.opens(keys().also_clear())
            text = clear._load()
            from reconciler.stores.remote_content import Change, encode_step
            from reconciler.stores.remote_content import encode as whole

            if what == "clear document":
                state.write_bytes(whole(replace(text.content, key=""), "")[0])
                for name in steps:
                    (folder.place / "steps" / name).unlink()
            else:
                after = text.content.after(Change())
                step, _ = encode_step(after, text.content.seal, Change())
                (folder.place / "steps" / f"{after.revision:012d}.json").write_bytes(step)
    with pytest.raises(StateError):
        seen(folder.opens(keys()))


def test_a_long_text_is_closed_in_parts(folder):
    """A text of several parts comes back whole; a part less, or two swapped, is refused."""
    store = folder.opens(keys())
    fill(store)
    who = store.identity()
    pieces = [bytes([65 + n]) * (1 << 20) for n in range(3)]
    name = folder.place / "x"
    name.write_bytes(b"".join(closed(pieces, "snapshot", who, keys(), "x")))
    shape = json.loads(name.read_bytes())
    assert len(shape["encrypted"]) == 3
    from reconciler.stores.envelope import opened

    assert opened(name.read_bytes(), "snapshot", keys(), "x").text == b"".join(pieces)
    one, two, three = shape["encrypted"]
    for parts in ([one, two], [two, one, three], [one, two, three, three], [one, three]):
        put(name, {**shape, "encrypted": parts})
        with pytest.raises(StateError, match="damaged"):
            opened(name.read_bytes(), "snapshot", keys(), "x")


# Keys


@pytest.mark.parametrize(
    ("with_", "id", "says"),
    [
        (NO_KEYS, "state-key-missing", "no key at all"),
        (keys("two"), "state-key-missing", ID["two"]),
        (keys("two", "three"), "state-key-missing", "env:three"),
        (keys("", "two"), "state-key-missing", ID["two"]),
    ],
    ids=["none", "another", "others", "former"],
)
def test_a_wrong_key_is_told_by_its_id(home, with_, id, says):
    """Without its key a state is neither empty nor damaged: the key that is wanted is named."""
    store = home.opens(keys())
    fill(store, 3)
    content = told(store)
    store.close()
    before = home.rest()
    for use in (lambda one: one.identity(), lambda one: one.lock(holder()).__enter__()):
        with pytest.raises(StateError) as failed:
            use(home.opens(with_))
        (finding,) = failed.value.diagnostics
        assert finding.id == id
        assert ID["one"] in finding.summary
        assert says in finding.detail
        assert "state: {encryption: {key:" in finding.hint
    if home.name == "sqlite":
        assert home.rest() == before
    assert told(home.opens(keys())) == content


@pytest.mark.parametrize("with_", [keys("two", "one"), keys("", "one")], ids=["new", "none"])
def test_a_previous_key_goes_on_until_rekeyed(home, with_):
    """Under a former key a state is read and written as before; it stays under it."""
    fill(home.opens(keys()), 3)
    store = home.opens(with_)
    with store.lock(holder()) as writer:
        writer.begin(run("later"))
        writer.save([record(8)], [], "import")
    assert store.identity().key == ID["one"]
    store.close()
    assert where(8) in dict(home.opens(keys()).index())


def test_clear_state_is_refused_where_a_key_is_named(home):
    """What is not encrypted is not read as if it were; the way on is told."""
    fill(home.opens(NO_KEYS), 3)
    for use in (lambda one: one.identity(), lambda one: one.lock(holder()).__enter__()):
        with pytest.raises(StateError, match="not encrypted") as failed:
            use(home.opens(keys()))
        assert "reconciler state rekey" in failed.value.diagnostics[0].hint
    assert home.opens(keys("", "one")).identity().key == ""
