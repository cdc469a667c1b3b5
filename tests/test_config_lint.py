"""Lint: what vendors take and people may not have meant, under ids that a workspace can switch."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from config_capabilities import BOTH, WORKSPACE
from config_files import Reading, read, write
from core_accounts import NOW

from reconciler.config import schema_text
from reconciler.config.lint import ALWAYS, LINTS

A = "accounts:\n"
SEVERAL = BOTH.replace(
    "  - accounts/**/*.yaml", "  - {files: accounts/*.yaml, defaults: {provider: cn}}"
)
TENCENT = BOTH.replace("admin: administrator", "admin: caller")


def linted(root, accounts: str, lint: str = "", moment=NOW, workspace: str = WORKSPACE) -> Reading:
    """Validate these accounts, or read them as a plan does."""
    write(root, {"accounts/a.yaml": f"{A}{accounts}"}, f"{workspace}{lint}")
    return read(root, moment)


def told(found: Reading) -> list[tuple[str, int, int]]:
    """Return id, line and column of what only warns."""
    return [(one.id, one.source.line, one.source.column) for one in found.warnings]


CASES = {
    "folded-id": ("  Bot: {}\n", 2, 3),
    "plain-http": ("  a: {profile: {avatar: http://cdn.example.com/a.png}}\n", 2, 25),
    "long-id": (f"  a: {{}}\n  {'x' * 31}: {{}}\n", 3, 3),
    "reserved-id": ("  administrator: {provider: sg}\n", 2, 3),
    "look-alike": ("  admin: {}\n  b: {}\n  adrnin: {}\n", 4, 1),
    "same-email": ("  a: {profile: {email: A@x.io}}\n  b: {profile: {email: a@X.io}}\n", 3, 1),
    "same-mobile": ("  a: {profile: {mobile: +86 1-2}}\n  b: {profile: {mobile: +8612}}\n", 3, 1),
    "broken-extension": ("  a: {profile: {extension: '{\"a\": 1'}}\n", 2, 28),
}


def test_every_kind_is_tested_and_switched_by_the_schema():
    """The table, these tests and the schema know the same kinds."""
    assert CASES.keys() == LINTS.keys()
    assert set(
        re.findall(r'"([a-z-]+)": \{"\$ref": "#/\$defs/level"\}', schema_text("workspace"))
    ) == (LINTS.keys())
    assert LINTS.keys() > ALWAYS


def test_the_readme_names_every_kind():
    """The table in the schemas' README says what each kind finds, and whether a plan says it."""
    readme = (Path(__file__).parents[1] / "schemas/README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+) \| (.*) \|$", readme, re.MULTILINE)
    assert [(id, text) for id, text, where in rows if where.startswith("validate")] == list(
        LINTS.items()
    )
    assert {id for id, _, where in rows if where == "validate, plan"} == ALWAYS


@pytest.mark.parametrize("id", CASES)
def test_a_kind_warns_and_can_be_an_error_or_nothing(tmp_path, id):
    """By default it is a warning in its place; `lint` makes it an error there, or nothing."""
    accounts, line, column = CASES[id]
    found = linted(tmp_path, accounts, workspace=SEVERAL)
    assert found.errors == ()
    assert told(found) == [(id, line, column)]
    assert found.warnings[0].hint

    assert told(linted(tmp_path, accounts, f"lint: {{{id}: warn}}\n", workspace=SEVERAL)) == [
        (id, line, column)
    ]
    off = linted(tmp_path, accounts, f"lint: {{{id}: off}}\n", workspace=SEVERAL)
    assert (off.errors, off.warnings) == ((), [])
    (one,) = linted(tmp_path, accounts, f"lint: {{{id}: error}}\n", workspace=SEVERAL).errors
    assert (one.id, one.source) == (id, ("accounts/a.yaml", line, column))


@pytest.mark.parametrize("id", CASES)
def test_a_plan_says_only_what_costs_no_time(tmp_path, id):
    """Most kinds are looked for by `validate` alone."""
    found = linted(tmp_path, CASES[id][0], moment=None, workspace=SEVERAL)
    assert found.errors == ()
    assert [one.id for one in found.warnings] == [id] * (id in ALWAYS)


@pytest.mark.parametrize(
    ("ids", "alike"),
    [
        (["admin", "adrnin"], True),
        (["admin", "adm1n"], False),
        (["b0b", "bob"], True),
        (["al1ce", "alice"], False),
        (["bi11ing", "billing"], True),
        (["vvolf", "wolf"], True),
        (["ali", "all"], False),
        (["user-10", "user-11", "user-1o"], True),
        (["a-b", "a_b", "a.b"], False),
    ],
)
def test_ids_that_look_alike_are_found(tmp_path, ids, alike):
    """0 and o, 1 and l, rn and m, vv and w; not every pair of ids that are near each other."""
    found = linted(tmp_path, "".join(f"  {one}: {{}}\n" for one in ids))
    assert [one.address for one in found.warnings] == [f"cn/{ids[-1]}"] * alike
    if alike:
        assert "accounts/a.yaml:2" in found.warnings[0].hint


