"""Capabilities: what a vendor's table says is what `validate` holds accounts to, offline.

The cases are made from the tables, so a new vendor is tested by being there.
"""

from __future__ import annotations

import json
import socket
import string
from typing import NamedTuple

import pytest
from config_capabilities import TABLES
from config_files import reading, write

from reconciler.capabilities import Support
from tests.world import World

FILE = "accounts/a.yaml"
KNOWN = {"sdk_app_id": "1400000000", "admin": "administrator"}
"""Credentials that are no secret and so are written as they are."""

AROUND = {"profile.avatar": ("https://cdn.example.com/", ""), "profile.email": ("", "@example.com")}
"""What a text must begin and end with to be a value of its field at all."""

UNWRITTEN = {"token", "profile.birthday"}
"""Fields whose text no account file can make too long: a reference, and a date."""

FILLINGS = ("x", "好", "😀")
"""Characters of one, three and four bytes."""

ODD = {
    "profile.email": "a@example.com",
    "profile.avatar": "https://cdn.example.com/a.png",
    "profile.birthday": "1990-01-31",
    "profile.language": 1,
    "profile.level": 1,
    "profile.role": 1,
    "banned": True,
    "banned.kick": False,
    "token": {"from": "env:IM_TOKEN_A"},
    "token.vendor": {"generate": "vendor", "sink": "file:secrets/a"},
}
"""A value of each field that takes neither any text nor, as a flag, true."""

PATHS = list(dict.fromkeys(path for one in TABLES.values() for path in one.fields))
HELD = [(type, path) for type, one in TABLES.items() for path in one.fields]
LIMITED = [
    (type, path) for type, path in HELD if TABLES[type].fields[path].limit and path not in UNWRITTEN
]
CHOSEN = [(type, path) for type, path in HELD if TABLES[type].fields[path].choices]
LACKING = [
    (type, path)
    for type, one in TABLES.items()
    for path in PATHS
    if path not in one.fields or one.fields[path].support is Support.UNSUPPORTED
]


class Place(NamedTuple):
    """A file with one value in it, and where the value and its key stand."""

    file: str
    content: str
    value: tuple[int, int]
    key: tuple[int, int]


def workspace(type: str) -> str:
    """Return a workspace whose only provider is `app`, of a vendor type."""
    table = TABLES[type]
    credentials = ", ".join(
        f"{name}: {KNOWN.get(name, f'env:APP_{name.upper()}')}" for name in table.credentials
    )
    return f"""\
version: 1
workspace: test-im
providers:
  app:
    type: {type}
    region: {next(iter(table.regions))}
    credentials: {{{credentials}}}
accounts:
  - accounts/**/*.yaml
secrets: {{allow: ["env:IM_TOKEN_*", "file:secrets/*"]}}
"""


def key(path: str) -> str:
    """Return the path of one field, also where the table has a pattern."""
    return path.replace("*", "Colour").removesuffix(".vendor")


def sample(path: str) -> object:
    """Return a value that a vendor with this field takes."""
    for one in TABLES.values():
        if path in one.fields and one.fields[path].choices:
            return one.fields[path].choices[-1]
    return ODD.get(path, True if path.startswith("configuration.") else "x")


def yaml(path: str, value: object) -> Place:
    """Write a value as YAML, a level a line."""
    *sections, name = key(path).split(".")
    lines = ["accounts:", "  bot:"]
    lines += [f"{'  ' * depth}{section}:" for depth, section in enumerate(sections, 2)]
    indent = 2 * (len(sections) + 2)
    lines.append(f"{' ' * indent}{name}: {json.dumps(value, ensure_ascii=False)}")
    at = len(lines), indent + 1
    return Place(FILE, "\n".join(lines) + "\n", (at[0], at[1] + len(name) + 2), at)


def jsonl(path: str, value: object) -> Place:
    """Write a value as an account object on the second line."""
    shown = json.dumps(value, ensure_ascii=False)
    row = '{"id": "bot"'
    *sections, name = key(path).split(".")
    row += "".join(
        f', "{section}": {{' if n == 0 else f'"{section}": {{' for n, section in enumerate(sections)
    )
    row += f'{"" if sections else ", "}"{name}": '
    at = len(row) + 1
    row += shown + "}" * (len(sections) + 1)
    return Place("accounts/a.jsonl", f"\n{row}\n", (2, at), (2, at - len(name) - 4))


