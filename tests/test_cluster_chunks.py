"""Chunks: how a plan is cut, and what of a chunk that was begun before is still to be done."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_accounts import NOW, PAST, SOON, account, planned, record, where
from core_store import Memory

from reconciler.accounts import split
from reconciler.changes import in_order, to_json
from reconciler.cluster import chunks
from reconciler.cluster.chunks import Chunk, cut, left
from reconciler.planfile import decode, encode
from reconciler.state import Entry, Run, Status

OURS, OTHER = Run("ours", "apply", "2027-01-15T07:00:00Z"), Run("other", "apply", "")


A = {"name": "A"}


def entry(id, **document):
    """Return the accounts of one entry in two apps."""
    siblings = tuple(where(id, app) for app in ("cn", "sg"))
    return [
        account(id, provider=app, **document)._replace(siblings=siblings) for app in ("cn", "sg")
    ]


def by_address(accounts):
    """Return accounts in the order of their addresses."""
    return sorted(accounts, key=lambda one: one.address)


def made(desired, records=()):
    """Return a plan of accounts against records."""
    return planned(desired, Memory(*records))


def test_a_plan_is_cut_by_app_and_account(monkeypatch):
    """Every action is in one chunk, an account's in the same, what is first stays first."""
    monkeypatch.setattr(chunks, "LARGEST", 7)
    names = [f"u{n:02}" for n in range(20)]
    desired = [one for id in names for one in entry(id, ban={"reason": "spam"})]
    records = [record(f"gone{n}", provider="cn") for n in range(5)]
    records += [record(id, provider="sg", profile={"name": "x"}) for id in names[:3]]
    plan = made(by_address(desired), records)

    pieces = list(cut(plan))

    every = sorted((one for *_, piece in pieces for one in piece.actions), key=in_order)
    assert every == [*plan.actions]
    for app, number, piece in pieces:
        assert {split(action.address)[0] for action in piece.actions} == {app}
        assert 1 <= len(piece.actions) <= 7
        assert [*piece.actions] == sorted(piece.actions, key=in_order)
        assert decode(encode(piece, "1"), "chunk") == piece
        assert number == 1 or any(n == number - 1 for one, n, _ in pieces if one == app)
    homes = [{action.address for action in piece.actions} for _, _, piece in pieces]
    assert sum(map(len, homes)) == len(set().union(*homes))
    first = next(piece for app, _, piece in pieces if app == "cn")
    assert {str(action.kind) for action in first.actions[:5]} == {"forget"}
    assert any(piece.siblings for _, _, piece in pieces)
    assert all(len(entry.accounts) == 1 for _, _, piece in pieces for entry in piece.siblings)


def test_what_is_behind_its_siblings_is_in_the_first_chunks(monkeypatch):
    """An account that lacks what its sibling has is carried out before all else of its app."""
    monkeypatch.setattr(chunks, "LARGEST", 2)
    ban = {"reason": "spam"}
    desired = [*entry("a", profile=A), *entry("b", profile=A), *entry("z", profile=A, ban=ban)]
    done = record("z", provider="sg", profile=A, ban=ban)
    behind = record("z", provider="cn", profile=A)

    plan = made(by_address(desired), [done, behind])
    pieces = [piece for app, _, piece in cut(plan) if app == "cn"]

    assert plan.siblings
    assert where("z") in {action.address for action in pieces[0].actions}
    assert pieces[0].siblings[0].behind == (where("z"),)


CREATED = made([account("bot", profile={"name": "A"}, ban={"reason": "spam"})])
UPDATED = made([account("bot", profile={"name": "B"})], [record("bot", profile={"name": "A"})])
BLOCKED = made(
    [account("bot", profile={"name": "A"}, ban={"reason": "spam"})],
    [record("bot", profile={"name": "A"})],
)
TIMED = made(
    [account("bot", profile={"name": "A"}, ban={"until": SOON})],
    [record("bot", profile={"name": "A"})],
)
FORGOTTEN = made([account("else")], [record("bot"), record("else")])
AS_PLANNED = record("bot", profile={"name": "A"})
NEW = record("bot", profile={"name": "A"}, version=9, run="ours")
DONE, NOT, UNSURE, NO = Status.CONFIRMED, Status.NOT_SENT, Status.AMBIGUOUS, Status.REJECTED


