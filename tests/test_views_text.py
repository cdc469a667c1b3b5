"""Text: plans, events, drift and findings for a terminal or a log, and nothing a name can forge."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from core_accounts import SOON, TOKEN, account, planned, record
from core_store import Memory
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.accounts import MISSING, Observed
from reconciler.changes import Change, Create, Kind, Reason, Update
from reconciler.diagnostics import Diagnostic, Severity, Source, error, warning
from reconciler.drift import drift
from reconciler.events import (
    Completed,
    Errored,
    Noted,
    Settled,
    Skipped,
    Started,
    Summary,
    Throttled,
    Waiting,
)
from reconciler.guard import Approval
from reconciler.state import Entry, Holder, Lock, Run, Status
from reconciler.views import text
from reconciler.views.words import apply_line, plan_line, value, visible

LOCK = Lock(
    "l-1", Holder("ann", "host", 7, "apply"), "2027-01-15T08:00:00Z", "2027-01-15T08:01:00Z", 3
)

DESIRED = [
    account("ban", ban={"reason": "spam", "until": SOON}),
    account("good"),
    account("same"),
    account("had", adopt=True, ban={}),
    account("sleepy", ban={}, profile={"name": "Z"}),
    account("new", profile={"name": "客服", "gender": 1}, token=TOKEN, labels={"team": "x"}),
    account(
        "up",
        profile={"name": "B"},
        configuration={"p2p_chat_banned": True},
        file="accounts/b.yaml",
        line=12,
    ),
]
RECORDED = [
    record("ban"),
    record("good", ban={"reason": "old"}),
    record("gone"),
    record("same"),
    record("sleepy", ban={}, profile={"name": "Y"}),
    record("up", profile={"name": "A", "sign": "s"}),
]

PLAN = """\
Workspace prod-im, against recorded state (serial 7), as of 2027-01-15T08:00:00Z:

  x block   cn/ban  (ban_declared)  accounts/a.yaml:3
        banned.reason  "spam"
        banned.until   "2027-02-01T00:00:00Z"
  . forget  cn/gone  (absent)
  o unblock cn/good  (ban_lifted)  accounts/a.yaml:3
        banned.reason  "old" -> (none)
  = adopt   cn/had  (adopted)  accounts/a.yaml:3
  x block   cn/had  (ban_declared)  accounts/a.yaml:3
        banned  for good
  + create  cn/new  accounts/a.yaml:3
        labels.team     "x"
        profile.gender  1
        profile.name    "客服"
        token           (not set) -> (v1)  from env:IM_TOKEN_BOT
  ~ update  cn/up  (config_changed)  accounts/b.yaml:12
        configuration.p2p_chat_banned  (none) -> true
        profile.name                   "A" -> "B"
        profile.sign                   "s" -> "" (default)

info: cn/sleepy: profile.name waits
    the vendor takes no change of a banned account; it follows with the unblock
