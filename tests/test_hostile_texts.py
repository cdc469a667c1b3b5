"""Hostile texts: what is typed, held or said by others never commands a terminal or a CI runner."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.canaries import Relay, relayed
from tests.world import World

ACCOUNTS = """
alice:
  profile: {name: Alice}
  token: {from: env:IM_TOKEN_A, version: 1}
"""


@pytest.fixture
def place(tmp_path: Path, endpoint: str) -> Iterator[tuple[World, Relay]]:
    """A workspace whose vendor is behind a relay."""
    with relayed(endpoint) as relay:
        world = World(tmp_path, relay.endpoint)
        world.accounts(ACCOUNTS)
        yield world, relay


EVIL = (
    "\x1b[2J\x1b]0;t\x07\r\b\x9b31m\u202e\u2066\u200b\u2028\n"
    "::error::x\n##[error]x ##vso[task.x]\x7f"
)
FORBIDDEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)


def harmless(text: str) -> None:
    """Assert that a text commands no terminal and no CI runner."""
    assert not FORBIDDEN.search(text), FORBIDDEN.search(text)
    for line in text.split("\n"):
        assert not line.lstrip().startswith("::"), line
        assert not re.search(r"##\w*\[", line), line


NAME = "\x1b]0;t\x07\r::error::x\u202e"
TYPED = [
    (f"{EVIL}",),
    ("--chdir", EVIL, "plan"),
    ("plan", EVIL),
    ("plan", "--allow", EVIL),
    ("plan", "--as-of", EVIL),
    ("plan", "--target", EVIL),
    ("plan", "--target", f"cn-prod/{EVIL}"),
    ("plan", "--format", EVIL),
    ("plan", "--state", EVIL),
    ("plan", "--out", f"{NAME}/x"),
    ("plan", "--out", NAME),
    ("show", EVIL),
    ("apply", EVIL),
    ("apply", "--auto-approve", "--expect", EVIL),
    ("apply", "--auto-approve", "--lock-timeout", EVIL),
    ("drift", "--target", f"{EVIL}/x"),
    ("import", f"cn-prod/{EVIL}"),
    ("import", f"{EVIL}/x"),
    ("state", EVIL),
    ("state", "show", EVIL),
    ("state", "rm", f"cn-prod/{EVIL}"),
    ("state", "mv", EVIL, "cn-prod/x"),
    ("state", "mv", "--auto-approve", "cn-prod/alice", f"cn-prod/{EVIL}"),
    ("state", "push", EVIL),
    ("state", "restore", NAME),
    ("state", "history", EVIL),
    ("force-unlock", EVIL),
    ("force-unlock", "--auto-approve", EVIL),
    ("schema", EVIL),
    ("emulator", "--host", EVIL),
    ("emulator", "--data", f"{NAME}/x"),
]


@pytest.mark.parametrize("words", TYPED, ids=lambda words: " ".join(words).replace(EVIL, "?")[:40])
def test_what_is_typed_commands_nothing(place: tuple[World, Relay], words: tuple[str, ...]) -> None:
    """Whatever stands in an argument comes back as harmless text, of every command."""
    world, _ = place
    ended = world.run(*words)
    assert ended.code in (0, 1, 6, 64)
    harmless(ended.out)
    harmless(ended.err)


def everything(world: World) -> None:
    """Run what prints what is recorded and observed, and see that all of it is harmless."""
    for words in (
        ("validate",),
        ("plan",),
        ("plan", "--refresh"),
        ("plan", "--refresh", "--json"),
        ("--log-level", "debug", "drift"),
        ("drift", "--json"),
        ("show",),
        ("state", "list"),
        ("state", "list", "--json"),
        ("state", "pull"),
        ("state", "history"),
        ("state", "history", "--json"),
        ("lock", "status"),
    ):
        ended = world.run(*words)
        harmless(ended.out + ended.err)


def test_what_a_vendor_holds_commands_nothing(place: tuple[World, Relay]) -> None:
    """Profiles that people or consoles fill with control characters are shown as harmless text."""
    world, _ = place
    assert world.run("apply", "--auto-approve").code == 0
    world.console("alice", profile={"name": EVIL, "sign": EVIL, "email": EVIL})
    world.control("accounts/yunxin/demo-app-key/bob", {"profile": {"name": EVIL}}, "PUT")
    harmless(world.run("import", "cn-prod/bob").out)
    everything(world)
    harmless(world.run("refresh").out)
    everything(world)
    harmless(world.run("state", "show", "cn-prod/alice").out)


@pytest.mark.parametrize("words", [(), ("--json",)], ids=["text", "json"])
def test_what_a_vendor_says_commands_nothing(
    place: tuple[World, Relay], words: tuple[str, ...]
) -> None:
    """The text of a refusal is harmless where it is told, logged, streamed and remembered."""
    world, relay = place
    body = json.dumps({"code": 414, "msg": EVIL, "desc": EVIL}).encode()
    refusal = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    relay.meddle = lambda request: refusal if request.startswith(b"POST /im/v2/acc") else None
    ended = world.run("--log-level", "debug", "apply", "--auto-approve", *words)
    assert ended.code == 3
    harmless(ended.out + ended.err)
    everything(world)


def test_who_runs_it_and_where_commands_nothing(place: tuple[World, Relay]) -> None:
    """Names of actors, commits, folders and files are harmless where they are shown."""
    world, _ = place
    for name in ("GITHUB_ACTOR", "GITHUB_SHA", "CI_JOB_URL", "GITHUB_REF", "GITHUB_RUN_ID"):
        world.environ[name] = EVIL
    assert world.run("apply", "--auto-approve").code == 0
    everything(world)
    deep = world.root / NAME
    deep.mkdir()
    (world.root / "reconciler.yaml").rename(deep / "reconciler.yaml")
    (world.root / "accounts").rename(deep / "accounts")
    (world.root / ".reconciler").rename(deep / ".reconciler")
    (deep / "accounts/team.yaml").rename(deep / f"accounts/{NAME}.yaml")
    moved = World(deep, world.endpoint, {})
    moved.accounts("x:\n  nonsense: 1", name=f"{NAME}2")
    assert moved.run("validate").code == 1
    everything(moved)
    (deep / f"accounts/{NAME}2.yaml").unlink()
    assert moved.run("apply", "--auto-approve").code == 0
    everything(moved)
    harmless(moved.run("state", "backup").out)
    (deep / ".reconciler/state.db").write_bytes(b"")
    assert moved.run("plan").code == 1
    everything(moved)


class Hostile(Exception):
    """A defect whose text is hostile too."""


@pytest.mark.parametrize(
    "problem", [Hostile(EVIL), OSError(5, EVIL, EVIL), KeyError(EVIL), RecursionError(EVIL)]
)
@pytest.mark.parametrize("level", ["debug", "warning"])
def test_our_own_defects_command_nothing(
    place: tuple[World, Relay], monkeypatch: pytest.MonkeyPatch, problem: Exception, level: str
) -> None:
    """An exception's text, in the message and in the traceback of the log, is harmless.

    The message is two lines, the error and its hint, whatever line ends the text holds.
    """
    world, _ = place

    def broken(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr("reconciler.session.Session.desired", broken)
    root = logging.getLogger()
    before = root.level
    monkeypatch.setattr(root, "handlers", [])  # as in a process of its own
    try:
        ended = world.run("--log-level", level, "validate")
    finally:
        root.setLevel(before)
    assert ended.code == 1
    assert len(ended.err.splitlines()) == 2 or level == "debug"
    assert ("Traceback" in ended.err) == (level == "debug")
    harmless(ended.out + ended.err)
