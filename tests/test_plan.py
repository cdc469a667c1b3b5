"""Plan: desired accounts against recorded ones, as the actions that would make them agree."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from core_accounts import (
    NOW,
    PAST,
    PUSH,
    SOON,
    TOKEN,
    account,
    changed,
    notes,
    planned,
    record,
    told,
    where,
)
from core_store import Memory

from reconciler.accounts import MISSING, Observed
from reconciler.changes import Reason, calls_vendor, from_json, to_json
from reconciler.snapshot import PERSONAL
from reconciler.state import Intent
from reconciler.values import to_moment

A, B = {"name": "A"}, {"name": "B"}
SPAM = {"reason": "spam", "ticket": "T-1"}


def seen(banned=False, profile=None, configuration=None):
    return Observed(True, profile or {}, configuration or {}, banned)


class TestThreeWay:
    def test_a_new_account_is_created_with_everything_written(self):
        """An unrecorded account is one create whose changes have no before."""
        made = planned([account(profile=A, labels={"team": "x"}, token=TOKEN)], Memory())
        assert told(made) == [("create", "bot", "not_recorded")]
        assert changed(made.actions[0]) == [
            ("labels.team", None, "x"),
            ("profile.name", None, "A"),
            ("token", None, "(v1)"),
        ]

    def test_a_create_says_what_the_vendor_never_gives_back(self):
        """Unreadable fields of creates are told once per app, and only where they are written."""
        from reconciler.providers import capabilities

        v1 = {"cn": capabilities("commsease"), "sg": capabilities("yunxin")}
        bots = [account(f"b{n}", configuration={PUSH: False}) for n in (1, 2)]
        ours = account("b3", provider="sg", configuration={PUSH: False})
        plain = account(profile={"name": PUSH}, labels={"a": PUSH}, token=TOKEN)
        loud, quiet = (
            planned(some, Memory(), capabilities=v1) for some in ([*bots, ours], [plain])
        )
        assert [note.summary for note in notes(loud, "unreadable")] == [
            f"cn: configuration.{PUSH} is unreadable"
        ]
        assert not notes(quiet, "unreadable")

    def test_a_changed_field_is_an_update(self):
        """What was applied and is written otherwise now is config_changed, before and after."""
        made = planned([account(profile=B)], Memory(record(profile=A)))
        assert told(made) == [("update", "bot", "config_changed")]
        assert changed(made.actions[0]) == [("profile.name", "A", "B")]
        assert made.actions[0].version == 4

    def test_drift_is_told_from_a_change_of_the_yaml(self):
        """A field that is written as it was applied and was seen otherwise is drift."""
        made = planned([account(profile=A)], Memory(record(profile=A, observed=seen(profile=B))))
        assert told(made) == [("update", "bot", "drift")]
        assert changed(made.actions[0]) == [("profile.name", "B", "A")]

    def test_yaml_and_vendor_that_moved_alike_need_only_the_record(self):
        """Where the vendor already holds what is now written, nothing is planned."""
        made = planned([account(profile=B)], Memory(record(profile=A, observed=seen(profile=B))))
        assert told(made) == []
        assert made.unchanged == 1

    def test_a_change_of_the_yaml_outweighs_drift(self):
        """An action that has both reasons says config_changed, and holds both changes."""
        held = record(
            profile={"name": "A", "sign": "s"},
            observed=seen(profile={"name": "A", "sign": "other"}),
        )
        made = planned([account(profile={"name": "B", "sign": "s"})], Memory(held))
        assert told(made) == [("update", "bot", "config_changed")]
        assert changed(made.actions[0]) == [
            ("profile.name", "A", "B"),
            ("profile.sign", "other", "s"),
        ]

    @pytest.mark.parametrize(
        ("section", "name", "old", "default"),
        [
            ("profile", "name", "A", ""),
            ("profile", "gender", 2, 0),
            ("configuration", "p2p_chat_banned", True, False),
            ("configuration", PUSH, False, True),
        ],
    )
    def test_a_removed_field_returns_to_the_vendors_default(self, section, name, old, default):
        """A field that left the YAML goes back to the default, marked as removed."""
        made = planned([account()], Memory(record(**{section: {name: old}})))
        assert told(made) == [("update", "bot", "field_removed")]
        (change,) = made.actions[0].changes
        assert (change.before, change.after, change.removed) == (old, default, True)

    def test_a_removed_label_is_only_dropped_from_the_record(self):
        """Labels have no vendor and no default: they go, and no vendor is called."""
        made = planned([account()], Memory(record(labels={"team": "x"})))
        assert changed(made.actions[0]) == [("labels.team", "x", None)]
        assert not calls_vendor(made.actions[0])

    def test_a_field_nobody_wrote_is_not_managed(self):
        """What only the vendor holds is neither compared nor changed."""
        rich = seen(profile={"name": "A", "sign": "theirs"}, configuration={PUSH: False})
        made = planned([account(profile=A)], Memory(record(profile=A, observed=rich)))
        assert told(made) == []

    def test_a_section_of_on_create_is_left_alone_afterwards(self):
        """`manage: on_create` sets a section at creation; then neither change nor drift counts."""
        mine = account(once=("profile",), profile=B, configuration={"p2p_chat_banned": True})
        held = record(
            profile=A,
            configuration={"p2p_chat_banned": False},
            manage={"profile": "on_create"},
            observed=seen(profile={"name": "C"}),
        )
        assert changed(planned([mine], Memory(held)).actions[0]) == [
            ("configuration.p2p_chat_banned", False, True)
        ]
        assert ("profile.name", None, "B") in changed(planned([mine], Memory()).actions[0])
        left = record(profile=A, manage={"profile": "on_create"})
        assert told(planned([account(once=("profile",))], Memory(left))) == []

    def test_who_owns_a_section_is_recorded_without_a_call(self):
        """Leaving a section to the user, or taking it back, is noted; drift then goes by it."""
        mine = account(once=("profile",), profile=B)
        (noted,) = planned([mine], Memory(record(profile=A))).actions
        assert changed(noted) == [("manage.profile", None, "on_create")]
        assert not calls_vendor(noted)
        left = record(profile=A, manage={"profile": "on_create"})
        assert changed(planned([account(profile=B)], Memory(left)).actions[0]) == [
            ("manage.profile", "on_create", None),
            ("profile.name", "A", "B"),
        ]

    def test_the_users_own_edit_asks_for_no_closer_look(self):
        """A record whose user edited what is theirs is as good as its digest."""
        theirs = seen(profile={"name": "C"})
        assert record(profile=A, manage={"profile": "on_create"}, observed=theirs).plain
        assert not record(profile=A, observed=theirs).plain

    def test_what_a_create_did_not_come_to_set_is_still_set_once(self):
        """A field that the vendor has yet to be told of is not the user's."""
        mine = account(once=("profile",), profile=A)
        half = record(manage={"profile": "on_create"}, waiting=("profile.name",))
        assert changed(planned([mine], Memory(half)).actions[0]) == [("profile.name", None, "A")]

    def test_an_extension_of_the_same_meaning_is_no_change(self):
        """JSON in another order is the same extension."""
        made = planned(
            [account(profile={"extension": '{"b":1,"a":2}'})],
            Memory(record(profile={"extension": '{"a":2,"b":1}'})),
        )
        assert told(made) == []
        assert made.unchanged == 1

    def test_a_vanished_account_is_made_again(self):
        """A recorded account the vendor lost is created anew, then banned again, as drift."""
        held = record(profile=A, ban=SPAM, observed=MISSING)
        made = planned([account(profile=A, ban={**SPAM, "until": SOON})], Memory(held))
        assert told(made) == [("create", "bot", "drift"), ("block", "bot", "ban_declared")]
        assert [action.version for action in made.actions] == [4, 4]
        assert made.boundary == SOON

    def test_a_vanished_adopted_account_is_never_created(self):
        """`adopt: true` forbids creating, so a lost account is a warning and no action."""
        made = planned(
            [account(adopt=True, profile=A)], Memory(record(profile=A, observed=MISSING))
        )
        assert told(made) == []
        assert notes(made, "missing")


