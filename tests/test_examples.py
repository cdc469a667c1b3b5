"""The examples and the README: everything shown there works as it is shown."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from reconciler.cli.arguments import _COMMANDS
from reconciler.diagnostics import warning
from reconciler.emulator import Settings, running
from reconciler.exits import Exit
from tests.world import World

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def example(tmp_path: Path) -> Iterator[World]:
    """The Yunxin example in a folder of its own, pointed at an emulator."""
    with running(Settings(rate=0)) as endpoint:
        world = World(tmp_path / "example", endpoint)
        shutil.copytree(ROOT / "examples/yunxin", world.root, dirs_exist_ok=True)
        file = world.root / "reconciler.yaml"
        world.write("reconciler.yaml", file.read_text().replace("http://127.0.0.1:8900", endpoint))
        world.environ |= {
            "YUNXIN_APP_KEY": "demo-app-key",
            "YUNXIN_APP_SECRET": "demo-app-secret",
            "IM_TOKEN_SUPPORT": "a-login-token",
        }
        yield world


def test_example_validates_plans_and_applies(example: World) -> None:
    """The example validates, and its apply leaves nothing to do."""
    example.seed("spammer-77", "fraud-12")

    assert example.run("validate").code == 0
    assert example.run("apply", "--auto-approve", "--allow", "block=2").code == 0
    assert example.vendor("fraud-12")["enabled"] is False
    assert example.run("plan").last == "No changes. 4 accounts as recorded."


def test_example_rule_refuses_a_ban_without_a_ticket(example: World) -> None:
    """The example's rule refuses a ban whose ticket is missing, naming account and file."""
    example.write("accounts/more.yaml", "accounts:\n  x-1: {banned: {reason: spam}}\n")

    ended = example.run("plan")

    assert ended.code == 4
    assert "accounts/more.yaml:2: error: block of cn-prod/x-1" in ended.err
    assert "spammer-77" not in ended.err


def paths(value: object, prefix: str = "") -> set[str]:
    """Return every path of a JSON value, lists without their positions."""
    if isinstance(value, dict):
        return {prefix} | {p for k, v in value.items() for p in paths(v, f"{prefix}.{k}")}
    if isinstance(value, list):
        return {prefix} | {p for one in value for p in paths(one, prefix)}
    return {prefix}


def test_the_example_policy_looks_at_what_a_plan_holds(example: World) -> None:
    """Every path of the plan's JSON that the policy names is in a plan; none is misspelt."""
    example.seed("spammer-77", "fraud-12")
    file = example.root / "reconciler.yaml"
    rule = "  - {id: who, when: {action: [block]}, approval: [trust-and-safety]}\n"
    example.write("reconciler.yaml", file.read_text() + rule)
    planned = example.run("plan", "--json").json
    planned["diagnostics"] = [warning("in-doubt", "It is in doubt.").to_json()]
    there = paths(planned)
    lists = {"action": "actions", "change": "actions.changes", "approval": "approvals"}
    lists |= {"finding": "diagnostics"}
    policy = re.sub(r"#.*|\"[^\"]*\"", "", (ROOT / "examples/policy/plan.rego").read_text())

    named = {f".{path}" for path in re.findall(r"\binput\.([a-z_.]+)", policy)}
    for item, at in lists.items():
        named |= {f".{at}.{path}" for path in re.findall(rf"\b{item}\.([a-z_.]+)", policy)}

    assert len(named) > 20
    assert named - there == set()


def blocks(language: str) -> list[str]:
    """Return the README's fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_readme_workspace(tmp_path: Path) -> None:
    """The README's YAML blocks are a workspace that validates, with each way to keep its state."""
    workspace, accounts, *states = blocks("yaml")
    (tmp_path / "accounts").mkdir()
    with running(Settings()) as endpoint:
        world = World(tmp_path, endpoint)
    world.write("reconciler.yaml", workspace)
    world.write("accounts/bots.yaml", accounts)

    assert list(yaml.safe_load(workspace)["providers"]) == ["cn-prod"]
    assert world.run("validate", "--json").json["valid"] is True
    assert "Plan: 1 to create" in world.run("plan", "--allow", "block=1").out
    assert len(states) >= 2
    for state in states:
        world.write("reconciler.yaml", f"{workspace}\n{state}")
        assert world.run("validate", "--json").json["diagnostics"] == []


def test_readme_names_every_command_and_exit_code() -> None:
    """The README's tables hold every command and every exit code."""
    for command in _COMMANDS:
        assert f"`{command}" in README, command
    for code in Exit:
        assert f"| {int(code)} |" in README, code


def test_readme_names_every_room() -> None:
    """The map in the README holds every room there is."""
    rooms = {
        path.stem
        for path in (ROOT / "reconciler").iterdir()
        if (path.suffix == ".py" or path.is_dir()) and not path.name.startswith("_")
    }
    for room in rooms - {"schemas"}:
        assert re.search(rf"`{room}/?`", README), room


def test_ci_runs_the_tests_as_the_readme_says() -> None:
    """CI makes the environment and runs the tests with the README's own words."""
    tests = next(block for block in blocks("sh") if "pytest" in block)
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
