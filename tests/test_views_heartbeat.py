"""Heartbeat: what dashboards and chats are told of a drift run."""

from __future__ import annotations

from datetime import timedelta

import pytest
from core_accounts import NOW, record, where

from reconciler.accounts import MISSING, Observed
from reconciler.drift import Accepted, drift, mute
from reconciler.values import canonical
from reconciler.views.heartbeat import (
    SHOWN,
    Heartbeat,
    body,
    failure,
    last_success,
    message,
    metrics,
)

BEAT = Heartbeat("prod-im", "2027-01-15T08:00:00Z", 1800000000.0, 1.5)
HOSTILE = 'a\\b "c"\nreconciler_up 1'


def found(*, owner="ann", count=1):
    """Return a drift with one account muted, `count` changed, one missing and one unread."""
    pairs = [(record(f"u{n:03}", profile={"name": "A"}), named("<!here> B")) for n in range(count)]
    pairs += [(record("gone"), MISSING), (record("dark"), None), (record("known"), named("", True))]
    accepted = Accepted(where("known"), "banned", owner, "r", NOW + timedelta(days=1))
    return mute(drift(pairs), [accepted], NOW)[0]


def named(name, banned=False):
    return Observed(True, {"name": name}, {}, banned)


def test_metrics_read_like_this():
    """The text format of Prometheus: help, type and samples, the workspace as a label."""
    text = metrics(found(), BEAT, 1700000000.0)
    lines = text.splitlines()
    assert lines[:3] == [
        "# HELP reconciler_drift_accounts Recorded accounts that this run was about.",
        "# TYPE reconciler_drift_accounts gauge",
        'reconciler_drift_accounts{workspace="prod-im"} 4',
    ]
    assert 'reconciler_drift_muted_differences{workspace="prod-im",owner="ann"} 1' in lines
    assert 'reconciler_drift_unread_accounts{workspace="prod-im"} 1' in lines
    assert 'reconciler_drift_duration_seconds{workspace="prod-im"} 1.5' in lines
    assert 'reconciler_drift_last_run_timestamp_seconds{workspace="prod-im"} 1800000000' in lines
    assert text.endswith("\n")


def test_a_label_cannot_forge_a_metric():
    """Backslash, quote and line feed of an owner are escaped as the format wants it."""
    text = metrics(found(owner=HOSTILE), BEAT, 0)
    assert 'owner="a\\\\b \\"c\\"\\nreconciler_up 1"} 1' in text
    assert "\nreconciler_up" not in text


@pytest.mark.parametrize("success", [0.0, 1700000000.0])
def test_the_last_success_can_be_read_back(success):
    """A run that could not read everything keeps the time of the last that could."""
    assert last_success(metrics(found(), BEAT, success)) == success


@pytest.mark.parametrize(
    "text", ["", "# HELP", "reconciler_drift_last_success_timestamp_seconds x"]
)
def test_a_file_of_somebody_else_has_no_last_success(text):
    """What is no metric of ours is not believed."""
    assert last_success(text) == 0.0


def test_a_message_names_accounts_and_fields_and_no_value():
    """Counts, who and what; what people wrote about themselves stays here."""
    assert message(found(), BEAT) == (
        "reconciler: drift in prod-im: 1 changed, 1 missing, 0 unchanged, 1 unread.\n"
        "changed cn/u000: profile.name\n"
        "missing cn/gone\n"
        "Muted: 1 difference: 1 by ann until 2027-01-16T08:00:00Z.\n"
        "3 fields checked, 0 only recorded."
    )


def test_a_long_message_is_counted_at_its_end():
    """A chat gets a list that somebody can read."""
    lines = message(found(count=100), BEAT).splitlines()
    assert len(lines) == 1 + SHOWN + 3
    assert lines[1 + SHOWN] == "and 81 more accounts"


@pytest.mark.parametrize(
    ("url", "format"),
    [
        ("https://hooks.slack.com/services/T/B/x", "slack"),
        ("https://open.feishu.cn/open-apis/bot/v2/hook/x", "feishu"),
        ("https://open.larksuite.com/open-apis/bot/v2/hook/x", "feishu"),
        ("https://oapi.dingtalk.com/robot/send?access_token=x", "dingtalk"),
        ("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=x", "wecom"),
        ("https://hooks.slack.com.example.org/x", "json"),
        ("https://[broken", "json"),
    ],
)
def test_the_host_tells_the_format(url, format):
    """Each service gets the shape it takes; any other host gets plain JSON."""
    shapes = {
        "slack": {"text"},
        "feishu": {"msg_type", "content"},
        "dingtalk": {"msgtype", "text"},
        "wecom": {"msgtype", "text"},
    }
    told = body("hello", BEAT, "", url, found())
    assert set(told) == shapes.get(format, set(told))
    assert ("workspace" in told) is (format == "json")
    assert body("hello", BEAT, "slack", url, found()) == {"text": "hello"}


@pytest.mark.parametrize("format", ["slack", "feishu", "dingtalk", "wecom"])
def test_no_text_mentions_anybody(format):
    """What chats read as tags is written so that they do not."""
    text = '<!channel> <at user_id="all">x</at> <@all> &'
    told = canonical(body(text, BEAT, format, "")).decode()
    assert "<" not in told
    assert ">" not in told


def test_a_run_that_failed_is_no_peace():
    """The plain shape of a failure says that it is not well, and why."""
    told = body(failure("the vendor\x1b[31m is down", BEAT), BEAT, "", "")
    assert (told["ok"], told["workspace"]) == (False, "prod-im")
    assert told["error"] == (
        "reconciler: drift of prod-im is not known: the vendor\\u{1b}[31m is down"
    )
