"""The HTTP store: conformance on both flavours of server, the lock, lost runners, settings."""

from __future__ import annotations

import json
import re
import shlex
import stat
import time
from pathlib import Path

import pytest
from state_server import PASSWORD, SEVEN, USER, Fault, serving
from store_child import child
from store_conformance import (
    Clock,
    StoreConformance,
    holder,
    intent,
    killed_and_settled,
    record,
    run,
    where,
)
from store_conformance_journal import JournalConformance
from store_conformance_lock import LockConformance
from store_http import FIXTURES, Claiming, opening, remote, write

from reconciler.errors import ConfigError, Locked, StateError
from reconciler.snapshot import decode
from reconciler.state import Settlement, Status
from reconciler.stores.http_settings import http_settings
from reconciler.stores.remote import RemoteStore
from tests.forks import until
from tests.world import World

clock, filled, opens, server = FIXTURES


@pytest.fixture
def place(server, tmp_path):
    """Where the state is, for `store_child`."""
    return "http", server.options, str(tmp_path)


@pytest.fixture
def stored(server):
    return lambda: (server.document, server.posts)


class TestStore(StoreConformance):
    """What every store keeps, kept behind HTTP."""


class TestJournal(JournalConformance):
    """The journal of every store, behind HTTP."""


class TestLock(LockConformance):
    """The lock of every store, behind HTTP."""

    DIES = "die_after_writing"

    @pytest.fixture
    def opens(self, server, clock, tmp_path):
        kind = Claiming if server.gitlab else RemoteStore
        with opening(server, clock, tmp_path, kind) as open_:
            yield open_


# The lock


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("which", ["taking", "giving"])
def test_a_lock_without_an_answer(filled, opens, which, after):
    """A lock or unlock that may have taken effect is asked again, and known by its id."""
    taking = "POST" if filled.gitlab else "LOCK"
    method = taking if which == "taking" else "DELETE" if filled.gitlab else "UNLOCK"
    path = "/lock" if filled.gitlab else ""
    filled.faults.append(Fault(method, 0, after=after, path=path))
    with opens().lock(holder()):
        assert filled.lock is not None
    assert filled.lock is None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 500, 302])
def test_a_lock_that_cannot_be_asked_for(filled, opens, status):
    """A server that does not lock is an error, not a free lock."""
    taking, path = ("POST", "/lock") if filled.gitlab else ("LOCK", "")
    filled.faults.append(Fault(taking, status, times=99, path=path))
    with pytest.raises(StateError, match=str(status)), opens().lock(holder()):
        pass


def test_a_page_is_no_lock(filled, opens):
    """A proxy that answers with its own page has not locked anything."""
    taking, path = ("POST", "/lock") if filled.gitlab else ("LOCK", "")
    filled.faults.append(Fault(taking, 200, b"<html>", path=path))
    with pytest.raises(StateError, match="page"), opens().lock(holder()):
        pass


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"ID": 7}', b'{"Info": "{"}'])
@pytest.mark.parametrize("status", [409, 423])
def test_a_holder_that_is_not_told_has_no_lease(filled, opens, clock, body, status):
    """Whoever holds the lock untold keeps it, however late it gets."""
    taking, path = ("POST", "/lock") if filled.gitlab else ("LOCK", "")
    filled.faults.append(Fault(taking, status, body, times=99, path=path))
    clock.now += 1e6
    with pytest.raises(Locked, match="somebody"), opens().lock(holder()):
        pass


def test_a_lock_of_another_tool_has_no_lease(filled, opens, clock):
    """A lock that Terraform or a person took does not end by itself; it can be broken by its id."""
    info = dict.fromkeys(SEVEN, "x") | {"ID": "a-b-c", "Created": "2020-01-01T00:00:00.5Z"}
    filled.lock = info
    store = opens()
    with pytest.raises(Locked, match="x") as refused, store.lock(holder()):
        pass
    assert "force-unlock a-b-c" in refused.value.diagnostics[0].hint
    assert store.held().expires_at.startswith("9999")
    store.force_unlock("a-b-c", run("u-1"))
    assert filled.lock is None
    assert list(store.history())[-1].action["lock"]["id"] == "a-b-c"


def test_a_lease_that_cannot_be_read_has_not_ended(filled, opens, clock):
    """Where the document cannot be read, nobody can say that its holder is gone."""
    with opens().lock(holder("ann", host="elsewhere")) as writer:
        writer.begin(run("run-2"))
        clock.now += 50
        writer.check()
        clock.now += 50
        filled.faults.append(Fault("GET", 500, times=10**6))
        with pytest.raises(StateError, match="500"), opens().lock(holder("bob")):
            pass
        filled.faults.clear()
        assert opens().held().holder.name == "ann"
        writer.save([record(50)], [], "import")


