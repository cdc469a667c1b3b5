"""Guard: limits, the empty set, protected accounts and rules, judged over whole plans."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_accounts import account, planned, record
from core_store import Memory

from reconciler.changes import Kind, Override
from reconciler.diagnostics import Severity, Source
from reconciler.guard import allowed, guard, limited
from reconciler.workspace import DEFAULT_LIMITS, Limit, Rule


def judge(desired, store, *, rules=(), allow=None, limits=DEFAULT_LIMITS, **asked):
    return guard(planned(desired, store, **asked), store, limits, rules, allow or {})


def errors(judgement):
    return [finding.id for finding in judgement.findings if finding.severity is Severity.ERROR]


def crowd(count, **document):
    return [account(f"u{n:04}", **document) for n in range(count)]


def held(count, **document):
    return [record(f"u{n:04}", **document) for n in range(count)]


class TestLimits:
    @pytest.mark.parametrize(
        ("kind", "recorded", "most"),
        [
            ("block", 0, 3),
            ("block", 30, 3),
            ("block", 39, 3),
            ("block", 40, 4),
            ("block", 199, 19),
            ("block", 200, 20),
            ("block", 100_000, 20),
            ("forget", 55, 5),
            ("unblock", 1000, 20),
            ("update", 10, None),
            ("update", 11, 3),
            ("update", 100, 30),
            ("update", 1001, 300),
        ],
    )
    def test_the_arithmetic_is_the_documented_one(self, kind, recorded, most):
        """max(3, min(count, percent % of recorded)); updates a percentage once above `above`."""
        assert allowed(Kind(kind), DEFAULT_LIMITS[kind], recorded) == most

    def test_a_limit_of_the_workspace_is_used(self):
        """Other numbers than the defaults count."""
        assert allowed(Kind.BLOCK, Limit(5, 50), 100) == 5
        assert allowed(Kind.BLOCK, Limit(500, 50), 100) == 50
        assert allowed(Kind.UPDATE, Limit(None, 1, above=0), 50) == 0

    @pytest.mark.parametrize(("blocks", "refused"), [(3, False), (4, True)])
    def test_three_are_always_allowed_and_a_fourth_is_not(self, blocks, refused):
        """With few accounts recorded three blocks pass and four do not."""
        desired = crowd(blocks, ban={}) + crowd(20)[blocks:]
        found = judge(desired, Memory(*held(20)))
        assert errors(found) == (["over-limit"] if refused else [])
        if refused:
            assert "--allow block=4" in found.findings[0].hint

    @pytest.mark.parametrize("kind", ["block", "unblock", "forget"])
    def test_each_destructive_kind_has_its_limit(self, kind):
        """Twenty-one blocks, unblocks or forgets of a thousand accounts are one too many."""
        before, after = {
            "block": ({}, {"ban": {}}),
            "unblock": ({"ban": {}}, {}),
            "forget": ({}, {}),
        }[kind]
        store = Memory(*held(300, **before))
        desired = crowd(21, **after) * (kind != "forget") + crowd(300, **before)[21:]
        assert errors(judge(desired, store)) == ["over-limit"]
        assert errors(judge(desired, store, allow={kind: 21})) == []
        assert (
            errors(
                judge(
                    desired[1:] if kind != "forget" else [*desired, account("u0000")],
                    Memory(*held(300, **before)[kind != "forget" :]),
                )
            )
            == []
        )

    @pytest.mark.parametrize("count", [20, 22, 0])
    def test_an_override_names_the_exact_count(self, count):
        """Another number than the plan's opens nothing, and the message says so."""
        desired = crowd(21, ban={}) + crowd(300)[21:]
        found = judge(desired, Memory(*held(300)), allow={"block": count})
        assert errors(found) == ["over-limit"]
        assert f"block={count} is another number" in found.findings[0].detail

    def test_an_override_of_one_kind_opens_no_other(self):
        """`--allow` is per kind."""
        desired = crowd(21, ban={}) + crowd(300)[21:]
        assert errors(judge(desired, Memory(*held(300)), allow={"forget": 21})) == ["over-limit"]

    def test_a_create_with_its_own_block_is_no_outage(self):
        """Accounts that are created blocked are not counted."""
        assert errors(judge(crowd(50, ban={}), Memory(*held(0)))) == []

    def test_adopted_accounts_are_counted(self):
        """Blocking fifty accounts that exist already is counted, recorded or not."""
        desired = [account(f"u{n}", adopt=True, ban={}) for n in range(50)]
        made = planned(desired, Memory())
        assert limited({a.address: (a,) for a in made.actions if a.kind == "block"}, {}) == {
            "block": 50
        }
        assert errors(judge(desired, Memory())) == ["over-limit"]
        assert errors(judge(desired, Memory(), allow={"block": 50})) == []

    def test_updates_that_call_no_vendor_are_not_counted(self):
        """A thousand new labels or ban reasons hurt nobody."""
        assert errors(judge(crowd(40, labels={"t": "x"}), Memory(*held(40)))) == []
        assert errors(judge(crowd(40, profile={"name": "B"}), Memory(*held(40)))) == ["over-limit"]

    def test_a_small_workspace_may_update_everything(self):
        """Up to `above` recorded accounts the update limit is off."""
        assert errors(judge(crowd(10, profile={"name": "B"}), Memory(*held(10)))) == []


