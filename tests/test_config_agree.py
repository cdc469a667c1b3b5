"""The fast and the careful reading of YAML mean the same, and the fast one never takes more."""

from __future__ import annotations

import io
import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from config_capabilities import BOTH, TABLES
from config_files import write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.config import load, schema_text
from reconciler.config.careful import Careful
from reconciler.config.files import Found
from reconciler.config.judge import Judge
from reconciler.config.lines import Unusual, read
from reconciler.config.quick import Doubt, doubt
from reconciler.config.schema import typed
from reconciler.config.text import pieces
from reconciler.diagnostics import has_errors

ACCOUNTS = jsonschema.Draft202012Validator(json.loads(schema_text("accounts")))


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    root: Path = tmp_path_factory.mktemp("workspace")
    write(root, {}, BOTH)
    workspace = load(root, capabilities=TABLES.get)
    return Judge(workspace, {name: TABLES[app.type] for name, app in workspace.apps.items()})


def fast(judge, text):
    """Return the accounts and the raw values, None where the fast reading gives up."""
    made, raws = [], {}
    bench = judge.within("a.yaml", {})
    try:
        for key, line, raw in read(pieces(io.BytesIO(text.encode()), "a.yaml")):
            if not isinstance(raw, dict):
                return None
            if not key:
                judge.fit(raw, doubt)
                bench = judge.within("a.yaml", raw)
                raws["defaults"] = raw
                continue
            made += bench.accounts(key, raw, line, doubt)
            raws.setdefault("accounts", {})[key] = raw
    except (Unusual, Doubt):
        return None
    return made, raws


def careful(judge, text):
    reader = Careful(judge, Found("a.yaml", ()))
    return list(reader.yaml(io.BytesIO(text.encode()))), reader.findings + reader.warnings


def agree(judge, text):
    """Check the promise for one text; tell whether the fast reading took it."""
    if (quick := fast(judge, text)) is None:
        return False
    made, findings = careful(judge, text)
    assert not findings, (text, findings)
    assert quick[0] == made, text
    ACCOUNTS.validate(typed(quick[1], "accounts"))
    return True


PLAIN = st.sampled_from(
    [
        "true",
        "false",
        "True",
        "no",
        "null",
        "~",
        "0",
        "1",
        "2",
        "007",
        "-1",
        "4294967296",
        "1.5",
        "1e5",
        "0x1F",
        "12:30:45",
        "2001-01-01",
        "2023-02-30",
        "+8613800138000",
        "a b",
        "a  b",
        "a: b",
        "a:b",
        "a #b",
        "a#b",
        "#a",
        "客服",
        "it's",
        'say "hi"',
        "a,b",
        "a, b",
        "[a]",
        "{a}",
        "{}",
        "[]",
        "&a b",
        "*a",
        "!a b",
        "| ",
        ">",
        "-",
        "- a",
        "-a",
        "?",
        "? a",
        ":",
        ":a",
        "a:",
        "@a",
        "%a",
        "`a",
        "=",
        "<<",
        "<a",
        "...",
        "---",
        "a\\b",
        "https://cdn.example.com/a.png",
        "http://x/y",
        "x@y.z",
        "\u00a0",
        "a\u3000b",
        "👩\u200d💻",
        "\u200e",
        "a\tb",
        "\ufeff",
        "\u2028",
        "env:IM_TOKEN_A",
        "male",
        "need_confirm",
        "vendor",
        "2027-01-31T00:00:00Z",
        "2027-01-31",
        "on_create",
        "forget",
        "cn",
        "sg",
    ]
)
SCALAR = st.one_of(
    PLAIN,
    PLAIN,
    PLAIN.map(lambda text: f'"{text}"'),
    PLAIN.map(lambda text: f"'{text}'"),
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.text("abc :#,{}[]'\"-?&*!|>%@`\\~0123.", max_size=8),
)
KEY = st.sampled_from(
    [
        "name",
        "avatar",
        "email",
        "birthday",
        "gender",
        "extension",
        "level",
        "custom",
        "mobile",
        "sign",
        "allow_type",
        "p2p_chat_banned",
        "team",
        "reason",
        "until",
        "kick",
        "evidence",
        "from",
        "version",
        "generate",
        '"name"',
        "a b",
        "x:y",
        "007",
        "<<",
        "profile",
        "configuration",
    ]
)
FLOW = st.recursive(
    SCALAR,
    lambda inner: st.one_of(
        st.lists(st.tuples(KEY, inner), max_size=3).map(
            lambda pairs: "{" + ", ".join(f"{k}: {v}" for k, v in pairs) + "}"
        ),
        st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]"),
    ),
    max_leaves=5,
)