approval: rule big wants leads or ops to approve 2 accounts
Cost: cn: 6 calls, about 0.04 s
Block 2 accounts: spam 1, without a reason 1; 1 permanent.
Unblock 1 account: lifted 1.
Forget 1 account, which the vendor keeps as it is.
Create 1 account.
Update 1 account: configuration.p2p_chat_banned 1, profile.name 1, profile.sign 1.
Adopt 1 account that exists.
Fingerprint: FINGERPRINT
Plan: 1 to create, 1 to update, 2 to block, 1 to unblock, 1 to forget, 1 to adopt."""


class TestPlan:
    def test_a_plan_reads_like_this(self):
        """Sign and word, account, reason, place; then fields, notes, cost, fingerprint, count."""
        made = planned(DESIRED, Memory(*RECORDED))
        approvals = [Approval("big", ("leads", "ops"), ("cn/ban", "cn/had"))]
        shown = "\n".join(text.plan(made, approvals))
        assert shown == PLAN.replace("FINGERPRINT", made.fingerprint)

    def test_no_changes_is_one_line(self):
        """A plan without actions says how many accounts are as recorded."""
        assert list(text.plan(planned([account()], Memory(record())))) == [
            "No changes. 1 account as recorded."
        ]

    def test_a_refreshed_plan_says_what_it_is_against(self):
        """The heading tells recorded state from what the vendors hold now."""
        made = planned([account()], Memory(), observed={})
        assert "against what the vendors hold now" in next(iter(text.plan(made)))

    def test_a_large_plan_shows_every_action_and_leaves_fields_out(self):
        """Beyond a thousand actions each is one line, and that is said."""
        made = planned([account(f"u{n}", profile={"name": "A"}) for n in range(1001)], Memory())
        lines = list(text.plan(made))
        assert sum(line.startswith("  + create") for line in lines) == 1001
        assert not any("profile.name" in line for line in lines)
        assert any("left out beyond 1,000 actions" in line for line in lines)

    def test_unknown_and_minted_values_say_so(self):
        """What nobody read is unknown; a minted token names where it is delivered."""
        made = planned(
            [
                account(
                    adopt=True,
                    profile={"name": "A"},
                    token={"generate": True, "sink": "file:x", "version": 2},
                )
            ],
            Memory(),
        )
        shown = "\n".join(text.plan(made))
        assert '(unknown) -> "A"' in shown
        assert "(not set) -> (v2)  from minted, delivered to file:x" in shown

    def test_colours_are_only_for_terminals_that_want_them(self):
        """The painter that is off adds nothing; one that is on colours the sign."""
        made = planned([account()], Memory())
        assert "\x1b" not in "\n".join(text.plan(made))
        assert "\x1b[32m+ create \x1b[0m" in "\n".join(text.plan(made, (), text.Painter(on=True)))

    @pytest.mark.parametrize(
        ("summary", "line"),
        [
            (
                {"create": 1, "update": 1, "block": 1},
                "Plan: 1 to create, 1 to update, 1 to block, 0 to unblock, 0 to forget.",
            ),
            (
                {"adopt": 2},
                "Plan: 0 to create, 0 to update, 0 to block, 0 to unblock, 0 to forget, "
                "2 to adopt.",
            ),
            (
                {"create": 12345},
                "Plan: 12345 to create, 0 to update, 0 to block, 0 to unblock, 0 to forget.",
            ),
            ({"unchanged": 96}, "No changes. 96 accounts as recorded."),
            ({}, "No changes. 0 accounts as recorded."),
        ],
    )
    def test_the_last_line_of_a_plan(self, summary, line):
        """The counts stand in this order, with the adopted ones only where there are any."""
        assert plan_line(summary) == line

    def test_many_doubts_are_counted_and_who_stays_banned_is_named(self):
        """Of doubts and waiting fields ten are told and the rest counted; of the rest all are."""
        plan = planned([account("bot")], Memory())
        kinds = {"in-doubt": 47, "waiting": 12, "left-banned": 30}
        notices = [
            warning(id, f"{id} of cn/u{n}") for id, count in kinds.items() for n in range(count)
        ]
        shown = list(text.plan(replace(plan, diagnostics=tuple(notices))))
        told = [line for line in shown if line.startswith(("warning: ", "info: "))]
        assert [line for line in told if "left-banned" in line] == [
            f"warning: left-banned of cn/u{n}" for n in range(30)
        ]
        assert sum(line.startswith("warning: in-doubt of ") for line in told) == 10
        assert told[-2:] == [
            "info: 37 more accounts: an action whose outcome is not known; --json names them",
            "info: 2 more accounts: fields that wait; --json names them",
        ]


def made(kind=Kind.CREATE, id="bot"):
    if kind is Kind.CREATE:
        return Create(f"cn/{id}", Reason.NOT_RECORDED, b"{}")
    return next(a for a in planned(DESIRED, Memory(*RECORDED)).actions if a.kind is kind)


class TestEvents:
    @pytest.mark.parametrize(
        ("happened", "line"),
        [
            (Started(made()), None),
            (Completed(made(), 0.1234), "  + created cn/bot (0.12 s)"),
            (Completed(made(Kind.BLOCK), 1.0), "  x blocked cn/ban (1.00 s)"),
            (
                Completed(made(), 0.0, ("profile.name", "token")),
                "  + created cn/bot (0.00 s); waiting: profile.name, token",
            ),
            (Errored(made(), "102434", "quota"), "  ! create of cn/bot failed [102434]: quota"),
            (Errored(made(), "", "lost", in_doubt=True), "  ! create of cn/bot in doubt: lost"),
            (Skipped(made(), "interrupted"), "  - create of cn/bot skipped: interrupted"),
            (
                Throttled("cn", "create", 10.0),
                "  provider cn: create is throttled by the vendor, resting 10 s",
            ),
            (Settled("cn/bot", Kind.BLOCK, True), "  settled: block of cn/bot had been done"),
            (Settled("cn/bot", Kind.BLOCK, False), "  settled: block of cn/bot had not been done"),
            (Waiting(LOCK), "waiting for the lock held by ann (l-1)"),
            (Noted(warning("w", "careful")), "warning: careful"),
            (
                Summary({Kind.CREATE: 1, Kind.UPDATE: 1, Kind.BLOCK: 1}),
                "Apply complete: 1 created, 1 updated, 1 blocked, 0 unblocked, 0 forgotten.",
            ),
            (
                Summary({Kind.CREATE: 1}, failed=1, skipped=2, in_doubt=3),
                "Apply incomplete: 1 failed, 2 skipped, 3 in doubt.",
            ),
            (Summary({}, interrupted=True), "Apply incomplete: 0 failed, 0 skipped, 0 in doubt."),
        ],
    )
    def test_each_event_is_one_line(self, happened, line):
        """An event is one line of its own, or none where only the progress shows it."""
        assert text.event(happened) == line

    def test_adopted_accounts_are_counted_where_there_are_any(self):
        """The last line names them at its end."""
        assert apply_line({Kind.ADOPT: 2}, 0, 0, 0, complete=True) == (
            "Apply complete: 0 created, 0 updated, 0 blocked, 0 unblocked, 0 forgotten, 2 adopted."
        )


class TestOthers:
    def test_drift_reads_like_this(self):
        """Changed, missing and unread accounts, coverage, and one sentence at the end."""
        seen = Observed(True, {"name": "B"}, {}, True)
        found = drift(
            [
                (record("a", profile={"name": "A"}), seen),
                (record("b"), MISSING),
                (record("c"), None),
                (record("d", token=TOKEN), replace(seen, banned=None)),
            ]
        )
        assert (
            "\n".join(text.drift(found))
            == """\
  ~ changed  cn/a
        banned: recorded false, the vendor holds true
        profile.name: recorded "A", the vendor holds "B"
  ! missing  cn/b
  ? unread   cn/c

