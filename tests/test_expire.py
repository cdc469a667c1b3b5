"""expire: which bans end when, who set them, and what becomes of them."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
from core_accounts import NOW, PAST, SOON, account, record
from core_store import Memory
from golden_plans import ATTACKS

from reconciler.accounts import Observed
from reconciler.config import schema_text
from reconciler.expire import Lapse, Status, expire
from reconciler.views import lapses
from reconciler.views.history import Origin
from reconciler.views.words import harmless
from tests.shared_emulator import emulating
from tests.world import World

MONTH = NOW + timedelta(days=30)
LATE = "2027-09-01T00:00:00Z"


def ban(until=SOON, **facts):
    return {"reason": "spam", "until": until, **facts}


def found(desired, *recorded, as_of=NOW, before=MONTH, targets=()):
    return expire(desired, Memory(*recorded), as_of, before, targets)


@pytest.mark.parametrize(
    ("written", "kept", "status"),
    [
        (ban(), {"ban": ban()}, Status.ENDS),
        (ban(PAST), {"ban": ban(PAST)}, Status.ENDED),
        (ban(), {"ban": {}}, Status.ENDS),
        (ban(PAST), {"ban": ban(LATE)}, Status.ENDED),
        (ban(), {}, Status.DECLARED),
        (ban(), None, Status.DECLARED),
        ("left", {"ban": ban()}, Status.LEFT),
        ("left", {"ban": ban(PAST)}, Status.LEFT),
        (ban(LATE), {"ban": ban()}, None),  # prolonged in the YAML
        ({"reason": "spam"}, {"ban": ban()}, None),  # for good now
        (None, {"ban": ban()}, None),  # lifted: a plan says so
        (ban(PAST), {"ban": ban(PAST), "banned": False}, None),  # over and lifted
        (ban(PAST), None, None),  # never was one
        ("left", {"ban": {}}, None),
        ("left", {"ban": ban(), "observed": Observed(True, {}, {}, False)}, None),
        (None, None, None),
    ],
)
def test_a_ban_counts_as_the_yaml_has_it(written, kept, status):
    """What a plan would do at its end decides how it is told, or that it is left out."""
    facts = {} if written in (None, "left") else {"ban": written}
    desired = [] if written == "left" else [account("bot", **facts)]
    told = found(desired, *([record("bot", **kept)] if kept is not None else []))
    assert [one.status for one in told] == ([] if status is None else [status])


def test_they_come_by_time_and_only_until_the_bound():
    """The soonest first, then by address; what ends later, or is no target, is left out."""
    ends = {"late": LATE, "soon": SOON, "also-soon": SOON, "over": PAST}
    desired = [account(id, ban=ban(until)) for id, until in ends.items()]
    kept = [record(id, ban=ban(until)) for id, until in ends.items()]
    told = [one.address for one in found(desired, *kept)]
    assert told == ["cn/over", "cn/also-soon", "cn/soon"]
    assert len(found(desired, *kept, before=NOW + timedelta(days=300))) == 4
    assert [one.address for one in found(desired, *kept, targets=("cn/soon",))] == ["cn/soon"]
    assert found(desired, *kept, targets=("sg",)) == ()


def test_the_end_itself_is_the_end():
    """At the moment of its end a ban has ended, as it has for a plan."""
    (one,) = found(
        [account(ban=ban())], record(ban=ban()), as_of=NOW.replace(month=2, day=1, hour=0)
    )
    assert one.status is Status.ENDED


def test_other_accounts_are_not_read():
    """Of a thousand accounts only records of bans with an end are looked at."""
    desired = [account(f"u{n}", profile={"name": "x"}) for n in range(50)]
    store = Memory(*(record(f"u{n}", profile={"name": "x"}) for n in range(50)), record(ban=ban()))
    expire([*desired, account(ban=ban())], store, NOW, MONTH)
    assert store.asked == ["cn/bot"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 min"),
        (59, "0 min"),
        (3600, "1 h"),
        (12 * 3600 + 300, "12 h 5 min"),
        (86400, "1 d"),
        (90000, "1 d 1 h"),
        (-7200, "2 h"),
    ],
)
def test_time_is_told_in_two_units(seconds, said):
    """Days and hours, or hours and minutes."""
    assert lapses.span(seconds) == said


def test_hostile_texts_stay_texts():
    """Reasons, tickets, ids, files and operators are people's texts in every format."""
    evils = [*ATTACKS.values()]
    rows = [
        Lapse(SOON, f"cn/{evil}", Status.ENDS, {"reason": evil, "ticket": evil}, PAST, evil, 1)
        for evil in evils
    ]
    origins = {
        one.address: Origin(evil, evil, evil, evil) for one, evil in zip(rows, evils, strict=True)
    }
    told = lapses.Lapses("prod-im", NOW, MONTH, rows, origins)
    for lines in (list(lapses.text(told)), list(lapses.markdown(told))):
        assert all(harmless(line) == line for line in lines)
    markdown = list(lapses.markdown(told))
    fences = [number for number, line in enumerate(markdown) if line.startswith("```````````")]
    assert len(fences) == 2
    assert fences[1] - fences[0] == len(evils) + 1


def test_the_command_line_says_who_and_why(tmp_path: Path) -> None:
    """Text, Markdown and JSON, offline and with exit 0; what ended is lifted by the next apply."""
    with emulating() as endpoint:
        world = World(tmp_path, endpoint)
        end = "until: 2030-01-01T05:00:00Z"
        world.accounts(f"alice: {{banned: {{reason: spam, ticket: TS-1, {end}}}}}\nbob: {{}}")
        assert world.run("apply", "--auto-approve").code == 0
    del world.environ["APP_SECRET"]

    early = world.run("expire", "--before", "2h", "--as-of", "2030-01-01T02:00:00Z")
    soon = world.run("expire", "--before", "24h", "--as-of", "2030-01-01T02:00:00Z")
    over = world.run("expire", "--as-of", "2030-01-01T05:00:00Z", "--json")
    comment = world.run("expire", "--as-of", "2030-01-02", "--format", "markdown")

    assert {one.code for one in (early, soon, over, comment)} == {0}
    assert early.out == "No ban ends before 2030-01-01T04:00:00Z.\n"
    line = soon.out.splitlines()[0]
    assert line.startswith(
        '  in 3 h  2030-01-01T05:00:00Z  cn-prod/alice  "spam", ticket TS-1  set 2'
    )
    assert line.endswith("accounts/team.yaml:2")
    assert soon.last == "1 ban ends before 2030-01-02T02:00:00Z."
    jsonschema.validate(over.json, json.loads(schema_text("expire")))
    (told,) = over.json["bans"]
    assert (told["status"], told["seconds_left"], told["ticket"]) == ("ended", 0, "TS-1")
    assert told["set_by"]["action"] == "block"
    assert told["source"] == {"file": "accounts/team.yaml", "line": 2}
    assert comment.out.startswith("<!-- reconciler:expire:test-im -->\n")
    assert "ended 19 h ago" in comment.out
    assert (
        comment.last
        == "0 bans end before 2030-01-03T00:00:00Z; 1 ended and waits for the next apply."
    )
    for wrong in ("tomorrow", "24", "-1h"):
        assert world.run("expire", f"--before={wrong}").code == 64
