"""Accounts, questions and plans for the tests of the pure rooms."""

from __future__ import annotations

from datetime import UTC, datetime

from reconciler.accounts import Account, Address, encode
from reconciler.decide import Question
from reconciler.planning import plan
from reconciler.providers.yunxin import CAPABILITIES
from reconciler.state import Record
from reconciler.values import digest

NOW = datetime(2027, 1, 15, 8, 0, 0, tzinfo=UTC)
PAST, SOON = "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z"
PUSH = "push_enabled_when_desktop_online"
TOKEN = {"from": "env:IM_TOKEN_BOT", "version": 1}


def where(id, provider="cn"):
    return Address(f"{provider}/{id}")


def account(
    id="bot", *, file="accounts/a.yaml", line=3, adopt=False, once=(), provider="cn", **document
):
    """Return a desired account; `document` holds its canonical sections."""
    if once:
        document = {**document, "manage": dict.fromkeys(once, "on_create")}
    data = encode(document)
    until = document.get("ban", {}).get("until", "")
    where_ = where(id, provider)
    return Account(where_, data, digest(data), file, line, adopt, tuple(once), until=until)


def record(id="bot", *, provider="cn", banned=None, **facts):
    """Return a record; sections of the document and facts of the record are told apart by name."""
    names = (
        *("profile", "configuration", "labels", "manage"),
        *("ban", "token", "protected", "on_absent"),
    )
    document = {name: facts.pop(name) for name in names if name in facts}
    held = "ban" in document if banned is None else banned
    return Record(where(id, provider), document, held, **{"version": 4, **facts})


def question(**facts):
    """Return the question most tests ask: one Yunxin app named cn, now."""
    capabilities = {"cn": CAPABILITIES, "sg": CAPABILITIES}
    return Question(**{"as_of": NOW, "now": NOW, "capabilities": capabilities, **facts})


def planned(desired, recorded, **facts):
    """Return the plan of accounts against a reader."""
    return plan(desired, recorded, question(**facts))


def told(made):
    """Return a plan's actions as (kind, id, reason) to compare at a glance."""
    return [(str(a.kind), a.address.partition("/")[2], str(a.reason)) for a in made.actions]


def changed(action):
    """Return an action's changes as (path, before, after)."""
    return [(c.path, c.before, c.after) for c in action.changes]


def notes(made, id):
    """Return the findings of one kind."""
    return [finding for finding in made.diagnostics if finding.id == id]