class TestBans:
    def test_a_new_ban_blocks_with_its_record(self):
        """A ban that is declared is a block; its first change is the flag, then the record."""
        made = planned([account(ban=SPAM)], Memory(record()))
        assert told(made) == [("block", "bot", "ban_declared")]
        assert changed(made.actions[0]) == [
            ("banned", False, True),
            ("banned.reason", None, "spam"),
            ("banned.ticket", None, "T-1"),
        ]

    def test_create_and_block_are_two_actions_in_order(self):
        """An account that is new and banned is created, then blocked."""
        made = planned([account(profile=A, ban={})], Memory())
        assert told(made) == [("create", "bot", "not_recorded"), ("block", "bot", "ban_declared")]
        assert b"ban" not in made.actions[0].document

    def test_a_lifted_ban_unblocks_and_drops_the_record(self):
        """A ban that left the YAML is an unblock."""
        made = planned([account()], Memory(record(ban=SPAM)))
        assert told(made) == [("unblock", "bot", "ban_lifted")]
        assert changed(made.actions[0])[0] == ("banned", True, False)

    @pytest.mark.parametrize(
        ("as_of", "expected"),
        [
            (to_moment(SOON) - timedelta(seconds=1), []),
            (to_moment(SOON), [("unblock", "bot", "ban_expired")]),
        ],
    )
    def test_a_ban_ends_by_itself_at_its_until(self, as_of, expected):
        """At `until` and not a second before, the planner plans the unblock itself."""
        ban = {"reason": "spam", "until": SOON}
        made = planned([account(ban=ban)], Memory(record(ban=ban)), as_of=as_of)
        assert told(made) == expected

    def test_an_expired_ban_is_created_without_block(self):
        """A new account whose ban is over already is only created, and stays quiet after."""
        expired = account(ban={"until": PAST})
        assert told(planned([expired], Memory())) == [("create", "bot", "not_recorded")]
        lapsed = record(ban={"until": PAST}, banned=False)
        assert told(planned([expired], Memory(lapsed))) == []

    def test_a_record_of_a_standing_ban_changes_without_the_vendor(self):
        """Reason, ticket, evidence, until and notify of a standing ban update the record only."""
        ban = {"reason": "abuse", "until": SOON, "evidence": ["https://x"], "notify": "{}"}
        made = planned([account(ban=ban)], Memory(record(ban=SPAM)))
        assert told(made) == [("update", "bot", "config_changed")]
        assert [path for path, *_ in changed(made.actions[0])] == [
            "banned.evidence",
            "banned.notify",
            "banned.reason",
            "banned.ticket",
            "banned.until",
        ]
        assert not calls_vendor(made.actions[0])
        assert made.cost == {}

    def test_a_ban_lifted_at_the_vendor_is_set_again(self):
        """A ban that somebody lifted at the vendor is drift, and carries its whole record."""
        ban = {"kick": False, "reason": "spam"}
        made = planned([account(ban=ban)], Memory(record(ban=ban, observed=seen(banned=False))))
        assert told(made) == [("block", "bot", "drift")]
        assert changed(made.actions[0]) == [
            ("banned", False, True),
            ("banned.kick", None, False),
            ("banned.reason", None, "spam"),
        ]

    def test_a_ban_that_is_renewed_carries_its_whole_record(self):
        """A block after a lapsed ban tells kick and notify again, and drops what has left."""
        old = {"kick": False, "ticket": "T-1", "until": PAST}
        made = planned(
            [account(ban={"kick": False, "until": SOON})], Memory(record(ban=old, banned=False))
        )
        assert changed(made.actions[0]) == [
            ("banned", False, True),
            ("banned.kick", None, False),
            ("banned.ticket", "T-1", None),
            ("banned.until", None, SOON),
        ]

    def test_a_ban_set_at_the_vendor_is_lifted(self):
        """A ban nobody wrote is drift, like any other managed field: `banned` is always managed."""
        made = planned([account()], Memory(record(observed=seen(banned=True))))
        assert told(made) == [("unblock", "bot", "drift")]

    def test_unblock_comes_before_update_and_update_before_block(self):
        """One account's actions stand in the order in which they must run."""
        lifted = planned([account(profile=B)], Memory(record(profile=A, ban={})))
        assert [kind for kind, *_ in told(lifted)] == ["unblock", "update"]
        banned = planned([account(profile=B, ban={})], Memory(record(profile=A)))
        assert [kind for kind, *_ in told(banned)] == ["update", "block"]

    def test_the_boundary_is_the_first_end_of_a_ban_the_plan_relies_on(self):
        """Bans of untouched accounts do not bound the plan, those of touched ones do."""
        late, soon = "2028-01-01T00:00:00Z", "2027-01-20T00:00:00Z"
        desired = [
            account("a", ban={"until": late}),
            account("b", ban={"until": SOON}),
            account("c", ban={"until": soon}),
        ]
        made = planned(desired, Memory(record("c", ban={"until": soon})))
        assert made.boundary == SOON
        assert planned([desired[2]], Memory(record("c", ban={"until": soon}))).boundary == ""


