"""The object store: conformance in a folder and in a bucket, steps, the lock, lost runners."""

from __future__ import annotations

import json
import os
import stat
import sys

import pytest
from bucket_server import bucket
from store_child import child, turns
from store_conformance import (
    Clock,
    StoreConformance,
    holder,
    intent,
    killed_and_settled,
    record,
    run,
    seen,
    where,
)
from store_conformance_journal import JournalConformance
from store_conformance_lock import LockConformance
from store_object import FIXTURES, fill, lying, made, write

from reconciler.errors import ConfigError, Locked
from reconciler.state import Settlement, Status
from reconciler.stores.object import objects
from reconciler.stores.object_cloud import CloudObjects, opened
from tests.world import World

clock, folder, in_bucket, in_folder, server = FIXTURES


@pytest.fixture(params=["folder", "cloud"])
def place(request, clock, tmp_path):
    """Where the state is, for `store_child`."""
    if request.param == "folder":
        yield "object", (tmp_path / "objects").as_uri(), str(tmp_path)
    else:
        with bucket(clock) as server:
            yield "object", server.endpoint, str(tmp_path)


@pytest.fixture
def opens(place, clock, tmp_path):
    """Open the state as often as wanted."""
    url = place[1]

    def open_(root=tmp_path, sleep=clock.sleep, lease=60.0):
        return made(url, root, clock, sleep=sleep, lease=lease)

    return open_


@pytest.fixture
def stored(place, clock):
    return lambda: lying(place[0], clock)


class TestStore(StoreConformance):
    """What every store keeps, kept as objects."""


class TestJournal(JournalConformance):
    """The journal of every store, as objects."""


class TestLock(LockConformance):
    """The lock of every store, as an object."""


def steps(folder):
    return sorted(path.name for path in (folder / "steps").iterdir() if path.name[0] != ".")


# Steps and the document


def test_each_write_is_one_small_object(in_folder, folder):
    """A write appends a step and leaves the document alone; leaving the lock folds them in."""
    fill(in_folder())
    document = (folder / "state.json").read_bytes()
    with in_folder().lock(holder()) as writer:
        writer.begin(run("run-2"))
        writer.intend([intent("i-1", run="run-2")])
        assert steps(folder) == ["000000000004.json", "000000000005.json"]
        assert (folder / "state.json").read_bytes() == document
        assert len((folder / "steps" / steps(folder)[1]).read_bytes()) < 1500
        assert [one.id for one in in_folder().unresolved()] == ["i-1"]
    assert steps(folder) == []
    assert [one.id for one in in_folder().unresolved()] == ["i-1"]


def test_steps_are_folded_in_time(in_folder, folder):
    """However much one run writes, few steps lie behind the document."""
    most = 0
    with in_folder().lock(holder()) as writer:
        writer.begin(run())
        for n in range(130):
            writer.intend([intent(f"i-{n}", n)])
            most = max(most, len(steps(folder)))
    assert 50 < most <= 100
    assert len(in_folder().unresolved()) == 130


def test_a_large_write_is_a_document(in_folder, folder):
    """What would make a step as large as the document is written as the document."""
    with in_folder().lock(holder()) as writer:
        writer.begin(run())
        writer.save([record(n) for n in range(1200)], [], "import")
        assert steps(folder) == []
        writer.save([record(n, "B") for n in range(3)], [], "refresh")
        assert len(list(in_folder().index())) == 1200
    assert in_folder().identity().serial == 2


def test_a_bucket_is_left_tidy(in_bucket, server):
    """What a run leaves in a bucket is the document, the lock and the clock."""
    fill(in_bucket())
    write(in_bucket())
    assert sorted(server.objects) == ["ws/clock", "ws/lock.json", "ws/state.json"]


def test_modes(in_folder, folder):
    """Objects in a folder are private, under any umask."""
    before = os.umask(0)
    try:
        fill(in_folder())
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}
    assert {name for name, mode in modes.items() if mode == 0o700} == {"objects", "steps"}
    assert {mode for name, mode in modes.items() if name not in ("objects", "steps")} == {0o600}


