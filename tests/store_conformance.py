"""Conformance of stores: records and snapshots as every backend must keep them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.accounts import Address, Observed
from reconciler.changes import Override
from reconciler.state import Holder, Intent, Record, Run, Store
from tests.forks import until

Opens = Callable[..., Store]
HERE = socket.gethostname()
T0 = 1_800_000_000.0


class Clock:
    """A clock that a test moves; sleeping on it moves it too."""

    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def holder(name="ann", host=HERE, pid=None, operation="apply"):
    return Holder(name, host, os.getpid() if pid is None else pid, operation)


def run(id="run-1", operation="apply"):
    over = Override("vip", "客服 asked, TS-1", "ann", "sha256:cd")
    facts = {"ci": "gitlab"}
    return Run(id, operation, "2027-01-15T08:00:00Z", "ann@ci", "sha256:ab", facts, (over,))


def where(n):
    return Address(f"cn/user-{n:05d}")


def record(n, name="A", **facts):
    document = {"profile": {"name": f"{name}{n}"}, "labels": {"team": "support"}}
    return Record(where(n), facts.pop("document", document), facts.pop("banned", False), **facts)


def intent(id, n=1, **facts):
    action = {"address": where(n), "action": "update", "changes": [{"path": "profile.name"}]}
    return Intent(id, facts.pop("run", "run-1"), where(n), action, **facts)


def seen(store):
    """Return everything a store says, for comparing two moments or two files."""
    return (
        store.identity(),
        list(store.index()),
        list(store.everything()),
        store.unresolved(),
        dict(store.apps()),
        list(store.history()),
    )


def dead_pid():
    """Return the number of a process that has surely ended."""
    with subprocess.Popen(["true"]) as process:
        return process.pid


def killed_and_settled(world, root):
    """Kill an apply of sixty accounts in the middle, lose its folder, and go on in another."""
    names = [f"user-{n:03d}" for n in range(60)]
    world.accounts("\n".join(f"{name}:\n  profile: {{name: {name}}}" for name in names))
    process = world.start("apply", "--auto-approve")
    until(lambda: len(world.mutations()) > 5)
    process.kill()
    other = world.elsewhere(root)
    shutil.rmtree(world.root)
    ended = other.run("apply", "--auto-approve")
    assert ended.code == 0, ended.err
    assert other.run("plan").last == "No changes. 60 accounts as recorded."
    created = [id for call in other.mutations() for id in call["account_ids"]]
    assert sorted(created) == names


class StoreFixtures:
    """A subclass gives the fixtures `clock`, `opens` (each call opens the same state), `stored`.

    The latter tells all that is stored but the lock, so that two moments can be compared.
    """

    @pytest.fixture
    def store(self, opens):
        return opens()

    @pytest.fixture
    def filled(self, store):
        with store.lock(holder()) as writer:
            writer.begin(run())
            writer.save([record(n) for n in range(10)], [], "import")
        return store


class StoreConformance(StoreFixtures):
    """Records, and the moment that reads see."""

    # Nothing yet

    def test_new_state_is_empty(self, store):
        """A state that nobody wrote has serial 0, no lineage and nothing in it."""
        assert seen(store) == (store.identity(), [], [], (), {}, [])
        assert (store.identity().serial, store.identity().lineage) == (0, "")
        assert store.held() is None
        assert list(store.records([where(1)])) == []

    def test_lock_alone_writes_nothing(self, store):
        """Taking and leaving the lock makes neither a lineage nor a serial."""
        with store.lock(holder()):
            pass
        assert (store.identity().serial, store.identity().lineage) == (0, "")

    def test_first_write_makes_the_lineage(self, filled):
        """The first write makes a lineage, and a changed record serial 1."""
        assert filled.identity().serial == 1
        assert len(filled.identity().lineage) == 36

    def test_lineage_stays(self, filled, opens):
        """Later writes and other openings keep the lineage."""
        before = filled.identity().lineage
        other = opens()
        with other.lock(holder()) as writer:
            writer.begin(run("run-2"))
            writer.save([record(99)], [], "import")
        assert other.identity().lineage == before

    # Records

    def test_record_comes_back_whole(self, store):
        """Every field of a record comes back as it was saved."""
        whole = record(
            1,
            document={
                "profile": {"name": "客服 \u200e", "extension": '{"a":1}'},
                "ban": {"reason": "spam", "evidence": ["https://x"]},
                "token": {"from": "env:IM_TOKEN_A", "version": 3},
                "protected": True,
            },
            banned=True,
            token_key="ab" * 16,
            waiting=("configuration.x",),
            observed=Observed(True, {"name": "B"}, {"p2p_chat_banned": True}, None),
        )
        with store.lock(holder()) as writer:
            writer.begin(run())
            writer.save([whole], [], "import")
        (found,) = store.records([whole.address])
        assert found == replace(whole, version=1, updated_at="2027-01-15T08:00:00Z", run="run-1")

    def test_version_time_and_run_are_the_stores(self, filled, clock):
        """A changed record gets the new serial, the store's time and the run; no other does."""
        clock.now += 5
        with filled.lock(holder()) as writer:
            writer.begin(run("run-2"))
            writer.save([record(3, "B", version=77, updated_at="x", run="y")], [], "refresh")
        found = {r.address: (r.version, r.updated_at, r.run) for r in filled.everything()}
        assert found[where(3)] == (2, "2027-01-15T08:00:05Z", "run-2")
        assert found[where(4)] == (1, "2027-01-15T08:00:00Z", "run-1")

    def test_saving_the_same_bumps_nothing(self, filled):
        """A record equal to the stored one but for version, time and run changes nothing."""
        before = seen(filled)
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.save([record(n, version=5, run="other") for n in range(10)], [], "refresh")
        assert seen(filled) == before

    def test_a_run_that_changes_nothing_writes_nothing(self, filled, stored):
        """A run that finds all as it should be leaves what is stored alone, but for the lock."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.bind({"cn": "app-1"})
        before = stored()
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.bind({"cn": "app-1"})
            writer.save([*filled.everything()], [where(99)], "refresh")
            writer.save([], [], "refresh")
            writer.check()
        assert filled.held() is None
        assert stored() == before

    @pytest.mark.parametrize(
        "change",
        [
            {"banned": True},
            {"token_key": "cd"},
            {"waiting": ("token",)},
            {"observed": Observed(False)},
            {"document": {"labels": {}}},
        ],
    )
    def test_each_field_counts(self, filled, change):
        """A difference in any recorded field is a change."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.save([record(1, **change)], [], "refresh")
        assert filled.identity().serial == 2

    def test_index_is_sorted_and_tells_digests(self, filled):
        """The index yields every address in order with its record's index digest."""
        index = list(filled.index())
        assert [address for address, _ in index] == [where(n) for n in range(10)]
        assert dict(index) == {r.address: r.index_digest for r in filled.everything()}

    def test_index_digest_may_be_none(self, filled):
        """A record that planning must look at closely has no digest in the index."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.save([record(1, observed=Observed(False))], [], "refresh")
        assert dict(filled.index())[where(1)] is None

    def test_everything_is_sorted(self, store):
        """All records come sorted by address, in whatever order they were saved."""
        with store.lock(holder()) as writer:
            writer.begin(run())
            for n in (5, 1, 9, 3):
                writer.save([record(n)], [], "import")
        assert [r.address for r in store.everything()] == [where(n) for n in (1, 3, 5, 9)]

    def test_records_leaves_out_unknown(self, filled):
        """Only the records asked for come back, and unknown addresses are left out."""
        found = {r.address for r in filled.records([where(2), where(77), where(8)])}
        assert found == {where(2), where(8)}

    def test_records_of_many(self, store):
        """More addresses than one query takes come back all."""
        with store.lock(holder()) as writer:
            writer.begin(run())
            writer.save([record(n) for n in range(1_700)], [], "import")
        assert len(list(store.records(where(n) for n in range(1_700)))) == 1_700
        assert store.identity().serial == 1

    @pytest.mark.parametrize("id", ["客服", "a'b\"c", "x%y", "UPPER", "a/b?c#d", "\U0001f600"])
    def test_any_address(self, store, id):
        """An address is text and nothing else, whatever characters it has."""
        odd = replace(record(1), address=Address(f"cn/{id}"))
        with store.lock(holder()) as writer:
            writer.begin(run())
            writer.save([odd], [], "import")
        assert [r.address for r in store.records([odd.address])] == [odd.address]
        assert [entry.address for entry in store.history(odd.address)] == [odd.address]

    def test_forget_drops(self, filled):
        """A forgotten record is gone, under one new serial."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.save([], [where(1), where(2)], "rm")
        assert len(list(filled.index())) == 8
        assert filled.identity().serial == 2

    def test_forgetting_unknown_changes_nothing(self, filled):
        """Forgetting an account that is not recorded bumps nothing."""
        before = seen(filled)
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.save([], [where(77)], "rm")
        assert seen(filled) == before

    def test_move_is_one_serial(self, filled):
        """A save with a forget is one change of the state."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.save([record(20)], [where(1)], "mv")
        addresses = [address for address, _ in filled.index()]
        assert where(20) in addresses
        assert where(1) not in addresses
        assert filled.identity().serial == 2

    def test_saving_while_streaming(self, filled):
        """Records may be saved while all of them are still being read."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            for found in filled.everything():
                writer.save([replace(found, token_key="k")], [], "refresh")
        assert {r.token_key for r in filled.everything()} == {"k"}

    # Snapshots

    def test_reads_see_one_moment(self, filled, opens):
        """What others write meanwhile is not seen before the store is opened anew."""
        before = seen(filled)
        other = opens()
        with other.lock(holder()) as writer:
            writer.begin(run())
            writer.save([record(50)], [], "import")
        assert seen(filled) == before
        assert seen(opens()) != before

    def test_own_writes_are_seen(self, filled):
        """What a store's own writer wrote is seen by its next read."""
        list(filled.index())
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.save([record(50)], [], "import")
            assert len(list(filled.index())) == 11

    def test_lock_ends_the_moment(self, filled, opens):
        """Whoever takes the lock reads the newest state from then on."""
        list(filled.index())
        with opens().lock(holder()) as writer:
            writer.begin(run())
            writer.save([record(50)], [], "import")
        with filled.lock(holder()):
            assert len(list(filled.index())) == 11

    def test_reading_needs_no_lock(self, filled, opens):
        """A reader sees the committed state while another holds the lock and writes."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.save([record(50)], [], "import")
            assert len(list(opens().everything())) == 11

    def test_opening_again_tells_the_same(self, filled, opens):
        """Everything is still there for the next opening."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.bind({"cn": "app"})
            writer.intend([intent("i-1")])
        before = seen(filled)
        filled.close()
        assert seen(opens()) == before
