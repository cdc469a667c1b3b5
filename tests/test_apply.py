"""Apply: a plan carried out against a vendor that lives in a dict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest
from core_accounts import PUSH, TOKEN, account, planned, record, told, where
from core_store import Crash, Memory
from core_vendor import Shop, Vendor

from reconciler.accounts import Observed
from reconciler.changes import to_json
from reconciler.conversation import Outcome, Request, Result
from reconciler.events import Completed, Errored, Settled, Skipped, Started, Summary
from reconciler.providers.yunxin import CAPABILITIES, Yunxin
from reconciler.refresh import accept, read
from reconciler.state import Intent, Status

A, B = {"name": "A"}, {"name": "B"}


def shop(*records, **facts):
    return Shop(Memory(*records), **facts)


def kinds(events, kind):
    return [event for event in events if isinstance(event, kind)]


def summary(events):
    """Return the last event, which is the only summary."""
    (last,) = kinds(events, Summary)
    assert events[-1] is last
    return last


class TestIntents:
    def test_every_mutation_finds_its_intent_and_outcomes_follow(self):
        """When a request arrives, its action is already durable and in doubt, for every kind."""
        one = shop(record("u", profile=A), record("b"), record("o", ban={}))
        for id in "ubo":
            one.vendor.put(id, banned=id == "o")
        kind_of = {"create": "create", "update_user": "update", "disable": ("block", "unblock")}
        seen = []

        def watch(request):
            if request.mutates:
                (id,) = request.account_ids
                waiting = one.store.open_intents(id)
                seen.append(request.api)
                assert any(kind in kind_of[request.api] for kind in waiting), (request, waiting)

        one.vendor.watch = watch
        desired = [
            account("n", profile=A, ban={}),
            account("u", profile=B),
            account("b", ban={}),
            account("o"),
        ]
        events = one.apply(planned(desired, one.store))
        assert sorted(seen) == ["create", "disable", "disable", "disable", "update_user"]
        assert summary(events).complete
        assert one.store.unresolved() == ()
        assert dict(summary(events).applied) == {"create": 1, "update": 1, "block": 2, "unblock": 1}

    def test_outcomes_are_recorded_after_their_intents(self):
        """The journal holds the intent first, then how it ended, for each action."""
        one = shop()
        one.apply(planned([account("a", ban={})], one.store))
        assert one.store.log == [
            ("intent", "create", "cn/a"),
            ("intent", "block", "cn/a"),
            ("confirmed", "create", "cn/a"),
            ("confirmed", "block", "cn/a"),
        ]

    def test_an_action_is_announced_before_it_is_told_done(self):
        """Every action has a start and an end, in this order."""
        one = shop()
        events = one.apply(planned([account(id) for id in "abc"], one.store))
        for id in "abc":
            own = [
                type(e)
                for e in events
                if not isinstance(e, Summary) and e.action.address == where(id)
            ]
            assert own == [Started, Completed]

    def test_an_empty_plan_does_nothing_at_all(self):
        """No request, no intent, no serial."""
        one = shop(record("a"))
        one.vendor.put("a")
        events = one.apply(planned([account("a")], one.store))
        assert events == [Summary({}, 0, 0, 0)]
        assert (one.vendor.log, one.store.log, one.store.serial) == ([], [], 7)

    def test_bookkeeping_calls_no_vendor(self):
        """Forgetting, labels and ban records change the record and nothing else."""
        one = shop(record("f"), record("l"), record("b", ban={}))
        plan = planned(
            [account("l", labels={"t": "x"}), account("b", ban={"reason": "spam"})], one.store
        )
        assert summary(one.apply(plan)).complete
        assert one.vendor.log == []
        assert one.store.record("f") is None
        assert one.store.record("l").document == {"labels": {"t": "x"}}
        assert one.store.record("b").document == {"ban": {"reason": "spam"}}

    def test_a_store_that_fails_ends_the_run(self):
        """What cannot be written down is not sent."""
        one = shop()

        def step(name):
            raise Crash(name)

        one.store.step = step
        with pytest.raises(Crash, match="before intend"):
            one.apply(planned([account("a")], one.store))
        assert one.vendor.mutations == []


class TestLookBeforeABan:
    """Before a ban begins or ends, the vendor is asked whether it is still as planned."""

    def test_an_account_that_is_gone_is_left(self):
        """Nothing is sent for it, and the message names the way on."""
        one = shop(record("b"))
        (failed,) = kinds(one.apply(planned([account("b", ban={})], one.store)), Errored)
        assert "does not exist at the vendor" in failed.message
        assert one.vendor.mutations == []

    @pytest.mark.parametrize("banned", [True, False])
    def test_what_the_vendor_did_already_is_recorded_and_not_repeated(self, banned):
        """Somebody banned or unbanned it at the console: no second kick, and the record agrees."""
        one = shop(record("b", banned=not banned, **({} if banned else {"ban": {}})))
        one.vendor.put("b", banned=banned)
        wanted = account("b", ban={}) if banned else account("b")
        assert summary(one.apply(planned([wanted], one.store))).complete
        assert one.vendor.mutations == []
        assert one.store.record("b").banned is banned

    def test_a_field_changed_behind_the_back_stops_its_account(self):
        """An update beside the ban finds a value it was not planned from: neither is done."""
        one = shop(record("b", profile={"name": "A"}), record("c"))
        one.vendor.put("b", profile={"name": "Eve"})
        one.vendor.put("c")
        wanted = [account("b", profile={"name": "B"}, ban={}), account("c", ban={})]
        events = one.apply(planned(wanted, one.store))
        (failed,) = kinds(events, Errored)
        assert (failed.code, "profile.name" in failed.message) == ("changed", True)
        assert one.vendor.mutations == [("disable", "c")]
        assert summary(events).skipped == 1

    def test_a_new_field_and_one_already_as_wanted_do_not_stop(self):
        """What was never recorded has no before; what is already there is not sent again."""
        one = shop(record("b", profile={"name": "A"}))
        one.vendor.put("b", profile={"name": "B", "sign": "theirs"})
        wanted = account("b", profile={"name": "B", "sign": "ours"}, ban={})
        assert summary(one.apply(planned([wanted], one.store))).complete
        assert one.vendor.mutations == [("update_user", "b"), ("disable", "b")]

    def test_a_vendor_that_cannot_be_read_is_not_changed(self):
        """The block fails and is not sent; another run tries it again."""
        one = shop(record("b"))
        one.vendor.put("b")
        one.vendor.fault = lambda request: None if request.mutates else "broken"
        assert not summary(one.apply(planned([account("b", ban={})], one.store))).complete
        assert one.vendor.mutations == []


class TestLostReplies:
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("api", ["create", "update_user", "update_account", "disable"])
    def test_a_lost_reply_is_settled_by_reading(self, api, when):
        """Whether the lost call ran or not, the action ends confirmed and took effect once."""
        one = shop(record("u", profile=A), record("b"))
        one.vendor.put("u", profile=A)
        one.vendor.put("b")
        lost = [api]

        def fault(request):
            return (
                when
                if request.mutates and request.api in lost and not lost.remove(request.api)
                else None
            )

        one.vendor.fault = fault
        flags = {"p2p_chat_banned": True}
        desired = [
            account("n", profile=A),
            account("u", profile=B, configuration=flags),
            account("b", ban={}),
        ]
        events = one.apply(planned(desired, one.store))
        assert lost == []
        assert summary(events).complete
        assert one.vendor.creates == {"n": 1}
        assert one.vendor.accounts["n"]["profile"]["name"] == "A"
        assert one.vendor.accounts["u"]["profile"]["name"] == "B"
        assert one.vendor.accounts["u"]["flags"]["p2p_chat_banned"]
        assert not one.vendor.accounts["b"]["enabled"]
        assert told(planned(desired, one.store)) == []

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_the_kick_is_sent_at_most_once_per_block(self, when):
        """A block that is repeated after a lost reply does not kick again."""
        one = shop(record("b"))
        one.vendor.put("b")
        lost = [when, "before"]
        one.vendor.fault = lambda request: lost.pop(0) if request.mutates and lost else None
        one.apply(planned([account("b", ban={"notify": "{}"})], one.store))
        sent = [r.body["need_kick"] for r in one.vendor.log if r.mutates]
        assert sent.count(True) == 1
        assert sent[0] is True
        assert not one.vendor.accounts["b"]["enabled"]
        assert len(one.vendor.accounts["b"]["kicks"]) == (when == "after")

    def test_what_stays_ambiguous_is_in_doubt_and_read_back_at_the_end(self):
        """Three lost replies leave a doubt; the reading at the end of the run decides it."""
        one = shop(record("b"))
        one.vendor.put("b")
        one.vendor.fault = lambda request: (
            "after" if request.mutates else "broken" if 0 < len(one.vendor.mutations) < 3 else None
        )
        events = one.apply(planned([account("b", ban={})], one.store))
        (failed,) = kinds(events, Errored)
        assert failed.in_doubt
        assert kinds(events, Settled) == [Settled(where("b"), failed.action.kind, True, "run-1")]
        assert summary(events).applied == {"block": 1}
        assert summary(events).complete
        assert one.store.record("b").banned

    def test_a_doubt_that_cannot_be_read_stays(self):
        """While the vendor cannot be read the intent is left for the next run."""
        one = shop(record("b"))
        one.vendor.put("b")
        one.vendor.fault = lambda request: (
            "after" if request.mutates else "broken" if one.vendor.mutations else None
        )
        events = one.apply(planned([account("b", ban={})], one.store))
        assert summary(events).in_doubt == 1
        assert not summary(events).complete
        assert one.store.status("block", "b") is Status.AMBIGUOUS
        assert not one.store.record("b").banned

    def test_a_success_about_another_account_is_not_believed(self):
        """An echo of somebody else is treated like a lost reply."""
        one = shop(record("b"))
        one.vendor.put("b")
        real, wrong = one.vendor.perform, [True]

        def perform(request, body):
            said = real(request, body)
            if request.mutates and wrong:
                wrong.pop()
                said["data"]["account_id"] = "cat"
            return said

        one.vendor.perform = perform
        assert summary(one.apply(planned([account("b", ban={})], one.store))).complete


class TestFailures:
    def test_an_account_that_exists_is_never_overwritten(self):
        """A create of what the vendor already has fails and names import; nothing is sent."""
        one = shop()
        one.vendor.put("a", profile={"name": "theirs"})
        events = one.apply(planned([account("a", profile=A, ban={}), account("b")], one.store))
        (failed,) = kinds(events, Errored)
        assert "reconciler import cn/a" in failed.message
        assert one.vendor.mutations == [("create", "b")]
        assert one.vendor.accounts["a"]["profile"]["name"] == "theirs"
        assert one.store.record("a") is None
        assert (summary(events).failed, summary(events).skipped) == (1, 1)

    def test_one_that_comes_to_exist_between_reading_and_creating_is_not_ours(self):
        """A refusal as `exists` to the first call is a conflict, not a success."""
        one = shop()
        one.vendor.fault = lambda request: one.vendor.put("a") and None if request.mutates else None
        (failed,) = kinds(one.apply(planned([account("a")], one.store)), Errored)
        assert "import" in failed.message
        assert one.store.record("a") is None

    @pytest.mark.parametrize("concurrency", [1, 8])
    def test_a_failed_step_skips_what_follows_of_its_account_alone(self, concurrency):
        """The block of an account whose create failed is never sent; the others go on."""
        one = shop(concurrency=concurrency)
        one.vendor.fault = lambda request: (
            103451
            if (request.api == "create" and request.account_ids[0].startswith("bad"))
            else None
        )
        ids = [f"{kind}{n}" for n in range(20) for kind in ("bad", "good")]
        events = one.apply(planned([account(id, ban={}) for id in ids], one.store))
        assert summary(events) == Summary({"create": 20, "block": 20}, failed=20, skipped=20)
        assert {id for api, id in one.vendor.mutations if api == "disable"} == {
            id for id in ids if id.startswith("good")
        }
        assert {e.because for e in kinds(events, Skipped)} == {"its create failed"}
        assert one.store.status("block", "bad0") is Status.NOT_SENT

    def test_what_an_update_did_before_it_failed_is_recorded(self):
        """Flags that were set are recorded although the profile was refused."""
        one = shop(record("u", profile=A))
        one.vendor.put("u", profile=A)
        one.vendor.fault = lambda request: 103451 if request.api == "update_user" else None
        desired = [account("u", profile=B, configuration={"p2p_chat_banned": True})]
        assert summary(one.apply(planned(desired, one.store))).failed == 1
        assert one.store.record("u").document == {
            "profile": A,
            "configuration": {"p2p_chat_banned": True},
        }

    def test_refused_credentials_stop_the_app(self):
        """After the vendor refused the credentials nothing more of this app is tried."""
        one = shop(*(record(f"u{n:02}", profile=A) for n in range(40)), concurrency=2)
        one.vendor.fault = lambda request: 403
        plan = planned([account(f"u{n:02}", profile=B) for n in range(40)], one.store)
        end = summary(one.apply(plan))
        assert end.failed + end.skipped == 40
        assert len(one.vendor.mutations) == end.failed < 12
        assert one.store.unresolved() == ()

    def test_an_app_that_cannot_be_reached_is_given_up(self):
        """More failures in a row than there are threads end it; the others are skipped."""
        one = shop(*(record(f"u{n:02}", profile=A) for n in range(40)), concurrency=2)
        one.vendor.fault = lambda request: "unsent"
        plan = planned([account(f"u{n:02}", profile=B) for n in range(40)], one.store)
        events = one.apply(plan)
        end = summary(events)
        assert 3 <= end.failed < 20
        assert end.failed + end.skipped == 40
        assert kinds(events, Skipped)[-1].because.startswith("the vendor cannot be reached")

    def test_another_app_goes_on(self):
        """Apps do not stop each other."""
        one = shop(record("a", profile=A), record("b", profile=A, provider="sg"))
        sg = Shop(one.store)
        sg.vendor.put("b", profile=A)
        one.links["sg"] = sg.links["cn"]
        one.vendor.fault = lambda request: 403
        desired = [account("a", profile=B), account("b", profile=B, provider="sg")]
        end = summary(one.apply(planned(desired, one.store)))
        assert (end.failed, dict(end.applied)) == (1, {"update": 1})

    def test_a_secret_that_is_missing_fails_its_account_alone(self):
        """A token that does not resolve sends nothing, and the app is not given up for it."""
        one = shop(concurrency=1)
        ids = [f"u{n}" for n in range(8)]
        one.vendor.secrets["env:IM_TOKEN_BOT"] = "s3cret"
        desired = [account(id, token={"from": f"env:{id}", "version": 1}) for id in ids]
        desired.append(account("z", token=TOKEN))
        end = summary(one.apply(planned(desired, one.store)))
        assert (end.failed, dict(end.applied)) == (8, {"create": 1})
        assert one.vendor.accounts["z"]["token"] == "s3cret"
        assert one.store.record("z").token_key == "key-of-s3cret"

    def test_an_unreadable_vendor_creates_nothing(self):
        """Where nobody can say that an account is absent, nothing of that vendor is tried."""
        one = shop()
        one.vendor.fault = lambda request: None if request.mutates else "broken"
        end = summary(one.apply(planned([account("a")], one.store)))
        assert (end.failed, end.skipped, one.vendor.mutations) == (0, 1, [])

    def test_a_bug_while_reading_ends_the_run_and_not_never(self):
        """A defect in a reading fails its accounts; the run still comes to its end."""
        one = shop()

        def fault(request):
            raise TypeError("a defect")

        one.vendor.fault = fault
        (failed,) = kinds(one.apply(planned([account("a")], one.store)), Errored)
        assert "TypeError in reconciler itself" in failed.message

    def test_a_bug_while_sending_is_read_back(self):
        """A defect in a conversation leaves its account in doubt, and reading decides."""
        one = shop(record("b"))
        one.vendor.put("b")

        def fault(request):
            if request.mutates:
                raise TypeError("a defect")

        one.vendor.fault = fault
        events = one.apply(planned([account("b", ban={})], one.store))
        assert kinds(events, Errored)[0].in_doubt
        assert (summary(events).failed, summary(events).in_doubt) == (1, 0)


class TestStop:
    def test_a_stop_lets_what_is_under_way_finish_and_skips_the_rest(self):
        """What was begun is finished and recorded, the rest is skipped, the summary says so."""
        one = shop(concurrency=1)

        def watch(request):
            if request.api == "create":
                one.stop.set()

        one.vendor.watch = watch
        desired = [account(f"u{n:02}", ban={}) for n in range(30)]
        events = one.apply(planned(desired, one.store))
        end = summary(events)
        assert end.interrupted
        assert not end.complete
        assert dict(end.applied) == {"create": 1}
        assert end.skipped == 59
        assert one.vendor.mutations == [("create", "u00")]
        assert {e.because for e in kinds(events, Skipped)} == {"interrupted"}
        assert one.store.unresolved() == ()
        one.stop.clear()
        one.vendor.watch = lambda request: None
        one.names.count += 1000
        assert summary(one.apply(planned(desired, one.store))).complete
        assert told(planned(desired, one.store)) == []

    def test_a_stop_before_the_start_does_nothing(self):
        """Nothing is read, written or sent."""
        one = shop()
        one.stop.set()
        end = summary(one.apply(planned([account("a")], one.store)))
        assert (end.skipped, end.interrupted, one.vendor.log, one.store.log) == (1, True, [], [])


class TestWaiting:
    def test_the_push_switch_waits_until_the_first_login(self):
        """It is neither sent at registration nor a failure; later it goes with another change."""
        one = shop()
        path = f"configuration.{PUSH}"
        shy = account("a", configuration={PUSH: False, "p2p_chat_banned": True})
        (done,) = kinds(one.apply(planned([shy], one.store)), Completed)
        assert done.waiting == (path,)
        assert one.store.record("a").waiting == (path,)
        assert told(planned([shy], one.store)) == []
        one.vendor.accounts["a"]["login"] = True
        more = account("a", profile=A, configuration={PUSH: False, "p2p_chat_banned": True})
        assert summary(one.apply(planned([more], one.store))).complete
        assert one.vendor.accounts["a"]["flags"][PUSH] is False
        assert one.store.record("a").waiting == ()
        assert told(planned([more], one.store)) == []

    def test_an_adopted_account_found_banned_keeps_its_profile_waiting(self):
        """What a banned account cannot take is no failure; it follows with the unblock."""
        one = shop()
        one.vendor.put("a", banned=True, profile={"name": "theirs"})
        desired = [account("a", adopt=True, profile=A, ban={})]
        events = one.apply(planned(desired, one.store))
        assert summary(events).complete
        assert one.vendor.mutations == []
        again = planned(desired, one.store)
        assert told(again) == []
        assert [note.id for note in again.diagnostics] == ["waiting"]
        lifted = [account("a", adopt=True, profile=A)]
        assert summary(one.apply(planned(lifted, one.store))).complete
        assert one.vendor.accounts["a"]["profile"]["name"] == "A"
        assert told(planned(lifted, one.store)) == []


class TestAdopt:
    def test_adopting_skips_what_already_holds(self):
        """Reading comes first; a ban and a name that are there are recorded and not sent."""
        one = shop()
        one.vendor.put("a", banned=True)
        one.vendor.put("b", profile={"name": "A", "sign": "theirs"})
        desired = [
            account("a", adopt=True, ban={"reason": "spam"}),
            account("b", adopt=True, profile={"name": "A", "email": "b@x"}),
        ]
        end = summary(one.apply(planned(desired, one.store)))
        assert dict(end.applied) == {"adopt": 2, "block": 1, "update": 1}
        assert [r.body for r in one.vendor.log if r.mutates] == [{"email": "b@x"}]
        assert one.vendor.accounts["b"]["profile"]["sign"] == "theirs"
        assert one.store.record("a").document == {"ban": {"reason": "spam"}}
        assert told(planned(desired, one.store)) == []

    def test_adopting_a_missing_account_fails_that_account_alone(self):
        """It is not created; what follows it is skipped, the others go on."""
        one = shop()
        one.vendor.put("b")
        desired = [account("a", adopt=True, profile=A), account("b", adopt=True, ban={})]
        events = one.apply(planned(desired, one.store))
        (failed,) = kinds(events, Errored)
        assert failed.action.address == where("a")
        assert "no such account" in failed.message
        assert (summary(events).failed, summary(events).skipped) == (1, 1)
        assert one.vendor.mutations == [("disable", "b")]
        assert one.store.record("a") is None


class TestBans:
    @pytest.mark.parametrize(
        "held",
        [
            {"ban": {"kick": False}, "observed": Observed(True, {}, {}, False)},
            {"ban": {"kick": False, "until": "2027-01-01T00:00:00Z"}, "banned": False},
        ],
    )
    def test_a_block_says_kick_and_notify_whatever_was_recorded_before(self, held):
        """A ban set again after drift or a lapse does not kick where `kick: false` is written."""
        one = shop(record("a", **held))
        one.vendor.put("a")
        desired = [account("a", ban={"kick": False, "until": "2027-02-01T00:00:00Z"})]
        assert summary(one.apply(planned(desired, one.store))).complete
        assert one.vendor.accounts["a"]["kicks"] == []
        assert told(planned(desired, one.store)) == []

    def test_a_ban_that_may_have_been_sent_before_does_not_kick_again(self):
        """A block planned while the account is in doubt bans and leaves the sessions alone."""
        one = shop(record("a"))
        one.vendor.put("a")
        plan = planned([account("a", ban={})], one.store)
        one.store.intend([Intent("old", "run-0", where("a"), to_json(plan.actions[0]))])
        one.apply(planned([account("a", ban={})], one.store))
        assert one.vendor.accounts["a"]["kicks"] == []
        assert not one.vendor.accounts["a"]["enabled"]

    def test_a_doubt_about_something_else_spares_nobody_the_kick(self):
        """An update that is in doubt has ended no session, so a ban planned now does."""
        one = shop(record("a", profile=A))
        one.vendor.put("a", profile=A)
        plan = planned([account("a", profile=B)], one.store)
        one.store.intend([Intent("old", "run-0", where("a"), to_json(plan.actions[0]))])
        one.apply(planned([account("a", profile=A, ban={})], one.store))
        assert len(one.vendor.accounts["a"]["kicks"]) == 1

    def test_an_older_doubt_is_none_of_this_runs_actions(self):
        """What an earlier run left behind is settled at the end, and no count of this run."""
        one = shop(record("a", profile=A), record("b", profile=A))
        for id in "ab":
            one.vendor.put(id, profile=A)
        old = planned([account("a", profile=B), account("b", profile=A)], one.store)
        one.store.intend([Intent("old", "run-0", where("a"), to_json(old.actions[0]))])
        plan = planned([account("a", profile=A), account("b", profile=B)], one.store)
        *events, summary = one.apply(plan)
        assert [(e.address, e.held) for e in kinds(events, Settled)] == [(where("a"), False)]
        assert (dict(summary.applied), summary.failed) == ({"update": 1}, 0)

    def test_unblock_then_update_is_one_way_through(self):
        """Lifting a ban and changing the profile succeed in one run, in this order."""
        one = shop(record("a", profile=A, ban={}))
        one.vendor.put("a", banned=True, profile=A)
        assert summary(one.apply(planned([account("a", profile=B)], one.store))).complete
        assert one.vendor.mutations == [("disable", "a"), ("update_user", "a")]


class _Batched(Yunxin):
    """A vendor that registers a hundred accounts with one call, some of them in vain."""

    capabilities = replace(CAPABILITIES, batch=MappingProxyType({"read": 100, "create": 100}))

    def create(self, accounts: Mapping):
        answer = yield Request(
            "create", "POST", "/batch", body={"ids": list(accounts)}, account_ids=tuple(accounts)
        )
        bad = answer.data.get("bad", ())
        return {
            id: Outcome(Result.REJECTED, "70402", "refused")
            if id in bad
            else Outcome(answer.verdict.result)
            for id in accounts
        }


class _BatchVendor(Vendor):
    def perform(self, request, body):
        if request.api != "create":
            return super().perform(request, body)
        for id in body["ids"]:
            if not id.startswith("bad"):
                self.put(id)
                self.creates[id] += 1
        return {"code": 200, "msg": "", "bad": [id for id in body["ids"] if id.startswith("bad")]}


class TestBatches:
    def batched(self, **facts):
        return Shop(Memory(), _BatchVendor(), provider=_Batched(), **facts)

    def test_creates_go_in_the_vendors_batches(self):
        """Two hundred and fifty creates are three calls, and the plan says so."""
        one = self.batched(concurrency=64)
        desired = [account(f"u{n:03}") for n in range(250)]
        plan = planned(desired, one.store, capabilities={"cn": _Batched.capabilities})
        assert plan.cost["cn"].calls == 3
        assert summary(one.apply(plan)).applied == {"create": 250}
        sizes = [len(r.account_ids) for r in one.vendor.log if r.mutates]
        assert sorted(sizes) == [50, 100, 100]  # which of them arrives first is the threads' affair
        assert told(planned(desired, one.store)) == []

    def test_batches_are_full_whatever_else_is_to_be_done(self):
        """Updates and bans between the creates break no batch: it waits for those that fill it."""
        ids = [f"u{n:04}" for n in range(1500)]
        store = Memory(*(record(id, profile=A) for id in ids[::3]))
        one = Shop(store, _BatchVendor(), provider=_Batched(), concurrency=8)
        for id in ids[::3]:
            one.vendor.put(id, profile=A)
        desired = [
            account(id, profile=B, **({"ban": {}} if n % 5 else {})) for n, id in enumerate(ids)
        ]
        plan = planned(desired, one.store, capabilities={"cn": _Batched.capabilities})

        assert summary(one.apply(plan)).complete

        sizes = [len(r.account_ids) for r in one.vendor.log if r.api == "create"]
        assert sizes == [100] * 10

    def test_one_bad_account_of_a_batch_fails_alone(self):
        """The others of its batch are created and go on with their further steps."""
        one = self.batched(concurrency=8)
        desired = [account(f"{kind}{n}", ban={}) for n in range(3) for kind in ("bad", "ok")]
        end = summary(one.apply(planned(desired, one.store)))
        assert end == Summary({"create": 3, "block": 3}, failed=3, skipped=3)
        assert {id for api, *ids in one.vendor.mutations if api == "disable" for id in ids} == {
            "ok0",
            "ok1",
            "ok2",
        }

    def test_a_batch_whose_reply_was_lost_is_read_back(self):
        """Every account of it is looked for; none is made twice."""
        one = self.batched(concurrency=8)
        lost = ["after"]
        one.vendor.fault = lambda request: lost.pop() if request.mutates and lost else None
        desired = [account(f"u{n}") for n in range(5)]
        assert summary(one.apply(planned(desired, one.store))).complete
        assert set(one.vendor.creates.values()) == {1}


class TestRefresh:
    def test_a_refresh_records_what_the_vendor_holds(self):
        """Console edits become observed state, and then drift of the next plan."""
        one = shop(record("a", profile=A), record("b", profile=A), record("gone"))
        one.vendor.put("a", profile=A)
        one.vendor.put("b", profile=B, banned=True)
        pairs = read(one.store.everything(), one.links)
        assert accept(pairs, one.store) == (3, 3)
        assert one.vendor.mutations == []
        assert one.store.record("b").observed.banned is True
        assert not one.store.record("gone").observed.exists
        serial = one.store.serial
        assert accept(read(one.store.everything(), one.links), one.store) == (3, 0)
        assert one.store.serial == serial
        desired = [account("a", profile=A), account("b", profile=A), account("gone")]
        assert told(planned(desired, one.store)) == [
            ("unblock", "b", "drift"),
            ("update", "b", "drift"),
            ("create", "gone", "drift"),
        ]

    def test_reading_goes_in_batches_and_keeps_order(self):
        """Two hundred and fifty accounts are three batches, told in order of address."""
        one = shop(*(record(f"u{n:03}") for n in range(250)))
        for n in range(250):
            one.vendor.put(f"u{n:03}")
        found = list(read(one.store.everything(), one.links))
        assert [r.address for r, _ in found] == [f"cn/u{n:03}" for n in range(250)]
        assert len(one.vendor.log) == 6
        assert all(seen.exists for _, seen in found)
