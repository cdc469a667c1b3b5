"""HTML: one page that needs nothing from outside, and that no text from outside can leave."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from core_accounts import SOON, account, planned, record
from core_store import Memory
from golden_plans import ATTACKS, ZH, big, drifted, empty, hostile, small

from reconciler.changes import Change, Reason, Update
from reconciler.guard import Judgement
from reconciler.views import html
from reconciler.views.fields import Row, nested

ELEMENTS = {
    *("html", "head", "meta", "title", "style", "script", "body", "main", "section", "div"),
    *("h1", "h2", "h3", "p", "br", "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td"),
    *("svg", "rect", "span", "code", "form", "label", "input", "select", "button"),
    *("details", "summary"),
}


class Reading(HTMLParser):
    """The elements, attributes and texts of a page."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.attributes, self.texts, self.place = [], [], {}, []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]
        self.place.append(tag)

    def handle_data(self, data):
        kind = self.place[-1] if self.place else ""
        self.texts.setdefault(kind, []).append(data)

    def all(self, tag):
        return [t for t in self.elements if t == tag]


def page(made, judged=None, **more):
    return "\n".join(html.plan(made, judged or Judgement(()), **more))


def data(shown):
    """Return the data of a page, as its script reads it."""
    (found,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', shown)
    return json.loads(found)


def text(told):
    return json.dumps(told, ensure_ascii=False)


class TestPage:
    def test_its_policy_allows_its_own_style_and_script_alone(self):
        """The policy names the digests of what stands in the page, and nothing from outside."""
        for shown in (page(*small()), "\n".join(html.drift(drifted(), "prod-im"))):
            (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', shown)
            policy = policy.replace("&#39;", "'")
            style = re.search("<style>(.*?)</style>", shown, re.DOTALL)[1]
            script = re.search("<script>(.*?)</script>", shown, re.DOTALL)
            for source in (style, script[1] if script else ""):
                made = b64encode(sha256(source.encode()).digest()).decode()
                assert f"'sha256-{made}'" in policy
            assert policy.startswith("default-src 'none';")
            assert "unsafe" not in policy
            assert "http" not in policy

    def test_it_says_its_language_and_is_readable_on_a_phone(self):
        """The page names its language, and tells a phone not to shrink it."""
        assert '<html lang="en">' in page(*small())
        shown = page(*small(), say=ZH)
        assert '<html lang="zh-CN">' in shown
        assert 'content="width=device-width, initial-scale=1"' in shown
        assert "封禁 3 个账号：fraud 1、spam 1、未写原因 1；1 个永久；1 个今天到期。" in shown

    def test_what_is_destructive_stands_in_the_page_itself(self):
        """For paper, and for a reader without a script, each such account has a line."""
        made, judged = big(1000, 300)
        shown = page(made, judged)
        for number in range(300):
            assert f"<li><code>cn/user-{number:05d}</code>" in shown
        assert "<li><code>cn/user-00300</code>" not in shown

    def test_accounts_come_with_their_labels(self):
        """The list knows the labels that are recorded and those that the plan writes."""
        made, judged = small()
        told = data(page(made, judged, labels={"cn/ban": {"tier": "vip"}}))
        tags = {row[1]: [told["tags"][tag] for tag in row[2]] for row in told["accounts"]}
        assert tags["ban"] == ["tier=vip"]
        assert tags["new"] == ["team=x"]

    def test_a_plan_without_actions_has_no_list(self):
        """Then the page is the sentence that says so, and no script."""
        shown = page(*empty())
        assert "No changes. 1 account as recorded." in shown
        assert "<script" not in shown

    def test_twenty_thousand_actions_stay_a_page(self):
        """20,000 actions of ordinary size are at most 8 MiB."""
        made, judged = big(20_000, 4000)
        assert len(page(made, judged).encode()) <= 8 * 1024 * 1024

    def test_a_long_drift_report_counts_what_it_leaves_out(self):
        """Beyond some thousands of accounts the rest is told as a number."""
        shown = "\n".join(html.drift(drifted(["B"] * 2000), "prod-im"))
        assert shown.count("<details") == 5000
        assert "1,000 accounts are not listed" in shown


class TestAttacks:
    @pytest.mark.parametrize("attack", ATTACKS)
    def test_no_text_from_outside_becomes_anything_but_text(self, attack):
        """No element, attribute, address or end of a script comes from what an account holds."""
        evil = ATTACKS[attack]
        plain = Reading(page(*hostile(["plain"])))
        read = Reading(page(*hostile([evil])))
        # An empty address part adds no account, so lists may differ by a line, never by an element.
        assert set(read.elements) == set(plain.elements) <= ELEMENTS
        assert read.elements.count("script") == 2
        names = {(tag, name) for tag, name, _ in read.attributes}
        assert names == {(tag, name) for tag, name, _ in plain.attributes}
        assert not {name for _, name in names} & {"href", "src", "style", "onclick", "onerror"}
        shown = Reading("\n".join(html.drift(drifted([evil]), evil)))
        assert set(shown.elements) <= ELEMENTS
        assert "script" not in shown.elements

    @pytest.mark.parametrize("attack", ATTACKS)
    def test_the_data_is_ascii_that_cannot_end_its_element(self, attack):
        """The data is JSON without `<`, `>` or `&`, and says what `visible` says."""
        shown = page(*hostile([ATTACKS[attack]]))
        (found,) = re.findall(r"application/json\">(.*?)</script>", shown)
        assert found.isascii()
        assert not set("<>&") & set(found)
        assert "::" not in re.sub(r"\S::", "", found)
        data(shown)


class TestNested:
    def told(self, before, after, **more):
        change = Change("profile.extension", before, after, **more)
        return list(nested(Update("cn/a", Reason.CONFIG_CHANGED, 1, (change,))))

    def test_only_the_keys_that_differ_are_told(self):
        """JSON in a text is compared key by key, however deep."""
        before = '{"level": 3, "same": {"x": 1}, "a": {"b": [1], "gone": null}}'
        after = '{"a": {"b": [true]}, "level": "3", "same": {"x": 1}}'
        assert self.told(before, after) == [
            Row("profile.extension.a.b", "[1]", "[true]"),
            Row("profile.extension.a.gone", "null", "(none)"),
            Row("profile.extension.level", "3", '"3"'),
        ]

    def test_a_value_that_comes_or_goes_is_told_by_its_keys(self):
        """Where there was nothing every key has no before."""
        assert self.told(None, '{"level": 3}') == [Row("profile.extension.level", "(none)", "3")]

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("{broken", '{"a": 1}'),
            ("text", '{"a": 1}'),
            ("[" * 5000, "{}"),
            ('{"a":1}', '{"a": 1}'),
        ],
    )
    def test_what_is_no_json_is_told_as_it_is(self, before, after):
        """Text, broken or too deep JSON, and what differs in spacing alone, stay one row."""
        (row,) = self.told(before, after)
        assert row.path == "profile.extension"

    def test_deep_json_is_told_without_an_end(self):
        """Depth is bounded, also where Python's own would be."""
        deep = '{"a":' * 400 + "1" + "}" * 400
        (row,) = self.told(deep, deep.replace("1", "2"))
        assert row.path == "profile.extension" + ".a" * 8

    def test_what_is_not_known_or_returns_to_its_default_stays_so(self):
        """An unread before, and a field that left the YAML, are told as text does."""
        assert self.told(None, '{"a": 1}', unknown=True)[0].before == "(unknown)"
        assert self.told('{"a": 1}', "", removed=True)[0].after == '"" (default)'

    def test_a_create_has_no_before(self):
        """The fields of a new account have an after alone."""
        (create,) = planned([account(profile={"extension": '{"a": 1}'})], Memory()).actions
        assert list(nested(create)) == [Row("profile.extension.a", None, "1")]


def test_evidence_is_text():
    """An address in a ban's evidence is neither a link nor an image."""
    ban = {"evidence": ["https://evil.example/x.png"], "until": SOON}
    shown = page(planned([account(ban=ban)], Memory(record())))
    assert "https://evil.example/x.png" in text(data(shown))
    assert {"a", "img"}.isdisjoint(Reading(shown).elements)