SEEDS = [
    """\
# The bots.
defaults:
  provider: cn
  labels: {team: support}
accounts:
  support-bot:
    profile:
      name: 客服 bot
      avatar: https://cdn.example.com/bot.png
      sign: ""
      gender: 2
      extension: {level: 3, tags: [a, "b"]}
    banned:
      reason: 'spam'
      evidence:
      - https://tickets.example.com/1
      - "two: words"
    labels:
      tier: vip
  '007': {profile: {name: Bond, gender: 1}, token: {from: env:IM_TOKEN_7, version: 3}}
  plain:
    profile: {name: a b, avatar: "", gender: female}
    configuration: {p2p_chat_banned: false, team_chat_banned: true}
    provider: [cn, sg]
    manage: {profile: on_create}
""",
    """\
accounts:
    a:
        provider: sg
        profile:
            name: x
            custom:
                Dept: sales
            allow_type: need_confirm
        protected: true

    b:
        provider: [cn]
        banned: true
        on_absent: block
""",
]
EDITS = st.one_of(
    st.sampled_from(
        [
            "",
            " ",
            "  ",
            "\n",
            "\n ",
            "\n    ",
            ": ",
            ":",
            " #",
            "#",
            ", ",
            ",",
            "{",
            "}",
            "[",
            "]",
            '"',
            "'",
            "-",
            "- ",
            "? ",
            "&a ",
            "*a",
            "!!str ",
            "|",
            ">",
            "\t",
            "\r",
            "%",
            "@",
            "`",
            "\\",
            "null",
            "~",
            "true",
            "<<: *a",
            "---",
            "...",
            "a: b",
            "\u200e",
            "\u2028",
            "\ufeff",
            "=",
            "0",
            "accounts:\n",
            "defaults: {}\n",
            "x" * 200,
            "é",
            "e\u0301",
        ]
    ),
    st.text(max_size=3),
)


@st.composite
def files(draw):
    """Draw a good account file with a few edits at places where they may do harm."""
    text = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        drop = draw(st.sampled_from([0, 0, 0, 1, 2, 5]))
        text = text[:at] + draw(EDITS) + text[at + drop :]
    return text


HARD = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


@HARD
@given(text=files())
def test_the_fast_reading_never_takes_what_the_careful_one_refuses(judge, text):
    """Whatever the fast reading takes gives the same accounts, and no finding, carefully."""
    agree(judge, text)


@HARD
@given(
    pairs=st.lists(st.tuples(KEY, SCALAR), min_size=1, max_size=4),
    flow=st.booleans(),
    section=st.sampled_from(["labels", "labels", "profile", "banned", "token"]),
)
def test_texts_agree(judge, pairs, flow, section):
    """A text means the same to both readings, in block style and on one line."""
    if flow:
        body = " {" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}\n"
    else:
        body = "\n" + "".join(f"      {key}: {value}\n" for key, value in pairs)
    agree(judge, f"accounts:\n  a:\n    {section}:{body}    provider: cn\n")


@HARD
@given(value=FLOW)
def test_flow_collections_agree(judge, value):
    """One-line collections mean the same to both readings; the extension takes any of them."""
    agree(judge, f"accounts:\n  a:\n    provider: cn\n    profile: {{extension: {{k: {value}}}}}\n")


NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cf", "Zl", "Zp", "Cn"]),
    min_size=1,
    max_size=20,
)


@st.composite
def valid(draw):
    """Draw a valid account as plain data."""
    account = {"provider": draw(st.sampled_from(["cn", "sg", ["cn", "sg"]]))}
    profile = {"name": draw(NAMES)}
    if draw(st.booleans()):
        profile["gender"] = draw(st.sampled_from([0, 1, 2, "female"]))
    if account["provider"] == "cn" and draw(st.booleans()):
        profile |= {
            "mobile": "+8613800138000",
            "birthday": "1990-01-31",
            "email": "a@example.com",
            "extension": draw(st.sampled_from(["text", {"level": 3, "tags": ["a", "b"]}])),
        }
        account["token"] = {"from": "env:IM_TOKEN_A", "version": draw(st.integers(1, 9))}
    account["profile"] = profile
    account["banned"] = draw(
        st.sampled_from(
            [True, False, {"reason": "spam", "evidence": ["x", "y z"], "until": "2027-01-31"}]
        )
    )
    account["labels"] = draw(st.dictionaries(st.sampled_from(["team", "tier"]), NAMES))
    account["adopt"] = draw(st.booleans())
    return account


@HARD
@given(
    accounts=st.dictionaries(
        st.from_regex(r"[a-z0-9_-]{1,9}", fullmatch=True), valid(), min_size=1, max_size=3
    ),
    flow=st.sampled_from([True, False, None]),
    width=st.sampled_from([80, 10_000]),
)
def test_valid_files_agree_in_every_style(judge, accounts, flow, width):
    """A valid file in block or flow style has no errors, and both readings give the same."""
    text = yaml.dump(
        {"accounts": accounts},
        Dumper=yaml.CSafeDumper,
        allow_unicode=True,
        default_flow_style=flow,
        width=width,
    )
    if any(ord(c) in range(0x80, 0xA0) for c in text):
        return
    made, findings = careful(judge, text)
    assert not has_errors(findings), (text, findings)
    assert len(made) == sum(
        2 if account["provider"].__class__ is list else 1 for account in accounts.values()
    )
    agree(judge, text)


def test_the_usual_styles_are_read_fast(judge):
    """Block style, one-line flow style, quotes, comments and lists are all read the fast way."""
    block = """\
# The bots.
defaults:
  provider: cn
  labels: {team: support}

accounts:
  support-bot:
    profile:
      name: 客服小助手
      avatar: https://cdn.example.com/bot.png
      sign: ""
      mobile: +8613800138000
      extension: {level: 3}
    # Not any more.
    banned:
      reason: 'spam'
      until: 2027-01-31T00:00:00Z
      evidence:
      - https://tickets.example.com/1
      - "two: words"
    labels:
      tier: vip
  '007': {profile: {name: Bond, James, gender: 1}, token: {from: env:IM_TOKEN_7, version: 3}}
  "008": {}
""".replace("Bond, James", "Bond")
    assert agree(judge, block)
    assert agree(judge, block.replace("\n", "\r\n"))
    assert agree(judge, block.removesuffix("\n"))


def test_defaults_may_follow_the_accounts(judge):
    """Where the defaults stand in the file makes no difference."""
    first = "defaults: {provider: cn, labels: {a: b}}\n"
    rest = "accounts: {a: {labels: {c: d}}, b: {}}\n"
    one, two = careful(judge, first + rest), careful(judge, rest + first)
    assert not one[1]
    assert [account.document for account in one[0]] == [account.document for account in two[0]]


def test_a_piece_may_end_anywhere_between_lines(judge, monkeypatch):
    """The size of the pieces a file is read in makes no difference."""
    text = "accounts:\n" + "".join(
        f"  a{n}:\n    provider: cn\n    profile:\n      name: 客服{n}\n" for n in range(50)
    )
    whole = fast(judge, text)
    for size in (1, 7, 64):
        monkeypatch.setattr("reconciler.config.text.PIECE", size)
        assert fast(judge, text) == whole