def test_a_reader_sees_one_moment(in_bucket, server, monkeypatch):
    """A document that is replaced while it is read is read again, never mixed with other steps."""
    monkeypatch.setattr("reconciler.stores.remote_copy.FOLD", 4)
    fill(in_bucket())
    with in_bucket().lock(holder()) as writer:
        writer.begin(run("run-2"))
        writer.save([record(50)], [], "import")
        reader = in_bucket()
        answer, others = server.answer, [True]

        def late(method, target, headers, body):
            # Between the document and the list of its steps, another run folds them in.
            if "list-type" in target and others:
                others.clear()
                for n in range(60, 66):
                    writer.save([record(n)], [], "import")
            return answer(method, target, headers, body)

        server.answer = late
        found = {address for address, _ in reader.index()}
    assert others == []
    assert {where(50), where(60), where(65)} <= found


# The lock


def test_a_broken_lock_is_noticed_at_once(in_folder):
    """A writer whose lease is fresh is refused by the step that was made in its place."""
    fill(in_folder())
    with in_folder().lock(holder(host="elsewhere")) as late:
        late.begin(run("late"))
        other = in_folder()
        other.force_unlock(other.held().id, run("u-1"))
        before = seen(in_folder())
        with pytest.raises(Locked):
            late.intend([intent("i-9", run="late")])
        assert seen(in_folder()) == before
    write(in_folder())


def test_a_step_of_another_is_not_taken_for_ours(in_folder, monkeypatch):
    """A place that another's step has is lost, also before the lock is given away."""
    fill(in_folder())
    with in_folder().lock(holder(host="elsewhere")) as late:
        late.begin(run("late"))
        other = in_folder()
        monkeypatch.setattr(other._remote, "free", lambda *_: False)
        other.force_unlock(other.held().id, run("u-1"))
        with pytest.raises(Locked):
            late.intend([intent("i-9", run="late")])
    assert in_folder().unresolved() == ()


def test_a_writer_that_slept_is_refused(in_folder, folder, tmp_path, clock):
    """Who takes a lock over writes that down at once, so that a holder waking up is kept out."""
    fill(in_folder())
    asleep = Clock()
    with made(folder.as_uri(), tmp_path, asleep).lock(holder(host="elsewhere")) as late:
        late.begin(run("late"))
        clock.now += 61
        with in_folder().lock(holder("bob")):
            before = seen(in_folder())
            with pytest.raises(Locked):
                late.intend([intent("i-9", run="late")])
            assert seen(in_folder()) == before


def test_a_lock_that_was_renewed_is_not_freed(in_folder, clock):
    """Whoever found the lease ended does not end one that was prolonged meanwhile."""
    store = in_folder()
    with in_folder().lock(holder(host="elsewhere")) as writer:
        found = store._remote.holder()
        clock.now += 55
        writer.check()
        assert not store._remote.free(found, found.fence)
        assert store.held().id == found.id


def test_a_writer_that_slept_through_a_fold_is_refused(in_folder, folder):
    """A step that was dropped leaves its place free, but the lock tells that it is another's."""
    fill(in_folder())
    with in_folder().lock(holder(host="elsewhere")) as late:
        late.begin(run("late"))
        other = in_folder()
        other.force_unlock(other.held().id, run("u-1"))
        write(in_folder())
        before = seen(in_folder())
        with pytest.raises(Locked):
            late.save([record(51)], [], "import")
        assert seen(in_folder()) == before
    write(in_folder(), 52, "run-3")
    assert where(51) not in dict(in_folder().index())


def test_many_processes_one_holder(folder, tmp_path):
    """Processes that take the lock in turn never hold it together, and fences rise."""
    place = ("object", folder.as_uri(), str(tmp_path))
    assert len(turns([child("race", place, 8) for _ in range(4)])) == 32