def test_gitlab_tells_little_before_the_first_write(clock, tmp_path):
    """GitLab gives the asker's own words back as the holder's: they are not believed."""
    with (
        serving(gitlab=True, clock=clock) as server,
        opening(server, clock, tmp_path) as opens,
    ):
        ann = holder("ann", host="elsewhere", operation="apply")
        with opens().lock(ann) as writer:
            with pytest.raises(Locked, match="gitlab-user") as refused, opens().lock(holder("bob")):
                pass
            assert "bob" not in str(refused.value)
            assert opens().held().id in str(refused.value.diagnostics[0])
            writer.begin(run())
            assert opens().held().holder == ann
        with opens().lock(ann):
            clock.now += 61
            with opens().lock(holder("bob")):
                pass


def test_times_are_the_servers(server, opens, clock):
    """A clock that is ten minutes off neither ends another's lease nor makes one of its own."""
    there = Clock()
    server.clock = there
    for ahead in (-600, 600):
        clock.now = there.now + ahead
        with opens().lock(holder("ann", host="elsewhere")) as writer:
            writer.begin(run(f"r{ahead}"))
            assert opens().held().acquired_at == "2027-01-15T08:00:00Z"
            with pytest.raises(Locked), opens().lock(holder("bob")):
                pass
            writer.check()


# Lost machines


def test_a_lost_runner_leaves_its_intents_in_doubt(server, opens, place, tmp_path):
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


@pytest.mark.parametrize("status", [500, 401, 403])
def test_what_cannot_be_saved_is_kept_aside(filled, opens, tmp_path, status):
    """Outcomes that the server does not take are in a private file, with the command to push it.

    So too where the login ends in the middle of a run.
    """
    filled.faults.append(Fault("POST", status, times=0, path="/im"))

    def fails():
        with opens().lock(holder()) as writer:
            writer.begin(run("run-2"))
            writer.intend([intent("i-1", 50, run="run-2")])
            filled.faults[0].times = 10**6
            writer.settle([Settlement("i-1", Status.CONFIRMED, record=record(50))])

    with pytest.raises(StateError) as failed:
        fails()
    path = tmp_path / ".reconciler" / "errored-run-2.json"
    assert f"reconciler --chdir {tmp_path} state push {path}" in failed.value.diagnostics[0].hint
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = decode(path.read_bytes(), "kept")
    assert where(50) in kept.accounts
    assert kept.who.serial == 2
    assert PASSWORD not in path.read_text()
    filled.faults.clear()
    assert [one.id for one in opens().unresolved()] == ["i-1"]


def test_after_a_failed_write_nothing_more_is_written(filled, opens):
    """A writer that does not know what the server holds writes no more; the next run reads it."""
    with opens().lock(holder()) as writer:
        writer.begin(run("run-2"))
        filled.faults.append(Fault("POST", 500, times=5, path="/im"))
        with pytest.raises(StateError):
            writer.save([record(50)], [], "import")
        posts = filled.posts
        for _ in range(2):
            with pytest.raises(StateError):
                writer.save([record(51)], [], "import")
        assert filled.posts == posts
    write(opens(), 52)


def test_heartbeats_prolong_a_lease_in_the_document(filled, opens, clock):
    """A run that writes nothing for half a lease writes its lease."""
    posts = filled.posts
    with opens(lease=0.4).lock(holder()) as writer:
        writer.begin(run("run-2"))
        assert filled.posts == posts + 1
        clock.now += 0.25
        until(lambda: filled.posts == posts + 2)
    shape = json.loads(filled.document)
    assert shape["lock"]["expires"] == round((clock.now + 0.4) * 1000)
    assert shape["state_serial"] == 1


# Settings


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({}, "no address"),
        ({"address": "http://git.example.com/s"}, "plain http"),
        ({"address": "https://a:b@git.example.com/s"}, "password"),
        ({"address": "https://tok@git.example.com/s"}, "password"),
        ({"address": "ftp://git.example.com/s"}, "no http"),
        ({"address": "https://[x"}, "no address"),
        ({"address": "https://h/s", "lock_address": "http://h/s"}, "lock_address .* plain http"),
    ],
)
def test_settings_that_cannot_be_used(options, what):
    """An address without TLS, with a password in it, or of nothing is refused with a reason."""
    with pytest.raises(ConfigError, match=what) as refused:
        http_settings(options, Path("/"), {}, str)
    assert "b@" not in str(refused.value)
    assert refused.value.diagnostics[0].hint


def test_settings_from_the_environment():
    """RECONCILER_HTTP_* stand in for what is not written; of TF_HTTP_* only the login does."""
    environ = {
        "RECONCILER_HTTP_ADDRESS": "https://h/s",
        "RECONCILER_HTTP_LOCK_ADDRESS": "https://h/s/lock",
        "RECONCILER_HTTP_LOCK_METHOD": "POST",
        "RECONCILER_HTTP_UNLOCK_ADDRESS": "https://h/s/lock",
        "RECONCILER_HTTP_UNLOCK_METHOD": "DELETE",
        "RECONCILER_HTTP_UPDATE_METHOD": "PUT",
        "TF_HTTP_USERNAME": "tf",
        "TF_HTTP_PASSWORD": "tf-secret",
        "TF_HTTP_ADDRESS": "https://h/terraform",
    }

    def resolve(reference):
        return environ[reference.target]

    found = http_settings({"update_method": "POST"}, Path("/"), environ, resolve)
    assert (found.address, found.lock_address, found.unlock_method) == (
        "https://h/s",
        "https://h/s/lock",
        "DELETE",
    )
    assert (found.update_method, found.lock_method) == ("POST", "POST")
    assert (found.username, found.password) == ("tf", "tf-secret")
    assert "tf-secret" not in repr(found)
    del environ["RECONCILER_HTTP_ADDRESS"]
    with pytest.raises(ConfigError):
        http_settings({}, Path("/"), environ, resolve)


