"""Moderation: ban lists that people keep, from the sheet to the vendor and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shared_emulator import emulating
from tests.world import World

HEAD = "ID;reason;until;ticket;banned".replace(";", ",")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A workspace whose only accounts are those of a sheet."""
    with emulating() as endpoint:
        world = World(tmp_path / "ws", endpoint)
        world.workspace('accounts_from: [{bans: "moderation/*.csv"}]')
        world.seed("spammer-77", "fraud-12", "troll-3")
        yield world


def keep(world: World, *rows: str) -> None:
    """Save the sheet as a spreadsheet does."""
    lines = "".join(f"{row}\r\n" for row in (HEAD, *rows, ",,,,"))
    world.write("moderation/bans.csv", f"\ufeff{lines}")


SPAM, FRAUD, TROLL = (
    "spammer-77,spam,2099-01-31,TS-1042,",
    "fraud-12,fraud,,TS-1043,TRUE",
    "troll-3,,2020-01-01,,",
)


def test_the_way_of_a_ban_through_a_sheet(world: World) -> None:
    """A row bans; banned FALSE in it lifts the ban; a row that is taken out leaves the ban."""
    keep(world, SPAM, FRAUD, TROLL)
    assert world.run("validate").out == "Valid: 3 accounts. 0 errors, 0 warnings.\n"
    assert world.run("apply", "--auto-approve").code == 0
    assert [world.vendor(one)["enabled"] for one in ("spammer-77", "fraud-12", "troll-3")] == [
        False,
        False,
        True,
    ]
    assert world.run("plan").last == "No changes. 3 accounts as recorded."

    keep(world, TROLL, SPAM.replace(",TS-1042,", ",TS-1042,FALSE"))
    planned = world.run("plan")
    assert planned.last == (
        "Plan: 0 to create, 0 to update, 0 to block, 1 to unblock, 1 to forget."
    )
    assert "cn-prod/fraud-12 is forgotten and stays banned at the vendor" in planned.out
    assert "put it back with `banned: false`" in planned.out
    (finding,) = world.run("plan", "--json").json["diagnostics"]
    assert (finding["id"], finding["severity"]) == ("left-banned", "warning")
    assert world.run("apply", "--auto-approve").code == 0
    assert world.vendor("spammer-77")["enabled"] is True
    assert world.vendor("fraud-12")["enabled"] is False

    keep(world, TROLL)
    left = world.run("plan")
    assert left.last.endswith("1 to forget.")
    assert "stays banned" not in left.out


def test_a_sheet_that_is_gone_forgets_nobody(world: World) -> None:
    """A sheet that is missing, or lost its rows or its header, is refused, not an empty wish."""
    keep(world, SPAM, FRAUD)
    assert world.run("apply", "--auto-approve").code == 0
    sheet = world.root / "moderation/bans.csv"

    for content, code in ((b"", 1), (HEAD.encode(), 4), (b"id,reason\r\n", 1)):
        sheet.write_bytes(content)
        assert world.run("plan").code == code, content
    sheet.unlink()
    gone = world.run("plan")
    assert gone.code == 4
    assert "No account file matches moderation/*.csv." in gone.err
