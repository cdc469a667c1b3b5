"""Globs with settings: what an entry of `accounts` says lies beneath all accounts of its files."""

from __future__ import annotations

import json

import pytest
from config_capabilities import BOTH, WORKSPACE
from config_files import read, write

A = "accounts:\n"


def over(entries: str, workspace: str = WORKSPACE) -> str:
    """Return a workspace with these entries of `accounts`, whose first line is the ninth."""
    before, _, rest = workspace.partition("accounts:\n  - accounts/**/*.yaml\n")
    return f"{before}accounts:\n{entries}{rest}"


ENTRY = """\
  - files: "*/*"
    adopt: true
    defaults:
      protected: true
      on_absent: block
      manage: {profile: on_create}
      profile: {name: Glob, sign: glob}
      labels: {team: glob, tier: glob}
"""
FILE = {
    "yaml": "defaults: {profile: {sign: file}, labels: {tier: file}}\n",
    "account": {"profile": {"name": "Account"}, "labels": {"more": "own"}, "adopt": False},
}
MADE = {
    "profile": {"name": "Account", "sign": "file"},
    "labels": {"team": "glob", "tier": "file", "more": "own"},
    "manage": {"profile": "on_create"},
    "protected": True,
    "on_absent": "block",
}


def test_the_account_wins_over_the_file_and_the_file_over_the_glob(tmp_path):
    """Sections are merged field by field, all else is taken whole, in three layers."""
    account = json.dumps(FILE["account"])
    write(tmp_path, {"a/a.yaml": f"{FILE['yaml']}{A}  x: {account}\n  y: {{}}\n"}, over(ENTRY))
    found = read(tmp_path)
    assert found.errors == ()
    assert found.written["cn/x"] == MADE
    assert found.written["cn/y"]["profile"] == {"name": "Glob", "sign": "file"}
    assert [(one.adopt, one.once) for one in found.accounts] == [
        (False, ("profile",)),
        (True, ("profile",)),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.yaml", f"{A}  x: {{labels: {{more: own}}}}\n"),
        ("a.yml", f"{A}  x: {{labels: &a {{more: own}}}}\n"),
        ("a.json", '{"accounts": {"x": {"labels": {"more": "own"}}}}'),
        ("a.jsonl", '{"id": "x", "labels": {"more": "own"}}\n'),
        ("b.jsonl", r'{"id": "x", "labels": {"mor\u0065": "own"}}'),
        ("a.csv", "id,labels.more\nx,own\n"),
    ],
)
def test_every_reader_lays_them_beneath(tmp_path, name, content):
    """All kinds of files, read fast and carefully, get the same from their glob."""
    write(tmp_path, {f"a/{name}": content}, over(ENTRY))
    found = read(tmp_path)
    assert found.errors == ()
    (account,) = found.accounts
    assert account.adopt
    assert account.written() == {
        **MADE,
        "profile": {"name": "Glob", "sign": "glob"},
        "labels": {"team": "glob", "tier": "glob", "more": "own"},
    }


def test_of_two_globs_the_later_one_wins(tmp_path):
    """A file that two globs match is read once, with both: the later one over the earlier one."""
    entries = """\
  - {files: "a/*.yaml", adopt: true, defaults: {labels: {a: "1", b: "1"}, on_absent: block}}
  - a/**/*.yaml
  - {files: "**/ban*.yaml", defaults: {labels: {b: "3"}, adopt: false}}
"""
    write(
        tmp_path, {"a/bans.yaml": f"{A}  x: {{}}\n", "a/b.yaml": f"{A}  y: {{}}\n"}, over(entries)
    )
    found = read(tmp_path)
    assert found.errors == ()
    assert {one.address: (one.written(), one.adopt) for one in found.accounts} == {
        "cn/x": ({"labels": {"a": "1", "b": "3"}, "on_absent": "block"}, False),
        "cn/y": ({"labels": {"a": "1", "b": "1"}, "on_absent": "block"}, True),
    }


