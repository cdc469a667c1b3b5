"""init: a workspace for one vendor or several, with what editors need, and nothing overwritten."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from reconciler.config import schema_text
from tests.world import World

FILES = {
    "reconciler.yaml",
    "accounts/example.yaml",
    ".gitignore",
    ".vscode/settings.json",
    ".vscode/extensions.json",
    ".reconciler/schemas/workspace.schema.json",
    ".reconciler/schemas/accounts.schema.json",
    ".reconciler/schemas/scenario.schema.json",
}


@pytest.fixture
def new(tmp_path: Path) -> World:
    """A folder that is not there yet."""
    world = World(tmp_path / "new", "")
    (world.root / "reconciler.yaml").unlink()
    return world


def held(world: World) -> dict[str, bytes]:
    """Return every file of a folder."""
    return {
        str(path.relative_to(world.root)): path.read_bytes()
        for path in world.root.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("words", "providers"),
    [
        ((), {"cn-prod": "yunxin"}),
        (("--from", "commsease"), {"sg-prod": "commsease"}),
        (("--from", "tencent"), {"sg-chat": "tencent"}),
        (("--from", "yunxin, tencent"), {"cn-prod": "yunxin", "sg-chat": "tencent"}),
        (
            ("--from", "tencent", "--from", "commsease,tencent"),
            {"sg-chat": "tencent", "sg-prod": "commsease"},
        ),
    ],
)
def test_it_validates_and_plans_as_it_stands(new: World, words, providers) -> None:
    """Each vendor's workspace is without a finding, and so it is once its example is taken."""
    made = new.run("init", *words)
    assert made.code == 0
    assert held(new).keys() == FILES
    assert {line.removeprefix("wrote ") for line in made.out.splitlines()} >= FILES

    written = (new.root / "reconciler.yaml").read_text()
    assert (
        dict(re.findall(r"^  ([a-z-]+):\n    type: ([a-z]+)", written, re.MULTILINE)) == providers
    )
    for name in set(re.findall(r"env:([A-Z]+_[A-Z_]+)", written)) - {"IM_TOKEN_SUPPORT"}:
        assert name in made.out or name.startswith("IM_TOKEN_")
    assert new.run("validate", "--json").json["diagnostics"] == []
    assert new.run("plan").last == "No changes. 0 accounts as recorded."

    example = new.root / "accounts/example.yaml"
    text = example.read_text()
    shown = re.search(r"^# accounts:\n(?:#   .*\n)+", text, re.MULTILINE)[0]
    example.write_text(text.replace("accounts: {}\n", re.sub("^# ", "", shown, flags=re.MULTILINE)))
    found = new.run("validate", "--json").json
    assert found["diagnostics"] == []
    planned = new.run("plan")
    assert planned.last.startswith(f"Plan: {len(providers)} to create, 0 to update, ")


def test_every_commented_setting_may_be_taken(new: World) -> None:
    """What stands in comments of reconciler.yaml is right as it is written there."""
    new.run("init")
    file = new.root / "reconciler.yaml"
    taken = re.sub(r"^# ?(?=(?:- \{|[a-z_]+:| +[-a-z]+))", "", file.read_text(), flags=re.MULTILINE)
    taken = taken.replace("- {files: moderation", "  - {files: moderation")
    lines = [line for line in taken.splitlines() if "yaml-language-server" not in line]
    file.write_text("\n".join(line for line in lines if not line.startswith("$schema")) + "\n")
    new.write("moderation/a.yaml", "accounts: {}\n")
    new.write("moderation/bans.csv", "id,reason,until,ticket\nx,spam,2020-01-01,\n")
    assert "accounts_from:\n  - {bans" in file.read_text()
    assert new.run("validate").out == "Valid: 1 account. 0 errors, 0 warnings.\n"


def test_editors_find_the_schemas_offline(new: World) -> None:
    """The first lines of each YAML file, and the editor's settings, lead to schemas beside them."""
    new.run("init")
    for name in ("reconciler.yaml", "accounts/example.yaml"):
        path = new.root / name
        kind = "workspace" if name == "reconciler.yaml" else "accounts"
        first, second = path.read_text().splitlines()[:2]
        assert first.startswith("# yaml-language-server: $schema=")
        assert second.startswith("# $schema: ")
        for line in (first, second):
            schema = path.parent / re.split("[=]|schema: ", line)[-1]
            assert schema.read_text() == schema_text(kind)
    settings = json.loads((new.root / ".vscode/settings.json").read_text())
    for schema in [*settings["yaml.schemas"], settings["json.schemas"][0]["url"]]:
        assert (new.root / schema).is_file()
    assert json.loads((new.root / ".vscode/extensions.json").read_text()) == {
        "recommendations": ["redhat.vscode-yaml"]
    }


def test_again_it_says_what_is_there_and_changes_nothing(new: World) -> None:
    """Run again, it writes what is missing and keeps the rest, also what differs."""
    new.run("init")
    before = held(new)
    again = new.run("init")
    assert again.code == 0
    assert held(new) == before
    assert [line for line in again.out.splitlines() if line.startswith("wrote")] == []
    assert again.out.startswith("kept reconciler.yaml\n")

    schema = new.root / ".reconciler/schemas/accounts.schema.json"
    schema.write_text("{}")
    (new.root / ".vscode/extensions.json").unlink()
    (new.root / "accounts/example.yaml").unlink()
    third = new.run("init", "--from", "tencent")
    assert "wrote .vscode/extensions.json" in third.out
    assert "accounts.schema.json, which is of another version" in third.out
    assert "    type: tencent" in third.out
    assert schema.read_text() == "{}"
    assert held(new).keys() == FILES - {"accounts/example.yaml"}


def test_a_link_is_not_written_through(new: World) -> None:
    """Where a link stands in the place of a file, what it leads to is not made or changed."""
    new.root.mkdir(exist_ok=True)
    outside = new.root.parent / "outside"
    (new.root / ".gitignore").symlink_to(outside)
    assert new.run("init").code == 0
    assert not outside.exists()
    assert os.path.islink(new.root / ".gitignore")


def test_an_unknown_vendor_is_wrong_usage(new: World) -> None:
    """It names the nearest one and writes nothing."""
    ended = new.run("init", "--from", "yunxin,tencnt")
    assert (ended.code, held(new)) == (64, {})
    assert "did you mean tencent?" in ended.err
