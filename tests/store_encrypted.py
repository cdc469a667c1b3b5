"""What the tests of encrypted state share: keys, stores of every kind, what they leave at rest."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from state_server import serving
from store_conformance import Clock, holder, intent, record, run, where
from store_http import remote

from reconciler.accounts import Observed
from reconciler.state import Run, Settlement, Status
from reconciler.stores.keys import Keys
from reconciler.stores.object import ObjectRemote, objects
from reconciler.stores.remote import RemoteStore
from reconciler.stores.sqlite import SqliteStore
from reconciler.values import Reference
from reconciler.workspace import Encryption
from tests.canaries import contents, disguises

TEXTS = {
    name: base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()
    for name in ("one", "two", "three")
}
"""Keys as their references hold them."""


def keys(key: str = "one", *previous: str) -> Keys:
    """Return the keys of a workspace that names these."""
    settings = Encryption(
        Reference(f"env:{key}") if key else None,
        tuple(Reference(f"env:{one}") for one in previous),
    )
    return Keys(settings, lambda reference: TEXTS[reference.target])


ID = {name: keys(name).first for name in TEXTS}


@dataclass
class Home:
    """Where a state is: `opens` opens it with keys, `rest` returns all that is stored of it."""

    name: str
    opens: Callable[..., object]
    rest: Callable[[], bytes]
    place: Path


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sqlite(tmp_path, clock) -> Iterator[Home]:
    """A SQLite file."""
    place, opened = tmp_path / ".reconciler" / "state.db", []

    def opens(with_: Keys, **how):
        opened.append(SqliteStore(place, "ws", keys=with_, **{"clock": clock, **how}))
        return opened[-1]

    yield Home("sqlite", opens, lambda: contents(place.parent), place)
    for store in opened:
        store.close()


@pytest.fixture
def folder(tmp_path, clock) -> Home:
    """Objects in a folder."""
    place = tmp_path / "objects"

    def opens(with_: Keys, wraps=lambda objects: objects, workspace="ws", **how):
        made = ObjectRemote("folder", wraps(objects(place.as_uri())), clock=clock)
        return RemoteStore(made, tmp_path, workspace, keys=with_, **how)

    return Home("folder", opens, lambda: contents(place), place)


@pytest.fixture
def http(tmp_path, clock) -> Iterator[Home]:
    """A server that takes what GitLab takes."""
    with serving(gitlab=True, clock=clock) as server:
        opened = []

        def opens(with_: Keys, **how):
            made = remote(server.options, tmp_path, clock=clock, sleep=lambda _: None)
            opened.append(RemoteStore(made, tmp_path, "ws", keys=with_, **how))
            return opened[-1]

        def rest() -> bytes:
            return (server.document or b"") + json.dumps(server.lock).encode()

        home = Home("http", opens, rest, tmp_path)
        home.server = server
        yield home
        for store in opened:
            store.close()


@pytest.fixture
def postgres(request, tmp_path, clock) -> Iterator[Home]:
    """A schema of a database."""
    pytest.importorskip("psycopg")
    database = request.getfixturevalue("database")
    from reconciler.stores.postgres import postgres_store

    opened = []

    def opens(with_: Keys, **how):
        how = {"clock": clock, **how}
        opened.append(postgres_store(database, "reconciler", tmp_path, "ws", keys=with_, **how))
        return opened[-1]

    yield Home("postgres", opens, lambda: _stored(database), tmp_path)
    for store in opened:
        store.close()


def _stored(database: str) -> bytes:
    """Return the files of all tables of the schema, and of their indexes."""
    import psycopg

    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        (data,) = connection.execute("SHOW data_directory").fetchone()
        paths = connection.execute(
            "SELECT pg_relation_filepath(oid) FROM pg_class WHERE relkind IN ('r', 'i', 't')"
            " AND relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN"
            " ('reconciler', 'pg_toast')) AND oid >= 16384"
        ).fetchall()
    return b"".join(Path(data, path).read_bytes() for (path,) in paths)


@pytest.fixture(params=["sqlite", "folder", "http", "postgres"])
def home(request) -> Home:
    """Each kind of store."""
    return request.getfixturevalue(request.param)


# What must not be seen

CANARIES = {
    "name": "Canary Name \u5ba2\u670d",
    "mobile": "+8613800138000",
    "extension": '{"canary": "extension"}',
    "label": "label-canary",
    "ban reason": "reason of the canary",
    "ban evidence": "https://evidence.example/canary?x=1",
    "ban notice": "notice to the canary",
    "seen at the vendor": "seen canary",
    "token's reference": "env:IM_TOKEN_CANARY",
    "token's fingerprint": hashlib.sha256(b"token").hexdigest()[:32],
    "before": "the former canary",
    "vendor's message": "the vendor says canary",
    "vendor's code": "code-canary",
    "operator": "canary.operator@host",
    "job": "https://ci.example/canary/jobs/1",
    "fingerprint": "sha256:" + hashlib.sha256(b"plan").hexdigest(),
}
"""What is recorded and is nobody's to read, by what it is."""