Coverage: 2 fields checked at the vendors, 2 only recorded.
Drift: 1 changed, 1 missing, 1 unchanged."""
        )

    def test_drift_that_is_not_known_is_not_denied(self):
        """Where accounts could not be read the last line does not say that there is no drift."""
        (*_, last) = text.drift(drift([(record("c"), None)]))
        assert last == "Drift is not known of 1 account that could not be read; 0 unchanged."

    def test_no_drift_is_said(self):
        """One line says that all is as recorded, and how much of it was checked."""
        assert list(text.drift(drift([(record(), Observed(True, {}, {}, False))]))) == [
            "No drift. 1 account as recorded. "
            "Coverage: 1 field checked at the vendors, 0 only recorded."
        ]

    def test_a_finding_reads_like_this(self):
        """Place, severity and sentence; detail and hint beneath."""
        found = error(
            "x", "It is wrong.", detail="Because.", hint="mend it", source=Source("a.yaml", 4, 2)
        )
        assert text.finding(found) == (
            "a.yaml:4:2: error: It is wrong.\n    Because.\n    hint: mend it"
        )
        assert text.finding(Diagnostic(Severity.INFO, "x", "Said.")) == "info: Said."

    def test_a_record_reads_like_this(self):
        """Everything that is recorded of an account, and nothing that is empty."""
        one = record(
            profile={"name": "A"},
            ban={"reason": "spam"},
            token=TOKEN,
            run="r-1",
            updated_at="2027-01-15T08:00:00Z",
            waiting=("profile.sign",),
            protected=False,
        )
        assert (
            "\n".join(text.record(one))
            == """\
