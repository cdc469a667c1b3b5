"""Drift: what the vendor holds against what is recorded."""

from __future__ import annotations

from datetime import timedelta

import pytest
from core_accounts import NOW, PAST, PUSH, SOON, TOKEN, record, where

from reconciler.accounts import MISSING, Observed
from reconciler.diagnostics import Severity, Source
from reconciler.drift import Accepted, Cause, Clues, Difference, drift, mute
from reconciler.state import Entry, Intent, Run, Status

RUN = Run("run-1", "apply", "2027-01-15T08:00:00Z")
MUTE = "configuration.p2p_chat_banned"


def seen(profile=None, configuration=None, banned=False):
    return Observed(True, profile or {}, configuration or {}, banned)


def test_what_is_as_recorded_has_not_drifted():
    """Fields that agree are checked and counted, and nothing is listed."""
    found = drift([(record(profile={"name": "A"}), seen({"name": "A"}))])
    assert found.summary() == {"changed": 0, "missing": 0, "unchanged": 1}
    assert (found.checked, found.recorded_only) == (2, 0)


def test_every_managed_field_that_differs_is_listed():
    """The ban stands first, then fields by path, each with both values."""
    one = record(profile={"name": "A", "sign": "s"}, configuration={PUSH: False})
    found = drift([(one, seen({"name": "B", "sign": "s"}, {PUSH: True}, banned=True))])
    (drifted,) = found.drifted
    assert drifted.changes == (
        Difference("banned", False, True),
        Difference(f"configuration.{PUSH}", False, True),
        Difference("profile.name", "A", "B"),
    )
    assert found.summary()["changed"] == 1


def test_unmanaged_fields_are_nobodys_drift():
    """What nobody wrote is not compared."""
    found = drift([(record(), seen({"name": "theirs"}, {PUSH: False}))])
    assert found.drifted == ()
    assert found.checked == 1, "the ban is always managed"


def test_a_missing_account_is_missing():
    """An account the vendor does not know is missing and has no changes."""
    (drifted,) = drift([(record(profile={"name": "A"}), MISSING)]).drifted
    assert (drifted.kind, drifted.changes) == ("missing", ())


def test_an_account_that_was_not_read_is_neither_missing_nor_unchanged():
    """Unread is listed on its own."""
    found = drift([(record(), None)])
    assert found.unread == ("cn/bot",)
    assert found.summary() == {"changed": 0, "missing": 0, "unchanged": 0}


def test_what_cannot_be_read_is_only_recorded():
    """A ban that the vendor does not tell, a token, and an unread field are recorded only."""
    one = record(profile={"name": "A", "sign": "s"}, token=TOKEN, ban={})
    found = drift([(one, Observed(True, {"name": "A"}, {}, None))])
    assert (found.checked, found.recorded_only) == (1, 3)
    assert found.drifted == ()


def test_an_extension_of_the_same_meaning_has_not_drifted():
    """JSON that the vendor laid out otherwise is the same extension."""
    one = record(profile={"extension": '{"a":1,"b":2}'})
    assert drift([(one, seen({"extension": '{"b": 2, "a": 1}'}))]).drifted == ()


def test_accepted_drift_is_recorded_state():
    """What a refresh accepted is what later reads are compared with."""
    one = record(profile={"name": "A"}, observed=seen({"name": "B"}))
    assert drift([(one, seen({"name": "B"}))]).drifted == ()
    assert drift([(one, seen({"name": "A"}))]).drifted[0].changes == (
        Difference("profile.name", "B", "A"),
    )


def test_a_ban_that_ran_out_has_not_drifted_while_it_stands():
    """Drift compares what is held and says nothing of what should be."""
    one = record(ban={"until": SOON})
    assert drift([(one, seen(banned=True))]).drifted == ()


def test_half_a_profile_of_customs_is_compared_by_key():
    """Custom fields are fields of their own."""
    one = record(profile={"custom": {"A": "1", "B": "2"}})
    found = drift([(one, seen({"custom": {"A": "9", "C": "3"}}))])
    assert found.drifted[0].changes == (Difference("profile.custom.A", "1", "9"),)
    assert (found.checked, found.recorded_only) == (2, 1)


