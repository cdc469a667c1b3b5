"""The READMEs: what they show works, what they name is there, and no link leads nowhere."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from reconciler.cli.arguments import _COMMANDS, parse
from reconciler.emulator import Settings, running
from reconciler.exits import Exit
from tests.forks import forking
from tests.shared_emulator import control
from tests.world import World

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "examples/README.zh-CN.md").read_text(encoding="utf-8")
FILES = sorted(
    path
    for folder in (".", ".github", "reconciler", "schemas", "examples", "tests")
    for path in (ROOT / folder).glob("**/*.md" if folder != "." else "*.md")
    if path.name != "CHANGELOG.md"
)
"""Every document that people read."""

Block = tuple[str, str]


def blocks(text: str, language: str = r"\w*") -> list[Block]:
    """Return language and text of each fenced block."""
    return re.findall(rf"^```({language})\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def section(text: str, title: str, level: str = "##") -> str:
    """Return what stands beneath a title, up to the next one of its level or above."""
    found = re.search(rf"(?ms)^{level} {re.escape(title)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", text)
    assert found, title
    return found[1]


# The first hour

WITH_EXITS = re.compile(r"# exit (\d+)$")
VENDORS = ("yunxin", "commsease", "tencent")


def hours(text: str) -> dict[str, list[Block]]:
    """Return the blocks of each vendor's first workspace, by vendor."""
    told = next(
        part for part in re.split(r"(?m)^## ", text) if "reconciler emulator --port" in part
    )
    return dict(zip(VENDORS, map(blocks, re.split(r"(?m)^### ", told)), strict=True))


