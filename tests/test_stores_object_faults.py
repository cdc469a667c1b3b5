"""Faults of the object store: damage is found, and no write is lost or done twice."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import replace
from itertools import count

import pytest
from bucket_server import Fault
from store_conformance import holder, intent, record, run, where
from store_object import FIXTURES, fill, write

from reconciler.errors import Locked, StateError
from reconciler.snapshot import decode
from reconciler.state import Settlement, Status
from reconciler.stores.object import ObjectRemote, objects
from reconciler.stores.remote import RemoteStore

clock, folder, in_bucket, in_folder, server = FIXTURES


# What is refused


def damage_step(folder):
    path = next((folder / "steps").glob("0*5.json"))
    path.write_bytes(path.read_bytes().replace(b"support", b"suppost"))


def damage_last_step(folder):
    path = next((folder / "steps").glob("0*6.json"))
    path.write_bytes(path.read_bytes().replace(b"support", b"suppost"))


def drop_step(folder):
    next((folder / "steps").glob("0*5.json")).unlink()


def damage_lock(folder):
    (folder / "lock.json").write_text("[]")


def empty_document(folder):
    (folder / "state.json").write_bytes(b"")


def flip_document(folder):
    path = folder / "state.json"
    path.write_bytes(path.read_bytes().replace(b"support", b"suppost", 1))


def link_document(folder):
    path = folder / "state.json"
    path.rename(folder / "moved")
    path.symlink_to(folder / "moved")


@pytest.mark.parametrize(
    "spoil",
    [damage_step, damage_last_step, drop_step, empty_document, flip_document, link_document],
)
def test_damage_is_found(in_folder, folder, tmp_path, spoil):
    """A changed, missing, empty or replaced object is refused and never taken as empty."""
    fill(in_folder())
    with suppress(ZeroDivisionError), in_folder().lock(holder(host="elsewhere")) as writer:
        writer.begin(run("run-2"))
        writer.save([record(50)], [], "import")
        writer.save([record(51)], [], "import")
        spoil(folder)
        with pytest.raises(StateError):
            in_folder(tmp_path / "elsewhere").identity()
        writer._lost = True


def test_a_damaged_lock_is_refused(in_folder, folder):
    """A lock that is nonsense is neither free nor anybody's."""
    fill(in_folder())
    damage_lock(folder)
    with pytest.raises(StateError, match="damaged"), in_folder().lock(holder()):
        pass


def test_an_older_document_is_refused(in_folder, folder, tmp_path):
    """A copied-back older state is found where the newer was seen, and so is one that is gone."""
    fill(in_folder())
    older = (folder / "state.json").read_bytes()
    write(in_folder())
    (folder / "state.json").write_bytes(older)
    with pytest.raises(StateError) as refused:
        in_folder().identity()
    assert refused.value.diagnostics[0].id == "state-rolled-back"
    (folder / "state.json").unlink()
    with pytest.raises(StateError) as refused:
        in_folder().identity()
    assert refused.value.diagnostics[0].id == "state-missing"
    assert in_folder(tmp_path / "elsewhere").identity().serial == 0


def test_another_workspace_is_refused(in_folder, folder, tmp_path, clock):
    """A place holds one workspace."""
    fill(in_folder())
    other = RemoteStore(ObjectRemote("x", objects(folder.as_uri())), tmp_path, "other")
    with pytest.raises(StateError, match="belongs to the workspace 'ws'"):
        other.identity()


def test_a_store_without_conditions_is_refused(in_bucket, server):
    """A store that overwrites whatever the condition says is found out before the first write."""
    server.conditional = False
    with pytest.raises(StateError, match="does not keep the conditions"):
        fill(in_bucket())
    assert not any(key.startswith(("ws/state", "ws/steps", "ws/trial")) for key in server.objects)


def test_a_folder_that_everybody_may_write_is_refused(in_folder, folder):
    """State that anyone could have changed is not trusted."""
    fill(in_folder())
    folder.chmod(0o777)
    with pytest.raises(StateError, match="everybody"):
        in_folder().identity()


# Faults


FAULTS = [
    pytest.param(Fault("PUT", 500), id="500"),
    pytest.param(Fault("PUT", 503, after=True), id="503-after"),
    pytest.param(Fault("PUT", 0), id="closed"),
    pytest.param(Fault("PUT", 0, after=True), id="closed-after"),
]