def test_a_proxy_is_not_picked_up(filled, opens, monkeypatch):
    """Proxies that the environment names are not used."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert opens().identity().serial == 1


# The command line


@pytest.fixture
def world(tmp_path, server, endpoint):
    """A workspace whose state is on the server, and whose vendor is the emulator."""
    server.clock = time.time
    made = World(tmp_path / "first", endpoint)
    made.environ["STATE_PASSWORD"] = PASSWORD
    state = {"backend": "http", "username": USER, "password": "env:STATE_PASSWORD"}
    made.workspace(f"state: {json.dumps({**state, **server.options})}")
    return made


def test_plan_apply_plan(world, server, tmp_path):
    """A plan is applied with its state on the server; another machine plans nothing more."""
    world.accounts("alice:\n  profile: {name: Alice}\nbob:\n  profile: {name: Bob}")
    assert world.run("plan").last.startswith("Plan: 2 to create")
    ended = world.run("apply", "--auto-approve")
    assert (ended.code, ended.last) == (
        0,
        "Apply complete: 2 created, 0 updated, 0 blocked, 0 unblocked, 0 forgotten.",
    )
    other = world.elsewhere(tmp_path / "second")
    posts = server.posts
    assert other.run("plan").last == "No changes. 2 accounts as recorded."
    assert other.run("apply", "--auto-approve").code == 0
    assert server.posts == posts
    assert json.loads(other.run("lock", "status", "--json").out)["held"] is False
    assert server.lock is None
    assert PASSWORD.encode() not in b"".join(server.versions)
    assert not any(path.suffix == ".db" for path in world.root.rglob("*"))


def test_all_settings_may_come_from_the_environment(world, server):
    """A workspace that only names the backend is at home in a CI job; no log tells the password."""
    world.workspace("state: {backend: http}")
    settings = {**server.options, "username": USER, "password": PASSWORD}
    world.environ |= {f"RECONCILER_HTTP_{name.upper()}": text for name, text in settings.items()}
    world.accounts("alice:\n  profile: {name: Alice}")
    assert world.run("validate").code == 0
    ended = world.run("--log-level", "debug", "apply", "--auto-approve")
    assert ended.code == 0, ended.err
    server.faults.append(Fault("GET", 401))
    refused = world.run("--log-level", "debug", "plan")
    assert refused.code == 1
    assert "the user name or the password is wrong" in refused.err
    assert PASSWORD not in ended.out + ended.err + refused.out + refused.err


def test_what_was_kept_aside_can_be_pushed(world, server):
    """The command that a failed apply prints brings back what it did, and nothing is left to do."""
    world.accounts("alice:\n  profile: {name: Alice}\nbob:\n  profile: {name: Bob}")
    server.faults.append(Fault("POST", 413, skip=3, times=10**6, path="/im"))
    failed = world.run("apply", "--auto-approve")
    assert failed.code == 1
    assert "larger than the server takes" in failed.err
    (command,) = re.findall(r"reconciler (--chdir .* --auto-approve)", failed.err)
    server.faults.clear()
    pushed = world.run(*shlex.split(command)[2:])
    assert pushed.code == 0, pushed.err
    recorded = world.run("state", "list").out.split()
    assert {"cn-prod/alice", "cn-prod/bob"} <= set(recorded)
    assert world.run("apply", "--auto-approve").code == 0
    assert world.run("plan").last == "No changes. 2 accounts as recorded."
    assert len(world.mutations()) == 2


def test_a_killed_apply_is_settled_elsewhere(world, tmp_path):
    """Killed in the middle, with its folder lost, an apply is caught up with from another one."""
    killed_and_settled(world, tmp_path / "second")


def test_held_is_exit_5(world, server):
    """A command that needs the lock ends with 5 and says who has it."""
    world.accounts("alice:\n  profile: {name: Alice}")
    remote_settings = {**server.options}
    store = RemoteStore(remote(remote_settings), world.root, "test-im")
    with store.lock(holder("ann", host="elsewhere")) as writer:
        writer.claim()
        refused = world.run("apply", "--auto-approve")
        told = world.run("lock", "status", "--json").json
    store.close()
    assert refused.code == 5
    assert "ann" in refused.err
    assert told["id"] in refused.err
    assert (told["held"], told["holder"], told["host"]) == (True, "ann", "elsewhere")