def csv(path: str, value: object) -> Place:
    """Write a value as the second cell of the second line."""
    shown = value if isinstance(value, str) else json.dumps(value)
    return Place("accounts/a.csv", f'id,{key(path)}\nbot,"{shown}"\n', (2, 2), (2, 2))


def text(path: str, size: int, unit: str, filling: str) -> str:
    """Return a text for a field that is exactly so long in the vendor's unit."""
    before, after = AROUND.get(path, ("", ""))
    room = size - len(before + after)
    one = len(filling.encode()) if unit == "bytes" else 1
    return before + filling * (room // one) + "x" * (room % one) + after


def test_the_limits_no_file_can_reach_are_these():
    """Every limit but that of tokens and dates is tested here, so a new one is too."""
    limited = {path for type, path in HELD if TABLES[type].fields[path].limit}
    assert limited - {path for _, path in LIMITED} == UNWRITTEN


@pytest.mark.parametrize("type", TABLES)
def test_every_fact_names_its_source(type):
    """Every field, and what else a table states, says where it was read."""
    table = TABLES[type]
    assert [path for path, field in table.fields.items() if not field.source] == []
    assert {what for what, source in table.sources.items() if source} == {
        "id",
        "regions",
        "rates",
        "batch",
    }
    assert table.rates[""] > 0
    assert table.batch.keys() == {"read", "create"}


@pytest.mark.parametrize(("type", "path"), HELD)
def test_every_field_of_a_table_can_be_written(tmp_path, type, path):
    """A field that the table has is taken by validate."""
    place = yaml(path, sample(path))
    assert reading(tmp_path, place.content, workspace=workspace(type)).errors == ()


@pytest.mark.parametrize(("type", "path"), LACKING)
def test_a_field_the_vendor_lacks_is_told_where_it_is_written(tmp_path, type, path):
    """A field that the table does not have is an error at its name, never silently dropped."""
    place = yaml(path, sample(path))
    found = reading(tmp_path, place.content, workspace=workspace(type))
    told = {(one.id, one.summary, one.source) for one in found.errors}
    assert ("unsupported-field", f"app has no field {key(path)}.", (FILE, *place.key)) in told


@pytest.mark.parametrize("form", [yaml, jsonl, csv])
@pytest.mark.parametrize(("type", "path"), LIMITED)
def test_a_text_may_be_as_long_as_the_vendor_takes_and_no_longer(tmp_path, type, path, form):
    """A text at the limit passes, one unit more is told at its place, in the vendor's unit."""
    field = TABLES[type].fields[path]
    for filling in FILLINGS:
        fits = text(path, field.limit, field.unit, filling)
        place = form(path, fits)
        found = reading(tmp_path, place.content, file=place.file, workspace=workspace(type))
        assert found.errors == ()
        (account,) = found.accounts
        held = account.written()
        for part in key(path).replace("banned", "ban").split("."):
            held = held[part]
        assert held == fits

        over = text(path, field.limit + 1, field.unit, filling)
        place = form(path, over)
        found = reading(tmp_path, place.content, file=place.file, workspace=workspace(type))
        (one,) = found.errors
        assert one.id == "too-long"
        assert one.source == (place.file, *place.value)
        assert one.summary == (
            f"{key(path)} has {field.limit + 1} {field.unit}; app takes {field.limit}."
        )
        assert one.hint


@pytest.mark.parametrize(("type", "path"), CHOSEN)
def test_a_value_is_one_of_the_vendors_choices(tmp_path, type, path):
    """Every choice is taken; anything else is told at its place with the choices."""
    choices = TABLES[type].fields[path].choices
    for choice in choices:
        place = yaml(path, choice)
        assert reading(tmp_path, place.content, workspace=workspace(type)).errors == ()
    number = isinstance(choices[0], int)
    for wrong in (max(choices) + 1, -1, "nobody") if number else ("nobody", ""):
        place = yaml(path, wrong)
        (one,) = reading(tmp_path, place.content, workspace=workspace(type)).errors
        assert (one.id, one.source) == ("bad-choice", (FILE, *place.value))
        assert one.hint


def letters(type: str) -> set[str]:
    """Return the printable ASCII characters that may stand within an id."""
    return {c for c in map(chr, range(32, 127)) if TABLES[type].id.pattern.fullmatch(f"a{c}a")}


def ids(root, type, *written):
    """Read a file with these ids, one a line from the second on."""
    rows = "".join(f"  {json.dumps(one, ensure_ascii=False)}: {{}}\n" for one in written)
    return reading(root, f"accounts:\n{rows}", workspace=workspace(type))


@pytest.mark.parametrize(
    ("type", "signs"), [("yunxin", "_@.-"), ("commsease", "_@.-"), ("tencent", "_-")]
)
def test_ids_are_of_the_letters_that_the_vendor_names(type, signs):
    """An id is of letters, digits and just those signs that the vendor's page names."""
    assert letters(type) == set(string.ascii_letters + string.digits + signs)


@pytest.mark.parametrize("type", TABLES)
def test_an_id_the_vendor_does_not_take_is_told_with_the_rule(tmp_path, type):
    """Empty, too long, or with a character beyond the rule: an error there, saying the rule."""
    rule = TABLES[type].id
    wrong = ["", "x" * (rule.limit + 1), "好" * rule.limit, "é", "\u212a", "\u0130", "a\u200bb"]
    wrong += [f"a{c}a" for c in map(chr, range(32, 127)) if c not in letters(type)]
    found = ids(tmp_path, type, *wrong)
    assert [(one.id, one.source) for one in found.errors] == [
        ("bad-id", (FILE, line, 3)) for line in range(2, len(wrong) + 2)
    ]
    assert all(one.hint.startswith(f"an id there is {rule.words}") for one in found.errors)
    assert str(rule.limit) in rule.words


@pytest.mark.parametrize("type", TABLES)
def test_an_id_may_be_as_long_as_the_vendor_takes(tmp_path, type):
    """An id of one character and one of the limit are taken."""
    written = "x", "x" * TABLES[type].id.limit
    found = ids(tmp_path, type, *written)
    assert found.errors == ()
    assert [account.address for account in found.accounts] == [f"app/{one}" for one in written]


@pytest.mark.parametrize(
    ("type", "id"),
    [
        ("yunxin", "."),
        ("yunxin", ".."),
        ("commsease", ".."),
        ("tencent", "好" * 32),
        ("tencent", "a.b"),
        ("tencent", "@RBT#1"),
        ("tencent", "@TLS#1"),
    ],
)
def test_these_ids_are_refused(tmp_path, type, id):
    """Dots alone, 32 characters of 96 bytes, and the names that Tencent keeps for itself."""
    assert ids(tmp_path, type, id).ids == ["bad-id"]


@pytest.mark.parametrize("type", TABLES)
def test_ids_that_are_one_at_the_vendor_are_told_with_both_places(tmp_path, type):
    """Where the vendor lower-cases ids two spellings are one account; else they are two."""
    write(
        tmp_path,
        {
            FILE: "accounts:\n\n  bot: {}\n",
            "accounts/b.csv": "id,banned\nBOT,true\n",
            "accounts/c.jsonl": '\n\n{"id": "Bot"}\n',
        },
        workspace(type).replace("**/*.yaml", "*"),
    )
    found = reading(tmp_path, "accounts:\n\n  bot: {}\n", workspace=workspace(type))
    if not TABLES[type].id.folds:
        assert sorted(account.address for account in found.accounts) == [
            "app/BOT",
            "app/Bot",
            "app/bot",
        ]
        return
    told = [(one.id, one.source.file, one.source.line, one.address) for one in found.errors]
    assert told == [
        ("duplicate-account", "accounts/b.csv", 2, "app/bot"),
        ("duplicate-account", "accounts/c.jsonl", 3, "app/bot"),
    ]
    assert all(f"{FILE}:3" in one.hint for one in found.errors)


@pytest.mark.parametrize("type", [type for type, path in HELD if path == "profile.birthday"])
@pytest.mark.parametrize(
    "day",
    ["2023-02-30", "2023-02-29", "1990-13-01", "1990-1-31", "19900131", "２０２３-01-01", "x"],
)
def test_a_birthday_is_a_real_date(tmp_path, type, day):
    """What is no day of the calendar as YYYY-MM-DD is told at its place."""
    place = yaml("profile.birthday", day)
    (one,) = reading(tmp_path, place.content, workspace=workspace(type)).errors
    assert (one.id, one.source) == ("bad-date", (FILE, *place.value))
    for good in ("2024-02-29", ""):
        place = yaml("profile.birthday", good)
        assert reading(tmp_path, place.content, workspace=workspace(type)).errors == ()


@pytest.mark.parametrize("type", [type for type, path in HELD if path == "profile.avatar"])
@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "javascript://cdn.example.com/%0aalert(1)",
        "JaVaScRiPt:alert(1)",
        "data:image/png;base64,AAAA",
        "file:///etc/passwd",
        "//cdn.example.com/a.png",
        "https:///a.png",
        "https://user:pw@cdn.example.com/a.png",
        "https://user@cdn.example.com/a.png",
        "https://cdn.example.com\\@evil.example/a.png",
        "https://cdn.example.com/a b.png",
        "ftp://cdn.example.com/a.png",
        "cdn.example.com/a.png",
    ],
)
def test_an_avatar_is_an_https_address(tmp_path, type, address):
    """Another scheme, a user name, a space or no host is an error at its place."""
    place = yaml("profile.avatar", address)
    (one,) = reading(tmp_path, place.content, workspace=workspace(type)).errors
    assert (one.id, one.source) == ("bad-url", (FILE, *place.value))