def test_a_section_that_is_left_to_the_user_is_no_drift():
    """What users make of their own profile is neither drift nor part of the coverage."""
    mine = {"profile": {"name": "A"}, "configuration": {"p2p_chat_banned": False}}
    theirs = seen({"name": "B"}, {"p2p_chat_banned": True})
    kept = drift([(record(**mine, manage={"profile": "on_create"}), theirs)])
    assert [c.path for c in kept.drifted[0].changes] == [MUTE]
    assert (kept.checked, kept.recorded_only) == (2, 0)
    assert len(drift([(record(**mine), theirs)]).drifted[0].changes) == 2


class TestCauses:
    def cause(self, one, sight, **facts):
        (drifted,) = drift([(one, sight)], Clues(NOW, **facts)).drifted
        (change,) = drifted.changes
        return change.cause

    def test_without_clues_nothing_is_guessed(self):
        """A difference has a cause only where somebody asked for one."""
        (drifted,) = drift([(record(), seen(banned=True))]).drifted
        assert drifted.changes[0].cause is None

    def test_a_ban_that_lapsed_after_its_end_has_expired(self):
        """A ban that is gone at the vendor once `until` has passed was lifted for that."""
        for until, cause in ((PAST, Cause.BAN_EXPIRED), (SOON, Cause.CONSOLE)):
            assert self.cause(record(ban={"until": until}), seen()) is cause
        assert self.cause(record(ban={}), seen()) is Cause.CONSOLE

    @pytest.mark.parametrize(
        ("recorded", "observed", "cause"),
        [(True, False, Cause.MUTE_EXPIRED), (False, True, Cause.CONSOLE)],
    )
    def test_a_mute_may_run_out_where_the_vendor_ends_them(self, recorded, observed, cause):
        """Only a mute that ended, at a vendor whose mutes have seconds, may have run out."""
        one = record(configuration={"p2p_chat_banned": recorded})
        sight = seen(None, {"p2p_chat_banned": observed})
        assert self.cause(one, sight, lapses={"cn": (MUTE,)}) is cause
        assert self.cause(one, sight, lapses={"sg": (MUTE,)}) is Cause.CONSOLE

    @pytest.mark.parametrize(
        ("after", "cause"), [("B", Cause.IN_DOUBT), ("C", Cause.USER_OR_CONSOLE)]
    )
    def test_an_action_of_ours_in_doubt_explains_just_what_it_would_have_set(self, after, cause):
        """An intent whose outcome is not known explains its own value and no other."""
        action = {"changes": [{"path": "profile.name", "before": "A", "after": after}]}
        mine = Intent("i", "run-1", where("bot"), action)
        other = Intent("j", "run-1", where("cat"), action)
        one = record(profile={"name": "A"})
        assert self.cause(one, seen({"name": "B"}), doubtful=(mine,)) is cause
        assert self.cause(one, seen({"name": "B"}), doubtful=(other,)) is Cause.USER_OR_CONSOLE

    def test_a_value_that_we_replaced_and_that_is_back_was_written_by_somebody_else(self):
        """Only a program that keeps a value of its own puts the one before ours back."""

        def told(status):
            action = {"changes": [{"path": "profile.name", "before": "B", "after": "A"}]}
            return lambda _: [Entry("t", RUN, where("bot"), action, status)]

        one = record(profile={"name": "A"})
        for status, cause in (
            (Status.CONFIRMED, Cause.ANOTHER_WRITER),
            (Status.REJECTED, Cause.USER_OR_CONSOLE),
        ):
            assert self.cause(one, seen({"name": "B"}), history=told(status)) is cause

    @pytest.mark.parametrize(
        ("count", "cause"), [(2, Cause.USER_OR_CONSOLE), (3, Cause.ANOTHER_WRITER)]
    )
    def test_what_several_accounts_have_alike_was_written_by_a_program(self, count, cause):
        """The same foreign value in the same field of three accounts is nobody's own edit."""
        pairs = [
            (record(f"u{n}", profile={"name": f"N{n}"}), seen({"name": "Spam"}))
            for n in range(count)
        ]
        pairs.append((record("v", profile={"name": "V"}), seen({"name": "Other"})))
        *alike, alone = drift(pairs, Clues(NOW)).drifted
        assert {one.changes[0].cause for one in alike} == {cause}
        assert alone.changes[0].cause is Cause.USER_OR_CONSOLE

    def test_a_missing_account_was_deleted_at_the_vendor(self):
        """No call of ours deletes, so the console or another program did."""
        (gone,) = drift([(record(), MISSING)], Clues(NOW)).drifted
        assert gone.cause is Cause.CONSOLE