class TestEmpty:
    def test_an_empty_desired_set_against_accounts_is_refused(self):
        """Even one recorded account and a forget within limits need the override."""
        found = judge([], Memory(*held(2)))
        assert errors(found) == ["empty"]
        assert "--allow forget=2" in found.findings[0].hint
        assert errors(judge([], Memory(*held(2)), allow={"forget": 2})) == []
        assert errors(judge([], Memory(*held(2)), allow={"forget": 1})) == ["empty"]

    def test_nothing_against_nothing_is_fine(self):
        """An empty workspace is no accident."""
        assert errors(judge([], Memory())) == []

    def test_an_empty_set_that_would_do_nothing_is_refused_all_the_same(self):
        """Without any action there is no number to name, so only the files can be mended."""
        found = judge([], Memory(*held(2, ban={})), on_absent="block")
        assert errors(found) == ["empty"]
        assert "--allow" not in found.findings[0].hint


class TestProtected:
    @pytest.mark.parametrize(
        "desired",
        [
            [account(protected=True, ban={})],
            [account(protected=False, ban={})],
            [account(ban={})],
            [account("other")],
        ],
    )
    def test_a_protected_account_is_never_blocked_or_forgotten(self, desired):
        """The record protects, whatever the same plan says about the protection."""
        assert errors(judge(desired, Memory(record(protected=True)))) == ["protected"]

    def test_on_absent_block_of_a_protected_account_is_refused(self):
        """Protection holds after the YAML is gone."""
        found = judge([account("other")], Memory(record(protected=True)), on_absent="block")
        assert errors(found) == ["protected"]

    @pytest.mark.parametrize("store", [Memory(), Memory(record())])
    def test_protection_that_the_plan_itself_sets_counts(self, store):
        """An account cannot become protected and blocked in one plan."""
        assert errors(judge([account(protected=True, ban={})], store)) == ["protected"]

    def test_no_override_opens_it(self):
        """`--allow` is for limits."""
        found = judge([account(ban={})], Memory(record(protected=True)), allow={"block": 1})
        assert errors(found) == ["protected"]

    @pytest.mark.parametrize(
        "mine", [account(protected=True, profile={"name": "B"}), account(protected=False)]
    )
    def test_everything_else_is_allowed(self, mine):
        """Updates, unblocks and lifting the protection itself are fine."""
        assert errors(judge([mine], Memory(record(protected=True, ban={})))) == []

    def test_after_the_protection_was_lifted_and_applied_a_block_passes(self):
        """A change of its own has set it to false; the next plan may block."""
        assert (
            errors(judge([account(protected=False, ban={})], Memory(record(protected=False)))) == []
        )