def plain(block: str) -> str:
    """Return a block without the remarks behind its lines, which are in the reader's language."""
    return re.sub(r"(?m) +# .*$", "", block)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with what the first hour runs: `reconciler` without its start-up, and `curl`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {
        "reconciler": f"#!/bin/sh\n{forking().line}\n",
        "curl": f"#!{sys.executable} -IS\n{CURL}",
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


CURL = """\
import sys
from urllib.request import Request, urlopen
_, method, url, _, data = sys.argv[2:]
urlopen(Request(url, data.encode(), method=method), timeout=10).close()
"""
"""`curl -s -X METHOD URL -d DATA`, for machines that have none."""


def ran(script: list[str], programs: Path) -> subprocess.CompletedProcess[str]:
    """Run lines of shell, of which the first that fails is the last."""
    return subprocess.run(
        ["sh", "-eu", "-c", "\n".join(script)],
        env={"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(programs.parent)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_first_hour(vendor: str, tmp_path: Path, endpoint: str, programs: Path) -> None:
    """Each block does what it says, in its order; a command ends with 0 but where it says so."""
    (tmp_path / "home").mkdir()
    script = [f"cd {tmp_path}/home"]
    for language, block in hours(README)[vendor]:
        text = block.replace("http://127.0.0.1:8900", endpoint)
        if language == "yaml":
            name = block.partition("\n")[0].removeprefix("# ")
            script.append(f"mkdir -p {Path(name).parent}\ncat >{name} <<'END'\n{text}END")
            continue
        for line in text.splitlines():
            if line.startswith("reconciler emulator"):
                continue  # the fixture's serves
            expected = WITH_EXITS.search(line)
            script.append(
                f"code=0; {{ {plain(line)}\n}} || code=$?; echo ended with $code: '{plain(line)}'"
            )
            script.append(f"[ $code = {expected[1] if expected else 0} ] || exit 99")
    ended = ran(script, programs)
    assert ended.returncode == 0, ended.stdout
    assert "Apply complete: " in ended.stdout
    assert "only recorded" in ended.stdout or vendor != "commsease"
    held = World(tmp_path / "look", endpoint).control("accounts")["accounts"]
    banned = {one["account_id"] for one in held if not one["enabled"] or one["extra"]}
    assert banned == {"spammer-77" if vendor == "yunxin" else "troll-12"}


def test_the_chinese_first_hour_is_the_same() -> None:
    """Its blocks are those of the English one, word for word; only remarks are translated."""
    assert [
        [(language, plain(block)) for language, block in made] for made in hours(CHINESE).values()
    ] == [[(language, plain(block)) for language, block in made] for made in hours(README).values()]
    assert blocks(section(README, "Try it")) == blocks(CHINESE)[:2]
    assert "(examples/README.zh-CN.md)" in README.partition("\n## ")[0]


# What is shown elsewhere


def shown(name: str, language: str) -> list[str]:
    """Return the blocks of a document in a language."""
    return [text for _, text in blocks((ROOT / name).read_text(encoding="utf-8"), language)]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The README's workspace and accounts, in a time at which its bans are still to end."""
    monkeypatch.setattr("reconciler.cli.validate.now", lambda: datetime(2026, 12, 1, tzinfo=UTC))
    with running(Settings()) as endpoint:
        world = World(tmp_path, endpoint)
    for language, block in hours(README)["yunxin"]:
        if language == "yaml":
            # A ban of the README ends late, so that it holds whenever somebody reads it.
            text = block.replace("2030-12-31", "2027-01-31")
            world.write(block.partition("\n")[0].removeprefix("# "), text)
    assert world.run("validate", "--json").json["diagnostics"] == []
    return world


SETTINGS = {
    "schemas/README.md": 4,
    "reconciler/stores/README.md": 4,
}
"""Documents whose YAML is settings for a workspace, and how many such blocks each has."""


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_are_shown_are_valid(name: str, world: World) -> None:
    """Each block of settings validates beside the README's workspace and the sheet it names."""
    workspace = (world.root / "reconciler.yaml").read_text(encoding="utf-8")
    world.write("moderation/bans.csv", *shown("schemas/README.md", "csv"))
    world.write("moderation/bans.yaml", "accounts:\n  troll-3: {banned: true}\n")
    settings = [text for text in shown(name, "yaml") if yaml.safe_load(text)]  # else a modeline
    assert len(settings) == SETTINGS[name]
    for setting in settings:
        world.write("reconciler.yaml", f"{workspace}\n{setting}")
        assert world.run("validate", "--json").json["diagnostics"] == [], setting


def test_scenarios_that_are_shown_pass(world: World) -> None:
    """The scenarios of their README pass beside the rule that they are about."""
    (scenarios,) = shown("reconciler/rehearse/README.md", "yaml")
    rule = (
        "{id: ban-needs-ticket, when: {action: [block]}, require: {banned.ticket: {pattern: TS}}}"
    )
    workspace = (world.root / "reconciler.yaml").read_text(encoding="utf-8")
    world.write("reconciler.yaml", f"{workspace}\nrules: [{rule}]")
    world.write("tests/bans.test.yaml", scenarios)
    assert world.run("test").last == "2 scenarios: 2 passed, 0 failed."


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command of ours in the shell blocks of a document."""
    for _, block in blocks(text, "sh"):
        for line in plain(block).splitlines():
            for part in re.split(r" && | \|\| | & ?$", line):
                words = shlex.split(part, comments=True)
                if words[:1] == ["reconciler"]:
                    yield words[1:]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_that_are_shown_are_understood(path: Path) -> None:
    """Every command in every document is one, with options that it has."""
    for words in commands(path.read_text(encoding="utf-8")):
        assert parse(words, {}).command in _COMMANDS


def test_the_examples_are_tried_as_it_is_told(
    tmp_path: Path, endpoint: str, programs: Path
) -> None:
    """The commands that try an example do so, at an emulator that is running."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    file = tmp_path / "examples/yunxin/reconciler.yaml"
    file.write_text(file.read_text().replace("http://127.0.0.1:8900", endpoint))
    first = shown("examples/README.md", "sh")[0].splitlines()
    assert first[0] == "reconciler emulator --port 8900 &"
    ended = ran([f"cd {tmp_path}", *first[1:]], programs)
    assert ended.returncode == 0, ended.stdout
    assert "Plan: " in ended.stdout


def test_the_emulator_in_a_test_is_used_as_it_is_told() -> None:
    """The Python that its README shows runs, and the fault that it shows is taken."""
    (python,) = shown("reconciler/emulator/README.md", "python")
    (fault,) = shown("reconciler/emulator/README.md", "json")
    script = python.replace("...", "print(control(url, 'faults', json.loads(fault), 'POST'))")
    made: dict[str, object] = {"control": control, "json": json, "fault": fault}
    exec(compile(script, "README.md", "exec"), made)


RUN = {
    "README.md",
    "examples/README.md",
    "examples/README.zh-CN.md",
    "reconciler/emulator/README.md",
    "reconciler/rehearse/README.md",
    *SETTINGS,
    "reconciler/edit/README.md",  # by test_fmt.py
    "reconciler/providers/README.md",  # by test_vendor_example.py
}
TOLD = {
    "reconciler/README.md",  # stories: test_adoption_story.py, test_rules_cli.py, test_installed.py
    "examples/ci/README.md",  # of a CI service
    ".github/CONTRIBUTING.md",  # these ask an index
    "tests/README.md",  # these take minutes
    "tests/benchmarks/README.md",
}
"""Documents whose blocks are run, and those whose commands are only understood."""


def test_every_document_with_blocks_is_known() -> None:
    """A document that shows something is run by a test, or is known not to be."""
    assert {
        str(path.relative_to(ROOT)) for path in FILES if blocks(path.read_text(encoding="utf-8"))
    } == RUN | TOLD


# What is named


def test_the_readme_names_every_command_and_exit_code() -> None:
    """The README's tables hold every command and every exit code."""
    for command in _COMMANDS:
        assert f"`{command}" in README, command
    for code in Exit:
        assert f"| {int(code)} |" in README, code


def test_the_readme_names_every_room() -> None:
    """The map in the README holds every room there is."""
    rooms = {
        path.stem
        for path in (ROOT / "reconciler").iterdir()
        if (path.suffix == ".py" or path.is_dir()) and not path.name.startswith("_")
    }
    told = section(README, "Map of the rooms")
    for room in rooms - {"schemas"}:
        assert re.search(rf"`{room}/?`", told), room


def test_every_promise_names_a_test_that_exists() -> None:
    """Each promise of the README stands beside a test of that name in that file."""
    rows = re.findall(r"(?m)^\| (.+?) \| (.+) \|$", section(README, "What it promises"))[2:]
    assert len(rows) >= 15
    for promise, proof in rows:
        named = re.fullmatch(r"\[`(test_\w+)`\]\((tests/test_\w+\.py)\)", proof)
        assert named, promise
        text = (ROOT / named[2]).read_text(encoding="utf-8")
        assert re.search(rf"(?m)^ *def {named[1]}\(", text), proof


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    """Each link to a file names one that is there, and one of its titles where it names one."""
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name) if name else path
        assert file.exists(), target
        if anchor:
            titles = re.findall(r"(?m)^#+ (.+)$", file.read_text(encoding="utf-8"))
            anchors = {re.sub(r"[^\w\- ]", "", one).lower().replace(" ", "-") for one in titles}
            assert anchor in anchors, target


def test_every_folder_says_what_is_in_it() -> None:
    """Every folder at the top has a README, and the first one stays short enough to be read."""
    for folder in ("schemas", "examples", "tests", "reconciler", "reconciler/emulator"):
        assert (ROOT / folder / "README.md").is_file()
    assert len(README.splitlines()) <= 400


def test_ci_runs_the_tests_as_the_readme_says() -> None:
    """CI makes the environment and runs the tests with the README's own words."""
    tests = next(text for _, text in blocks(README, "sh") if "pytest" in text)
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    for step in tests.strip().split(" && "):
        wanted = step.replace(" -q ", " --quiet --disable-pip-version-check ")
        assert wanted in script, step


def test_the_tests_that_their_readme_names_are_there() -> None:
    """What `tests/README.md` says is proved by a test is proved by one of that name."""
    told = (ROOT / "tests/README.md").read_text(encoding="utf-8")
    files = {path.name: path.read_text("utf-8") for path in (ROOT / "tests").glob("*.py")}
    for file in re.findall(r"\b(test_[a-z0-9_]+\.py)", told):
        assert file in files, file
    for name in re.findall(r"(?:::|`)(test_[a-z0-9_]+)`", told):
        assert any(f"def {name}(" in text for text in files.values()), name