cn/bot  (version 4, 2027-01-15T08:00:00Z, run r-1)
  banned  true
  profile.name  "A"
  ban  {"reason": "spam"}
  token  {"from": "env:IM_TOKEN_BOT", "version": 1}
  waiting  profile.sign"""
        )

    def test_locks_history_and_tables_read_like_this(self):
        """The other results of the command line."""
        assert text.locks(()) == "The state is not locked."
        assert text.lock(LOCK) == (
            "Locked by ann on host (process 7) for apply since 2027-01-15T08:00:00Z, lease until "
            "2027-01-15T08:01:00Z.\nLock id l-1, fence 3."
        )
        one, other = replace(LOCK, apps=("cn", "sg")), replace(LOCK, id="l-2", apps=("eu",))
        assert text.locks((one, other)) == (
            "The accounts of cn and sg are locked by ann on host (process 7) for apply since "
            "2027-01-15T08:00:00Z, lease until 2027-01-15T08:01:00Z.\nLock id l-1, fence 3.\n"
            "The accounts of eu are locked by ann on host (process 7) for apply since "
            "2027-01-15T08:00:00Z, lease until 2027-01-15T08:01:00Z.\nLock id l-2, fence 3."
        )
        run = Run("r-1", "apply", "2027-01-15T08:00:00Z", "ann")
        assert text.entry(
            Entry(
                "2027-01-15T08:00:01Z",
                run,
                "cn/bot",
                {"action": "block"},
                Status.REJECTED,
                "414",
                "no",
            )
        ) == (
            "2027-01-15T08:00:01Z  ann  block cn/bot: refused by the vendor (414 no)  see: run r-1"
        )
        assert list(text.table([("a", 1), ("bcd", 22)])) == ["a    1", "bcd  22"]
        assert list(text.table([])) == []


ATTACKS = {
    "escape": "\x1b[2J\x1b]0;t\x07\x1b]8;;http://x\x07\x1b]52;c;AAAA\x07",
    "c1": "\x9b31m\x85",
    "return": "safe\rEVIL",
    "backspace": "abc\b\b\bxyz",
    "ticks": "```` ``` ````",
    "pipe": "a|b|c",
    "html": "<img src=x></details>",
    "mention": "@org/team",
    "commands": "\n::add-mask::x\n::stop-commands::t",
    "command": "::add-mask::x",
    "indented": "  ::error::x",
    "azure": "##[error]x",
    "azure_line": "\n##[error]x",
    "bidi": "\u202egnp.exe\u2066\u2069\u200f",
    "separators": "a\u2028b\u2029c\u0085d",
    "zero": "a\u200bb\ufeffc\u00add",
    "tags": "a\U000e0041b",
    "surrogate": "\ud800",
    "nul": "\0",
    "long": "x" * 10_000,
}
FORBIDDEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\ufeff\ud800-\udfff]"
)


def harmless(shown):
    """Assert what must hold of every text of a result, however hostile its data."""
    assert not FORBIDDEN.search(shown)
    for line in shown.split("\n"):
        assert not line.lstrip().startswith("::"), line
        assert "##[" not in line


def results(evil):
    """Return every text of a result with the evil text in each place that comes from outside."""
    hostile = account(
        "u",
        file=evil,
        line=1,
        profile={"name": evil, "extension": evil},
        labels={"t": evil},
        ban={"reason": evil, "evidence": [evil]},
        token={"from": evil, "version": 1},
    )
    store = Memory(record("u", profile={"name": evil + "2"}, labels={"t": evil + "2"}))
    plan = planned([hostile, account("v", profile={"name": evil}, ban={"ticket": evil})], store)
    action = Update(
        f"cn/{evil}",
        Reason.DRIFT,
        1,
        (Change(evil, evil, evil), Change("token", evil, evil, token={"sink": evil})),
        evil,
        1,
    )
    plan = replace(
        plan,
        actions=(*plan.actions, action),
        workspace=evil,
        as_of=evil,
        diagnostics=(
            warning("w", evil, detail=evil, hint=evil, source=Source(evil, 1)),
            warning("w", evil, detail=evil),
        ),
    )
    approvals = [Approval(evil, (evil,), ("cn/u",))]
    lock = Lock(evil, Holder(evil, evil, 1, evil), evil, evil, 1, (evil,))
    run = Run("r", "apply", "t", evil)
    yield "\n".join(text.plan(plan, approvals))
    for event in (
        Completed(action, 1.0),
        Errored(action, evil, evil),
        Skipped(action, evil),
        Settled(action.address, Kind.BLOCK, True),
        Waiting(lock),
        Noted(error("x", evil, detail=evil, hint=evil)),
    ):
        yield text.event(event)
    seen = Observed(True, {"name": evil + "2"}, {}, False)
    pairs = [
        (record(evil, profile={"name": evil}), seen),
        (record(evil), MISSING),
        (record(evil), None),
    ]
    yield "\n".join(text.drift(drift(pairs)))
    yield "\n".join(
        text.record(
            record(
                evil, profile={"name": evil}, labels={evil: evil}, ban={"reason": evil}, run=evil
            )
        )
    )
    yield text.lock(lock)
    yield text.entry(
        Entry("t", run, f"cn/{evil}", {"action": "block"}, Status.REJECTED, evil, evil)
    )
    yield "\n".join(text.table([(evil, evil)]))


class TestAttacks:
    @pytest.mark.parametrize("attack", ATTACKS)
    def test_no_text_from_outside_can_forge_a_result(self, attack):
        """No controls, bidi or separators, no new line, no command of a CI runner, none hidden."""
        for shown in results(ATTACKS[attack]):
            harmless(shown)

    @given(st.text(max_size=40))
    @settings(derandomize=True, deadline=None, max_examples=60)
    def test_no_text_at_all_can(self, evil):
        """The same for any text there is."""
        for shown in results(evil):
            harmless(shown)

    def test_a_nickname_of_ten_thousand_characters_is_cut_with_a_count(self):
        """The cut says how much is left out, and the line stays short."""
        shown = visible("x" * 10_000)
        assert shown == "x" * 120 + "… (9,880 more characters)"
        (line,) = [
            line
            for line in text.plan(planned([account(profile={"name": "x" * 10_000})], Memory()))
            if "profile.name" in line
        ]
        assert len(line) < 200

    def test_what_is_escaped_can_be_read(self):
        """A harmful character is shown by its code, and letters of any script stay."""
        assert visible("a\x1b[2Jb\u202ec") == "a\\u{1b}[2Jb\\u{202e}c"
        family = "客服小助手 👩\u200d👩\u200d👧 İß"
        assert visible(family) == family

    def test_values_are_told_apart(self):
        """Texts are quoted, so an empty text, none and the word none differ."""
        assert [value(v) for v in ("", None, "(none)", True, 1, ["a"], {"b": "ü"})] == [
            '""',
            "(none)",
            '"(none)"',
            "true",
            "1",
            '["a"]',
            '{"b": "ü"}',
        ]
