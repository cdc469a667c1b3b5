"""Settle: what earlier runs left in doubt, decided by reading."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_accounts import TOKEN, account, planned, record, where
from core_store import Memory
from core_vendor import Shop

from reconciler.changes import Kind, to_json
from reconciler.events import Settled
from reconciler.settle import settle
from reconciler.state import Intent, Status

A, B = {"name": "A"}, {"name": "B"}
SENT, SOON, LATER = (f"2027-01-15T08:{minute}:00Z" for minute in ("00", "09", "30"))


def doubtful(desired, *records, absent=True):
    """Return a shop whose store holds the intents of a plan that nobody saw the end of."""
    one = Shop(Memory(*records))
    plan = planned(desired, one.store)
    one.store.intend(
        [
            Intent(
                f"old-{n}",
                "run-0",
                action.address,
                to_json(action),
                absent and action.kind == "create",
            )
            for n, action in enumerate(plan.actions)
        ]
    )
    return one


def settled(one):
    return [(str(e.kind), e.held) for e in settle(one.store, one.store, one.links, LATER)]


class TestFound:
    def test_a_create_that_was_known_absent_is_ours(self):
        """Absent before, intent written, there now: it is recorded as created."""
        one = doubtful([account("a", profile=A, labels={"t": "x"})])
        one.vendor.put("a", profile=A)
        assert list(settle(one.store, one.store, one.links, LATER)) == [
            Settled(where("a"), Kind.CREATE, True, "run-0")
        ]
        assert one.store.record("a").document == {"profile": A, "labels": {"t": "x"}}
        assert one.store.status("create", "a") is Status.CONFIRMED

    @pytest.mark.parametrize(
        ("desired", "held", "vendor", "kind"),
        [
            (account("a", ban={"reason": "x"}), record("a"), {"banned": True}, "block"),
            (account("a"), record("a", ban={}), {"banned": False}, "unblock"),
            (account("a", profile=B), record("a", profile=A), {"profile": B}, "update"),
        ],
    )
    def test_what_the_vendor_holds_is_recorded_as_done(self, desired, held, vendor, kind):
        """A block, unblock or update whose value is there is confirmed, record included."""
        one = doubtful([desired], held)
        one.vendor.put("a", **vendor)
        assert settled(one) == [(kind, True)]
        assert planned([desired], one.store).actions == ()

    def test_steps_of_one_account_are_judged_one_by_one(self):
        """Created and not yet blocked: the create is confirmed, the block is planned again."""
        mine = account("a", profile=A, ban={})
        one = doubtful([mine])
        one.vendor.put("a", profile=A)
        assert settled(one) == [("create", True), ("block", False)]
        assert [str(a.kind) for a in planned([mine], one.store).actions] == ["block"]

    def test_another_runs_token_is_set_again(self):
        """A token cannot be seen, so it is not claimed: the next plan sets it once more."""
        one = doubtful([account("a", token=TOKEN)])
        one.vendor.put("a")
        one.vendor.secrets["env:IM_TOKEN_BOT"] = "changed since"
        assert settled(one) == [("create", True)]
        assert one.store.record("a").document == {}
        (update,) = planned([account("a", token=TOKEN)], one.store).actions
        assert [change.path for change in update.changes] == ["token"]

    @pytest.mark.parametrize(("now", "left"), [(SOON, ["create"]), (LATER, [])])
    def test_a_create_that_may_still_arrive_stays_in_doubt(self, now, left):
        """Not found a moment after it was sent proves nothing; ten minutes after, it does."""
        one = doubtful([account("a", profile=A)])
        one.store.intents["old-0"] = replace(one.store.intents["old-0"], at=SENT)
        one.store.ends["old-0"] = one.store.intents["old-0"]
        list(settle(one.store, one.store, one.links, now))
        assert one.store.open_intents("a") == left

    def test_a_create_that_arrives_late_is_ours(self):
        """Carried out just before the next run asks for the same: it is no stranger."""
        mine = account("a", profile=B, token=TOKEN)
        one = doubtful([account("a", profile=A)])
        one.vendor.secrets["env:IM_TOKEN_BOT"] = "t"
        plan = planned([mine], one.store)

        def arrives(request):
            if request.api == "create" and "a" not in one.vendor.accounts:
                one.vendor.put("a", profile=A, token="old")

        one.vendor.watch = arrives
        one.apply(plan)
        assert one.vendor.accounts["a"]["profile"]["name"] == "B"
        assert one.vendor.accounts["a"]["token"] == "t"
        assert one.store.record("a").document == {"profile": B, "token": TOKEN}
        assert one.store.unresolved() == ()

    def test_a_record_that_moved_on_is_not_put_back(self):
        """What a later run recorded outlives the older create that is found at last."""
        one = doubtful([account("a", profile=A)])
        one.store._keep(record("a", profile=A, ban={"reason": "x"}, run="run-9"))
        one.vendor.put("a", profile=A, banned=True)
        assert settled(one) == [("create", True)]
        assert one.store.record("a").document == {"profile": A, "ban": {"reason": "x"}}
        assert one.store.record("a").banned

    def test_labels_of_an_older_doubt_do_not_come_back(self):
        """Of a record that another run changed since, only what is seen is taken over."""
        one = doubtful([account("a", profile=B, labels={"t": "old"})], record("a", profile=A))
        one.store._keep(record("a", profile=A, labels={"t": "new"}, version=5, run="run-9"))
        one.vendor.put("a", profile=B)
        assert settled(one) == [("update", True)]
        assert one.store.record("a").document == {"profile": B, "labels": {"t": "new"}}

    def test_what_is_partly_done_is_recorded_as_seen(self):
        """A name that is held is not planned again, nor forgotten when the YAML goes back."""
        one = doubtful([account("a", profile=B, token=TOKEN)], record("a", profile=A))
        one.vendor.put("a", profile=B)
        assert settled(one) == [("update", False)]
        (again,) = planned([account("a", profile=B, token=TOKEN)], one.store).actions
        assert [change.path for change in again.changes] == ["token"]
        (back,) = planned([account("a", profile=A)], one.store).actions
        assert [(c.path, c.before, c.after) for c in back.changes] == [("profile.name", "B", "A")]

    def test_a_token_in_doubt_is_set_again_when_the_yaml_goes_back(self):
        """Nobody knows which of the two the vendor holds, so the desired one is asked for."""
        new = {**TOKEN, "version": 2}
        one = doubtful([account("a", token=new)], record("a", token=TOKEN))
        one.vendor.put("a", token="either")
        assert settled(one) == [("update", False)]
        (back,) = planned([account("a", token=TOKEN)], one.store).actions
        assert [change.path for change in back.changes] == ["token"]


class TestNotFound:
    @pytest.mark.parametrize(
        ("desired", "held", "vendor"),
        [
            (account("a", ban={}), record("a"), {"banned": False}),
            (account("a"), record("a", ban={}), {"banned": True}),
            (account("a", profile=B), record("a", profile=A), {"profile": A}),
            (account("a", profile=A, token=TOKEN), record("a", profile=A), {"profile": A}),
        ],
    )
    def test_what_is_not_there_or_cannot_be_read_is_planned_again(self, desired, held, vendor):
        """Nothing is sent, and the plan is the same again."""
        one = doubtful([desired], held)
        one.vendor.put("a", **vendor)
        before = [(a.kind, a.changes) for a in planned([desired], one.store).actions]
        ((_, found),) = settled(one)
        assert not found
        assert one.store.unresolved() == ()
        assert one.vendor.mutations == []
        assert [(a.kind, a.changes) for a in planned([desired], one.store).actions] == before

    def test_a_create_that_is_not_there_is_made_next_time(self):
        """Nothing found, nothing recorded."""
        one = doubtful([account("a")])
        assert settled(one) == [("create", False)]
        assert one.store.record("a") is None

    def test_an_account_not_known_to_be_absent_is_not_claimed(self):
        """Somebody else's account with the wanted id is left alone, its ban as well."""
        one = doubtful([account("a", ban={})], absent=False)
        one.vendor.put("a", banned=True)
        assert settled(one) == [("create", False), ("block", False)]
        assert one.store.record("a") is None

    def test_a_forget_is_planned_again(self):
        """Bookkeeping that was not committed did not happen."""
        one = doubtful([account("b")], record("a"), record("b"))
        one.vendor.put("a")
        assert settled(one) == [("forget", False)]
        assert one.store.record("a") is not None