class TestRules:
    def rule(self, effect, value, actions=("update",), **match):
        return Rule(
            "r1",
            tuple(actions),
            {key.replace("__", "."): pattern for key, pattern in match.items()},
            effect,
            value,
        )

    def judge(self, rule, **document):
        mine = account(profile={"name": "B"}, labels={"tier": "vip"}, **document)
        return judge(
            [mine], Memory(record(profile={"name": "A"}, labels={"tier": "vip"})), rules=[rule]
        )

    def test_deny_refuses_and_names_the_place(self):
        """A denied action is an error with rule, account, file and line."""
        found = self.judge(self.rule("deny", "ask first", labels__tier="vip"))
        assert errors(found) == ["rule-r1"]
        (finding,) = found.findings
        assert str(finding.source) == "accounts/a.yaml:3"
        assert finding.address == "cn/bot"
        assert "ask first" in finding.summary

    def test_warn_only_warns(self):
        """A warning does not refuse the plan."""
        found = self.judge(self.rule("warn", "careful"))
        assert errors(found) == []
        assert found.findings[0].severity is Severity.WARNING

    @pytest.mark.parametrize(
        ("path", "pattern", "refused"),
        [
            ("profile.name", "^B$", False),
            ("profile.name", "^A", True),
            ("profile.sign", ".", True),
            ("labels.tier", "vip", False),
        ],
    )
    def test_require_judges_the_account_as_it_will_be(self, path, pattern, refused):
        """The field after the action must match; one that is not written does not."""
        found = self.judge(self.rule("require", {path: {"pattern": pattern}}))
        assert bool(errors(found)) is refused

    def test_limit_counts_the_matching_actions(self):
        """A rule's own limit is the smaller of its count and its percentage."""
        desired, store = crowd(10, profile={"name": "B"}), Memory(*held(10))
        for value, refused in (
            ({"count": 10}, False),
            ({"count": 9}, True),
            ({"percent": 100}, False),
            ({"count": 10, "percent": 50}, True),
        ):
            found = judge(desired, store, rules=[self.rule("limit", value)])
            assert bool(errors(found)) is refused

    def test_approval_asks_and_refuses_nothing(self):
        """The groups and the addresses come back as data."""
        found = self.judge(self.rule("approval", ["leads"], account_id="b*"))
        assert found.findings == ()
        (asked,) = found.approvals
        assert (asked.rule, asked.groups, asked.addresses) == ("r1", ("leads",), ("cn/bot",))
        assert self.judge(self.rule("approval", ["leads"], account_id="x*")).approvals == ()

    @pytest.mark.parametrize(
        ("match", "hits"),
        [
            ({}, True),
            ({"path": "profile.*"}, True),
            ({"path": "configuration.*"}, False),
            ({"provider": "cn"}, True),
            ({"address": "cn/*"}, True),
            ({"labels.tier": "v?p"}, True),
            ({"labels.team": "*"}, False),
            ({"profile.name": "B"}, True),
            ({"profile.name": "A"}, False),
            ({"reason": "config_changed", "account_id": "bot"}, True),
            ({"reason": "config_changed", "account_id": "cat"}, False),
        ],
    )
    def test_every_pattern_of_a_match_must_hit(self, match, hits):
        """Matches are globs over the account after the plan; a missing field never matches."""
        found = self.judge(Rule("r1", (), match, "deny", "no"))
        assert bool(errors(found)) is hits

    def test_other_kinds_of_action_are_not_judged(self):
        """`action` narrows a rule to its kinds; flags are matched as true and false."""
        assert errors(self.judge(self.rule("deny", "no", actions=("block",)))) == []
        flagged = self.rule("deny", "no", configuration__p2p_chat_banned="true")
        assert errors(self.judge(flagged, configuration={"p2p_chat_banned": True})) == ["rule-r1"]

    @pytest.mark.parametrize(
        ("before", "after", "hit"),
        [("vip", None, True), ("vip", "gold", True), (None, "vip", True), (None, "gold", False)],
    )
    def test_a_label_counts_as_recorded_and_as_it_will_be(self, before, after, hit):
        """No plan takes a label off and does at once what the label forbids."""
        labels = [{"labels": {"tier": tier}} if tier else {} for tier in (before, after)]
        rule = self.rule("deny", "no", actions=("block",), labels__tier="vip")
        found = judge([account(ban={}, **labels[1])], Memory(record(**labels[0])), rules=[rule])
        assert bool(errors(found)) is hit

    @pytest.mark.parametrize("match", [{"banned": "true"}, {"banned.reason": "*"}])
    def test_a_ban_that_ends_says_nothing_any_more(self, match):
        """The record of a ban that ran out is kept, and no rule takes it for a ban."""
        ended = {"reason": "spam", "until": "2027-01-01T00:00:00Z"}
        store = Memory(record(ban=ended, banned=True))
        found = judge([account(ban=ended)], store, rules=[Rule("r1", (), match, "deny", "no")])
        assert errors(found) == []
        standing = judge(
            [account(ban={"reason": "x"})],
            Memory(record()),
            rules=[Rule("r1", (), match, "deny", "no")],
        )
        assert errors(standing) == ["rule-r1"]

    def test_a_limit_names_actions_and_places(self):
        """The finding stands at the rule and names the first actions with file and line."""
        where = Source("reconciler.yaml", 9, 5)
        rule = Rule("few", ("update",), {"account_id": "u000?"}, "limit", {"count": 1}, where)
        store, desired = Memory(*held(12)), crowd(12, profile={"name": "B"})
        (finding,) = judge(desired, store, rules=[rule], allow={"update": 12}).findings
        assert finding.source == where
        assert "allows 1 such actions, the plan holds 10" in finding.summary
        assert finding.detail.startswith("The first are update of cn/u0000 (accounts/a.yaml:3), ")
        assert "u0005" not in finding.detail

    @pytest.mark.parametrize(("recorded", "refused"), [(0, False), (3, True), (100, False)])
    def test_a_share_is_one_of_the_recorded_accounts(self, recorded, refused):
        """Three of a hundred are three percent, and of no accounts there is no share."""
        desired = [*crowd(recorded), *(account(f"new{n}") for n in range(3))]
        rule = self.rule("limit", {"percent": 5}, actions=("create",))
        assert bool(errors(judge(desired, Memory(*held(recorded)), rules=[rule]))) is refused

    def test_records_are_read_only_where_they_are_needed(self):
        """Without rules and destructive actions the guard reads no record."""
        store = Memory(record(profile={"name": "A"}))
        made = planned([account(profile={"name": "B"})], store)
        store.asked.clear()
        guard(made, store, DEFAULT_LIMITS, (), {})
        assert store.asked == []


