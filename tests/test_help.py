"""What the command line says of itself: help, examples that work, and the README's table of it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from argparse import ArgumentParser, _HelpAction, _SubParsersAction
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import store_postgres

from reconciler.cli.arguments import parse, whole
from reconciler.exits import Exit
from reconciler.state import Holder
from reconciler.stores.sqlite import SqliteStore
from tests.cluster_world import clustered
from tests.shared_emulator import emulating
from tests.world import World

database = store_postgres.database
README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def commands(parser: ArgumentParser) -> Iterator[ArgumentParser]:
    """Yield every command and every part of one."""
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for one in action.choices.values():
                yield one
                yield from commands(one)


ALL = {one.prog.removeprefix("reconciler "): one for one in commands(whole())}
ENDS = [name for name in ALL if not any(other.startswith(f"{name} ") for other in ALL)]
"""The commands that do something: not `state` but `state list`."""


def example(name: str) -> list[str]:
    """Return the words of a command's example."""
    (line,) = re.findall(r"^example: reconciler (.*)$", ALL[name].format_help(), re.MULTILINE)
    return shlex.split(line)


def codes(name: str) -> set[int]:
    """Return the exit codes that a command's help tells."""
    told = ALL[name].format_help().rpartition("exit codes: ")[2]
    return {int(code) for code in re.findall(r"(?:^|·|\n) *(\d+) ", told)}


@pytest.mark.parametrize("name", ALL)
def test_help_tells_purpose_example_and_exit_codes(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command and part: one line of purpose, an example of itself, codes that there are."""
    help, words = ALL[name].format_help(), example(name)

    assert help.count("exit codes: ") == 1
    assert {0, 1, 64} <= codes(name) <= set(Exit)
    assert max(map(len, help.splitlines())) <= 98
    purpose = ALL[name].description
    assert purpose
    assert "\n" not in purpose
    assert f"\n\n{purpose}\n" in help
    assert parse(words, {}).command == name.split()[0]
    assert " ".join(words).removeprefix("--chdir my-im ").startswith(name)
    for action in ALL[name]._actions:
        assert action.help or isinstance(action, _HelpAction | _SubParsersAction), action
    with pytest.raises(SystemExit) as ended:
        parse([*name.split(), "--help"], {})
    assert (ended.value.code, capsys.readouterr().out) == (0, help)


ORDER = ["init", "validate", "plan", "show", "apply", "import", "state", "refresh", "drift"]
"""What needs another's doing comes after it; a command that is not named comes last."""
LATER = ["state mv", "state rm", "state push", "state restore", "erase"]
"""What takes away or puts back what others look at comes at the very end."""
APART = {"demo", "emulator", "force-unlock", "worker"}
"""The others have a test of their own; `demo` is run from the wheel (`test_installed.py`)."""
SAYS_SO = {"drift": Exit.CHANGES, "fmt": Exit.CHANGES}
"""What ends with another code than 0 here: somebody was at the console, nobody laid files out."""


SCENARIOS = """\
scenarios:
  a ban is planned:
    given: {accounts: {spammer-77: {}}}
    when: {change: {spammer-77: {banned: true}}}
    expect: {actions: [block spammer-77]}
"""

BEFORE: dict[str, Callable[[World], object]] = {
    "import": lambda world: (
        world.run("state", "rm", "cn-prod/support-bot", "--auto-approve"),
        world.write("ids.txt", "cn-prod/support-bot\n"),
    ),
    "drift": lambda world: world.console("support-bot", enabled=False),
    "state mv": lambda world: world.write("before.json", world.run("state", "pull").out),
    "state rm": lambda world: world.run("state", "restore", "before.json", "--auto-approve"),
    "state push": lambda world: world.write("snapshot.json", world.run("state", "pull").out),
    "erase": lambda world: world.run("import", "cn-prod/support-bot"),
    "test": lambda world: world.write("tests/bans.test.yaml", SCENARIOS),
}
"""What has to be so for an example, beside what the ones before it have done."""


def test_examples_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every example does what its help says, in one workspace, as the exit codes in it tell."""

    def rank(name: str) -> tuple[int, int]:
        first = name.split()[0]
        return (
            LATER.index(name) + 1 if name in LATER else 0,
            ORDER.index(first) if first in ORDER else len(ORDER),
        )

    monkeypatch.chdir(tmp_path)
    failed = {}
    with emulating() as endpoint:
        world = World(tmp_path, endpoint)
        world.accounts("support-bot: {profile: {name: Support}}\nspammer-77: {}")
        for name in sorted(set(ENDS) - APART, key=rank):
            BEFORE.get(name, lambda _: None)(world)
            words = example(name)
            if "--auto-approve" in ALL[name].format_usage() and "--auto-approve" not in words:
                words.append("--auto-approve")
            ended = world.run(*words)
            if ended.code != SAYS_SO.get(name, Exit.DONE) or ended.code not in codes(name):
                failed[name] = ended
    assert failed == {}


def test_the_emulator_s_example_serves(tmp_path: Path) -> None:
    """`emulator` says where it listens as the first line, and ends when it is interrupted."""
    words = example("emulator")
    words[words.index("--port") + 1] = "0"
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "reconciler", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("listening on http://127.0.0.1:")
        process.terminate()
        assert process.wait(timeout=30) in codes("emulator") | {Exit.INTERRUPTED}


def test_the_force_unlock_s_example_unlocks(tmp_path: Path) -> None:
    """`force-unlock` with the id of a lock that is held breaks it."""
    world = World(tmp_path, "http://127.0.0.1:9")
    store = SqliteStore(tmp_path / ".reconciler/state.db", "test-im")
    with store.lock(Holder("ann", "elsewhere", 1, "apply")):
        words = example("force-unlock")
        words[words.index("ID")] = world.run("lock", "status", "--json").json["id"]
        ended = world.run(*words)
        free = world.run("lock", "status", "--json").json
    store.close()
    assert (ended.code, free["held"]) == (0, False), ended.err


def test_the_worker_s_example_drains(tmp_path: Path, database: str) -> None:
    """`worker --drain` carries out what was queued and ends."""
    with clustered(tmp_path, database) as world:
        world.declare("x: {}")
        assert world.run("apply", "--auto-approve", "--enqueue").code == 0
        ended = world.run(*example("worker"))
    assert (ended.code, ended.code in codes("worker")) == (0, True), ended.err


def test_the_readme_s_table_is_the_parser() -> None:
    """The README's table has every command and every part, and no other."""
    table = README.partition("\n## Commands\n")[2].partition("\n## ")[0]
    told = set()
    for cell in re.findall(r"(?m)^\| (`.*?) \|", table):
        for words in re.findall(r"`([^`]+)`", cell):
            first, _, parts = words.partition(" ")
            told |= {f"{first} {part}".strip() for part in parts.split(", ")}
    assert told == set(ENDS)