def test_times_are_the_stores(server, in_bucket):
    """A clock that is ten minutes off neither ends another's lease nor makes one of its own."""
    there = server.clock
    fast, slow = Clock(), Clock()
    fast.now, slow.now = there.now + 600, there.now - 600
    for mine, other in ((fast, slow), (slow, fast)):
        with in_bucket(clock=mine).lock(holder("ann", host="elsewhere")) as writer:
            writer.begin(run(f"r{mine.now}"))
            with pytest.raises(Locked), in_bucket(clock=other).lock(holder("bob")):
                pass
            writer.check()
            assert in_bucket(clock=there).held().expires_at == "2027-01-15T08:01:00Z"


# Lost machines


def test_a_lost_runner_leaves_its_intents_in_doubt(opens, place, tmp_path):
    """What a killed run was told to be durable is there for a run on another machine."""
    child("die_after_writing", place).wait()
    (tmp_path / "other").mkdir()
    store = opens(tmp_path / "other")
    assert [one.id for one in store.unresolved()] == ["lost"]
    assert where(77) in dict(store.index())
    with store.lock(holder("bob")) as writer:
        writer.begin(run("next"))
        writer.settle([Settlement("lost", Status.CONFIRMED)])
    assert opens(tmp_path / "other").unresolved() == ()


# Addresses


def test_addresses(monkeypatch):
    """Each scheme opens its store with the path as prefix; others and relative ones are refused."""
    pytest.importorskip("obstore")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acc")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")
    for scheme in ("s3", "gs", "az"):
        assert opened(f"{scheme}://bucket/pre/fix").prefix == "pre/fix"
    for url in ("s3://", "ftp://x/y", "file://host/path", "file:relative"):
        with pytest.raises(ConfigError):
            objects(url)


def test_without_the_package_it_is_named(monkeypatch):
    """Where obstore is missing, what to install is said."""
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(ConfigError) as refused:
        objects("s3://bucket/x")
    assert "im-reconciler[object]" in refused.value.diagnostics[0].hint


def test_conditions_of_each_cloud():
    """S3 and Azure are asked by the entity tag, Google Cloud Storage by the generation."""

    class Fake:
        def put(self, store, name, data, **how):
            modes.append(how["mode"])
            return {"e_tag": '"e"', "version": "7"}

    modes = []
    place = CloudObjects(None)
    place._obstore = Fake()
    place.put("x", b"", place.put("x", b"", ""))
    assert modes == ["create", {"e_tag": '"e"', "version": "7"}]


# The command line


@pytest.fixture
def world(tmp_path, folder, endpoint):
    """A workspace whose state is a folder of objects, and whose vendor is the emulator."""
    made_ = World(tmp_path / "first", endpoint)
    made_.workspace(f"state: {{backend: object, url: {folder.as_uri()}}}")
    return made_


def test_plan_apply_plan(world, tmp_path):
    """A plan is applied with its state in a folder of objects; elsewhere nothing is left to do."""
    world.accounts("alice:\n  profile: {name: Alice}\nbob:\n  profile: {name: Bob}")
    assert world.run("plan").last.startswith("Plan: 2 to create")
    ended = world.run("apply", "--auto-approve")
    assert (ended.code, ended.last) == (
        0,
        "Apply complete: 2 created, 0 updated, 0 blocked, 0 unblocked, 0 forgotten.",
    )
    other = world.elsewhere(tmp_path / "second")
    assert other.run("plan").last == "No changes. 2 accounts as recorded."
    assert other.run("drift").code == 0
    pulled = world.run("state", "pull").out
    assert json.loads(pulled)["serial"] == other.serial()
    other.write("pulled.json", pulled)
    pushed = other.run("state", "push", str(other.root / "pulled.json"), "--auto-approve")
    assert pushed.code == 0, pushed.err
    assert world.run("plan").last == "No changes. 2 accounts as recorded."


def test_a_killed_apply_is_settled_elsewhere(world, tmp_path, folder):
    """Killed in the middle, with its folder lost, an apply is caught up with from another one."""
    killed_and_settled(world, tmp_path / "second")
    assert steps(folder) == []