class TestUnreadable:
    @pytest.mark.parametrize("fault", ["before", "broken", "unsent", 403, 416])
    def test_what_cannot_be_read_stays_in_doubt(self, fault):
        """A vendor that does not answer decides nothing."""
        one = doubtful([account("a", ban={})], record("a"))
        one.vendor.put("a", banned=True)
        one.vendor.fault = lambda request: fault
        assert settled(one) == []
        assert len(one.store.unresolved()) == 1
        one.vendor.fault = lambda request: None
        assert settled(one) == [("block", True)]

    def test_an_id_the_vendor_says_nothing_of_stays_in_doubt(self):
        """An answer that leaves one account out decides the others only."""
        one = doubtful([account("a", ban={}), account("b", ban={})], record("a"), record("b"))
        for id in "ab":
            one.vendor.put(id, banned=True)
        real = one.vendor.perform

        def perform(request, body):
            said = real(request, body)
            said["data"]["success_list"] = [
                item for item in said["data"]["success_list"] if item["account_id"] != "a"
            ]
            return said

        one.vendor.perform = perform
        assert settled(one) == [("block", True)]
        assert [intent.address for intent in one.store.unresolved()] == ["cn/a"]

    def test_an_app_that_left_the_workspace_decides_nothing(self):
        """Without a link nobody can be asked."""
        one = doubtful([account("a", ban={})], record("a"))
        one.links.clear()
        assert settled(one) == []
        assert len(one.store.unresolved()) == 1