class TestWaiting:
    def test_fields_of_an_account_that_stays_banned_wait(self):
        """Profile, flags and token of a banned account are a note and no action."""
        mine = account(profile=B, configuration={"p2p_chat_banned": True}, token=TOKEN, ban={})
        made = planned([mine], Memory(record(profile=A, ban={})))
        assert told(made) == []
        assert made.unchanged == 1
        (note,) = notes(made, "waiting")
        assert note.severity == "info"
        assert note.address == "cn/bot"
        for path in ("profile.name", "configuration.p2p_chat_banned", "token"):
            assert path in note.summary

    def test_what_needs_no_vendor_does_not_wait(self):
        """Labels and the ban's own record change while the profile waits."""
        made = planned(
            [account(profile=B, labels={"tier": "vip"}, ban=SPAM)],
            Memory(record(profile=A, ban={})),
        )
        assert told(made) == [("update", "bot", "config_changed")]
        assert [path for path, *_ in changed(made.actions[0])] == [
            "banned.reason",
            "banned.ticket",
            "labels.tier",
        ]
        assert notes(made, "waiting")

    def test_waiting_fields_follow_with_the_unblock(self):
        """Lifting the ban brings the waiting change along, after the unblock."""
        made = planned([account(profile=B)], Memory(record(profile=A, ban={})))
        assert told(made) == [("unblock", "bot", "ban_lifted"), ("update", "bot", "config_changed")]

    def test_the_push_switch_waits_for_the_first_login(self):
        """A switch that the vendor did not take is a note until something else is changed."""
        held = record(profile=A, waiting=(f"configuration.{PUSH}",))
        shy = account(profile=A, configuration={PUSH: False})
        made = planned([shy], Memory(held))
        assert told(made) == []
        assert notes(made, "waiting")
        again = planned([account(profile=B, configuration={PUSH: False})], Memory(held))
        assert [path for path, *_ in changed(again.actions[0])] == [
            f"configuration.{PUSH}",
            "profile.name",
        ]
        assert told(planned([shy], Memory(record(profile=A)))) == [
            ("update", "bot", "config_changed")
        ]