RUN = Run(
    "run-c",
    "apply",
    "2027-01-15T08:00:00Z",
    CANARIES["operator"],
    CANARIES["fingerprint"],
    {"ci": "gitlab", "url": CANARIES["job"]},
)


def canary(name: str = CANARIES["name"], n: int = 1, **facts):
    """Return a record with a canary in every field."""
    document = {
        "profile": {
            "name": name,
            "mobile": CANARIES["mobile"],
            "extension": CANARIES["extension"],
        },
        "labels": {"team": CANARIES["label"]},
        "ban": {
            "reason": CANARIES["ban reason"],
            "evidence": [CANARIES["ban evidence"]],
            "notify": CANARIES["ban notice"],
        },
        "token": {"from": CANARIES["token's reference"], "version": 1},
    }
    observed = Observed(True, {"name": CANARIES["seen at the vendor"]}, {}, True)
    return record(
        n,
        document=document,
        banned=True,
        token_key=CANARIES["token's fingerprint"],
        observed=observed,
        **facts,
    )


def fill(store, count: int = 5) -> None:
    """Record a canary of every kind, some plain accounts, a doubt and history."""
    with store.lock(holder()) as writer:
        writer.begin(RUN)
        writer.bind({"cn": "app-1"})
        writer.save([canary(), *(record(n) for n in range(2, count))], [], "import")
        writer.save([record(0, CANARIES["name"])], [], "import")
        change = {"path": "profile.name", "before": CANARIES["before"], "after": CANARIES["name"]}
        action = {"address": where(1), "action": "update", "changes": [change]}
        writer.intend(
            [
                *(intent(f"i-{n}", n, run=RUN.id) for n in (2, 3)),
                type(intent("x"))("i-1", RUN.id, where(1), action, known_absent=True),
            ]
        )
        told = CANARIES["vendor's code"], CANARIES["vendor's message"]
        writer.settle(
            [
                Settlement("i-1", Status.CONFIRMED, *told, canary("B")),
                Settlement("i-2", Status.AMBIGUOUS, *told),
            ]
        )


def told(store) -> list[object]:
    """Return all that a store tells but its serial and the lines about its keys."""
    who = store.identity()
    return [
        who.workspace,
        who.lineage,
        list(store.index()),
        list(store.everything()),
        store.unresolved(),
        dict(store.apps()),
        [one for one in store.history() if one.action["action"] != "state rekey"],
    ]


def kept(home: Home, with_: Keys) -> list[object]:
    """Open a state, return all that it tells, and leave it to others."""
    store = home.opens(with_)
    try:
        return told(store)
    finally:
        store.close()


def key_of(home: Home, with_: Keys) -> str:
    """Open a state, return the id of the key that it is under, and leave it to others."""
    store = home.opens(with_)
    try:
        return store.identity().key
    finally:
        store.close()


def found(data: bytes) -> set[str]:
    """Return which canaries stand in some bytes, in any encoding."""
    return {
        name
        for name, value in CANARIES.items()
        if any(needle in data for needles in disguises(value).values() for needle in needles)
    }


def holds(data: bytes, secret: bytes) -> bool:
    """Tell whether some bytes hold others: as they are, as hex or as base64."""
    forms = {secret, secret.hex().encode(), secret.hex().upper().encode()}
    for phase in range(3):
        whole = base64.b64encode(bytes(phase) + secret)
        forms.add(whole[-(-phase * 8 // 6) : (phase + len(secret)) * 8 // 6])
    return any(form in data for form in forms)


def rekeyed(store, id: str = "rekey") -> None:
    """Write a state anew as its keys say."""
    with store.lock(holder()) as writer:
        writer.begin(run(id, "state rekey"))
        writer.rekey()