class TestMuting:
    def accepted(self, id, path, days=30, owner="ann"):
        source = Source("baseline.yaml", 4, 5)
        return Accepted(where(id), path, owner, "known", NOW + timedelta(days=days), source)

    def found(self):
        return drift(
            [
                (record("a", profile={"name": "A", "sign": "s"}), seen({"name": "B", "sign": "t"})),
                (record("b"), MISSING),
                (record("c"), seen(banned=True)),
                (record("d"), seen()),
            ]
        )

    def test_what_is_accepted_is_muted_field_by_field(self):
        """An account stays as long as one difference of it is not accepted."""
        left, told = mute(self.found(), [self.accepted("a", "profile.name")], NOW)
        assert [c.path for c in left.drifted[0].changes] == ["profile.sign"]
        assert left.summary() == {"changed": 2, "missing": 1, "unchanged": 1}
        assert (len(left.muted), told) == (1, ())

    def test_an_account_that_is_accepted_as_a_whole_has_not_drifted(self):
        """It is neither drifted nor unchanged, and is counted as muted, by owner."""
        baseline = [
            self.accepted("a", "profile.name"),
            self.accepted("a", "profile.sign", days=7),
            self.accepted("b", "missing", owner="bob"),
        ]
        left, told = mute(self.found(), baseline, NOW)
        assert left.summary() == {"changed": 1, "missing": 0, "unchanged": 1}
        assert list(left.accepted()) == [
            ("ann", "2027-01-22T08:00:00Z", 2),
            ("bob", "2027-02-14T08:00:00Z", 1),
        ]
        assert told == ()

    @pytest.mark.parametrize("days", [0, -1])
    def test_an_entry_that_ran_out_mutes_nothing_and_is_a_finding(self, days):
        """From the very moment on, drift shows again and the entry is named with its place."""
        left, told = mute(self.found(), [self.accepted("c", "banned", days)], NOW)
        assert left.drifted == self.found().drifted
        (finding,) = told
        assert (finding.id, finding.severity) == ("baseline-expired", Severity.WARNING)
        assert str(finding.source) == "baseline.yaml:4:5"
        assert "cn/c" in finding.summary
        assert "ann" in finding.summary

    def test_an_entry_that_met_nothing_is_told(self):
        """What is settled would hide the same difference another time."""
        left, (finding,) = mute(self.found(), [self.accepted("d", "banned")], NOW)
        assert left.muted == ()
        assert (finding.id, finding.severity) == ("baseline-unused", Severity.INFO)

    def test_a_missing_account_is_accepted_only_as_missing(self):
        """Accepting a field of an account does not accept that it is gone, nor the other way."""
        left, _ = mute(self.found(), [self.accepted("b", "banned")], NOW)
        assert left.summary()["missing"] == 1
        left, _ = mute(self.found(), [self.accepted("c", "missing")], NOW)
        assert left.summary()["changed"] == 2

    def test_an_account_that_was_not_read_cannot_be_muted(self):
        """Nobody can accept what nobody saw."""
        left, told = mute(drift([(record(), None)]), [self.accepted("bot", "banned")], NOW)
        assert left.unread == ("cn/bot",)
        assert told == (), "whether the entry is still needed is not known"