class TestAdopt:
    def test_adopting_is_bookkeeping_and_what_the_yaml_asks_for(self):
        """An unrecorded adopted account is adopt, update, block; before is null and unknown."""
        made = planned(
            [account(adopt=True, profile=A, labels={"t": "x"}, token=TOKEN, ban=SPAM)], Memory()
        )
        assert told(made) == [
            ("adopt", "bot", "adopted"),
            ("update", "bot", "adopted"),
            ("block", "bot", "ban_declared"),
        ]
        adopt, update, block = made.actions
        assert changed(adopt) == [("labels.t", None, "x")]
        assert not calls_vendor(adopt)
        assert [(c.path, c.before, c.unknown) for c in update.changes] == [
            ("profile.name", None, True),
            ("token", None, True),
        ]
        assert (block.changes[0].before, block.changes[0].unknown) == (None, True)
        assert to_json(block)["changes"][0] == {
            "path": "banned",
            "before": None,
            "after": True,
            "unknown": True,
        }

    def test_adopting_alone_needs_nothing_else(self):
        """An adopted account of which nothing is written is one adopt."""
        assert told(planned([account(adopt=True)], Memory())) == [("adopt", "bot", "adopted")]

    def test_a_section_of_on_create_is_not_set_by_adopting(self):
        """An adopted account was not created here, so its on_create section stays the user's."""
        mine = account(adopt=True, once=("profile",), profile=A)
        assert told(planned([mine], Memory())) == [("adopt", "bot", "adopted")]
        assert told(planned([mine], Memory(record(manage={"profile": "on_create"})))) == []
        assert changed(planned([mine], Memory(record())).actions[0]) == [
            ("manage.profile", None, "on_create")
        ]

    def test_a_recorded_account_is_not_adopted_again(self):
        """Adopt is over once the account is recorded."""
        assert told(planned([account(adopt=True, profile=A)], Memory(record(profile=A)))) == []


