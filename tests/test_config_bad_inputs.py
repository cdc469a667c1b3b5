"""Bad inputs: what is wrong in account files is told with its place, and never crashes."""

from __future__ import annotations

import time

import pytest
from config_files import reading

from reconciler.errors import ConfigError

A = "accounts:\n"


def one(field: str, id: str = "bot") -> str:
    return f"{A}  {id}: {{{field}}}\n"


def name(text: str) -> str:
    return f"{A}  bot:\n    profile:\n      name: {text}\n"


ALIAS_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGE_BOMB = "a: &a {x: 1}\n" + "".join(
    f"{b}: &{b} {{<<: [{','.join([f'*{a}'] * 9)}]}}\n"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)

# Number in the list of bad inputs, content, the finding's id, its line and column.
BAD = [
    ("4", "~\n", "wrong-type", 1, 1),
    ("5", "accounts:\n", "null", 1, 1),
    ("5b", "accounts: []\n", "wrong-type", 1, 1),
    ("5c", "accounts: text\n", "wrong-type", 1, 1),
    ("7", "- a\n- b\n", "wrong-type", 1, 1),
    ("8", f"{A}  a: {{}}\n---\n{A}  b: {{}}\n", "several-documents", 3, 1),
    ("9", "acounts:\n  a: {}\n", "unknown-key", 1, 1),
    ("10", f"{A}  a: {{}}\n  a: {{}}\n", "duplicate-key", 3, 3),
    ("12", name('"open'), "syntax", 4, 13),
    ("13", f"{A}  a: {{profile: {{name: x}}\n", "syntax", None, None),
    ("14", f"{A}<<<<<<< HEAD\n  a: {{}}\n=======\n  b: {{}}\n>>>>>>> x\n", "conflict-marker", 2, 1),
    ("28", f"{A}  : {{}}\n", "syntax", 2, 3),
    ("30", one("profile: {birthday: 2001-99-99}"), "bad-date", 2, 29),
    ("34", one('banned: "false"'), "wrong-type", 2, 17),
    ("35", one("profile: {name: a, name: b}"), "duplicate-key", 2, 28),
    ("38", ALIAS_BOMB + A + "  b: {}\n", "too-many-aliases", None, None),
    ("39", MERGE_BOMB + A + "  b: {}\n", "merge-key", None, None),
    ("40", f"{A}  b: &l [*l]\n", "bad-alias", 2, 10),
    ("41", f"{A}  b: &m {{profile: *m}}\n", "bad-alias", 2, 19),
    ("42", f"{A}  b: {'[' * 1100}{']' * 1100}\n", "too-deep", 2, None),
    ("43", f"{A}  b: {'[' * 50000}{']' * 50000}\n", "too-deep", 2, None),
    ("44", name("!!python/object/apply:os.system [id]"), "tag", 4, 13),
    ("45", name("!!python/name:os.system x"), "tag", 4, 13),
    ("46", name("!include /etc/passwd"), "tag", 4, 13),
    ("47", name("!!binary aGk="), "tag", 4, 13),
    ("48", name("!!set {a}"), "tag", 4, 13),
    ("49", f"%TAG ! tag:x,2000:\n---\n{A}  b: {{}}\n", "directive", 1, None),
    ("50", f"%YAML 9.9\n---\n{A}  b: {{}}\n", "syntax", 1, None),
    ("50b", f"%YAML 1.1\n---\n{A}  b: {{}}\n", "directive", 1, None),
    ("51", f"{A}  a: &a {{banned: true}}\n  b:\n    <<: *a\n", "merge-key", 4, 5),
    ("53", f"{A}  [a]: {{}}\n", "bad-key", 2, 3),
    ("55", f"\ufeff{A}  a: {{}}\n", "byte-order-mark", 1, 1),
    ("56", f"{A}  a: {{}}\n".encode("utf-16"), "encoding", 1, 1),
    ("57", name("Café").encode("latin-1"), "encoding", 4, 16),
    ("58", name("a\0b"), "control-character", 4, 14),
    ("59", name(r'"\0"'), "control-character", 4, 13),
    ("60", name(r'"\e[2J"'), "control-character", 4, 13),
    ("61", name("a\u009bb"), "control-character", 4, 14),
    ("62", f"# ok\u2028{A}  a: {{}}\n", "control-character", 1, 5),
    ("63", name("Alice\u2028    enabled: false"), "control-character", 4, 18),
    ("64", name("a\u2029b"), "control-character", 4, 14),
    ("65", name("a\u0085b"), "control-character", 4, 14),
    ("66", name("a\u202eb"), "control-character", 4, 14),
    ("67", name("a\u2067b"), "control-character", 4, 14),
    ("68", f"{A}  a\u200bb: {{}}\n", "bad-id", 2, 3),
    ("70", name(r'"\ud800"'), "syntax", 4, None),
    ("71", f"{A}  caf\u00e9: {{}}\n  cafe\u0301: {{}}\n", "duplicate-key", 3, 3),
    ("72", f"{A}  \u0430lice: {{}}\n", "bad-id", 2, 3),
    ("73", f"{A}  \uff41: {{}}\n", "bad-id", 2, 3),
    ("74", f"{A}  \u0130: {{}}\n  \u212a: {{}}\n", "bad-id", 2, 3),
    ("75", f"{A}\r  a: {{}}\r", "line-end", 2, 1),
    ("76", name("e" + "\u0301" * 100_000), "too-long", 4, 13),
    ("77", f"{A}  Alice: {{}}\n  alice: {{}}\n", "duplicate-account", 3, 1),
    ("78", one("", "x" * 33), "bad-id", 2, 3),
    ("80", one("", '""'), "bad-id", 2, 3),
    ("81", one("", "a b"), "bad-id", 2, 3),
    ("82", one("", "../x"), "bad-id", 2, 3),
    ("83", one("", "a/b?c#d"), "bad-id", 2, 3),
    ("84", one("", '"%2e%2e"'), "bad-id", 2, 3),
    ("85", one("", "@foo"), "syntax", 2, 3),
    ("87", name(r'"a\r\nb"'), "control-character", 4, 13),
    ("89", name("x") + "      extension: " + "x" * 10_000_000 + "\n", "too-long", 5, 18),
    ("91a", one('profile: {avatar: "javascript:alert(1)"}'), "bad-url", 2, 27),
    ("91b", one("profile: {avatar: file:///etc/passwd}"), "bad-url", 2, 27),
    ("91c", one("profile: {avatar: http://user:pw@169.254.169.254/}"), "bad-url", 2, 27),
    ("92", one("profile: {birthday: 2023-02-30}"), "bad-date", 2, 29),
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
    """Each bad input gives the finding of its kind at its place, in under a second or so."""
    start = time.process_time()
    found = reading(tmp_path, content)
    assert time.process_time() - start < 5
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
    ("1", "", {}),
    ("2", "# nothing\n", {}),
    ("3", "---\n...\n", {}),
    ("6", "accounts: {}\n", {}),
    ("15", one("", "007"), {"cn/007": {}}),
    ("16", one("", "0777"), {"cn/0777": {}}),
    ("17", one("", "0o17"), {"cn/0o17": {}}),
    ("18", one("", "1_000"), {"cn/1_000": {}}),
    ("21", one("", "0x1f"), {"cn/0x1f": {}}),
    ("22", one("", "1e5"), {"cn/1e5": {}}),
    ("23", one("", ".inf"), {"cn/.inf": {}}),
    ("24", one("", ".nan"), {"cn/.nan": {}}),
    ("25", one("", "no"), {"cn/no": {}}),
    ("26", one("", "on"), {"cn/on": {}}),
    ("27", one("", "y"), {"cn/y": {}}),
    ("28", one("", "null"), {"cn/null": {}}),
    ("29", one("", "2001-01-01"), {"cn/2001-01-01": {}}),
    ("36", f"{A}  1: {{}}\n  1.0: {{}}\n", {"cn/1": {}, "cn/1.0": {}}),
    ("37", f"{A}  true: {{}}\n  1: {{}}\n", {"cn/true": {}, "cn/1": {}}),
    ("86", one("", "-x"), {"cn/-x": {}}),
    ("85", one("", '"@foo"'), {"cn/@foo": {}}),
    ("33", name("a #b"), {"cn/bot": {"profile": {"name": "a"}}}),
    ("52", name("="), {"cn/bot": {"profile": {"name": "="}}}),
    ("88", name("=cmd()"), {"cn/bot": {"profile": {"name": "=cmd()"}}}),
    ("69", name("👩\u200d💻"), {"cn/bot": {"profile": {"name": "👩\u200d💻"}}}),
    (
        "90",
        name("x\n      extension: '{broken'"),
        {"cn/bot": {"profile": {"name": "x", "extension": "{broken"}}},
    ),
    ("mark", name("a\u200eb"), {"cn/bot": {"profile": {"name": "a\u200eb"}}}),
    ("crlf", name("a").replace("\n", "\r\n"), {"cn/bot": {"profile": {"name": "a"}}}),
    ("tab", name('"a\tb"'), {"cn/bot": {"profile": {"name": "a\tb"}}}),
    ("quoted-null", name('"null"'), {"cn/bot": {"profile": {"name": "null"}}}),
    *(
        (text, name(text), {"cn/bot": {"profile": {"name": text}}})
        for text in (
            "007",
            "+8613800138000",
            "no",
            "2001-01-01",
            "12:30:45",
            "22:22",
            "1e5",
            "0x1F",
            "1_000",
            ".inf",
            "true",
            "9" * 60,
        )
    ),
    (
        "alias",
        f"x: y\n{A}".replace("x: y\n", "") + "  a: &a {banned: true}\n  b: *a\n",
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


def test_a_number_of_many_digits_is_text(tmp_path):
    """A name of 5,000 digits is a text that is too long, not a number."""
    assert reading(tmp_path, name("9" * 5000)).ids == ["too-long"]


def test_bytes_count_where_the_vendor_counts_bytes(tmp_path):
    """32 characters of three bytes are too long for a vendor that counts bytes."""
    from config_capabilities import BOTH

    text = f"{A}  bot:\n    provider: sg\n    profile: {{location: {'好' * 6}}}\n"
    assert reading(tmp_path, text, workspace=BOTH).ids == ["too-long"]


def test_a_huge_file_is_refused_unread(tmp_path):
    """A file of a gigabyte is an error at once, without reading it."""
    reading(tmp_path, "")
    with open(tmp_path / "accounts/a.yaml", "wb") as file:
        file.truncate(1 << 30)
    from config_files import read

    assert read(tmp_path).ids == ["too-big"]


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
