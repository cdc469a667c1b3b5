"""What the tests of the object store share: places for objects, and a store."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bucket_server import BUCKET, bucket
from store_conformance import Clock, holder, intent, record, run

from reconciler.state import Settlement, Status
from reconciler.stores.object import ObjectRemote, objects
from reconciler.stores.remote import RemoteStore


def cloud(endpoint, clock, prefix="ws"):
    """Return the place in a bucket of the test server; failing requests are soon given up."""
    from obstore.store import S3Store

    from reconciler.stores.object_cloud import CloudObjects

    store = S3Store(
        BUCKET,
        prefix=prefix,
        endpoint=endpoint,
        access_key_id="key",
        secret_access_key="secret",
        region="eu-central-1",
        client_options={"allow_http": True, "timeout": "5s"},
        retry_config={
            "max_retries": 2,
            "retry_timeout": timedelta(seconds=5),
            "backoff": {
                "init_backoff": timedelta(milliseconds=5),
                "max_backoff": timedelta(milliseconds=10),
                "base": 2,
            },
        },
    )
    return CloudObjects(store, clock)


def lying(url, clock):
    """Return what lies in a place but the lock and the clock; of a folder with when it came."""
    if url.startswith("http"):
        place = cloud(url, clock)
        found = {name: place.get(name) for name in place.names("")}
    else:
        root = Path(unquote(urlsplit(url).path))
        files = [path for path in root.rglob("*") if path.is_file()]
        found = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
    return {name: one for name, one in found.items() if name not in ("lock.json", "clock", ".gate")}


def made(url, root, clock, **how):
    """Return a store on `file:` or on the test server's `http:`."""
    place = cloud(url, clock) if url.startswith("http") else objects(url)
    return RemoteStore(ObjectRemote(url, place, clock=clock), root, "ws", **how)


def fill(store, n=10):
    """Record accounts."""
    with store.lock(holder()) as writer:
        writer.begin(run())
        writer.save([record(k) for k in range(n)], [], "import")


def write(store, n=50, id="run-2"):
    """Write an intent and its outcome."""
    with store.lock(holder()) as writer:
        writer.begin(run(id))
        writer.intend([intent(f"i-{n}", n, run=id)])
        writer.settle([Settlement(f"i-{n}", Status.CONFIRMED, record=record(n))])


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server(clock):
    """A bucket on loopback."""
    with bucket(clock) as made_:
        yield made_


@pytest.fixture
def in_bucket(server, clock, tmp_path):
    """Open the state in the bucket."""

    def open_(root=tmp_path, **how):
        return made(server.endpoint, root, how.pop("clock", clock), **how)

    return open_


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "objects"


@pytest.fixture
def in_folder(folder, clock, tmp_path):
    """Open the state in a folder."""

    def open_(root=tmp_path, **how):
        return made(folder.as_uri(), root, clock, **how)

    return open_


FIXTURES = (clock, folder, in_bucket, in_folder, server)
"""For a module that names them so."""