def done(action, status, run=OURS):
    """Return the line of history of an action."""
    return Entry("", run, action.address, to_json(action), status)


@pytest.mark.parametrize(
    ("plan", "recorded", "history", "expected"),
    [
        # rest, done, failed, skipped, stale
        (CREATED, None, [], (["create", "block"], [], 0, 0, 0)),
        (UPDATED, AS_PLANNED, [], (["update"], [], 0, 0, 0)),
        # It was begun before, and the create is known to be done: its ban is not.
        (CREATED, NEW, [(0, DONE), (1, NOT)], (["block"], ["create"], 0, 0, 0)),
        (CREATED, NEW, [(0, DONE), (1, UNSURE)], (["block"], ["create"], 0, 0, 0)),
        (CREATED, None, [(0, NOT), (1, NOT)], (["create", "block"], [], 0, 0, 0)),
        (
            CREATED,
            replace(NEW, document={**NEW.document, "ban": {"reason": "spam"}}, banned=True),
            [(0, DONE), (1, DONE)],
            ([], ["create", "block"], 0, 0, 0),
        ),
        # What the vendor refused is not asked again, nor what was to follow it.
        (CREATED, None, [(0, NO), (1, NOT)], ([], [], 1, 1, 0)),
        (BLOCKED, AS_PLANNED, [(0, NO)], ([], [], 1, 0, 0)),
        # Somebody else has done the same, or another thing.
        (UPDATED, replace(AS_PLANNED, document={"profile": {"name": "B"}}, version=7, run="other"),
         [], ([], ["update"], 0, 0, 0)),
        (UPDATED, replace(AS_PLANNED, document={"profile": {"name": "C"}}, version=7, run="other"),
         [], ([], [], 0, 0, 1)),
        (UPDATED, None, [], ([], [], 0, 0, 1)),
        (CREATED, replace(NEW, document={"profile": {}}, run="other"), [], ([], [], 0, 0, 2)),
        (CREATED, replace(NEW, run="other"), [(0, DONE)], ([], ["create"], 0, 0, 1)),
        (FORGOTTEN, None, [], ([], ["forget"], 0, 0, 0)),
        (FORGOTTEN, replace(record("bot"), version=8, run="other"), [], ([], [], 0, 0, 1)),
    ],
)  # fmt: skip
def test_what_is_left_of_a_chunk(plan, recorded, history, expected):
    """By record and journal: what ended stays, what moved is left alone, the rest is done."""
    runs = ("ours",) if history else ()
    chunk = Chunk("id", "cn", 1, plan.fingerprint, plan, OURS, runs)
    entries = {where("bot"): [done(plan.actions[n], status) for n, status in history]}

    found = left(chunk, {where("bot"): recorded} if recorded else {}, entries, (), NOW)

    assert (
        [str(action.kind) for action in found.plan.actions],
        [str(kind) for kind in found.done.elements()],
        found.failed,
        found.skipped,
        len(found.stale),
    ) == expected
    version = recorded.version if recorded else 0
    assert {action.version for action in found.plan.actions} <= {version}


def test_a_ban_that_has_ended_and_a_doubt_of_somebody_else_are_left_alone():
    """Neither a ban whose time is over is set, nor an account touched that is in doubt."""
    chunk = Chunk("id", "cn", 1, "", TIMED, OURS)
    held = {where("bot"): AS_PLANNED}
    late = replace(chunk, plan=replace(TIMED, actions=tuple(
        action._replace(changes=tuple(
            change._replace(after=PAST) if change.path == "banned.until" else change
            for change in action.changes
        ))
        for action in TIMED.actions
    )))  # fmt: skip

    assert not left(chunk, held, {}, (), NOW).stale
    (over,) = left(late, held, {}, (), NOW).stale
    (doubted,) = left(chunk, held, {}, {where("bot")}, NOW).stale

    assert "its ban has ended meanwhile" in over.message
    assert "in doubt" in doubted.message


def test_a_line_of_another_run_says_nothing_of_the_chunk():
    """History of another plan's run does not count, though it is of the same kind of action."""
    chunk = Chunk("id", "cn", 1, "", BLOCKED, OURS, ("ours",))
    lines = {where("bot"): [done(BLOCKED.actions[0], Status.REJECTED, OTHER)]}

    assert left(chunk, {where("bot"): AS_PLANNED}, lines, (), NOW).plan.actions == BLOCKED.actions