@pytest.mark.parametrize("key", ["lock.json", "000004.json", "state.json"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_write_without_an_answer_is_looked_up(in_bucket, server, fault, key):
    """A write that took effect unanswered is known as our own when its repetition is refused."""
    fill(in_bucket())
    server.faults.append(replace(fault, key=key))
    write(in_bucket())
    assert server.faults[0].times == 0
    found = in_bucket()
    assert where(50) in dict(found.index())
    assert found.unresolved() == ()
    assert found.held() is None


def test_steps_that_could_not_be_dropped_do_no_harm(in_bucket, server):
    """Steps that a document holds already are passed over, and dropped by a later run."""
    server.faults.append(Fault("POST", 500, times=10**6))
    fill(in_bucket())
    assert any("/steps/" in key for key in server.objects)
    assert len(list(in_bucket().index())) == 10
    server.faults.clear()
    write(in_bucket())
    assert not any("/steps/" in key for key in server.objects)
    assert len(list(in_bucket().index())) == 11


@pytest.mark.parametrize("status", [500, 403, 401, 0])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_an_outage_is_an_error(in_bucket, server, method, status):
    """A store that cannot be used is an error that says so, and nothing is taken as empty."""
    fill(in_bucket())
    server.faults.append(Fault(method, status, times=10**6))
    with pytest.raises(StateError) as refused:
        write(in_bucket())
    assert refused.value.diagnostics[0].hint
    server.faults.clear()
    assert len(list(in_bucket().index())) == 10


@pytest.mark.parametrize("status", [500, 403])
def test_what_cannot_be_saved_is_kept_aside(in_bucket, server, tmp_path, status):
    """Outcomes that the store does not take are in a private file, with the command to push it.

    So too where the credentials end in the middle of a run.
    """
    fill(in_bucket())

    def fails():
        with in_bucket().lock(holder()) as writer:
            writer.begin(run("run-2"))
            writer.intend([intent("i-1", 50, run="run-2")])
            server.faults.append(Fault("PUT", status, times=10**6))
            writer.settle([Settlement("i-1", Status.CONFIRMED, record=record(50))])

    with pytest.raises(StateError) as failed:
        fails()
    path = tmp_path / ".reconciler" / "errored-run-2.json"
    assert f"state push {path}" in failed.value.diagnostics[0].hint
    assert where(50) in decode(path.read_bytes(), "kept").accounts


def test_every_sync_may_fail(in_folder, folder, tmp_path, monkeypatch, clock):
    """Whichever sync of a folder of objects fails: what was told is there, and work goes on."""
    real = os.fsync
    for at in count(1):
        left, told = [at], []

        def sync(descriptor, left=left):
            left[0] -= 1
            if left[0] == 0:
                raise OSError(errno.EIO, "Input/output error")
            real(descriptor)

        home = tmp_path / str(at)
        home.mkdir()
        with monkeypatch.context() as patch, suppress(StateError):
            patch.setattr(os, "fsync", sync)
            with in_folder(home).lock(holder(host="elsewhere")) as writer:
                writer.begin(run(f"run-{at}"))
                writer.intend([intent(f"i-{at}", at, run=f"run-{at}")])
                told.append(f"i-{at}")
                writer.settle([Settlement(f"i-{at}", Status.CONFIRMED, record=record(at))])
                told.append(where(at))
        clock.now += 61
        store = in_folder(home)
        known = {one.id for one in store.unresolved()}
        known |= {f"i-{int(one.address[-5:])}" for one in store.history()}
        assert {*told} <= {*known, *dict(store.index())}
        if left[0] > 0:
            break
        write(in_folder(home), 1000 + at, f"after-{at}")
    assert at > 8


def gone_document(folder):
    (folder / "state.json").unlink()


def gone_lock(folder):
    (folder / "lock.json").unlink()


def gone_everything(folder):
    for path in (*(folder / "steps").iterdir(), folder / "state.json", folder / "lock.json"):
        path.unlink()


@pytest.mark.parametrize("takes", [gone_document, gone_lock, gone_everything])
def test_what_is_taken_away_under_a_writer(in_folder, folder, takes):
    """A document that is gone is no new state; a writer whose lock is gone writes no more."""
    fill(in_folder())
    with suppress(StateError, Locked), in_folder().lock(holder(host="elsewhere")) as writer:
        writer.begin(run("run-2"))
        takes(folder)
        if takes is gone_document:
            writer.save([record(50)], [], "import")
        else:
            for _ in range(2):
                with pytest.raises(Locked):
                    writer.save([record(50)], [], "import")
    if takes is gone_lock:
        # The step that tells whether the lock is still ours is there before the look at it.
        assert len(list(in_folder().index())) in (10, 11)
        write(in_folder(), 51, "run-3")
    else:
        with pytest.raises(StateError):
            in_folder().identity()


class Stale:
    """Objects of a store whose readings lag: it answers as it was at some moment."""

    def __init__(self, place):
        self.place, self.then = place, None

    def __getattr__(self, name):
        return getattr(self.place, name)

    def stop(self):
        self.then = {name: self.place.get(name) for name in ("state.json", *self.names("steps/"))}

    def get(self, name):
        if self.then is None or name == "lock.json":
            return self.place.get(name)
        return self.then.get(name)

    def tag(self, name):
        found = self.get(name)
        return found[1] if found else ""

    def names(self, prefix):
        if self.then is None:
            return self.place.names(prefix)
        return sorted(name for name in self.then if name.startswith(prefix))


@pytest.mark.parametrize("folded", [True, False], ids=["document", "steps"])
def test_a_stale_reading_is_found_out(folder, in_folder, tmp_path, clock, folded):
    """Who reads what was there before is refused where more was seen, and else when it writes."""
    fill(in_folder())
    place = Stale(objects(folder.as_uri()))
    place.stop()

    def stale(root):
        return RemoteStore(ObjectRemote("x", place, clock=clock), root, "ws")

    if folded:
        write(in_folder())
    else:
        other = in_folder().lock(holder(host="elsewhere"))
        writer = other.__enter__()
        writer.begin(run("run-2"))
        writer.save([record(50)], [], "import")
        clock.now += 61
    with (
        pytest.raises((StateError, Locked)),
        stale(tmp_path / "elsewhere").lock(holder()) as writer,
    ):
        writer.begin(run("late"))
    place.then = None
    found = in_folder(tmp_path / "third")
    assert where(50) in dict(found.index())
    assert "late" not in {one.run.id for one in found.history()}
    clock.now += 61  # who was refused so believes the lock to be another's, and leaves it alone
    write(in_folder(tmp_path / "third"), 51, "run-4")