@pytest.mark.parametrize(
    ("ids", "alike"),
    [(["Iris", "iris"], 1), (["Iris", "lris"], 1), (["Bot", "bot", "B0t"], 2), (["Ia", "IA"], 1)],
)
def test_letter_cases_count_where_the_vendor_tells_them_apart(tmp_path, ids, alike):
    """At Tencent ids that differ in letter case alone, or in I and l, look alike."""
    found = linted(tmp_path, "".join(f"  {one}: {{provider: sg}}\n" for one in ids), workspace=BOTH)
    assert [one.id for one in found.warnings] == ["look-alike"] * alike


def test_twins_are_looked_for_within_a_provider(tmp_path):
    """The same id, mail or number in two apps is one person; within one app it is told."""
    rows = (
        "  b0b: {provider: sg}\n  bob: {provider: cn, profile: {email: a@x.io, mobile: '1'}}\n"
        "  a: {provider: [cn, sg]}\n"
    )
    found = linted(tmp_path, rows, workspace=BOTH)
    assert (found.errors, found.warnings) == ((), [])


def test_letters_of_other_scripts_are_named(tmp_path):
    """A Cyrillic letter that looks Latin is no letter of an id; the finding says which it is."""
    (one,) = linted(tmp_path, "  admin: {}\n  \u0430dmin: {}\n").errors
    assert one.id == "bad-id"
    assert "U+0430 (CYRILLIC SMALL LETTER A) is none of them" in one.hint


@pytest.mark.parametrize(
    ("id", "near"),
    [("x" * 29, False), ("x" * 30, True), ("x" * 32, True), ("0aF" + "1" * 29, False)],
)
def test_an_id_near_the_limit_is_told_unless_it_is_a_whole_uuid(tmp_path, id, near):
    """From two below the limit on an id may have been cut; 32 hexadecimal digits are a UUID."""
    found = linted(tmp_path, f"  {id}: {{provider: sg}}\n", workspace=BOTH)
    assert [one.id for one in found.warnings] == ["long-id"] * near


@pytest.mark.parametrize("id", ["caller", "administrator"])
def test_the_account_that_signs_the_calls_is_reserved(tmp_path, id):
    """Tencent's own administrator, and the one of the app's credentials."""
    found = linted(tmp_path, f"  {id}: {{provider: sg, banned: true}}\n", workspace=TENCENT)
    assert [one.id for one in found.warnings] == ["reserved-id"]
    found = linted(tmp_path, f"  {id}: {{provider: cn}}\n", workspace=TENCENT)
    assert found.warnings == []


@pytest.mark.parametrize("id", ["@RBT#helper", "@TLS#1"])
def test_the_beginnings_that_tencent_keeps_are_named(tmp_path, id):
    """They are no ids anyway; the hint says why."""
    (one,) = linted(tmp_path, f"  '{id}': {{provider: sg}}\n", workspace=BOTH).errors
    assert one.id == "bad-id"
    assert f"{id[:5]} begins ids that the vendor keeps for itself" in one.hint


def test_twins_are_told_across_files_and_with_other_findings(tmp_path):
    """Accounts of other files count, and errors elsewhere hide nothing."""
    write(
        tmp_path,
        {
            "accounts/a.yaml": f"{A}  bob: {{}}\n  x: {{banned: maybe}}\n",
            "accounts/b.jsonl": '{"id": "b0b"}\n',
            "accounts/c.csv": "id,profile.name\nbo6,x\n80b,\nB0B,y\n",
        },
        WORKSPACE.replace("*.yaml", "*"),
    )
    found = read(tmp_path, NOW)
    assert [one.id for one in found.errors] == ["wrong-type", "duplicate-account"]
    assert [(one.id, str(one.source)) for one in found.warnings] == [
        ("folded-id", "accounts/c.csv:4:1"),
        ("look-alike", "accounts/b.jsonl:1:1"),
    ]


def test_very_many_twins_are_counted(tmp_path):
    """Two hundred are told, and how many more there are."""
    rows = "".join(f"  a{n}: {{profile: {{email: team@x.io}}}}\n" for n in range(700))
    found = linted(tmp_path, rows)
    assert len(found.warnings) == 201
    assert found.warnings[-1].summary == "There are 499 more findings."


def test_a_wrong_switch_is_told_with_what_was_meant(tmp_path):
    """An unknown kind, and an unknown level, are errors with a hint."""
    kind = linted(tmp_path, "  a: {}\n", "lint: {lookalike: off}\n")
    assert [(one.id, one.hint) for one in kind.errors] == [
        ("unknown-key", "did you mean look-alike?")
    ]
    level = linted(tmp_path, "  a: {}\n", "lint: {look-alike: warning}\n")
    assert [(one.id, one.hint) for one in level.errors] == [("bad-choice", "did you mean warn?")]
