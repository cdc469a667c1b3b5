"""Sheets of bans: what moderators keep in a spreadsheet means just what the YAML would."""

from __future__ import annotations

import pytest
from config_capabilities import BOTH, WORKSPACE
from config_files import Reading, read, write

FROM = "accounts_from: [{bans: moderation/*.csv}]\n"
SHEET = "moderation/bans.csv"
A = "accounts:\n"


def sheet(root, content: str | bytes, workspace: str = WORKSPACE, entry: str = FROM) -> Reading:
    """Read a workspace that has this sheet, and no other account."""
    only = workspace.replace("accounts:\n  - accounts/**/*.yaml\n", "")
    write(root, {SHEET: content}, f"{only}{entry}")
    return read(root)


def as_yaml(root, text: str) -> Reading:
    """Read the same written as YAML, in a file whose accounts exist already."""
    write(root, {"accounts/a.yaml": f"defaults: {{adopt: true}}\n{A}{text}"})
    return read(root)


ROWS = """\
id,reason,until,ticket,evidence,kick,notify,banned
timed,spam,2027-01-31,TS-1,,,,
whole,fraud,2027-01-31T08:00:00+08:00,TS-2,https://a.example/1 https://a.example/2,false,"{""a"":1}",
bare,,,,,,,
007,1e5,,"a, b",x;y ; z,TRUE,,TRUE
lifted,spam,2099-01-01,TS-3,x,,,FALSE
lapsed,spam,2020-01-01,,,,,true
"""
MEANT = """\
  timed: {banned: {reason: spam, until: 2027-01-31, ticket: TS-1}}
  whole:
    banned: {reason: fraud, until: 2027-01-31, ticket: TS-2, kick: false, notify: '{"a":1}',
             evidence: ["https://a.example/1", "https://a.example/2"]}
  bare: {banned: true}
  007: {banned: {reason: 1e5, ticket: 'a, b', evidence: [x, y, z]}}
  lifted: {banned: false}
  lapsed: {banned: {reason: spam, until: 2020-01-01}}
"""


@pytest.mark.parametrize(
    "content",
    [
        ROWS,
        "\ufeff" + ROWS.replace("\n", "\r\n"),
        ROWS.replace("id,reason,until", "ID, Reason ,UNTIL"),
        "".join(f"{line},,\r\n" for line in ROWS.splitlines()) + ",,,,,,,,,\r\n" * 3,
        ROWS + "\n\n , ,,,,,,\n",
        '"' + ROWS.replace(",reason", '",reason', 1),
    ],
    ids=["plain", "bom-and-crlf", "letter-case", "empty-columns-and-rows", "blank-rows", "quoted"],
)
def test_a_sheet_means_what_the_yaml_would(tmp_path, content):
    """Rows adopt and ban, as YAML with the same fields, however the spreadsheet saved them."""
    found, meant = sheet(tmp_path / "sheet", content), as_yaml(tmp_path / "yaml", MEANT)
    assert found.errors == meant.errors == ()
    assert found.written == meant.written
    assert all(account.adopt for account in (*found.accounts, *meant.accounts))
    assert [account.line for account in found.accounts] == list(range(2, 8))


def test_columns_stand_in_any_order(tmp_path):
    """The header says which column is which."""
    found = sheet(tmp_path, "until,banned,ticket,id,reason\n2027-01-31,,TS-1,a,spam\n,FALSE,,b,\n")
    assert found.written == {
        "cn/a": {"ban": {"reason": "spam", "ticket": "TS-1", "until": "2027-01-31T00:00:00Z"}},
        "cn/b": {},
    }


@pytest.mark.parametrize(
    ("entry", "column", "cell", "addresses"),
    [
        ("{bans: moderation/*.csv, provider: sg}", "", "", ["sg/A"]),
        ("{bans: moderation/*.csv, provider: [cn, sg]}", "", "", ["cn/a", "sg/A"]),
        ("{bans: moderation/*.csv, provider: sg}", "provider", "cn", ["cn/a"]),
        ("{bans: moderation/*.csv}", "Provider", "cn; sg", ["cn/a", "sg/A"]),
        ("{bans: moderation/*.csv, provider: sg}", "provider", "", ["sg/A"]),
    ],
)
def test_the_provider_is_named_by_the_entry_or_the_row(tmp_path, entry, column, cell, addresses):
    """A row's own provider wins over that of `accounts_from`; both may be several."""
    content = f"id,reason,until,ticket,{column}\nA,spam,,,{cell}\n"
    found = sheet(tmp_path, content, BOTH, f"accounts_from: [{entry}]\n")
    assert found.errors == ()
    assert [account.address for account in found.accounts] == addresses


