"""JSON: events, drift, locks and history in the shapes that programs read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_accounts import TOKEN, account, planned, record
from core_store import Memory

from reconciler.accounts import MISSING, Observed
from reconciler.changes import Create, Kind, Override, Reason
from reconciler.diagnostics import warning
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
from reconciler.planfile import shape
from reconciler.state import Entry, Holder, Lock, Run, Status
from reconciler.values import canonical
from reconciler.views import json

ACTION = Create("cn/bot", Reason.NOT_RECORDED, b"{}")
ABOUT = {"address": "cn/bot", "action": "create"}
LOCK = Lock("l-1", Holder("ann", "host", 7, "apply"), "t1", "t2", 3)
LOCKED = {
    "held": True,
    "id": "l-1",
    "holder": "ann",
    "host": "host",
    "pid": 7,
    "operation": "apply",
    "acquired_at": "t1",
    "expires_at": "t2",
    "fence": 3,
}


@pytest.mark.parametrize(
    ("happened", "line"),
    [
        (Started(ACTION), {"type": "apply_start", **ABOUT}),
        (Completed(ACTION, 0.12345), {"type": "apply_complete", **ABOUT, "elapsed": 0.123}),
        (
            Completed(ACTION, 0.0, ("token",)),
            {"type": "apply_complete", **ABOUT, "elapsed": 0.0, "waiting": ["token"]},
        ),
        (
            Errored(ACTION, "414", "secret?"),
            {"type": "apply_errored", **ABOUT, "code": "414", "result": "failed"},
        ),
        (
            Errored(ACTION, "", "", in_doubt=True),
            {"type": "apply_errored", **ABOUT, "code": "", "result": "in_doubt"},
        ),
        (
            Skipped(ACTION, "interrupted"),
            {"type": "apply_skipped", **ABOUT, "because": "interrupted"},
        ),
        (
            Throttled("cn", "create", 10.0),
            {"type": "throttled", "provider": "cn", "api": "create", "seconds": 10.0},
        ),
        (Settled("cn/bot", Kind.CREATE, True), {"type": "settled", **ABOUT, "result": "confirmed"}),
        (Settled("cn/bot", Kind.CREATE, False), {"type": "settled", **ABOUT, "result": "not_done"}),
        (Waiting(LOCK), {"type": "lock_wait", **LOCKED}),
        (
            Waiting(replace(LOCK, apps=("cn",))),
            {"type": "lock_wait", **LOCKED, "apps": ["cn"]},
        ),
        (
            Noted(warning("w", "careful")),
            {
                "type": "diagnostic",
                "diagnostic": {
                    "severity": "warning",
                    "id": "w",
                    "summary": "careful",
                    "detail": "",
                    "hint": "",
                    "file": None,
                    "line": None,
                    "column": None,
                },
            },
        ),
        (
            Summary({Kind.CREATE: 2, Kind.BLOCK: 0}, 1, 2, 3),
            {
                "type": "summary",
                "applied": {"create": 2},
                "failed": 1,
                "skipped": 2,
                "in_doubt": 3,
                "interrupted": False,
            },
        ),
    ],
)
def test_each_event_is_one_object(happened, line):
    """Every event has its documented type and keys, and is JSON."""
    made = json.event(happened)
    # Keys may be added; those that are promised stay.
    assert line.items() <= made.items()
    assert canonical(made)


def test_the_stream_begins_with_its_version():
    """Readers learn first which tool and which version of the stream it is."""
    assert json.version("1.2") == {"type": "version", "tool_version": "1.2", "ui": "1.0"}
    assert json.planned(ACTION) == {"type": "planned_change", **ABOUT, "reason": "not_recorded"}


def test_drift_has_the_documented_shape():
    """Summary, coverage, and each drifted account with recorded and observed values."""
    found = drift(
        [
            (record("a", profile={"name": "A"}), Observed(True, {"name": "B"}, {}, None)),
            (record("b"), MISSING),
            (record("c"), None),
        ]
    )
    assert json.drift(found) == {
        "summary": {"changed": 1, "missing": 1, "unchanged": 0},
        "coverage": {"checked": 1, "recorded_only": 1},
        "unread": ["cn/c"],
        "drift": [
            {
                "address": "cn/a",
                "kind": "changed",
                "changes": [{"path": "profile.name", "recorded": "A", "observed": "B"}],
            },
            {"address": "cn/b", "kind": "missing", "changes": []},
        ],
    }


def test_a_lock_has_the_documented_shape():
    """Held or not, the keys are the same; the oldest lock is told first, and all are listed."""
    assert json.locks([LOCK]) == {**LOCKED, "locks": [{**LOCKED, "apps": None}]}
    free = json.locks([])
    assert free.keys() == {*LOCKED, "locks"}
    assert (free["held"], free["locks"]) == (False, [])
    one, other = replace(LOCK, apps=("cn",)), replace(LOCK, id="l-2", apps=("eu", "sg"))
    found = json.locks([one, other])
    assert (found["id"], [lock["apps"] for lock in found["locks"]]) == (
        "l-1",
        [["cn"], ["eu", "sg"]],
    )


def test_history_has_the_documented_shape():
    """A line of history names the run that did it."""
    over = Override("r1", "she asked", "ann", "sha256:cd")
    run = Run("r-1", "apply", "t0", "ann", "sha256:ab", {"ci": "gitlab"}, (over,))
    entry = Entry("t1", run, "cn/bot", {"action": "block"}, Status.CONFIRMED, "200", "ok")
    assert json.entry(entry) == {
        "at": "t1",
        "address": "cn/bot",
        "kind": "block",
        "reason": None,
        "ban_reason": None,
        "ticket": None,
        "action": {"action": "block"},
        "status": "confirmed",
        "code": "200",
        "message": "ok",
        "run": {
            "id": "r-1",
            "operation": "apply",
            "started_at": "t0",
            "operator": "ann",
            "fingerprint": "sha256:ab",
            "context": {"ci": "gitlab"},
            "overrides": [
                {"rule": "r1", "reason": "she asked", "by": "ann", "rule_digest": "sha256:cd"}
            ],
        },
    }


def test_a_plan_has_the_documented_shape():
    """The keys of `plan --json` and of an action are those that are promised."""
    store = Memory(record("b", profile={"name": "A"}, token=TOKEN))
    made = planned([account("b", profile={"name": "B"}, token={**TOKEN, "version": 2})], store)
    told = shape(made, "1.2")
    assert {
        "format_version",
        "tool_version",
        "workspace",
        "lineage",
        "serial",
        "created_at",
        "as_of",
        "refreshed",
        "fingerprint",
        "summary",
        "actions",
        "cost",
        "diagnostics",
    } <= told.keys()
    assert (told["format_version"], told["tool_version"]) == ("1.0", "1.2")
    (action,) = told["actions"]
    assert action == {
        "address": "cn/b",
        "provider": "cn",
        "account_id": "b",
        "action": "update",
        "reason": "config_changed",
        "version": 4,
        "source": {"file": "accounts/a.yaml", "line": 3},
        "changes": [
            {"path": "profile.name", "before": "A", "after": "B"},
            {
                "path": "token",
                "before": "(v1)",
                "after": "(v2)",
                "sensitive": True,
                "token": {**TOKEN, "version": 2},
            },
        ],
    }
    assert told["summary"] == {
        "create": 0,
        "update": 1,
        "block": 0,
        "unblock": 0,
        "adopt": 0,
        "forget": 0,
        "unchanged": 0,
    }


def test_a_waiting_field_is_a_diagnostic_of_its_kind():
    """Programs find waiting fields by kind and address."""
    made = planned([account(ban={}, profile={"name": "B"})], Memory(record(ban={})))
    (told,) = shape(made, "1.2")["diagnostics"]
    assert (told["kind"], told["severity"], told["address"]) == ("waiting", "info", "cn/bot")
