"""Conformance of stores: the lock, its lease and its fence, as every backend must keep them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from store_child import child
from store_conformance import (
    HERE,
    T0,
    StoreFixtures,
    dead_pid,
    holder,
    intent,
    record,
    run,
    seen,
    where,
)

from reconciler.accounts import Address
from reconciler.errors import Locked, StateError
from reconciler.state import Intent, Record, Settlement, Status


class LockConformance(StoreFixtures):
    """A subclass also gives `place`: what `store_child` is told of where the state is."""

    DIES = "die"
    """How a process dies that others can see to have held the lock."""

    def test_one_holder(self, store, opens):
        """A second holder is refused at once, with everything needed to decide what to do."""
        with store.lock(holder("ann", pid=os.getpid())):
            held = store.held()
            with pytest.raises(Locked) as refused, opens().lock(holder("bob")):
                pass
        (finding,) = refused.value.diagnostics
        text = f"{finding.summary} {finding.detail} {finding.hint}"
        for fact in (
            held.id,
            "ann",
            HERE,
            str(os.getpid()),
            "apply",
            held.acquired_at,
            held.expires_at,
            f"reconciler force-unlock {held.id}",
        ):
            assert fact in text

    def test_held_tells_the_holder(self, store, opens):
        """Anyone can see who holds the lock, since when and until when."""
        with store.lock(holder("ann", operation="refresh")):
            held = opens().held()
        assert held.holder == holder("ann", operation="refresh")
        assert (held.acquired_at, held.expires_at) == (
            "2027-01-15T08:00:00Z",
            "2027-01-15T08:01:00Z",
        )
        assert opens().held() is None

    def test_lock_is_given_up(self, store, opens):
        """The lock is free after its block, also after one that failed."""
        with store.lock(holder()):
            pass
        with pytest.raises(ZeroDivisionError), store.lock(holder()):
            raise ZeroDivisionError
        with opens().lock(holder("bob")):
            assert store.held().holder.name == "bob"

    def test_fences_rise(self, store, opens, clock):
        """Every acquisition has a higher fence than all before, however the lock was lost."""
        fences = []
        for round in range(3):
            with store.lock(holder()):
                fences.append(store.held().fence)
            with store.lock(holder(host="elsewhere")):
                fences.append(store.held().fence)
                clock.now += 61
                with opens().lock(holder("bob")):
                    fences.append(store.held().fence)
                    opens().force_unlock(store.held().id, run(f"u-{round}"))
                    with opens().lock(holder("cid")):
                        fences.append(store.held().fence)
        assert fences == sorted(set(fences))

    def test_lease_ends(self, store, opens, clock):
        """A holder on another host keeps the lock until its lease ends, and no longer."""
        with store.lock(holder(host="elsewhere", pid=1)):
            clock.now += 59
            with pytest.raises(Locked), opens().lock(holder("bob")):
                pass
            clock.now += 2
            assert store.held() is None
            with opens().lock(holder("bob")):
                assert store.held().holder.name == "bob"

    def test_ended_process_is_taken_over(self, opens, filled, place):
        """A holder on this host whose process was killed loses the lock at once."""
        child(self.DIES, place).wait()
        assert filled.held() is None
        with filled.lock(holder("bob")):
            assert filled.held().holder.name == "bob"

    def test_unknown_process_keeps_its_lease(self, store, opens):
        """A pid that was never seen here, or of another host, says nothing: the lease counts."""
        for host in (HERE, "elsewhere"):
            with (
                store.lock(holder(host=host, pid=dead_pid())),
                pytest.raises(Locked),
                opens().lock(holder("bob")),
            ):
                pass

    def test_waiting_for_the_lock(self, opens, clock):
        """With a timeout the lock is waited for, and taken when it becomes free."""
        store, other = opens(), opens(sleep=clock.sleep)
        with store.lock(holder(host="elsewhere")), other.lock(holder("bob"), timeout=90):
            assert clock.now - T0 == pytest.approx(60, abs=1)

    def test_waiting_ends(self, opens, clock):
        """After the timeout the holder is named as if nobody had waited."""
        store, other = opens(), opens(sleep=clock.sleep)
        with store.lock(holder("ann", host="elsewhere")):
            with pytest.raises(Locked, match="ann"), other.lock(holder("bob"), timeout=3):
                pass
            assert clock.now - T0 == pytest.approx(3)

    WRITES = (
        pytest.param(lambda w: w.begin(run("run-2")), id="begin"),
        pytest.param(lambda w: w.bind({"cn": "app"}), id="bind"),
        pytest.param(lambda w: w.intend([intent("i-9")]), id="intend"),
        pytest.param(lambda w: w.settle([Settlement("i-1", Status.CONFIRMED)]), id="settle"),
        pytest.param(lambda w: w.save([record(50)], [], "import"), id="save"),
        pytest.param(lambda w: w.save([], [], "import"), id="save-nothing"),
        pytest.param(lambda w: w.check(), id="check"),
    )

    @pytest.mark.parametrize("write", WRITES)
    @pytest.mark.parametrize("loss", ["taken", "expired", "broken"])
    def test_late_writes_are_refused(self, filled, opens, clock, write, loss):
        """A writer that lost the lock in any way raises Locked and writes nothing, ever again."""
        with filled.lock(holder(host="elsewhere")) as writer:
            writer.begin(run())
            writer.intend([intent("i-1")])
            if loss == "broken":
                opens().force_unlock(filled.held().id, run("u-1"))
                clock.now += 55
            else:
                clock.now += 61
            if loss == "taken":
                with opens().lock(holder("bob")) as other:
                    other.begin(run())
            before = seen(opens())
            for _ in range(2):
                with pytest.raises(Locked):
                    write(writer)
            assert seen(opens()) == before

    def test_a_writer_writes_what_its_lock_was_asked_for(self, filled, opens):
        """Asked for some apps, a writer writes no account of another, whatever the lock covers."""
        with filled.lock(holder(), apps=["cn"]) as writer:
            assert tuple(writer.scope) == ("cn",)
            writer.begin(run("run-2"))
            writer.bind({"cn": "app"})
            writer.intend([intent("i-1")])
            before = seen(opens())
            stranger = Record(Address("sg/user-00001"), {}, False)
            for write in (
                lambda: writer.bind({"sg": "app"}),
                lambda: writer.intend([Intent("i-2", "run-2", stranger.address, {})]),
                lambda: writer.settle([Settlement("i-1", Status.CONFIRMED, record=stranger)]),
                lambda: writer.save([record(1, "B"), stranger], [], "import"),
                lambda: writer.erase(where(1), record(1), lambda action: action),
                writer.rekey,
            ):
                with pytest.raises(StateError, match="accounts of cn"):
                    write()
            assert seen(opens()) == before
            writer.settle([Settlement("i-1", Status.CONFIRMED, record=record(1, "B"))])
        with filled.lock(holder()) as writer:
            assert writer.scope is None
            writer.begin(run("run-3"))
            writer.save([stranger], [], "import")
        assert stranger.address in dict(filled.index())

    def test_leaving_a_lost_lock_leaves_the_other_alone(self, filled, opens, clock):
        """The end of a block whose lock was lost does not take the lock from the next holder."""
        with opens().lock(holder(host="elsewhere")):
            clock.now += 61
            other = filled.lock(holder("bob"))
            other.__enter__()
        assert filled.held().holder.name == "bob"
        other.__exit__(None, None, None)

    def test_check_is_for_all_threads(self, filled, clock):
        """Any thread may check the lock, fresh or not, while another writes."""
        with filled.lock(holder()) as writer, ThreadPoolExecutor(8) as pool:
            writer.begin(run())
            for n in range(20):
                clock.now += 9
                checks = [pool.submit(writer.check) for _ in range(16)]
                writer.save([record(n, "C")], [], "refresh")
                assert [c.result() for c in checks] == [None] * 16

    def test_check_renews(self, filled, opens, clock):
        """A check that finds the lease old asks the store, and so keeps the lock."""
        with filled.lock(holder(host="elsewhere")) as writer:
            for _ in range(5):
                clock.now += 55
                writer.check()
            assert opens().held().expires_at == "2027-01-15T08:05:35Z"

    # Breaking the lock

    def test_force_unlock(self, filled, opens):
        """The lock with the exact id is broken, and history says by whose run."""
        with filled.lock(holder()):
            opens().force_unlock(filled.held().id, run("u-1", "force-unlock"))
            assert filled.held() is None
        last = list(filled.history())[-1]
        assert (last.action["action"], last.run.id) == ("force-unlock", "u-1")
        assert last.action["lock"]["holder"] == "ann"

    @pytest.mark.parametrize(
        "cut", [lambda it: it[:-1], lambda it: it.upper(), lambda _: "", lambda _: "no"]
    )
    def test_force_unlock_needs_the_id(self, filled, opens, cut):
        """Any other id breaks nothing and names the holder."""
        with filled.lock(holder()) as writer:
            with pytest.raises(Locked, match="ann"):
                opens().force_unlock(cut(filled.held().id), run("u-1"))
            writer.begin(run())
            writer.check()

    def test_force_unlock_of_nothing(self, store, filled, opens):
        """Where nobody holds the lock there is nothing to break."""
        for id in ("", "no"):
            with pytest.raises(StateError, match="nobody"):
                opens().force_unlock(id, run("u-1"))