class TestLeaving:
    @pytest.mark.parametrize(
        ("workspace", "own", "expected"),
        [
            ("forget", None, [("forget", "bot", "absent")]),
            ("block", None, [("block", "bot", "absent")]),
            ("error", None, []),
            ("block", "forget", [("forget", "bot", "absent")]),
            ("forget", "block", [("block", "bot", "absent")]),
            ("forget", "error", []),
        ],
    )
    def test_on_absent_of_the_account_overrides_the_workspace(self, workspace, own, expected):
        """What happens to an account that left is its own on_absent, else the workspace's."""
        held = record(**({"on_absent": own} if own else {}))
        made = planned([account("other")], Memory(held, record("other")), on_absent=workspace)
        assert told(made) == expected
        assert bool(notes(made, "absent")) == (not expected)

    def test_an_absent_account_that_is_blocked_stays_so(self):
        """on_absent block of an account that is banned already is no action."""
        made = planned([], Memory(record(ban={})), on_absent="block")
        assert told(made) == []
        assert made.unchanged == 1

    @pytest.mark.parametrize(
        ("held", "told_of"),
        [
            ({"ban": SPAM}, True),
            ({"ban": {"until": PAST}}, True),
            ({"ban": SPAM, "banned": False}, False),
            ({"banned": True}, True),
            ({"ban": SPAM, "observed": MISSING}, False),
            ({"ban": SPAM, "observed": Observed(True, banned=False)}, False),
            ({"observed": Observed(True, banned=True)}, True),
            ({}, False),
        ],
    )
    def test_a_banned_account_that_is_forgotten_is_told(self, held, told_of):
        """Whoever is recorded as banned stays so when forgotten; the plan names them and a way."""
        made = planned([], Memory(record(**held), record("other")))
        assert ("forget", "bot", "absent") in told(made)
        assert [one.address for one in notes(made, "left-banned")] == ["cn/bot"] * told_of
        for one in notes(made, "left-banned"):
            assert one.severity == "warning"
            assert "banned: false" in one.hint

    def test_an_absent_account_that_the_vendor_lost_is_forgotten(self):
        """on_absent block of an account that the vendor was seen to have lost bans nobody."""
        made = planned([], Memory(record(observed=MISSING)), on_absent="block")
        assert told(made) == [("forget", "bot", "absent")]

    def test_protection_outlives_the_yaml(self):
        """`protected` is part of the record, so guard can see it when the YAML is gone."""
        assert Memory(record(protected=True)).record("bot").document == {"protected": True}

    def test_protection_that_is_lifted_is_an_update_of_its_own(self):
        """`protected: false` is a change that calls no vendor, and false is kept as written."""
        store = Memory(record(protected=True))
        made = planned([account(protected=False)], store)
        assert changed(made.actions[0]) == [("protected", True, False)]
        assert not calls_vendor(made.actions[0])
        assert told(planned([account(protected=False)], Memory(record(protected=False)))) == []


class TestTokens:
    def test_the_version_decides(self):
        """A higher or lower version sets the token again; another reference alone does not."""
        held = Memory(record(token=TOKEN))
        made = planned([account(token={**TOKEN, "version": 2})], held)
        assert told(made) == [("update", "bot", "token_version")]
        assert changed(made.actions[0]) == [("token", "(v1)", "(v2)")]
        assert to_json(made.actions[0])["changes"][0]["sensitive"] is True
        assert told(planned([account(token={**TOKEN, "from": "env:IM_TOKEN_X"})], held)) == []

    @pytest.mark.parametrize(
        ("kept", "now", "planned_"),
        [("k1", "k2", True), ("k1", "k1", False), ("k1", "", False), ("", "k2", False)],
    )
    def test_the_keyed_fingerprint_decides_where_both_are_known(self, kept, now, planned_):
        """The same version with another fingerprint sets the token; an unknown one does not."""
        made = planned(
            [account(token=TOKEN)],
            Memory(record(token=TOKEN, token_key=kept)),
            keyed=lambda address, token: now,
        )
        assert bool(told(made)) is planned_

    def test_a_token_that_left_the_yaml_stays(self):
        """A token cannot be taken away, so removing it from the YAML changes nothing."""
        assert told(planned([account()], Memory(record(token=TOKEN)))) == []


