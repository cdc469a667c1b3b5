"""Reasons of bans: a closed list, the longest time of each, and evidence for what has no end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from config_capabilities import WORKSPACE
from config_files import read, write
from core_accounts import NOW, account, notes, planned, record
from core_store import Memory

from reconciler.accounts import MISSING
from reconciler.values import to_text
from reconciler.workspace import BanReason
from tests.shared_emulator import emulating
from tests.world import World

REASONS = "ban_reasons: {spam: {max: 90d}, brief: {max: 12h}, fraud: {}, 广告: {}}\n"
A = "accounts:\n"
EDGE = to_text(NOW + timedelta(days=90))
LATER = to_text(NOW + timedelta(days=90, seconds=1))


def judged(root, ban: str, moment=None):
    """Return the findings about one account with this ban."""
    write(root, {"accounts/a.yaml": f"{A}  bot:\n    banned: {ban}\n"}, WORKSPACE + REASONS)
    return read(root, moment)


@pytest.mark.parametrize(
    "ban",
    [
        "false",
        "{reason: spam, until: 2027-02-01}",
        f"{{reason: spam, until: {EDGE}}}",
        "{reason: spam, until: 2020-01-01}",
        "{reason: brief, until: 2027-01-15T20:00:00Z}",
        "{reason: fraud, until: 2099-01-01}",
        "{reason: fraud, evidence: [x]}",
        "{reason: 广告, evidence: [x]}",
    ],
)
def test_a_ban_that_fits_its_reason_is_taken(tmp_path, ban):
    """An end within the time of the reason, or evidence where there is no end."""
    assert judged(tmp_path, ban, NOW).errors == ()


@pytest.mark.parametrize(
    ("ban", "id", "column", "hint"),
    [
        ("true", "no-reason", 13, "spam, brief, fraud"),
        ("{}", "no-reason", 13, "spam"),
        ("{until: 2027-02-01}", "no-reason", 13, "spam"),
        ("{reason: spm, until: 2027-02-01}", "unknown-reason", 22, "did you mean spam"),
        ("{reason: Spam, until: 2027-02-01}", "unknown-reason", 22, "did you mean spam"),
        ('{reason: "", until: 2027-02-01}', "unknown-reason", 22, "choose from"),
        ("{reason: spam}", "ban-too-long", 13, "at most 90 days ahead"),
        ("{reason: spam, evidence: [x]}", "ban-too-long", 13, "at most 90 days ahead"),
        ("{reason: brief}", "ban-too-long", 13, "at most 12 hours ahead"),
        (f"{{reason: spam, until: {LATER}}}", "ban-too-long", 35, f"{EDGE} or before"),
        ("{reason: fraud}", "no-evidence", 13, "evidence"),
        ("{reason: fraud, evidence: []}", "no-evidence", 39, "evidence"),
    ],
)
def test_a_ban_that_does_not_fit_is_told_at_its_place(tmp_path, ban, id, column, hint):
    """Each is one error in its place, with what to do."""
    (one,) = judged(tmp_path, ban, NOW).errors
    assert (one.id, one.source) == (id, ("accounts/a.yaml", 3, column))
    assert hint in one.hint


def test_what_cannot_be_read_is_told_alone(tmp_path):
    """A time that is none is not told as a missing end as well; an unknown reason is."""
    assert judged(tmp_path, "{reason: spam, until: soon}", NOW).ids == ["bad-time"]
    assert judged(tmp_path, "{reason: ~, until: 2027-02-01}", NOW).ids == ["null"]
    assert judged(tmp_path, "{reason: spm, until: soon}", NOW).ids == ["unknown-reason", "bad-time"]


def test_an_empty_cell_of_a_sheet_is_told_at_the_cell(tmp_path):
    """What a row lacks has the place of the cell that should hold it."""
    write(
        tmp_path,
        {"bans.csv": "id,ticket,reason,until,evidence\na,T,,,\nb,T,spam,,x\nc,T,fraud,,\n"},
        f"{WORKSPACE}{REASONS}accounts_from: [{{bans: bans.csv}}]\n".replace(
            "accounts:\n  - accounts/**/*.yaml\n", ""
        ),
    )
    assert [(one.id, one.source.line, one.source.column) for one in read(tmp_path).errors] == [
        ("no-reason", 2, 3),
        ("ban-too-long", 3, 4),
        ("no-evidence", 4, 5),
    ]


@pytest.mark.parametrize(
    ("reasons", "line", "column", "id"),
    [
        ("{}", 11, 14, "empty"),
        ("{spam: {max: 3 months}}", 11, 27, "bad-form"),
        ("{spam: {max: 0d}}", 11, 27, "bad-form"),
        ("{spam: {mx: 3d}}", 11, 22, "unknown-key"),
        ("{spam: }", 11, 21, "null"),
        ('{" a": {}}', 11, 21, "bad-form"),
    ],
)
def test_a_wrong_list_is_told_in_the_workspace_file(tmp_path, reasons, line, column, id):
    """What is wrong with the list itself has its place there."""
    write(tmp_path, {"accounts/a.yaml": "accounts: {}\n"}, f"{WORKSPACE}ban_reasons: {reasons}\n")
    (one,) = read(tmp_path).errors
    assert (one.id, str(one.source)) == (id, f"reconciler.yaml:{line}:{column}")


SPAM = {"reason": "spam", "until": EDGE}
LONG = {"reason": "spam", "until": LATER}
ASKED = {"reasons": {"spam": BanReason("spam", timedelta(days=90)), "fraud": BanReason("fraud")}}


@pytest.mark.parametrize(
    ("ban", "held", "told"),
    [
        (SPAM, None, False),
        (LONG, None, True),
        (LONG, record(), True),
        (LONG, record(ban={"reason": "spam"}), True),
        (LONG, record(ban={**LONG, "reason": "fraud"}), True),
        (LONG, record(ban=LONG, observed=MISSING), False),
        # What was judged when it began stands, whatever is changed beside it.
        (LONG, record(ban=LONG), False),
        ({**LONG, "ticket": "T-2"}, record(ban=LONG), False),
        (LONG, record(ban=LONG, banned=False), False),
        ({**LONG, "reason": "fraud"}, record(ban=LONG), False),
    ],
)
@pytest.mark.parametrize("adopt", [False, True])
def test_a_plan_judges_bans_that_are_new_to_it(ban, held, told, adopt):
    """A ban is judged from the plan's moment when its reason or end is not the recorded one."""
    made = planned([account(ban=ban, adopt=adopt)], Memory(*([held] if held else [])), **ASKED)
    assert [one.address for one in notes(made, "ban-too-long")] == ["cn/bot"] * (
        told and not (adopt and held and held.observed)
    )
    for one in notes(made, "ban-too-long"):
        assert (one.severity, one.source) == ("error", ("accounts/a.yaml", 3, 0))