def test_nothing_in_doubt_asks_nobody():
    """Settling a clean state sends nothing and writes nothing."""
    one = Shop(Memory(record("a")))
    assert settled(one) == []
    assert (one.vendor.log, one.store.log) == ([], [])


def test_a_run_settles_before_it_ends_and_the_next_one_goes_on():
    """A doubt is decided once; what it left open is done by the next apply."""
    mine = account("a", profile=A, ban={})
    one = doubtful([mine])
    one.vendor.put("a", profile=A)
    assert settled(one) == [("create", True), ("block", False)]
    events = one.apply(planned([mine], one.store))
    assert events[-1].complete
    assert one.vendor.creates == {}
    assert planned([mine], one.store).actions == ()


class TestSeveralRuns:
    """One account asked for by several runs, none of which saw the end of it."""

    @staticmethod
    def twice():
        """Return a shop in whose store two runs left the create and the ban of one account."""
        one = doubtful([account("a", profile=A, ban={"reason": "x"})])
        again = [
            replace(intent, id=f"again-{n}", run="run-1")
            for n, intent in enumerate(one.store.unresolved())
        ]
        one.store.intend(again)
        return one

    def test_its_ban_still_belongs_to_the_create(self):
        """Found without its ban, the account waits for it, so no limit counts that ban."""
        one = self.twice()
        one.vendor.put("a", profile=A)
        settled(one)
        assert one.store.record("a").waiting == ("banned",)

    def test_a_ban_stays_in_doubt_with_its_create(self):
        """While the create may yet come, the ban that was to follow it is not forgotten."""
        one = doubtful([account("a", profile=A, ban={"reason": "x"})])
        one.store.intend(
            [replace(i, id=f"new-{n}", at=SENT) for n, i in enumerate(one.store.unresolved())]
        )
        list(settle(one.store, one.store, one.links, SOON))
        left = {i.id: i.action["action"] for i in one.store.unresolved()}
        assert {"new-0": "create", "new-1": "block"}.items() <= left.items()