class TestOverrides:
    DENY = Rule("r1", ("block",), {}, "deny", "ask first")
    LIMIT = Rule("few", ("block",), {}, "limit", {"count": 0})

    def judge(self, *rules, by=None, overrides=None, **document):
        """Judge a block under rules; the override of each is as the rule stands in `by`."""
        store, desired = Memory(record()), [account(**{"ban": {"reason": "spam"}, **document})]
        made = replace(
            planned(desired, store),
            overrides=tuple(
                Override(rule.id, "the lawyer asked for it", "ann@ci", rule.digest)
                for rule in overrides or rules
            ),
        )
        return made, guard(made, store, DEFAULT_LIMITS, rules, {})

    @pytest.mark.parametrize(
        "rule",
        [DENY, LIMIT, Rule("must", (), {}, "require", {"banned.ticket": {"pattern": "."}})],
        ids=["deny", "limit", "require"],
    )
    def test_a_rule_that_is_overridden_warns_and_says_who_and_why(self, rule):
        """Its finding is not hidden: it keeps its words and place, and names person and reason."""
        _, before = self.judge(rule, overrides=[self.DENY])
        _, found = self.judge(rule)
        assert errors(found) == []
        (told,) = found.overridden
        assert told.severity is Severity.WARNING
        assert told.summary in [one.summary for one in before.findings + before.overridden]
        assert told.detail.endswith("Overridden by ann@ci: the lawyer asked for it")
        assert "--override" not in told.hint

    def test_no_other_rule_is_overridden(self):
        """Who overrides one rule is refused by the next one, which says how to go on."""
        _, found = self.judge(self.DENY, self.LIMIT, overrides=[self.DENY])
        assert errors(found) == ["rule-few"]
        assert "--override 'few=WHY'" in found.findings[0].hint
        assert [one.id for one in found.overridden] == ["rule-r1"]

    def test_limits_and_protection_are_no_rules(self):
        """No override opens what is protected, whatever it is called."""
        made, found = self.judge(replace(self.DENY, id="protected"), protected=True)
        assert "protected" in errors(found)
        crowded = replace(planned(crowd(4, ban={}), Memory(*held(4))), overrides=made.overrides)
        assert "over-limit" in errors(guard(crowded, Memory(*held(4)), DEFAULT_LIMITS, (), {}))

    @pytest.mark.parametrize("rules", [(), (replace(DENY, actions=("forget",)),)])
    def test_an_override_without_a_use_refuses(self, rules):
        """What lies about unused would open something that nobody has looked at."""
        _, found = self.judge(*rules, overrides=rules or [self.DENY])
        assert errors(found) == ["idle-override"]
        assert "plan again without --override r1" in found.findings[0].hint

    def test_a_rule_may_forbid_it(self):
        """With `override: false` it refuses all the same, and says so."""
        _, found = self.judge(replace(self.DENY, override=False))
        assert errors(found) == ["rule-r1"]
        assert found.findings[0].hint.endswith("it cannot be overridden")

    @pytest.mark.parametrize(
        "change", [{"value": "ask twice"}, {"match": {"account_id": "b*"}}, {"override": False}]
    )
    def test_it_is_of_the_rule_as_it_was(self, change):
        """A rule that was changed since refuses again; moved to another line it is the same."""
        _, found = self.judge(replace(self.DENY, **change), overrides=[self.DENY])
        assert errors(found) == ["rule-r1"]
        moved = replace(self.DENY, source=Source("reconciler.yaml", 99))
        assert errors(self.judge(moved, overrides=[self.DENY])[1]) == []

    def test_the_fingerprint_is_of_what_is_done(self):
        """An override changes nothing of what is done, so it is no part of the fingerprint."""
        made, _ = self.judge(self.DENY)
        assert made.fingerprint == replace(made, overrides=()).fingerprint
        assert (
            made.fingerprint
            == planned([account(ban={"reason": "spam"})], Memory(record())).fingerprint
        )