HEAD = "id,reason,until,ticket"
BAD = [
    (
        "unknown-column",
        "id,resaon,until,ticket\na,,,\n",
        "unknown-key",
        1,
        2,
        "did you mean reason",
    ),
    ("missing-column", "id,reason,until\na,spam,\n", "missing-key", 1, 1, "may be empty"),
    ("no-id-column", "reason,until,ticket\nspam,,\n", "missing-key", 1, 1, "add it"),
    ("twice", f"{HEAD},Reason\na,,,,\n", "duplicate-key", 1, 5, "keep one"),
    ("no-name", "id,reason,,until,ticket\na,,,,\n", "bad-key", 1, 3, "choose from"),
    ("semicolons", "id;reason;until;ticket\na;spam;;\n", "bad-row", 1, 1, "with commas"),
    ("tabs", "id\treason\tuntil\tticket\na\tspam\t\t\n", "bad-row", 1, 1, "with commas"),
    ("long-row", f"{HEAD}\na,spam, and more,,TS-1\n", "bad-row", 2, 1, "quote cells"),
    ("short-row", f"{HEAD}\n\na,spam\n", "bad-row", 3, 1, "leave out empty cells"),
    ("no-id", f"{HEAD}\n,spam,,\n", "missing-key", 2, 1, "column id"),
    ("same-id", f"{HEAD}\na,spam,,\nb,,,\na,,,\n", "duplicate-key", 4, 1, "line 2"),
    ("bad-id", "reason,id,until,ticket\nspam,a b,,\n", "bad-id", 2, 2, "an id there is"),
    ("formula", f"{HEAD}\na,=1+1,,\n", "formula", 2, 2, "letter or a digit"),
    ("formula-id", f"{HEAD}\n@sum,,,\n", "formula", 2, 1, "YAML file"),
    ("formula-plus", f"{HEAD}\na,,,+1\n", "formula", 2, 4, "letter or a digit"),
    ("formula-minus", f"{HEAD}\na,,,-cmd|' /C calc'!A0\n", "formula", 2, 4, "letter or a digit"),
    ("failed", f"{HEAD}\na,#NAME?,,\n", "rewritten", 2, 2, "as text"),
    ("too-narrow", f"{HEAD}\na,spam,########,\n", "rewritten", 2, 3, "as text"),
    ("number-id", f"{HEAD}\n1.23457E+15,,,\n", "rewritten", 2, 1, "digits are lost"),
    ("day-first", f"{HEAD}\na,,31/01/2027,\n", "bad-time", 2, 3, "write 2027-01-31,"),
    ("either", f"{HEAD}\na,,1/2/27,\n", "bad-time", 2, 3, "write 2027-02-01 or 2027-01-02,"),
    ("short-date", f"{HEAD}\na,,2027-1-31,\n", "bad-time", 2, 3, "write 2027-01-31,"),
    ("dots", f"{HEAD}\na,,31.1.2027 0:00,\n", "bad-time", 2, 3, "write 2027-01-31,"),
    ("counted", f"{HEAD}\na,,46418,\n", "bad-time", 2, 3, "write 2027-01-31,"),
    ("no-zone", f"{HEAD}\na,,2027-01-31 10:00,\n", "bad-time", 2, 3, "midnight UTC"),
    ("wahr", f"{HEAD},banned\na,,,,WAHR\n", "wrong-type", 2, 5, "write one of them"),
    ("kick", f"{HEAD},kick\na,,,,no\n", "wrong-type", 2, 5, "write one of them"),
    ("latin-1", f"{HEAD}\na,Café,,\n".encode("latin-1"), "encoding", 2, 6, "as UTF-8"),
    ("utf-16", f"{HEAD}\na,,,\n".encode("utf-16"), "encoding", 1, 1, "as UTF-8"),
    ("open-quote", f'{HEAD}\na,"spam,,\n', "syntax", 2, 1, "quotes"),
    ("empty", "", "missing-key", 1, 1, "id, reason, until, ticket"),
    ("only-blank", ",,,\n\n", "missing-key", 1, 1, "id, reason, until, ticket"),
]