@pytest.mark.parametrize(
    ("entry", "line", "column", "id"),
    [
        ("{files: x.yaml, default: {}}", 9, 21, "unknown-key"),
        ("{files: x.yaml, defaults: {banned: true}}", 9, 32, "unknown-key"),
        ("{files: x.yaml, defaults: {labels: {a: ~}}}", 9, 44, "null"),
        ("{files: x.yaml, defaults: }", 9, 31, "null"),
        ("{files: x.yaml, adopt: yes}", 9, 28, "wrong-type"),
        ("{files: x.yaml, adopt: true, defaults: {adopt: true}}", 9, 21, "duplicate-key"),
        ("{files: ../x.yaml, adopt: true}", 9, 13, "outside"),
        ("{files: a**/x.yaml}", 9, 13, "bad-glob"),
        ("{adopt: true}", 9, 5, "missing-key"),
        ("{files: a/*, defaults: {profile: {email: nobody}}}", 9, 46, "bad-email"),
        ("{files: a/*, defaults: {profile: {nam: x}}}", 9, 39, "unknown-key"),
        ("{files: a/*, defaults: {provider: [cn, ch]}}", 9, 44, "unknown-provider"),
        ("{files: a/*, defaults: {profile: {level: 3}}}", 9, 39, "unsupported-field"),
        ('{files: a/*, defaults: {labels: {a: "\\u200e"}}}', 9, 41, "control-character"),
    ],
)
def test_a_wrong_setting_is_told_in_the_workspace_file(tmp_path, entry, line, column, id):
    """What is wrong in a glob's settings is told there, once, however many accounts it is of."""
    accounts = f"{A}  x: {{}}\n  y: {{}}\n"
    write(
        tmp_path,
        {"a/1.yaml": accounts, "a/2.yaml": accounts.replace("x:", "z:").replace("y:", "w:")},
        over(f"  - {entry}\n"),
    )
    (one,) = read(tmp_path).errors
    assert (one.id, one.source) == (id, ("reconciler.yaml", line, column)), one
    assert one.hint


def test_a_default_that_only_warns_is_told_once(tmp_path):
    """A warning about a glob's default has its place there, too."""
    entry = '  - {files: "a/*", defaults: {profile: {avatar: "http://cdn.example.com/a.png"}}}\n'
    files = {f"a/{n}.yaml": f"{A}  x{n}: {{}}\n  y{n}: {{}}\n" for n in range(3)}
    write(tmp_path, files, over(entry))
    found = read(tmp_path)
    assert len(found.accounts) == 6
    assert [(one.id, str(one.source)) for one in found.warnings] == [
        ("plain-http", "reconciler.yaml:9:49")
    ]


def test_an_accounts_own_mistake_stays_where_it_is(tmp_path):
    """A field of the account or of its file is told there, also where the glob has it as well."""
    entry = "  - {files: a/*, defaults: {provider: cn, profile: {name: x}}}\n"
    write(
        tmp_path,
        {
            "a/1.yaml": f"defaults: {{provider: ch}}\n{A}  x: {{}}\n",
            "a/2.yaml": f"{A}  y: {{profile: {{email: nobody}}}}\n  z: {{profile: {{name: ~}}}}\n",
        },
        over(entry, BOTH),
    )
    assert [(one.id, str(one.source)) for one in read(tmp_path).errors] == [
        ("unknown-provider", "a/1.yaml:1:22"),
        ("bad-email", "a/2.yaml:2:24"),
        ("null", "a/2.yaml:3:23"),
    ]


def test_an_empty_glob_is_told_at_its_entry(tmp_path):
    """A glob that matches nothing is told with its line, as which of several it is matters."""
    write(tmp_path, {"a/1.yaml": f"{A}  x: {{}}\n"}, over("  - a/*\n  - {files: b/*}\n"))
    (one,) = read(tmp_path).errors
    assert (one.id, str(one.source)) == ("empty-glob", "reconciler.yaml:10:5")