class TestShape:
    def test_actions_are_sorted_by_address_and_then_by_running_order(self):
        """However the files are ordered, the plan has one order."""
        desired = [
            account("b", ban={}),
            account("a"),
            account("a", provider="sg"),
            account("c", profile=B),
        ]
        store = Memory(record("c", profile=A, ban={}), record("zz"))
        made = planned(desired, store)
        assert [(a.address, str(a.kind)) for a in made.actions] == [
            ("cn/a", "create"),
            ("cn/b", "create"),
            ("cn/b", "block"),
            ("cn/c", "unblock"),
            ("cn/c", "update"),
            ("cn/zz", "forget"),
            ("sg/a", "create"),
        ]
        assert planned(reversed(desired), store).actions == made.actions

    def test_the_summary_counts_actions_and_unchanged_accounts(self):
        """Every kind is counted, and the accounts nothing happens to."""
        desired = [
            account("a"),
            account("b", ban={}),
            account("c"),
            account("d"),
            account("e", adopt=True),
        ]
        made = planned(desired, Memory(record("c", ban={}), record("d"), record("gone")))
        assert made.summary() == {
            "create": 2,
            "update": 0,
            "block": 1,
            "unblock": 1,
            "adopt": 1,
            "forget": 1,
            "unchanged": 1,
        }
        assert (made.desired, made.recorded) == (5, 3)

    def test_cost_counts_calls_per_app_and_the_busiest_api_tells_the_time(self):
        """Each call is counted; seconds follow the rate, or 80 % of the documented one."""
        both = account("u", profile=B, configuration={"p2p_chat_banned": True}, token=TOKEN)
        store = Memory(record("u", profile=A), record("x", ban={}), record("l"))
        desired = [both, account("n", ban={}), account("x"), account("l", labels={"a": "b"})]
        made = planned(desired, store, rates={"cn": 10.0})
        assert made.cost["cn"].calls == 5  # create, block, unblock, flags with token, profile
        assert made.cost["cn"].seconds == 0.2
        assert planned(desired, store).cost["cn"].seconds == round(2 / 80, 2)

    def test_targets_limit_the_plan(self):
        """Only the named addresses and apps are planned, also among those that left."""
        desired = [account("a"), account("b", profile=B), account("c", provider="sg")]
        store = Memory(record("b", profile=A), record("gone"), record("left", provider="sg"))
        assert told(planned(desired, store, targets=("cn/a",))) == [("create", "a", "not_recorded")]
        assert told(planned(desired, store, targets=("sg",))) == [
            ("create", "c", "not_recorded"),
            ("forget", "left", "absent"),
        ]
        made = planned(desired, store, targets=("cn/gone",))
        assert told(made) == [("forget", "gone", "absent")]
        assert made.unchanged == 0, "what is passed over is not called unchanged"
        assert (made.desired, made.recorded) == (3, 3)

    def test_a_refresh_plans_against_what_was_just_read(self):
        """What a refresh saw counts for those it read, without being recorded."""
        store = Memory(record("a", profile=A), record("b", profile=A))
        desired = [account("a", profile=A), account("b", profile=A)]
        made = planned(desired, store, observed={where("a"): seen(profile=B)})
        assert told(made) == [("update", "a", "drift")]
        assert made.refreshed
        assert store.record("a").observed is None
        assert told(planned(desired, store, observed={where("a"): MISSING})) == [
            ("create", "a", "drift")
        ]

    def test_an_account_in_doubt_says_so(self):
        """Actions on an account with an unresolved intent have the reason in_doubt and a note."""
        store = Memory(record("a", profile=A), record("b", profile=A))
        block = to_json(planned([account("a", ban={})], store).actions[0])
        store.intend(
            [Intent("i-1", "run-0", where("a"), block), Intent("i-2", "run-0", where("n"), block)]
        )
        made = planned([account("a", profile=B), account("b", profile=A), account("n")], store)
        assert told(made) == [("update", "a", "in_doubt"), ("create", "n", "in_doubt")]
        assert [note.address for note in notes(made, "in-doubt")] == ["cn/a", "cn/n"]
        quiet = planned([account("a", profile=A), account("b", profile=A)], store)
        assert told(quiet) == []
        assert len(notes(quiet, "in-doubt")) == 1

    def test_every_action_survives_its_json(self):
        """from_json(to_json(x)) is x for every kind of action."""
        desired = [
            account("a", profile=A, token=TOKEN, protected=False, ban=SPAM),
            account("b", profile=B),
            account("c", adopt=True, profile=A, ban={}),
            account("d", labels={"x.y": "z"}),
        ]
        store = Memory(
            record("b", profile={"name": "A", "sign": "s"}, ban={}), record("gone"), record("d")
        )
        made = planned(desired, store)
        assert {a.kind for a in made.actions} == {
            "create",
            "block",
            "unblock",
            "update",
            "adopt",
            "forget",
        }
        assert tuple(from_json(to_json(action)) for action in made.actions) == made.actions

    def test_a_plan_names_what_it_was_made_from(self):
        """Workspace, lineage, serial and both moments are those of the question."""
        made = planned([account()], Memory(serial=12), as_of=NOW + timedelta(days=1))
        assert (made.workspace, made.lineage, made.serial) == ("prod-im", "l-1", 12)
        assert (made.created_at, made.as_of) == ("2027-01-15T08:00:00Z", "2027-01-16T08:00:00Z")
        assert made.actions[0].reason is Reason.NOT_RECORDED


