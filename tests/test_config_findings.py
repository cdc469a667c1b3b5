"""Findings: what is wrong in account files is told with its place, all of it at once."""

from __future__ import annotations

import pytest
from config_files import reading

from reconciler.errors import ConfigError

A = "accounts:\n"


def one(field: str, id: str = "bot") -> str:
    return f"{A}  {id}: {{{field}}}\n"


def name(text: str) -> str:
    return f"{A}  bot:\n    profile:\n      name: {text}\n"


# Name, content, the finding's id, its line and column.
BAD = [
    ("tab", f"{A}\ta: {{}}\n", "syntax", 2, 1),
    ("tab2", f"{A}  a: {{}}\t# note\n", "tab", 2, 8),
    ("mark", f"{A}  a: {{labels: {{t: a\u200eb}}}}\n", "control-character", 2, 20),
    ("mark2", f"# a\u200eb\n{A}  a: {{profile: {{name: a\u200eb}}}}\n", "control-character", 1, 4),
    ("mark3", one(r'labels: {t: "\u200e"}'), "control-character", 2, 21),
    ("null", one("profile: {name: null}"), "null", 2, 25),
    ("null2", f"{A}  a:\n", "null", 2, 3),
    ("null3", one("profile: ~"), "null", 2, 18),
    ("unsupported", one("profile: {level: 3}"), "unsupported-field", 2, 19),
    ("choice", one("profile: {gender: 3}"), "bad-choice", 2, 27),
    ("float", one("profile: {extension: {a: 1.5}}"), "number", 2, 34),
    ("extnull", one("profile: {extension: {a: null}}"), "null", 2, 34),
    ("mail", one("profile: {email: a b}"), "bad-email", 2, 26),
    ("until", one("banned: {until: tomorrow}"), "bad-time", 2, 25),
    ("until2", one("banned: {until: 2027-01-31T00:00:00}"), "bad-time", 2, 25),
    ("bandefault", "defaults: {banned: true}\naccounts: {}\n", "unknown-key", 1, 12),
    ("provider", one("provider: cm"), "unknown-provider", 2, 19),
    ("manage", one("manage: {profil: on_create}"), "unknown-key", 2, 18),
    ("manage2", one("manage: {profile: sometimes}"), "bad-choice", 2, 27),
    ("absent", one("on_absent: delete"), "bad-choice", 2, 20),
]


@pytest.mark.parametrize(
    ("content", "id", "line", "column"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
)
def test_a_bad_input_is_told_with_its_place(tmp_path, content, id, line, column):
    """Each gives the finding of its kind at its place (the 112 bad inputs have their own tests)."""
    found = reading(tmp_path, content)
    assert isinstance(found.failure, ConfigError)
    match = next((one for one in found.errors if one.id == id), None)
    assert match, [(str(one.source), one.id, one.summary) for one in found.errors]
    assert match.hint
    assert match.source.file == "accounts/a.yaml"
    if line:
        assert match.source.line == line
    if column:
        assert match.source.column == column


GOOD = [
    ("mark", name("a\u200eb"), {"cn/bot": {"profile": {"name": "a\u200eb"}}}),
    ("crlf", name("a").replace("\n", "\r\n"), {"cn/bot": {"profile": {"name": "a"}}}),
    ("tab", name('"a\tb"'), {"cn/bot": {"profile": {"name": "a\tb"}}}),
    (
        "alias",
        f"{A}  a: &a {{banned: true}}\n  b: *a\n",
        {"cn/a": {"ban": {}}, "cn/b": {"ban": {}}},
    ),
]


@pytest.mark.parametrize(
    ("content", "documents"), [case[1:] for case in GOOD], ids=[case[0] for case in GOOD]
)
def test_what_is_written_is_kept(tmp_path, content, documents):
    """Ids and texts keep the characters written, whatever YAML would make of them elsewhere."""
    found = reading(tmp_path, content)
    assert not found.errors
    assert found.written == documents


def test_all_findings_of_all_files_come_at_once(tmp_path):
    """Every mistake of every file is told in one go, in the order of the files."""
    from config_files import read, write

    write(
        tmp_path,
        {
            "accounts/a.yaml": one("banned: maybe"),
            "accounts/b.yaml": "accounts: []\n",
            "accounts/c.yaml": f"{A}  x: {{profil: {{}}, banned: 1, labels: {{a: ~}}}}\n",
        },
    )
    found = read(tmp_path)
    assert [str(one.source.file) for one in found.errors] == [
        "accounts/a.yaml",
        "accounts/b.yaml",
        *["accounts/c.yaml"] * 3,
    ]


def test_very_many_findings_are_counted(tmp_path):
    """Beyond 200 findings only their number is told."""
    found = reading(
        tmp_path,
        A + "".join(f"  a{n}: {{banned: maybe}}\n" for n in range(150)),
        file="accounts/a.yaml",
    )
    assert len(found.errors) == 150
    found = reading(tmp_path, A + "".join(f"  a{n}: {{banned: maybe}}\n" for n in range(1500)))
    assert len(found.errors) == 201
    assert found.errors[-1].id == "more"


def test_a_forbidden_character_behind_many_tabs_is_found(tmp_path):
    """However many tabs stand in quoted texts, what comes behind them is looked at as well."""
    rows = "".join(f'  a{n}: {{profile: {{name: "a\tb"}}}}\n' for n in range(3000))
    padding = "".join(f"# {'x' * 100}\n" for _ in range(12_000))
    assert reading(tmp_path, f"{A}{rows}{padding}").errors == ()
    found = reading(tmp_path, f"{A}{rows}{padding}# \u2028\n")
    assert found.ids == ["control-character"]


def test_what_an_alias_brings_along_is_told_once(tmp_path):
    """A mistake in an anchor is told where it stands, however often it is referred to."""
    anchor = f"{A}  a: &a {{profile: {{name: !!str x}}}}\n"
    found = reading(tmp_path, anchor + "".join(f"  b{n}: *a\n" for n in range(5)))
    assert found.ids == ["tag"]
    assert (found.errors[0].source.line, found.errors[0].source.column) == (2, 26)
