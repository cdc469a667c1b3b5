"""Markdown: a review that fits a comment, names what is destructive, and that no name can forge."""

from __future__ import annotations

import re

import pytest
from core_accounts import account, planned, record
from core_store import Memory
from golden_plans import ATTACKS, ZH, big, drifted, empty, hostile, small
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from reconciler.changes import Kind
from reconciler.diagnostics import Severity, warning
from reconciler.guard import Approval, Judgement
from reconciler.views import markdown
from reconciler.views.words import DESTRUCTIVE, code, fence, plan_line, prose, visible

NONE = Judgement(())
OURS = re.compile(
    r"<!-- reconciler:(plan|drift):[a-z0-9_-]* -->|</details>|<details><summary>[^<>`]*</summary>"
)


def shown(made, judged=NONE, **more):
    return "\n".join(markdown.plan(made, judged, **more))


def blocked(ids, others=()):
    """Return a plan that blocks some accounts and updates others."""
    recorded = Memory(*(record(id, profile={"name": "A"}) for id in (*ids, *others)))
    profile = {"name": "A"}
    desired = [account(id, profile=profile, ban={"reason": "spam"}) for id in ids]
    desired += [account(id, profile={"name": "B" * 50}) for id in others]
    return planned(desired, recorded)


def outside_of_code(text):
    """Yield what a Markdown reader makes of a text where it is no code: text, HTML and marks."""
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "html_block":
            yield from (("html", line) for line in token.content.strip().split("\n"))
        for child in token.children or ():
            if child.type in ("text", "html_inline", "link_open", "image"):
                yield child.type, child.content


class TestPlan:
    def test_it_begins_with_its_mark_and_ends_with_the_count(self):
        """A bot finds its comment by the first line; the last one is the fixed count."""
        made, judged = small()
        lines = shown(made, judged).split("\n")
        assert lines[0] == "<!-- reconciler:plan:prod-im -->"
        assert lines[-1] == plan_line(made.summary())
        assert shown(*empty()).split("\n")[-1] == "No changes. 1 account as recorded."

    def test_findings_then_sentences_then_what_is_destructive(self):
        """A reader meets the refusal, the sentences, and blocks before creates and updates."""
        text = shown(*small())
        order = ["Refused: 1 error", "3 warnings", "- Block 3 accounts", "x Block", "o Unblock"]
        order += [". Forget", "<details>", "+ Create", "~ Update", "= Adopt", "approval:", "Plan:"]
        places = [text.index(word) for word in order]
        assert places == sorted(places)

    def test_a_sentence_says_why_and_for_how_long(self):
        """Reasons are counted, and bans for good and those that end today are told."""
        assert (
            "- Block 3 accounts: fraud 1, spam 1, without a reason 1; 1 permanent; 1 lapses today."
            in shown(*small())
        )
        assert "- 封禁 3 个账号：fraud 1、spam 1、未写原因 1；1 个永久；1 个今天到期。" in shown(
            *small(), say=ZH
        )

    def test_marks_colour_the_lines_of_a_diff(self):
        """In a diff block a block is red, an unblock and a create green, an update is marked."""
        text = shown(*small())
        for mark, kind in zip("-++!", ("block", "unblock", "create", "update"), strict=True):
            assert re.search(rf"^{re.escape(mark)} {kind} ", text, re.MULTILINE), kind