class TestDigestFirst:
    def test_unchanged_accounts_are_never_read(self):
        """Only the records of accounts whose digest differs are asked for."""
        store = Memory(*(record(f"u{n}", profile=A) for n in range(50)))
        desired = [account(f"u{n}", profile=B if n == 7 else A) for n in range(50)]
        made = planned(desired, store)
        assert store.asked == ["cn/u7"]
        assert made.unchanged == 49

    def test_what_a_digest_cannot_tell_is_looked_at(self):
        """Drift that was seen, and a flag that record and ban differ in, ask for a closer look."""
        for one in (
            record(profile=A, observed=seen(profile=B)),
            record(ban={}, banned=False),
            record(banned=True),
            record(observed=MISSING),
        ):
            assert one.index_digest is None
        assert record(profile=A, ban={}).index_digest == account(profile=A, ban={}).digest
        assert record(profile=A, observed=seen(profile=A)).index_digest is not None

    def test_a_ban_that_ends_is_looked_at_once_it_has_ended(self):
        """Its record is not read before its end, and read from that moment on."""
        store = Memory(record(ban={"until": SOON}))
        desired = [account(ban={"until": SOON})]
        end = to_moment(SOON)
        for moment, looks in (
            (NOW, False),
            (end - timedelta(seconds=1), False),
            (end - timedelta(microseconds=1), False),
            (end, True),
        ):
            store.asked.clear()
            made = planned(desired, store, as_of=moment)
            assert bool(store.asked) is looks, moment
            assert told(made) == ([("unblock", "bot", "ban_expired")] if moment >= end else [])
            assert made.unchanged == (moment < end)

    def test_tokens_are_looked_at_only_with_a_key(self):
        """Without a fingerprint key a token costs planning nothing."""
        store = Memory(record(token=TOKEN, token_key="k"))
        planned([account(token=TOKEN)], store)
        assert store.asked == []
        planned([account(token=TOKEN)], store, keyed=lambda address, token: "k")
        assert store.asked == ["cn/bot"]

    def test_a_redacted_snapshot_compares_what_it_still_holds(self):
        """Personal fields are not compared and that is said; everything else is."""
        held = replace(record(labels={"t": "x"}, ban={"reason": "spam"}))
        mine = account(profile=A, labels={"t": "y"}, ban={"reason": "spam", "evidence": ["e"]})
        made = planned([mine], Memory(held), uncompared=PERSONAL)
        assert changed(made.actions[0]) == [("labels.t", "x", "y")]
        (note,) = notes(made, "uncompared")
        assert "profile" in note.summary
        fresh = planned([account(ban={"evidence": ["e"]})], Memory(record()), uncompared=PERSONAL)
        assert ("banned.evidence", None, ["e"]) in changed(fresh.actions[0])
