"""Drift: what the vendor holds against what is recorded."""

from __future__ import annotations

from core_accounts import PUSH, SOON, TOKEN, record

from reconciler.accounts import MISSING, Observed
from reconciler.drift import Difference, drift


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
