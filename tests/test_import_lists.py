"""Lists of accounts for `import --from`: what they name, and each bad line in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.config.lists import MOST, read
from reconciler.errors import ConfigError
from reconciler.providers import capabilities

TABLES = {"cn-prod": capabilities("yunxin")}
BOTH = {**TABLES, "sg-chat": capabilities("tencent")}


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("a.txt", "\ufeff# mine\r\n\r\n  Alice \r\ncn-prod/bob\r\nalice\r\n", "alice bob +1"),
        ("a.txt", "a@b.c", "a@b.c"),
        ("a.csv", '\ufeffname,id\n"A, B",alice\n,\n"two\nlines",BOB\n', "alice bob"),
        ("a.csv", "address,x,y,z\ncn-prod/alice\nbob,1\n", "alice bob"),
        ("a.csv", "id,provider\nalice,cn-prod\nbob,\n", "alice bob"),
        ("a.jsonl", '{"id":"alice","x":[1]}\n\n{"address":"cn-prod/Bob"}\n', "alice bob"),
        ("a.jsonl", '{"id":"alice","provider":"cn-prod"}\r\n{"id":"alice"}', "alice +1"),
    ],
)
def test_lists(tmp_path: Path, name: str, text: str, named: str) -> None:
    """Each kind of list names accounts by id or address, once each, folded as the vendor does."""
    (tmp_path / name).write_bytes(text.encode())
    found = read(tmp_path / name, name, TABLES)
    again = f" +{found.again}" if found.again else ""
    assert " ".join(one.removeprefix("cn-prod/") for one in found.addresses) + again == named


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.txt", "cn-prod/a\n/b\nx y\nzz/c\nd\nsg-chat/a@b", "2:1 3:1 4:1 5:1 6:1"),
        ("a.txt", "cn-prod/a\ncn-prod/b\x07\ncn-prod/c\u2028\n", "2:10 3:10 2:1"),
        ("a.csv", "id,provider\na,zz\n b,cn-prod\nc,cn-prod,x\n,cn-prod\n", "2:1 3:1 4:1 5:1"),
        ("a.csv", "name,mail\na,b\n", "1:1"),
        ("a.csv", 'address,id\n"cn-prod/a,1\n', "2:1"),
        ("a.csv", "x,id\n1,a\n", "2:2"),
        ("a.jsonl", '{"id":"a"}\n{"id":1}\n{bad\n[]\n{"id":"a","id":"b"}\n', "1:1 2:1 3:2 4:1 5:1"),
        ("a.jsonl", "\ufeff{}\n", "1:1 1:1"),
        ("a.jsonl", "[" * 100_000, "1:1"),
        ("a.txt", "\0" * 8, "1:1"),
        ("a.txt", "cn-prod/a\n\xff", "2:1"),
    ],
)
def test_what_lists_do_not_name_is_told_in_its_place(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    """Every bad line, row and object is a finding at its line and column, all at once."""
    (tmp_path / name).write_bytes(text.encode("latin-1" if "\xff" in text else "utf-8"))
    with pytest.raises(ConfigError) as failed:
        read(tmp_path / name, name, BOTH)
    places = [str(one.source).removeprefix(f"{name}:") for one in failed.value.diagnostics]
    assert " ".join(places) == told, failed.value.diagnostics


def test_a_broken_line_deep_in_a_list(tmp_path: Path) -> None:
    """Line 70,001 is named; of very many bad lines some are, and the rest are counted."""
    lines = ["cn-prod/a"] * 70_000
    path = tmp_path / "a.txt"
    path.write_text("\n".join([*lines, "what is this", ""]))
    with pytest.raises(ConfigError) as failed:
        read(path, "a.txt", BOTH)
    assert [str(one.source) for one in failed.value.diagnostics] == ["a.txt:70001:1"]
    path.write_text("?\n" * 1000)
    with pytest.raises(ConfigError) as failed:
        read(path, "a.txt", BOTH)
    assert len(failed.value.diagnostics) == MOST + 1
    assert failed.value.diagnostics[-1].summary == "There are 800 more findings."