@pytest.mark.parametrize(
    ("content", "id", "line", "column", "hint"),
    [case[1:] for case in BAD],
    ids=[case[0] for case in BAD],
)
def test_what_is_wrong_in_a_sheet_is_told_at_its_cell(tmp_path, content, id, line, column, hint):
    """Each is one finding with its line, the number of the cell, and what to do."""
    (one,) = sheet(tmp_path, content).errors
    assert (one.id, one.source) == (id, (SHEET, line, column)), one
    assert hint in one.hint


def test_everything_wrong_in_a_sheet_is_told_at_once(tmp_path):
    """One bad row does not hide another, nor a good one."""
    rows = "a,=x,31/01/2027,\nb,spam\nc,,,\nd,,soon,\n"
    found = sheet(tmp_path, f"{HEAD}\n{rows}")
    assert [(one.id, one.source.line) for one in found.errors] == [
        ("formula", 2),
        ("bad-time", 2),
        ("bad-row", 3),
        ("bad-time", 5),
    ]
    assert [account.address for account in found.accounts] == ["cn/c"]


def test_no_provider_is_told_once_at_the_entry(tmp_path):
    """Where several providers could be meant, that none is named is told in reconciler.yaml."""
    found = sheet(tmp_path, f"{HEAD}\na,,,\nb,,,\n", BOTH)
    (one,) = found.errors
    assert (one.id, one.source.file, one.source.line) == ("no-provider", "reconciler.yaml", 13)
    assert "cn, sg" in one.hint


@pytest.mark.parametrize(
    ("entry", "id", "line", "column"),
    [
        ("{bans: ../bans.csv}", "outside", 13, 12),
        ("{ban: x.csv}", "unknown-key", 13, 6),
        ("{provider: cn}", "missing-key", 13, 5),
        ("{bans: moderation/*.csv, provider: ch}", "unknown-provider", 13, 40),
        ("{bans: moderation/*.csv, provider: [cn, ch]}", "unknown-provider", 13, 45),
        ("moderation/*.csv", "wrong-type", 13, 5),
        ("{bans: other/*.csv}", "empty-glob", 13, 5),
        ("{bans: accounts/a.yaml}", "two-readers", 13, 5),
    ],
)
def test_a_wrong_entry_is_told_in_the_workspace_file(tmp_path, entry, id, line, column):
    """What is wrong with an entry of `accounts_from` has its place there."""
    write(
        tmp_path,
        {SHEET: f"{HEAD}\na,,,\nb,,,\n", "accounts/a.yaml": f"{A}  x: {{}}\n"},
        f"{WORKSPACE}\naccounts_from:\n  - {entry}\n",
    )
    told = [one for one in read(tmp_path).errors if one.id != "missing-key" or one.id == id]
    assert [(one.id, str(one.source)) for one in told] == [(id, f"reconciler.yaml:{line}:{column}")]


def test_a_sheet_is_a_csv_file(tmp_path):
    """Another kind of file is no sheet, and is told as such."""
    write(
        tmp_path,
        {"moderation/a.yaml": "accounts: {}\n"},
        f"{WORKSPACE}accounts_from: [{{bans: moderation/*}}]\n",
    )
    assert next((one.id, str(one.source)) for one in read(tmp_path).errors) == (
        "file-kind",
        "moderation/a.yaml",
    )


def test_an_id_in_a_sheet_and_in_yaml_names_both_places(tmp_path):
    """The same account in a sheet and in an account file is an error, not two truths."""
    write(
        tmp_path,
        {SHEET: f"{HEAD}\nbot,,,\nBOT2,,,\n", "accounts/a.yaml": f"{A}  Bot: {{}}\n  bot2: {{}}\n"},
        WORKSPACE + FROM,
    )
    found = read(tmp_path)
    assert [(one.id, str(one.source), one.hint) for one in found.errors] == [
        ("duplicate-account", f"{SHEET}:2:1", "keep one; the other is at accounts/a.yaml:2"),
        ("duplicate-account", f"{SHEET}:3:1", "keep one; the other is at accounts/a.yaml:3"),
    ]
