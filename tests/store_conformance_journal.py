"""Conformance of stores: intents, history, runs and apps as every backend must keep them."""

from __future__ import annotations

import pytest
from store_conformance import StoreFixtures, holder, intent, record, run, seen, where

from reconciler.errors import StateError
from reconciler.state import Settlement, Status
from reconciler.values import to_moment


def without_changes(action):
    return {key: value for key, value in action.items() if key != "changes"}


class JournalConformance(StoreFixtures):
    """What is written down before and after every action."""

    # Intents and settlements

    def test_intents_are_unresolved_in_order(self, filled):
        """Intents come back in the order they were written, as they were written."""
        intents = [intent(f"i-{n}", n, known_absent=n % 2 == 0) for n in (3, 1, 2)]
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.intend(intents[:1])
            writer.intend(intents[1:])
        assert filled.unresolved() == tuple(intents)
        assert all(to_moment(one.at) for one in filled.unresolved())
        assert filled.identity().serial == 1

    @pytest.mark.parametrize("status", [Status.CONFIRMED, Status.REJECTED, Status.NOT_SENT])
    def test_settled_is_resolved(self, filled, status):
        """A settled intent is in doubt no more and stands in history with its outcome."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.intend([intent("i-1")])
            writer.settle([Settlement("i-1", status, "414", "said so")])
        assert filled.unresolved() == ()
        last = list(filled.history())[-1]
        assert (last.status, last.code, last.message) == (status, "414", "said so")
        assert filled.identity().serial == 1

    def test_ambiguous_stays_in_doubt(self, filled):
        """An ambiguous outcome is in doubt and in history, and can be settled later."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.intend([intent("i-1")])
            writer.settle([Settlement("i-1", Status.AMBIGUOUS, "", "timeout")])
            assert [i.status for i in filled.unresolved()] == [Status.AMBIGUOUS]
            assert list(filled.history())[-1].status is Status.AMBIGUOUS
            writer.settle([Settlement("i-1", Status.CONFIRMED)])
        assert filled.unresolved() == ()
        assert [e.status for e in filled.history(where(1))] == [Status.CONFIRMED] * 2

    def test_group_is_one_serial(self, filled):
        """Settlements of one group make their records under one new serial."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.intend([intent(f"i-{n}", n) for n in range(5)])
            writer.settle(
                [Settlement(f"i-{n}", Status.CONFIRMED, record=record(n, "B")) for n in range(5)]
            )
        assert filled.identity().serial == 2
        assert [r.version for r in filled.everything()] == [2] * 5 + [1] * 5

    def test_settling_may_forget(self, filled):
        """A settlement can drop the account's record."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.intend([intent("i-1")])
            writer.settle([Settlement("i-1", Status.CONFIRMED, forget=where(1))])
        assert where(1) not in dict(filled.index())

    def test_settling_with_the_same_record_bumps_nothing(self, filled):
        """A settlement whose record is the stored one leaves the serial alone."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.intend([intent("i-1")])
            writer.settle([Settlement("i-1", Status.CONFIRMED, record=record(1))])
        assert filled.identity().serial == 1

    def test_last_of_one_account_wins(self, filled):
        """Two settlements of one account in a group leave the later record."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.intend([intent("i-1"), intent("i-2")])
            writer.settle(
                [
                    Settlement("i-1", Status.CONFIRMED, record=record(1, "B")),
                    Settlement("i-2", Status.CONFIRMED, record=record(1, "C")),
                ]
            )
        (found,) = filled.records([where(1)])
        assert (found.document["profile"]["name"], found.version) == ("C1", 2)
        assert list(filled.index())

    @pytest.mark.parametrize(
        "settlements",
        [
            [
                Settlement("i-1", Status.CONFIRMED, record=record(1, "B")),
                Settlement("nobody", Status.CONFIRMED),
            ],
            [Settlement("i-1", Status.CONFIRMED), Settlement("i-1", Status.REJECTED)],
            [Settlement("done", Status.REJECTED)],
        ],
    )
    def test_what_cannot_be_settled(self, filled, settlements):
        """An unknown or settled intent is refused, and the whole group writes nothing."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.intend([intent("i-1"), intent("done", 2)])
            writer.settle([Settlement("done", Status.CONFIRMED)])
            before = seen(filled)
            with pytest.raises(StateError):
                writer.settle(settlements)
            assert seen(filled) == before

    def test_intent_ids_are_unique(self, filled):
        """An intent with a known id is refused, and its group writes nothing."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.intend([intent("i-1")])
            with pytest.raises(StateError):
                writer.intend([intent("i-2"), intent("i-1")])
        assert [i.id for i in filled.unresolved()] == ["i-1"]

    def test_empty_groups_are_fine(self, filled):
        """Groups of nothing change nothing."""
        before = seen(filled)
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.intend([])
            writer.settle([])
            writer.save([], [], "refresh")
        assert seen(filled) == before

    # History, runs, apps

    def test_history_tells_who_and_when(self, filled, clock):
        """A line of history has its time, run, account and action, oldest first."""
        with filled.lock(holder()) as writer:
            writer.begin(run("run-2"))
            writer.intend([intent("i-1", 4, run="run-2")])
            clock.now += 2
            writer.settle([Settlement("i-1", Status.CONFIRMED)])
        first, last = filled.history(where(4))
        assert (first.action["action"], first.run, first.status) == (
            "import",
            run(),
            Status.CONFIRMED,
        )
        assert last.at == "2027-01-15T08:00:02Z"
        assert last.run == run("run-2")
        assert last.action == intent("i-1", 4).action

    def test_history_of_one_account(self, filled):
        """The history of an account has its lines and no others."""
        assert [entry.address for entry in filled.history(where(7))] == [where(7)]
        assert len(list(filled.history())) == 10

    def test_pending_is_no_history(self, filled):
        """An intent without an outcome is not in history yet."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.intend([intent("i-1")])
        assert len(list(filled.history())) == 10

    def test_forgetting_has_history(self, filled):
        """What was dropped outside an apply is told with its operation."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.save([], [where(1)], "rm")
        last = list(filled.history(where(1)))[-1]
        assert (last.action["action"], last.action["forgotten"]) == ("rm", True)

    def test_vendor_message_is_capped(self, filled):
        """At most 512 characters of a vendor's message are kept."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.intend([intent("i-1")])
            writer.settle([Settlement("i-1", Status.REJECTED, "1", "长" * 2_000)])
        assert list(filled.history())[-1].message == "长" * 512

    def test_writes_need_a_run(self, store):
        """Nothing can be written before the run is recorded."""
        with store.lock(holder()) as writer, pytest.raises(StateError):
            writer.save([record(1)], [], "import")
        assert store.identity().serial == 0

    def test_intents_need_their_run(self, filled):
        """An intent of a run that was never begun is refused."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            with pytest.raises(StateError):
                writer.intend([intent("i-1", run="other")])
        assert filled.unresolved() == ()

    def test_run_is_recorded_once(self, filled):
        """The same run may begin again; another under its id is refused."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            with pytest.raises(StateError):
                writer.begin(run("run-1", "refresh"))

    def test_apps_are_bound(self, filled, opens):
        """Bound apps are told by every opening, and binding again is fine."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.bind({"cn": "app-1"})
            writer.bind({"cn": "app-1", "sg": "app-2"})
        assert opens().apps() == {"cn": "app-1", "sg": "app-2"}
        assert filled.identity().serial == 1

    def test_apps_are_never_rebound(self, filled):
        """A provider with another app is refused, and nothing of it is written."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.bind({"cn": "app-1"})
            with pytest.raises(StateError, match="app-1"):
                writer.bind({"sg": "app-3", "cn": "app-2"})
        assert filled.apps() == {"cn": "app-1"}

    # Erasing, and checking all that is kept

    def test_erasing_rewrites_record_and_journal(self, filled, opens):
        """The record and every line of the account are replaced, messages go, others stay."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.intend([intent("i-1", 1), intent("i-2", 2)])
            settled = [Settlement(f"i-{n}", Status.CONFIRMED, "200", "said A") for n in (1, 2)]
            writer.settle(settled)
        others = [one for one in filled.history() if one.address != where(1)]
        before = list(filled.history(where(1)))
        with filled.lock(holder()) as writer:
            writer.begin(run("run-2", "erase"))
            gone = record(1, document={"labels": {"team": "support"}})
            assert writer.erase(where(1), gone, without_changes) == 1
        kept = opens()
        (one,) = kept.records([where(1)])
        assert one.document == {"labels": {"team": "support"}}
        *lines, last = kept.history(where(1))
        assert [(x.at, x.run, x.status, x.code) for x in lines] == [
            (x.at, x.run, x.status, x.code) for x in before
        ]
        assert "changes" not in lines[-1].action
        assert [one.message for one in lines] == ["", ""]
        assert (last.action["action"], last.run.id) == ("erase", "run-2")
        assert [one for one in kept.history() if one.address != where(1)] == others
        assert kept.identity().serial == 2
        kept.chain()

    def test_erasing_what_is_recorded_no_more(self, filled, opens):
        """History of an account without a record is rewritten; the serial stays."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.erase(where(77), None, lambda action: action)
        assert [one.action["action"] for one in opens().history(where(77))] == ["erase"]
        assert opens().identity().serial == 1

    def test_what_is_in_doubt_is_not_erased(self, filled):
        """An account with an action in doubt is refused, and nothing of it is rewritten."""
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.intend([intent("i-1", 1)])
        before = seen(filled)
        with filled.lock(holder()) as writer:
            writer.begin(run())
            with pytest.raises(StateError, match="not known"):
                writer.erase(where(1), record(1, "B"), lambda action: {})
        assert seen(filled) == before

    def test_the_chain_names_the_state(self, filled, opens):
        """Walking the chain passes; where a store keeps one, each change makes another tip."""
        before = filled.identity().chain
        with filled.lock(holder()) as writer:
            writer.begin(run())
            writer.save([record(50)], [], "import")
        after = opens()
        assert (after.identity().chain != before) == bool(before)
        assert after.chain() in (0, after.identity().serial)