def test_the_moment_is_the_one_that_a_plan_is_asked_for():
    """The same plan as of the same moment says the same, whenever it is made."""
    for now in (NOW, NOW + timedelta(days=400)):
        for as_of, told in ((NOW, 1), (NOW + timedelta(days=1), 0), (NOW - timedelta(days=9), 1)):
            made = planned([account(ban=LONG)], Memory(), now=now, as_of=as_of, **ASKED)
            assert len(notes(made, "ban-too-long")) == told


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A workspace that lists its reasons."""
    with emulating() as endpoint:
        yield World(tmp_path / "ws", endpoint)


def test_a_standing_ban_outlives_a_shorter_maximum(world: World) -> None:
    """What `plan` refuses as new it lets be where it stands; validate judges what is written."""
    ban = "banned: {reason: spam, until: 2099-01-01}"
    world.workspace("ban_reasons: {spam: {}}")
    world.accounts(f"a: {{{ban}}}")
    assert world.run("apply", "--auto-approve").code == 0

    world.workspace("ban_reasons: {spam: {max: 90d}}")
    world.accounts(f"a: {{{ban}}}\nb: {{{ban}}}")
    planned = world.run("plan", "--out", str(world.root / "next.plan.json"))
    assert planned.code == 4
    assert "accounts/team.yaml:3: error: cn-prod/b: A ban for spam lasts at most 90" in planned.err
    assert "cn-prod/a" not in planned.out + planned.err
    assert world.run("apply", "next.plan.json").code == 4
    assert world.run("validate").err.count("A ban for spam lasts at most 90 days") == 2

    world.accounts(f"a: {{{ban}}}")
    assert world.run("plan", "--detailed-exitcode").code == 0