def test_an_extension_counts_as_the_text_that_is_sent(tmp_path):
    """A mapping is counted as the JSON text that the vendor gets, with characters as written."""
    for size, ids in ((1024 - len('{"a":""}'), []), (1025 - len('{"a":""}'), ["too-long"])):
        place = yaml("profile.extension", {"a": "好" * size})
        found = reading(tmp_path, place.content, workspace=workspace("yunxin"))
        assert found.ids == ids
        for account in found.accounts:
            assert account.written()["profile"]["extension"] == '{"a":"' + "好" * size + '"}'


SEVERAL = """\
accounts:
  bot:
    provider: cn
    profile: {gender: 3, birthday: 2023-02-30}
  shop:
    provider: sg
    profile: {location: 好好好好好好, allow_type: anyone, email: a@example.com}
    token: {from: env:IM_TOKEN_A}
  IDENTITY: {provider: sg}
  name:
    provider: cn
    profile: {name: NAME}
  Shop: {provider: cn}
  sHOP: {provider: cn}
"""

TOLD = """\
accounts/a.yaml:4:23: error: '3' is none of 0, 1, 2, unknown, male, female.
    hint: choose from: 0, 1, 2, female, male, unknown
accounts/a.yaml:4:36: error: '2023-02-30' is no date.
    hint: write a real date as YYYY-MM-DD
accounts/a.yaml:7:25: error: profile.location has 18 bytes; sg takes 16.
    hint: shorten it
accounts/a.yaml:7:45: error: 'anyone' is none of need_confirm, allow_any, deny_any.
    hint: choose from: allow_any, deny_any, need_confirm
accounts/a.yaml:7:53: error: sg has no field profile.email.
    hint: remove it, or give the account to another provider
accounts/a.yaml:8:5: error: sg has no field token.
    hint: remove it, or give the account to another provider
accounts/a.yaml:9:3: error: 'IDENTITY' is no account id in sg.
    hint: an id there is 1 to 32 of the letters A-Z and a-z, digits, _ and -; U+597D is none of them
accounts/a.yaml:12:21: error: profile.name has 65 characters; cn takes 64.
    hint: shorten it
accounts/a.yaml:14:1: error: The account cn/shop is written twice.
    It stands at accounts/a.yaml:13 too.
    hint: keep one; the other is at accounts/a.yaml:13
accounts/a.yaml:13:3: warning: cn keeps the id 'Shop' as 'shop'.
    hint: write shop
accounts/a.yaml:14:3: warning: cn keeps the id 'sHOP' as 'shop'.
    hint: write shop
"""


def test_validate_tells_all_of_it_offline(tmp_path, monkeypatch):
    """`validate` names file, line, column, limit and unit of each, and opens no connection."""

    def refuse(*_args, **_more):
        raise AssertionError("validate opens no socket")

    world = World(tmp_path, "http://127.0.0.1:9")
    cn, sg = (workspace(type).split("  app:\n")[1] for type in ("yunxin", "tencent"))
    head = workspace("yunxin").split("  app:\n")[0]
    providers = f"  cn:\n{cn.split('accounts:')[0]}  sg:\n{sg}"
    world.write("reconciler.yaml", head + providers)
    identity = "好" * 32
    world.write(FILE, SEVERAL.replace("NAME", "好" * 65).replace("IDENTITY", identity))
    monkeypatch.setattr(socket, "socket", refuse)

    ended = world.run("validate")

    assert ended.code == 1
    assert ended.out == "9 errors, 2 warnings.\n"
    assert ended.err == TOLD.replace("IDENTITY", identity)
