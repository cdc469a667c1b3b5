"""The examples: everything shown there works as it is shown."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from reconciler.config import schema_text
from reconciler.config.schema import typed
from reconciler.config.workspace import whole
from reconciler.diagnostics import Diagnostic, warning
from reconciler.emulator import Settings, running
from tests.world import World

ROOT = Path(__file__).parents[1]


EXAMPLES = sorted(path.parent.name for path in (ROOT / "examples").glob("*/reconciler.yaml"))
NOW = datetime(2026, 12, 1, 12, 0, 0, tzinfo=UTC)
"""The bans of the examples end after it, so that they hold while the tests run."""

SECRETS = {
    "YUNXIN_APP_KEY": "demo-app-key",
    "YUNXIN_APP_SECRET": "demo-app-secret",
    "COMMSEASE_APP_KEY": "demo-app-key",
    "COMMSEASE_APP_SECRET": "demo-app-secret",
    "STAGING_APP_KEY": "staging-app-key",
    "STAGING_APP_SECRET": "staging-app-secret",
    "TENCENT_SECRET_KEY": "demo-secret-key",
    "IM_TOKEN_SUPPORT": "a-login-token",
    "IM_TOKEN_BILLING": "another-login-token",
    "IM_TOKEN_GATEWAY": "a-third-login-token",
}
APPS = {"yunxin": "yunxin/demo-app-key", "commsease": "yunxin/demo-app-key"}
APPS["tencent"] = "tencent/1400000000"


@pytest.fixture
def endpoints(endpoint: str) -> Iterator[tuple[str, str]]:
    """Two emulators: the one that every example points at, and that of the staging app."""
    staging = Settings(rate=0, app_key="staging-app-key", app_secret="staging-app-secret")
    with running(staging) as other:
        yield endpoint, other


def workspace(root: Path, name: str, endpoints: tuple[str, str]) -> World:
    """Return an example in a folder of its own, pointed at emulators."""
    world = World(root / name, endpoints[0])
    shutil.copytree(ROOT / "examples" / name, world.root, dirs_exist_ok=True)
    text = (world.root / "reconciler.yaml").read_text(encoding="utf-8")
    for port, endpoint in zip((8900, 8901), endpoints, strict=True):
        text = text.replace(f"http://127.0.0.1:{port}", endpoint)
    world.write("reconciler.yaml", text)
    world.environ |= SECRETS
    return world


@pytest.fixture
def example(tmp_path: Path, endpoints: tuple[str, str]) -> World:
    """The Yunxin example."""
    return workspace(tmp_path, "yunxin", endpoints)


def shapes(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield every YAML file of an example, and the schema it has to fit."""
    for path in sorted(root.rglob("*.yaml")):
        if path.name == "reconciler.yaml":
            yield path, "workspace"
        else:
            yield path, "scenario" if path.name.endswith(".test.yaml") else "accounts"


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_validates_plans_applies_and_leaves_nothing_to_do(
    tmp_path: Path, endpoints: tuple[str, str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Each fits its schemas, has no finding, is applied as planned, and then nothing is left."""
    for module in ("session", "cli.flags", "cli.validate"):
        monkeypatch.setattr(f"reconciler.{module}.now", lambda: NOW)
    world = workspace(tmp_path, name, endpoints)
    for path, schema in shapes(world.root):
        findings: list[Diagnostic] = []
        value = typed(whole(path, path.name, findings).value, schema)
        Draft202012Validator(json.loads(schema_text(schema))).validate(value)
        assert findings == []

    assert world.run("validate", "--json").json["diagnostics"] == []
    planned = world.run("plan", "--json").json
    text = (world.root / "reconciler.yaml").read_text(encoding="utf-8")
    types = dict(re.findall(r"^  ([a-z-]+):\n    type: (\w+)", text, re.MULTILINE))
    for action in planned["actions"]:
        if action["action"] == "adopt":
            # What is adopted exists at the vendor already.
            body = {"accounts": [{"account_id": action["account_id"]}]}
            world.control(f"accounts/{APPS[types[action['provider']]]}", body, "PUT")
    assert planned["summary"]["block"] + planned["summary"]["create"] > 0

    applied = world.run("apply", "--auto-approve", "--expect", planned["fingerprint"])
    assert applied.code == 0, applied.err
    again = world.run("plan")
    assert again.last.startswith("No changes. "), again.out
    assert world.run("drift").code == 0


def test_the_readme_of_the_examples_names_each() -> None:
    """Every folder of examples has a line, and no line is of a folder that is gone."""
    readme = (ROOT / "examples/README.md").read_text(encoding="utf-8")
    folders = {path.name for path in (ROOT / "examples").iterdir() if path.is_dir()}
    assert set(re.findall(r"^\| `([a-z-]+)/` \|", readme, re.MULTILINE)) == folders
    assert folders >= set(EXAMPLES)


def test_example_rule_refuses_a_ban_without_a_ticket(example: World) -> None:
    """The example's rule refuses a ban whose ticket is missing, naming account and file."""
    example.write("accounts/more.yaml", "accounts:\n  x-1: {banned: {reason: spam}}\n")

    ended = example.run("plan")

    assert ended.code == 4
    assert "accounts/more.yaml:2: error: block of cn-prod/x-1" in ended.err
    assert "spammer-77" not in ended.err


def test_example_scenarios_pass(example: World) -> None:
    """The example's scenarios pass, and fail where its rule is taken away."""
    assert example.run("test").code == 0
    file = example.root / "reconciler.yaml"
    example.write("reconciler.yaml", file.read_text().replace("action: [block]", "action: [adopt]"))

    ended = example.run("test")

    assert ended.code == 1
    assert "the plan is not refused by this:\n        - bans-have-tickets" in ended.out


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