class TestBudget:
    def test_five_thousand_blocks_fit_and_each_is_named(self):
        """A comment holds 5,000 blocked accounts by id, and says that fields are left out."""
        ids = [f"user-{number}" for number in range(5000)]
        text = shown(blocked(ids))
        assert len(text) < 65_536
        assert set(ids) <= set(text.split())
        assert "Shortened to fit a comment: fields are left out" in text
        assert "- Block 5,000 accounts: spam 5,000; 5,000 permanent." in text

    def test_many_updates_never_hide_a_block(self):
        """A few blocks keep all their fields, whatever else there is; the rest is counted."""
        others = [f"other-{number:05d}" for number in range(8000)]
        text = shown(blocked(["victim-1", "victim-2"], others))
        assert len(text) <= markdown.BUDGET
        assert '-     banned.reason  "spam"' in text
        (left,) = re.findall(r"([\d,]+) accounts to create, update or adopt are not named", text)
        named = sum(id in text for id in others)
        assert named + int(left.replace(",", "")) == 8000
        assert named > 3000
        assert f"… {left} more are not shown" in text
        assert text.endswith(
            "Plan: 0 to create, 8000 to update, 2 to block, 0 to unblock, 0 to forget."
        )

    def test_values_are_cut_before_accounts(self):
        """A plan a little too long loses its values and still names every account and field."""
        made, judged = big(400, 5)
        text = shown(made, judged)
        assert len(text) <= markdown.BUDGET
        assert all(f"cn/user-{number:05d}" in text for number in range(400))
        assert "values are" in text

    def test_what_no_comment_holds_is_said_and_named_all_the_same(self):
        """Where the ids of blocked accounts alone are too long, all are named and that is said."""
        ids = [f"{number:032d}" for number in range(3000)]
        text = shown(blocked(ids))
        assert len(text) > 65_536
        assert set(ids) <= set(text.split())
        assert "Longer than the 65,536 characters that a comment takes" in text

    @given(
        st.lists(st.sampled_from(list(Kind)), min_size=1, max_size=12),
        st.integers(1, 600),
        st.integers(1, 32),
    )
    @settings(derandomize=True, deadline=None, max_examples=25)
    def test_no_mixture_hides_a_destructive_action(self, kinds, many, long):
        """Whatever a plan holds, each account to block, unblock or forget is named."""
        recorded, desired, named = [], [], []
        for number in range(many):
            kind, id = kinds[number % len(kinds)], f"{number:0{long}d}"
            before = {"ban": {"reason": "old"}} if kind is Kind.UNBLOCK else {}
            if kind is not Kind.CREATE and kind is not Kind.ADOPT:
                recorded.append(record(id, profile={"name": "A"}, **before))
            if kind is not Kind.FORGET:
                name = "B" * 60 if kind is Kind.UPDATE else "A"
                ban = {"ban": {"ticket": "T" * 60}} if kind is Kind.BLOCK else {}
                adopt = kind is Kind.ADOPT
                desired.append(account(id, profile={"name": name}, adopt=adopt, **ban))
            if kind in DESTRUCTIVE:
                named.append(id)
        text = shown(planned(desired, Memory(*recorded)))
        assert set(named) <= set(re.split(r"[\s/]+", text))
        assert len(text) < 65_536 or "Longer than" in text

    def test_findings_never_crowd_out_a_block(self):
        """Hundreds of long findings are counted, so that blocks are named within the budget."""
        many = [warning("w", "x" * 5000, detail="`" * 5000, hint="y" * 5000)] * 300
        groups = tuple(f"{number}-{'g' * 500}" for number in range(300))
        judged = Judgement(
            (*many, *(one._replace(severity=Severity.ERROR) for one in many)),
            (Approval("r" * 500, groups, ("cn/a",)),) * 300,
        )
        text = shown(blocked(["victim-1", "victim-2"]), judged)
        assert len(text) <= markdown.BUDGET
        assert "cn/victim-1" in text
        assert "**300 warnings**" in text
        assert "… 280 more are not shown" in text

    def test_a_long_drift_report_is_cut_and_says_so(self):
        """A drift report fits too, and counts what it does not list."""
        text = "\n".join(markdown.drift(drifted(["B"] * 3000), "prod-im"))
        assert len(text) <= markdown.BUDGET
        (left,) = re.findall(r"([\d,]+) accounts are not listed", text)
        listed = len(re.findall(r"^[-!#] \w", text, re.MULTILINE))
        assert listed + int(left.replace(",", "")) == 9000
        assert text.endswith("Drift: 3000 changed, 3000 missing, 1 unchanged.")


class TestAttacks:
    @pytest.mark.parametrize("attack", ATTACKS)
    def test_no_text_from_outside_leaves_its_code(self, attack):
        """What is said from outside is code to a reader: no link, image, HTML or mention."""
        evil = ATTACKS[attack]
        made, judged = hostile([evil])
        texts = [shown(made, judged), "\n".join(markdown.drift(drifted([evil]), evil))]
        for text in texts:
            for line in text.split("\n"):
                assert not line.lstrip().startswith(("::", "##[")), line
                assert line == visible(line, len(line))
            for kind, content in outside_of_code(text):
                if kind == "html":
                    assert not content or OURS.fullmatch(content), content
                else:
                    assert kind == "text", (kind, content)
                    assert not re.search(r"@|evil|http|www\.|alert|[<>\[\]|#]", content), content

    @given(st.text(max_size=60) | st.text("`~ a\n", max_size=12))
    @example("```")
    @settings(derandomize=True, deadline=None, max_examples=200)
    def test_spans_and_fences_hold_whatever_they_are_given(self, evil):
        """A code span, a phrase and a fence are read as one, with the text that was shown."""
        reader = MarkdownIt("commonmark")
        (_, span, _) = reader.parse(f"a {code(evil)} b")
        assert [child.type for child in span.children] == ["text", "code_inline", "text"]
        assert span.children[1].content.strip(" ") == visible(evil).strip(" ")
        (_, told, _) = reader.parse(f"a {prose(evil)} b")
        assert {child.type for child in told.children} <= {"text", "code_inline"}
        (block,) = reader.parse("\n".join(fence([visible(evil), "x"], "diff")))
        assert (block.type, block.content) == ("fence", f"{visible(evil)}\nx\n")
