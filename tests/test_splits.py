"""Splits: an entry in several apps that some of them hold and others do not."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from core_accounts import PAST, account, notes, planned, record, where
from core_store import Memory
from core_vendor import Shop, Vendor
from jsonschema import Draft202012Validator

from reconciler.accounts import MISSING, Observed
from reconciler.changes import Siblings
from reconciler.config import schema_text
from reconciler.events import Settled, Split
from reconciler.planfile import decode, encode, shape
from reconciler.planning import TOLD
from reconciler.providers.yunxin import CAPABILITIES
from reconciler.values import canonical, loads
from reconciler.views import json, text

A, B = {"name": "A"}, {"name": "B"}
BOTH = (where("bot"), where("bot", "sg"))
TABLES = {"cn": CAPABILITIES, "sg": replace(CAPABILITIES, waits=())}
"""One vendor that takes no change of a banned account, and one that does."""


def entry(id="bot", apps=("cn", "sg"), **document):
    """Return the accounts of one entry in several apps."""
    siblings = tuple(where(id, app) for app in apps)
    made = [account(id, provider=app, **document) for app in apps]
    return [one._replace(siblings=siblings) for one in made]


def behind(made):
    """Return who is behind, entry by entry."""
    return [list(one.behind) for one in made.siblings]


class TestPlan:
    def test_an_entry_that_one_app_lacks_is_split(self):
        """What one app holds and the other does not is said once, naming both and the place."""
        made = planned(entry(profile=A), Memory(record(profile=A)))
        assert made.siblings == (Siblings(BOTH, BOTH[1:], "accounts/a.yaml", 3),)
        (said,) = notes(made, "split")
        assert said.summary == "bot: not the same in cn and sg; done first in sg"
        assert (str(said.source), said.address) == ("accounts/a.yaml:3", "sg/bot")

    def test_a_ban_that_one_app_lacks_is_split(self):
        """A ban that holds in one app only puts the other app first."""
        made = planned(entry(ban={}), Memory(record(ban={}), record(provider="sg")))
        assert behind(made) == [["sg/bot"]]

    @pytest.mark.parametrize(
        "recorded",
        [
            pytest.param((), id="new in both"),
            pytest.param((record(profile=B), record(provider="sg", profile=B)), id="old in both"),
        ],
    )
    def test_what_both_apps_need_is_no_split(self, recorded):
        """An entry whose apps need the same is planned, and nobody goes first."""
        made = planned(entry(profile=A), Memory(*recorded))
        assert len(made.actions) == 2
        assert made.siblings == (Siblings(BOTH, (), "accounts/a.yaml", 3),)
        assert notes(made, "split") == []

    def test_what_holds_everywhere_or_touches_no_vendor_is_not_told(self):
        """Neither an entry without changes nor one whose records alone change is in the plan."""
        held = Memory(record(profile=A), record(provider="sg", profile=A))
        assert planned(entry(profile=A), held).siblings == ()
        assert planned(entry(profile=A, labels={"a": "b"}), held).siblings == ()

    def test_a_missing_ban_is_seen_beside_another_change(self):
        """A ban that one app lacks puts it first, also where the other app needs something else."""
        drifted = Observed(True, B, {}, True)
        store = Memory(
            record(provider="sg", profile=A, ban={}, observed=drifted),
            record(profile=A, observed=Observed(True, A, {}, False)),
        )
        made = planned(entry(profile=A, ban={}), store, capabilities=TABLES)
        assert [(a.kind, a.address) for a in made.actions] == [
            ("block", "cn/bot"),
            ("update", "sg/bot"),
        ]
        assert behind(made) == [["cn/bot", "sg/bot"]]

    def test_what_waits_in_one_app_puts_no_other_first(self):
        """A field that waits for an unblock here and is set there is no split."""
        held = Memory(record(profile=A, ban={}), record(provider="sg", profile=A, ban={}))
        made = planned(entry(profile=B, ban={}), held, capabilities=TABLES)
        assert [a.address for a in made.actions] == ["sg/bot"]
        assert behind(made) == [[]]

    def test_a_ban_that_waits_for_nothing_is_still_behind(self):
        """Where a field waits in the banned app, the app without the ban is behind by the ban."""
        held = Memory(record(profile=A, ban={}), record(provider="sg", profile=A))
        made = planned(entry(profile=B, ban={}), held, capabilities=TABLES)
        assert behind(made) == [["sg/bot"]]

    def test_a_create_needs_all_that_an_update_brings(self):
        """An app that lacks the account is behind, the one that needs a field besides is not."""
        made = planned(entry(profile=B), Memory(record(profile=A)))
        assert [(a.kind, a.address) for a in made.actions] == [
            ("update", "cn/bot"),
            ("create", "sg/bot"),
        ]
        assert behind(made) == [["sg/bot"]]

    def test_a_ban_that_ended_in_both_is_no_split(self):
        """An expired ban is lifted in both apps alike."""
        ban = {"until": PAST}
        made = planned(entry(ban=ban), Memory(record(ban=ban), record(provider="sg", ban=ban)))
        assert (len(made.actions), behind(made)) == (2, [[]])

    def test_an_account_that_a_vendor_lost_for_good_is_nobodys_measure(self):
        """An adopted account that is gone at its vendor is missing; nobody is behind it."""
        held = Memory(record(profile=A, observed=MISSING), record(provider="sg", profile=A))
        made = planned(entry(profile=B, adopt=True), held)
        assert len(notes(made, "missing")) == 1
        assert made.siblings == ()

    def test_a_forgotten_account_is_nobodys_sibling(self):
        """What left the YAML, whole or from one app, is forgotten and never split."""
        store = Memory(record(profile=A), record(provider="sg", profile=A))
        assert planned([], store).siblings == ()
        made = planned([account(profile=B)], store)
        assert (len(made.actions), made.siblings) == (2, ())

    def test_a_target_is_compared_with_what_its_siblings_hold(self):
        """Of what no target names only an account that is as desired counts."""
        done = Memory(record(profile=A))
        assert behind(planned(entry(profile=A), done, targets=("sg",))) == [["sg/bot"]]
        assert planned(entry(profile=A), Memory(), targets=("sg",)).siblings == ()
        other = Memory(record(profile=B))
        assert planned(entry(profile=A), other, targets=("sg",)).siblings == ()

    def test_ids_are_told_as_each_vendor_keeps_them(self):
        """Siblings are found by their addresses, whatever a vendor makes of the id."""
        first, second = entry(profile=A)
        siblings = (first.address, where("Bot", "sg"))
        second = second._replace(address=siblings[1], siblings=siblings)
        made = planned([first._replace(siblings=siblings), second], Memory(record(profile=A)))
        assert made.siblings[0].behind == ("sg/Bot",)

    def test_neither_fingerprint_nor_listing_knows_of_it(self):
        """Two entries or one in two apps: the actions, their order and the fingerprint agree."""
        store = Memory(record("z", profile=A))
        together = planned([*entry("z", profile=A), *entry("b", profile=A)], store)
        apart = planned(
            [one._replace(siblings=()) for id in "bz" for one in entry(id, profile=A)], store
        )
        assert together.siblings
        assert apart.siblings == ()
        assert (together.actions, together.fingerprint) == (apart.actions, apart.fingerprint)

    def test_many_splits_are_counted(self):
        """Beyond a few, splits are told as a number; the plan's JSON has each."""
        count = TOLD + 2
        desired = [one for n in range(count) for one in entry(f"u{n:02}", profile=A)]
        made = planned(desired, Memory(*(record(f"u{n:02}", profile=A) for n in range(count))))
        assert len(made.siblings) == count
        assert notes(made, "split")[-1].summary.startswith("2 more entries")
        assert len(notes(made, "split")) == TOLD + 1

    def test_a_saved_plan_keeps_it(self):
        """A plan file holds the siblings, fits the schema, and gives them back."""
        made = planned(entry(profile=A), Memory(record(profile=A)))
        assert decode(encode(made, "1.0"), "p.json") == made
        Draft202012Validator(loads(schema_text("plan").encode())).validate(shape(made, "1.0"))


