"""Conformance of stores of tables: locks of single apps, and writers that write side by side."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack

import pytest
from store_child import child
from store_conformance import Address, Record, StoreFixtures, dead_pid, holder, run, seen

from reconciler.errors import Locked, StateError
from reconciler.state import Intent, Settlement, Status
from reconciler.stores.high_water import read_mark

LEASE = 1.0
"""Seconds of a lease that ends by itself."""


def mine(app, n, name="A"):
    """Return a record of an app."""
    return Record(Address(f"{app}/user-{n:05d}"), {"profile": {"name": f"{name}{n}"}}, False)


def intend(app, id, n=1, run="run-1"):
    """Return an intent of an app."""
    address = Address(f"{app}/user-{n:05d}")
    action = {"address": address, "action": "update", "changes": [{"path": "profile.name"}]}
    return Intent(id, run, address, action)


class AppsConformance(StoreFixtures):
    """A subclass also gives `place`: what `store_child` is told of where the state is."""

    @pytest.fixture
    def locking(self, opens):
        """Return what takes a lock, each from a store of its own, until the test ends."""
        with ExitStack() as held:

            def lock(*apps, whole=False, **who):
                how = {"name": "-".join(apps) or "all", "host": "elsewhere", **who}
                scope = None if whole else apps
                return held.enter_context(opens().lock(holder(**how), apps=scope))

            yield lock

    def test_apps_are_locked_side_by_side(self, store, locking):
        """Locks of different apps are held together, each with its id, fence and apps."""
        locking("cn", "sg")
        locking("eu")
        one, other = store.locks()
        assert (one.apps, other.apps) == (("cn", "sg"), ("eu",))
        assert (one.holder.name, other.holder.name) == ("cn-sg", "eu")
        assert one.id != other.id
        assert one.fence < other.fence
        assert store.held() == one

    def test_an_app_is_locked_once(self, store, locking):
        """Who wants a locked app is refused by name, and gets none of the others that it wants."""
        locking("cn", "sg")
        held = store.held()
        for wanted in (("sg",), ("eu", "sg"), ("cn", "sg")):
            with pytest.raises(Locked, match="cn and sg are locked by cn-sg") as refused:
                locking(*wanted)
            told = refused.value.diagnostics[0]
            assert held.id in told.detail
            assert held.id in told.hint
        assert store.locks() == (held,)
        locking("eu")
        with pytest.raises(ValueError, match="no app"):
            locking()

    def test_the_whole_and_an_app_exclude_each_other(self, store, opens):
        """An app's lock keeps the whole workspace's out, and the other way round."""
        with (
            opens().lock(holder("ann", host="elsewhere"), apps=["cn"]),
            pytest.raises(Locked, match="accounts of cn are locked by ann"),
        ):
            opens().lock(holder("bob")).__enter__()
        with opens().lock(holder("bob", host="elsewhere")):
            with pytest.raises(Locked, match="the state is locked by bob"):
                opens().lock(holder("ann"), apps=["cn"]).__enter__()
            (held,) = store.locks()
            assert held.apps is None
        assert store.locks() == ()

    def test_waiting_for_an_app(self, opens, clock):
        """With a timeout a locked app is waited for; another one is had without waiting."""
        before = clock.now
        with opens().lock(holder("ann", host="elsewhere"), apps=["cn"]):
            with opens(sleep=clock.sleep).lock(holder("cid"), timeout=90, apps=["sg"]):
                assert clock.now == before
            with opens(sleep=clock.sleep).lock(holder("bob"), timeout=90, apps=["cn"]):
                assert clock.now - before == pytest.approx(60, abs=1)

    def test_fences_rise(self, store, opens, clock):
        """There is one count of fences for all locks, however each was lost."""
        fences = []

        def note():
            fences.append(max(held.fence for held in store.locks()))

        for round in range(2):
            with opens().lock(holder(host="elsewhere"), apps=["cn"]):
                note()
                with opens().lock(holder(host="elsewhere"), apps=["sg"]):
                    note()
                    clock.now += 61
                    with opens().lock(holder("bob", host="elsewhere")):
                        note()
                        opens().force_unlock(store.held().id, run(f"u-{round}"))
                        with opens().lock(holder("cid"), apps=["sg", "eu"]):
                            note()
                            opens().force_unlock(store.held().id, run(f"v-{round}"))
            with opens().lock(holder()):
                note()
        assert fences == sorted(set(fences))
        assert len(fences) == 10

    def test_a_writer_writes_only_its_apps(self, opens, locking):
        """Whatever would touch an account of another app is refused whole, and nothing written."""
        other = locking("sg")
        other.begin(run("run-2"))
        other.save([mine("sg", 1)], [], "import")
        other.intend([intend("sg", "theirs", run="run-2")])
        writer = locking("cn")
        writer.begin(run())
        writer.intend([intend("cn", "ours")])
        stranger, done = mine("sg", 1, "B"), Status.CONFIRMED
        before = seen(opens())
        for write in (
            lambda: writer.bind({"cn": "a", "sg": "b"}),
            lambda: writer.intend([intend("cn", "i-1"), intend("sg", "i-2")]),
            lambda: writer.settle([Settlement("theirs", done)]),
            lambda: writer.settle([Settlement("ours", done, record=stranger)]),
            lambda: writer.settle([Settlement("ours", done, forget=stranger.address)]),
            lambda: writer.save([mine("cn", 1), stranger], [], "import"),
            lambda: writer.save([], [stranger.address], "state rm"),
            lambda: writer.erase(stranger.address, stranger, lambda action: action),
            lambda: writer.rekey(),
        ):
            with pytest.raises(StateError, match="cn"):
                write()
        assert seen(opens()) == before
        assert (writer.scope, other.scope) == (("cn",), ("sg",))
        writer.settle([Settlement("ours", done, record=mine("cn", 1))])
        assert [one.id for one in opens().unresolved()] == ["theirs"]

    def test_writers_interleave(self, opens, locking):
        """Two writers in turn, hundreds of times: one lineage, one chain, no serial left out."""
        writers, rounds = {app: locking(app) for app in ("cn", "sg")}, 60
        for app, writer in writers.items():
            writer.begin(run(f"run-{app}"))
            writer.bind({app: f"app-{app}"})
        for n in range(rounds):
            for app, writer in writers.items():
                writer.intend([intend(app, f"{app}-{n}", n % 5, run=f"run-{app}")])
            for app, writer in writers.items():
                done = Settlement(f"{app}-{n}", Status.CONFIRMED, record=mine(app, n % 5, f"{n}-"))
                writer.settle([done])
        store = opens()
        assert store.identity().serial == store.chain() == 2 * rounds
        assert store.unresolved() == ()
        assert store.apps() == {"cn": "app-cn", "sg": "app-sg"}
        versions = {one.address: one.version for one in store.everything()}
        assert sorted(versions.values()) == list(range(2 * rounds - 9, 2 * rounds + 1))
        told = [entry.run.id for entry in store.history()]
        assert told == ["run-cn", "run-sg"] * rounds
        with pytest.raises(StateError, match="app-cn"):
            writers["cn"].bind({"cn": "another"})

    def test_writers_take_turns(self, opens, place):
        """Two processes that write at once wait for each other's transactions, and lose nothing."""
        rounds = 40
        children = [child("apply_app", place, app, rounds) for app in ("cn", "sg")]
        for one in children:
            one.stopped()
        assert {held.apps for held in opens(clock=time.time).locks()} == {("cn",), ("sg",)}
        for one in children:
            one.signal(signal.SIGCONT)
        for one in children:
            assert one.wait() == 0, one.err
        store = opens(clock=time.time)
        assert store.identity().serial == store.chain() == 2 * rounds
        assert store.unresolved() == ()
        names = {one.address: one.document["profile"]["name"] for one in store.everything()}
        last = {f"user-{n:05d}": f"{rounds - 5 + n}-{n}" for n in range(5)}
        assert names == {f"{app}/{id}": name for app in ("cn", "sg") for id, name in last.items()}
        assert read_mark(store._place.beside).serial == 2 * rounds

    def test_the_dead_are_taken_over_while_others_write(self, opens, place):
        """A killed holder of an app is taken over in time; the writer of another goes on."""
        with opens(clock=time.time).lock(holder("sid", host="elsewhere"), apps=["sg"]) as writer:
            writer.begin(run())
            process = child("abroad", place, ["cn"], lease=LEASE)
            assert process.wait() == -signal.SIGKILL
            killed, writes = time.monotonic(), 0
            while True:
                writer.save([mine("sg", 1, f"{writes}-")], [], "refresh")
                writes += 1
                try:
                    with opens(clock=time.time).lock(holder("bob"), apps=["cn"]) as taken:
                        taken.begin(run("bob"))
                    break
                except Locked:
                    continue
            assert time.monotonic() - killed < LEASE + 5
            assert writes > 1
        assert opens().identity().serial == writes

    def test_the_end_of_a_process_frees_its_apps(self, opens, place):
        """The apps of a process of this host that was killed are free at once."""
        assert child("die", place, ["cn", "sg"]).wait() == -signal.SIGKILL
        store = opens(clock=time.time)
        assert store.locks() == ()
        with store.lock(holder("bob"), apps=["sg"]):
            assert store.held().apps == ("sg",)

    @pytest.mark.parametrize("loss", ["taken", "in part", "whole", "expired", "broken"])
    def test_late_writes_are_refused(self, opens, clock, loss):
        """Who lost any of its apps in any way writes to none of them, and frees no other's."""
        others = {"taken": ["cn", "sg"], "in part": ["sg"], "whole": None}
        with ExitStack() as on:
            with opens().lock(holder(host="elsewhere"), apps=["cn", "sg"]) as writer:
                writer.begin(run())
                clock.now += 61
                if loss == "broken":
                    clock.now -= 6
                    opens().force_unlock(opens().held().id, run("u-1"))
                elif loss in others:
                    on.enter_context(opens().lock(holder("bob"), apps=others[loss]))
                before = seen(opens())
                for write in (
                    lambda: writer.save([mine("cn", 5)], [], "import"),
                    lambda: writer.intend([intend("cn", "i-9")]),
                    lambda: writer.begin(run("run-2")),
                    writer.check,
                ):
                    with pytest.raises(Locked, match="has lost"):
                        write()
                assert seen(opens()) == before
            assert [held.holder.name for held in opens().locks()] == ["bob"] * (loss in others)

    def test_check_renews(self, opens, clock, locking):
        """A check that finds the lease old prolongs it for each of its apps, and for no other."""
        writer = locking("cn", "sg")
        clock.now += 30
        locking("eu")
        clock.now += 25
        writer.check()
        one, other = opens().locks()
        assert (one.expires_at, other.expires_at) == (
            "2027-01-15T08:01:55Z",
            "2027-01-15T08:01:30Z",
        )

    def test_unknown_process_keeps_its_lease(self, opens, locking):
        """A pid that was never seen here says nothing: the lease counts."""
        locking("cn", host="elsewhere", pid=dead_pid())
        with pytest.raises(Locked):
            locking("cn")

    def test_force_unlock_frees_just_that_one(self, opens, locking):
        """The lock with the id is broken; the other goes on, and history names the apps."""
        late, writer = locking("cn", "sg"), locking("eu")
        for one in (late, writer):
            one.begin(run())
        first, second = opens().locks()
        with pytest.raises(Locked, match="cn and sg"):
            opens().force_unlock("no", run("u-1"))
        opens().force_unlock(first.id, run("u-1", "force-unlock"))
        assert opens().locks() == (second,)
        with pytest.raises(Locked):
            late.save([mine("cn", 1)], [], "import")
        writer.save([mine("eu", 1)], [], "import")
        (broken,) = (one for one in opens().history() if one.run.id == "u-1")
        assert broken.action["lock"]["apps"] == ["cn", "sg"]
        opens().force_unlock(second.id, run("u-2"))
        with pytest.raises(StateError, match="nobody"):
            opens().force_unlock(second.id, run("u-3"))
