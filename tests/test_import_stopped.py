"""Imports that are stopped in the middle, meet each other, and tell how far they are."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli import import_, progress
from reconciler.edit import append
from tests.shared_emulator import emulating
from tests.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A workspace at an unthrottled emulator."""
    with emulating() as endpoint:
        yield World(tmp_path, endpoint)


def many(world: World, count: int) -> Path:
    """Make accounts at the vendor, and return the list of them."""
    world.seed(*(f"u{n:04}" for n in range(count)))
    return world.write("ids.txt", "".join(f"u{n:04}\n" for n in range(count)))


def asked(world: World) -> list[str]:
    """Return the accounts whose flags the vendor told, and forget the requests so far."""
    calls = world.control("requests")["requests"]
    world.control("requests", method="DELETE")
    told = (call for call in calls if call["api"] == "batch_get" and call["code"] == 200)
    return sorted(one for call in told for one in call["account_ids"])


def test_what_is_recorded_is_not_read_again(world: World) -> None:
    """An import whose vendor fails keeps what it read; the same command reads the rest alone.

    Its YAML then has all of them, those that were read before too, in the order of the list.
    """
    many(world, 350)
    text = (world.root / "reconciler.yaml").read_text()
    world.write("reconciler.yaml", text.replace("rate: 2000", "rate: 2000\n    concurrency: 1"))
    fails = {"fault": "code", "code": 414, "after": 2, "times": None}
    world.faults({"match": {"api": "batch_get"}, **fails})
    command = ("import", "--from", "ids.txt", "--write", "accounts/app.yaml")

    failed = world.run(*command)
    first = asked(world)
    assert not (world.root / "accounts/app.yaml").exists()
    world.control("faults", method="DELETE")
    ended = world.run(*command)
    second = asked(world)

    assert (failed.code, ended.code) == (1, 0)
    assert "200 accounts recorded by now; the same command goes on from there." in failed.err
    assert first + second == [f"u{n:04}" for n in range(350)]
    assert "Import: 150 recorded, 200 recorded already and not read again, 0 failed." in ended.out
    held = (world.root / "accounts/app.yaml").read_text()
    assert re.findall(r"^  (\w+):$", held, re.MULTILINE) == [f"u{n:04}" for n in range(350)]
    assert world.run("fmt", "--check", "accounts").code == 0
    assert world.run("plan").last == "No changes. 350 accounts as recorded."


def test_an_interrupt_keeps_what_was_read(world: World) -> None:
    """Ctrl-C ends an import at once with 130; the same command goes on, the lock is free."""
    many(world, 250)
    text = (world.root / "reconciler.yaml").read_text()
    world.write("reconciler.yaml", text.replace("rate: 2000", "rate: 2000\n    concurrency: 1"))
    hang = {"fault": "hang", "seconds": 60, "after": 1, "times": None}
    world.faults({"match": {"api": "batch_get"}, **hang})
    process = world.start("import", "--from", "ids.txt", "--write", "accounts/app.yaml")
    while sum(one["api"] == "batch_get" for one in world.control("requests")["requests"]) < 2:
        assert not process.ended, process.err
    process.signal(signal.SIGINT)
    code = process.wait()
    world.control("faults", method="DELETE")
    assert (code, process.out) == (130, "")
    said = process.err
    kept = re.search(r"^(\d+) accounts? recorded by now; the same command", said, re.MULTILINE)
    assert kept is not None, said
    assert "Traceback" not in said
    ended = world.run("import", "--from", "ids.txt", "--write", "accounts/app.yaml")
    assert f"Import: {250 - int(kept[1])} recorded, " in ended.out
    assert world.run("plan").last == "No changes. 250 accounts as recorded."


def test_groups_are_recorded_as_they_come(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read is written in groups, and an account is in state before the file has it."""
    many(world, 230)
    monkeypatch.setattr(import_, "GROUP", 100)
    monkeypatch.setattr(append, "IN_MEMORY", 1000)
    saved: list[int] = []
    finish = append.Appendix.finish

    def finished(sheet: append.Appendix) -> None:
        saved.append(len(world.run("state", "list", "--json").json))
        finish(sheet)

    monkeypatch.setattr(append.Appendix, "finish", finished)
    ended = world.run("import", "--from", "ids.txt", "--write", "accounts/app.yaml")
    assert ended.code == 0
    assert saved == [230]
    assert world.serial() >= 3
    assert world.run("plan").last == "No changes. 230 accounts as recorded."


def test_progress_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off a terminal a line comes every few seconds, on one a bar; stdout has nothing of it."""
    many(world, 60)
    monkeypatch.setattr(progress, "EVERY", 0.0)
    ended = world.run("import", "--from", "ids.txt")
    assert re.search(r"^  60 of 60 accounts, \d+/s, 0 s left, 0 failed$", ended.err, re.MULTILINE)
    assert " of 60 accounts" not in ended.out
    shutil.rmtree(world.root / ".reconciler")
    front, back = pty.openpty()
    process = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "reconciler", "--chdir", str(world.root)),
            *("import", "--from", "ids.txt", "--write", "accounts/app.yaml"),
        ],
        env={**world.environ, "TERM": "xterm", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=back,
        text=True,
    )
    out, _ = process.communicate(timeout=60)
    os.close(back)
    shown = os.read(front, 1 << 16).decode()
    os.close(front)
    assert process.returncode == 0
    plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", shown)
    assert re.search(r" 60/60 \d+/s [-:\d]+ 0 failed", plain)
    assert out.endswith(
        "Import: 60 recorded, 0 failed.\n60 accounts written to accounts/app.yaml.\n"
    )


def test_a_file_that_was_changed_meanwhile_is_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an editor saved while accounts were read stays; the next run adds to that."""
    world.seed("a")
    path = world.write("accounts/app.yaml", "accounts: {}\n")
    read_accounts = import_.read

    def edited(*words: Any) -> Any:
        path.write_text("# mine\naccounts: {}\n")
        return read_accounts(*words)

    monkeypatch.setattr(import_, "read", edited)
    failed = world.run("import", "cn-prod/a", "--write", "accounts/app.yaml")
    monkeypatch.undo()
    assert failed.code == 1
    assert "app.yaml was changed by somebody else meanwhile" in failed.err
    assert path.read_text() == "# mine\naccounts: {}\n"
    again = world.run("import", "cn-prod/a", "--write", "accounts/app.yaml")
    assert again.code == 0
    assert path.read_text() == "# mine\naccounts:\n  a:\n    profile: {name: a}\n"


def test_two_imports_do_not_mix(world: World) -> None:
    """While one import holds the lock another is refused, and writes nothing."""
    many(world, 150)
    hang = {"fault": "hang", "seconds": 60, "times": None}
    world.faults({"match": {"api": "batch_get"}, **hang})
    process = world.start("import", "--from", "ids.txt")
    while not world.control("requests")["requests"]:
        assert not process.ended, process.err
    refused = world.run("import", "cn-prod/u0001", "--write", "accounts/app.yaml")
    process.signal(signal.SIGINT)
    process.wait()
    assert refused.code == 5
    assert not (world.root / "accounts/app.yaml").exists()