def pair(*records, **facts):
    """Return a shop with a second app, and the vendor of that one."""
    one, other = Shop(Memory(*records), concurrency=1), Vendor()
    one.links["sg"] = replace(one.links["cn"], send=other.send)
    return one, other


def splits(events):
    return [event for event in events if isinstance(event, Split)]


class TestApply:
    def test_what_failed_in_one_app_is_told_and_goes_first(self):
        """The split is told before the summary; the next apply does it before all else."""
        one, other = pair()
        other.fault = lambda request: 500 if request.api == "create" else None
        events = one.apply(planned(entry("z", profile=A), one.store))
        (split,) = splits(events)
        assert events[-2] is split
        assert (split.done, dict(split.left)) == (("cn/z",), {"sg/z": "failed"})
        assert text.event(split) == "z: done in cn, failed in sg; run apply again, it goes first"

        other.fault = lambda request: None
        other.log.clear()
        desired = [*entry("z", profile=A), *entry("a", profile=A), account("b", provider="sg")]
        events = one.apply(planned(desired, one.store))
        assert [id for _, id in other.mutations] == ["z", "a", "b"]
        assert splits(events) == []
        assert planned(desired, one.store).actions == ()

    def test_a_create_that_is_behind_waits_for_its_reading_and_still_goes_first(self):
        """Updates that need no reading begin only after the creates that are behind."""
        held = [record(f"a{n}", provider="sg", profile=A) for n in range(9)]
        one, other = pair(record("z", profile=A), *held)
        for n in range(9):
            other.put(f"a{n}", profile=A)
        desired = [account(f"a{n}", provider="sg", profile=B) for n in range(9)]
        made = planned([*desired, *entry("z", profile=A)], one.store)
        assert one.apply(decode(encode(made, "1.0"), "p"))[-1].complete
        assert other.mutations[0] == ("create", "z")
        assert len(other.mutations) == 10

    def test_a_ban_that_holds_in_one_app_only_goes_first_in_the_other(self):
        """The serious case: a spammer blocked in one app only is blocked before other blocks."""
        ids = ("a", "spammer")
        records = [record(id, provider=app) for app in ("cn", "sg") for id in ids]
        one, other = pair(*records)
        for id in ids:
            one.vendor.put(id)
            other.put(id)
        other.fault = lambda request: 403 if request.mutates else None
        events = one.apply(planned([*entry("a"), *entry("spammer", ban={})], one.store))
        assert [dict(split.left) for split in splits(events)] == [{"sg/spammer": "failed"}]

        other.fault = lambda request: None
        other.log.clear()
        desired = [*entry("a", ban={}), *entry("spammer", ban={})]
        one.apply(planned(desired, one.store))
        assert other.mutations == [("disable", "spammer"), ("disable", "a")]

    def test_the_first_failure_of_an_account_is_told(self):
        """A block that was skipped as its create failed is told as that failure."""
        one, other = pair()
        other.fault = lambda request: 500 if request.mutates else None
        events = one.apply(planned(entry(profile=A, ban={}), one.store))
        assert [dict(split.left) for split in splits(events)] == [{"sg/bot": "failed"}]

    def test_failing_everywhere_is_no_split(self):
        """An entry that no app took is failed, not split."""
        one, other = pair()
        one.vendor.fault = other.fault = lambda request: 500 if request.mutates else None
        assert splits(one.apply(planned(entry(profile=A), one.store))) == []

    def test_a_target_alone_is_no_split(self):
        """Applying one app of an entry on purpose is not told as a split."""
        one, _ = pair()
        made = planned(entry(profile=A), one.store, targets=("cn",))
        assert splits(one.apply(made)) == []

    def test_a_target_that_fails_beside_what_holds_is_a_split(self):
        """What one app holds already counts as done where the other, targeted, fails."""
        one, other = pair(record(profile=A))
        other.fault = lambda request: 500 if request.mutates else None
        events = one.apply(planned(entry(profile=A), one.store, targets=("sg",)))
        assert [split.done for split in splits(events)] == [("cn/bot",)]

    def test_a_doubt_that_is_settled_at_the_end_is_no_split(self):
        """A lost reply that reading clears up leaves nothing to tell."""
        one, other = pair(record(), record(provider="sg"))
        one.vendor.put("bot")
        other.put("bot")
        other.fault = lambda request: (
            "after" if request.mutates else "broken" if 0 < len(other.mutations) < 3 else None
        )
        events = one.apply(planned(entry(profile=A), one.store))
        assert any(isinstance(event, Settled) and event.held for event in events)
        assert splits(events) == []

    @pytest.mark.parametrize(
        ("read", "how"), [(True, "failed"), (False, "in_doubt")], ids=["read", "unread"]
    )
    def test_a_doubt_is_told_as_what_it_came_to(self, read, how):
        """A call that was lost before the vendor saw it failed; one nobody can read is in doubt."""
        one, other = pair(record(), record(provider="sg"))
        one.vendor.put("bot")
        other.put("bot")
        lost = []

        def fault(request):
            if request.mutates:
                lost.append(request)
                return "before"
            return "unsent" if lost and not read else None

        other.fault = fault
        (split,) = splits(one.apply(planned(entry(profile=A), one.store)))
        assert json.event(split)["left"] == [{"address": "sg/bot", "result": how}]

    def test_an_interrupt_leaves_the_later_app_skipped(self):
        """What was not reached when the run was stopped is told, although nothing failed."""
        one, other = pair(record(), record(provider="sg"))
        one.vendor.put("bot")
        other.put("bot")
        for n in range(20):
            one.store._keep(record(f"a{n}", provider="sg"))
            other.put(f"a{n}")
        desired = [account(f"a{n}", provider="sg", profile=A) for n in range(20)]
        begun = threading.Event()
        one.vendor.watch = lambda request: begun.set()
        other.watch = lambda request: begun.wait(30) and one.stop.set()
        events = one.apply(planned([*desired, *entry(profile=A)], one.store))
        assert events[-1].interrupted
        assert [dict(split.left) for split in splits(events)] == [{"sg/bot": "skipped"}]

    def test_the_event_fits_the_schema_of_the_stream(self):
        """The split is a diagnostic that names place, done and left."""
        split = Split(Siblings(BOTH, (), "a.yaml", 3), {where("bot", "sg"): "in doubt"})
        line = json.event(split)
        assert line["diagnostic"]["id"] == "split"
        assert line["done"] == ["cn/bot"]
        whole = {**line, "at": "2026-11-21T22:00:00Z", "message": text.event(split)}
        validator = Draft202012Validator(loads(schema_text("events").encode()))
        validator.validate(loads(canonical(whole)))
