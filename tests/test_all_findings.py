"""All findings at once: every reader's mistakes in one run, in their places, and counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_capabilities import WORKSPACE
from config_files import read, reading, write

from reconciler.config.files import LARGEST

A = "accounts:\n"
SHEET = "id,reason,until,ticket\n"


def crowded(root: Path) -> None:
    """Write a workspace that has something wrong with every kind of file."""
    broken = [f'{{"id": "j{n}"}}' for n in range(70_002)]
    broken[70_000] = '{"id": "j70000", "banned": tru}'
    broken[70_001] = '{"banned": true}'
    write(
        root,
        {
            "accounts/a.yaml": f"{A}  bot: {{}}\n  twice: {{}}\n"
            "  bad: {profile: {nam: x}, banned: 1}\n",
            "accounts/b.csv": "id,banned\nc1,true\nc2,true,\nc3,maybe\n",
            "accounts/c.csv": "name,banned\nx,true\n",
            "accounts/d.jsonl": "\n".join(broken),
            "accounts/e.json": '{"accounts": {"bot": {}, "e1": {"labels": []}}}',
            "accounts/f.txt": "",
            "accounts/g.yaml": f"{A}  g1: {{banned: true\n",
            "bans/a.csv": f"{SHEET}twice,spam,,\ns1,spam\ns2,=x,31/01/2027,\n",
            "bans/b.csv": "id,resaon,until,ticket\n",
        },
        WORKSPACE.replace(
            "  - accounts/**/*.yaml",
            '  - accounts/*\n  - {files: "more/*.yaml"}\n'
            "  - {files: accounts/*.json, defaults: {profile: {level: 3}}}",
        )
        + "accounts_from: [{bans: bans/*.csv}, {bans: gone.csv}]\n",
    )
    (root / "accounts/h.yaml").symlink_to(root.parent / "outside.yaml")
    (root.parent / "outside.yaml").write_text(f"{A}  out: {{}}\n")
    with (root / "accounts/i.yaml").open("wb") as file:
        file.truncate(LARGEST + 1)


def test_everything_wrong_is_told_in_one_run(tmp_path):
    """Readers, globs, links and sizes: one reading names all of it, with file, line and column."""
    root = tmp_path / "ws"
    root.mkdir()
    crowded(root)
    found = read(root)
    assert [(str(one.source), one.id) for one in found.errors] == [
        ("reconciler.yaml:11:51", "unsupported-field"),
        ("accounts/f.txt", "file-kind"),
        ("accounts/h.yaml", "outside"),
        ("accounts/a.yaml:4:19", "unknown-key"),
        ("accounts/a.yaml:4:36", "wrong-type"),
        ("accounts/b.csv:3:1", "bad-row"),
        ("accounts/b.csv:4:2", "wrong-type"),
        ("accounts/c.csv:1:1", "missing-key"),
        ("accounts/d.jsonl:70001:28", "syntax"),
        ("accounts/d.jsonl:70002:1", "missing-key"),
        ("accounts/e.json:1:1", "duplicate-account"),
        ("accounts/e.json:1:43", "wrong-type"),
        ("accounts/g.yaml:3:1", "syntax"),
        ("accounts/i.yaml", "too-big"),
        ("bans/a.csv:2:1", "duplicate-account"),
        ("bans/a.csv:3:1", "bad-row"),
        ("bans/a.csv:4:2", "formula"),
        ("bans/a.csv:4:3", "bad-time"),
        ("bans/b.csv:1:2", "unknown-key"),
        ("reconciler.yaml:10:5", "empty-glob"),
        ("reconciler.yaml:13:37", "empty-glob"),
    ]
    assert all(one.hint and one.summary.endswith(".") for one in found.errors)
    twice = {one.source.file: one.hint for one in found.errors if one.id == "duplicate-account"}
    assert "accounts/a.yaml:2" in twice["accounts/e.json"]
    assert "accounts/a.yaml:3" in twice["bans/a.csv"]


@pytest.mark.parametrize(
    ("file", "content", "rest"),
    [
        ("a.csv", "id,banned\n" + "a,true,x\n" * 1000, "at least 1 more finding."),
        ("a.jsonl", '{"id": 1}\n' * 1000, "at least 1 more finding."),
        ("a.yaml", A + "".join(f"  a{n}: 1\n" for n in range(1000)), "at least 1 more finding."),
        (
            "a.json",
            '{"accounts": {' + ",".join(f'"a{n}": 1' for n in range(1000)) + "}}",
            "at least 1 more finding.",
        ),
        ("a.yaml", A + "".join(f"  a{n}: 1\n" for n in range(200)), None),
        ("a.yaml", A + "".join(f"  A{n}: {{}}\n" for n in range(203)), "3 more findings."),
    ],
    ids=["csv", "jsonl", "yaml", "json", "just-two-hundred", "warnings"],
)
def test_very_many_findings_are_counted(tmp_path, file, content, rest):
    """Two hundred are told; where a reader stopped the number of the others is a lower bound."""
    found = reading(tmp_path, content, file=f"accounts/{file}")
    told = found.errors or found.warnings
    assert len(told) == (201 if rest else 200)
    assert all(one.source.line for one in told[:200])
    if rest:
        assert told[-1].id == "more"
        assert told[-1].summary.endswith(f" {rest}")


def test_a_sheet_of_many_mistakes_is_counted(tmp_path):
    """So it is with sheets of bans, and with findings of several files."""
    rows = "".join(f"a{n},=x,,\n" for n in range(150))
    write(
        tmp_path,
        {"a.csv": SHEET + rows, "b.csv": SHEET + rows.replace("a", "b")},
        WORKSPACE.replace("accounts:\n  - accounts/**/*.yaml", 'accounts_from: [{bans: "*.csv"}]'),
    )
    found = read(tmp_path)
    assert len(found.errors) == 201
    assert found.errors[-1].summary == "There are 100 more findings."
