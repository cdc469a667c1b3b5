"""Account files: defaults, providers, tokens, sections and files mean what the contract says."""

from __future__ import annotations

import json
import os

import pytest
from config_capabilities import BOTH, WORKSPACE
from config_files import read, reading, write

from reconciler.errors import ConfigError, Refused
from reconciler.values import canonical, digest

A = "accounts:\n"


def document(tmp_path, text, **more):
    """Return the Document of the one account of a file without errors."""
    found = reading(tmp_path, text, **more)
    assert not found.errors, found.errors
    return found.accounts[0].written()


def test_an_account_carries_its_canonical_document(tmp_path):
    """The document is canonical JSON, the digest is of it, and the place is the account's key."""
    found = reading(tmp_path, f"{A}  # first\n  bot: {{profile: {{name: B, gender: female}}}}\n")
    (account,) = found.accounts
    assert account.document == canonical({"profile": {"name": "B", "gender": 2}})
    assert account.digest == digest(account.document)
    assert account.source == ("accounts/a.yaml", 3, 0)
    assert (account.adopt, account.once) == (False, ())


@pytest.mark.parametrize("key", ["defaults", '"defaults"', r'"def\x61ults"'])
def test_defaults_behind_the_accounts_hold_for_every_one(tmp_path, key):
    """Wherever the defaults stand, no account of the file is without them."""
    accounts = "".join(f"  u{n}: {{}}\n" for n in range(5))
    found = reading(tmp_path, f"{A}{accounts}{key}: {{adopt: true, labels: {{team: a}}}}\n")
    assert not found.errors
    assert [one.adopt for one in found.accounts] == [True] * 5
    assert {one.document for one in found.accounts} == {canonical({"labels": {"team": "a"}})}


def test_defaults_lie_beneath_section_by_section(tmp_path):
    """The account wins field by field; sections it does not write come from the defaults."""
    found = reading(
        tmp_path,
        """\
defaults:
  provider: cn
  adopt: true
  protected: true
  on_absent: block
  manage: {profile: on_create}
  profile: {name: D, sign: s}
  configuration: {p2p_chat_banned: true}
  labels: {team: a, tier: b}
accounts:
  one: {profile: {name: O}, labels: {tier: c}, adopt: false, protected: false,
        manage: {profile: always}}
  two: {}
""",
    )
    assert not found.errors
    assert found.written == {
        "cn/one": {
            "profile": {"name": "O", "sign": "s"},
            "configuration": {"p2p_chat_banned": True},
            "labels": {"team": "a", "tier": "c"},
            "protected": False,
            "on_absent": "block",
        },
        "cn/two": {
            "profile": {"name": "D", "sign": "s"},
            "configuration": {"p2p_chat_banned": True},
            "labels": {"team": "a", "tier": "b"},
            "manage": {"profile": "on_create"},
            "protected": True,
            "on_absent": "block",
        },
    }
    assert [(account.adopt, account.once) for account in found.accounts] == [
        (False, ()),
        (True, ("profile",)),
    ]


def test_a_wrong_default_is_told_once_where_it_stands(tmp_path):
    """A default that no account can have is told at the default, not at every account."""
    found = reading(
        tmp_path, f"defaults: {{profile: {{email: nobody}}}}\n{A}  a: {{}}\n  b: {{}}\n"
    )
    assert [(one.id, one.source.line) for one in found.errors] == [("bad-email", 1)]


@pytest.mark.parametrize(
    ("written", "ban"),
    [
        ("false", None),
        ("true", {}),
        ("{}", {}),
        ("{reason: spam, kick: true}", {"reason": "spam"}),
        ("{kick: false}", {"kick": False}),
        ("{until: 2027-01-31}", {"until": "2027-01-31T00:00:00Z"}),
        (
            "{until: 2027-01-31T08:00:00+08:00, evidence: [x], ticket: T, notify: n}",
            {"until": "2027-01-31T00:00:00Z", "evidence": ["x"], "ticket": "T", "notify": "n"},
        ),
    ],
)
def test_a_ban_is_kept_in_one_normal_form(tmp_path, written, ban):
    """Only written keys are kept, kick only when false, until as UTC."""
    made = document(tmp_path, f"{A}  a: {{banned: {written}}}\n")
    assert made == ({} if ban is None else {"ban": ban})


def test_an_extension_mapping_is_canonical_json_text(tmp_path):
    """Plain true, false and whole numbers are typed in an extension; everything else is text."""
    extension = "{b: [1, yes, '2'], a: true, n: 007}"
    made = document(tmp_path, f"{A}  a: {{profile: {{extension: {extension}}}}}\n")
    assert made["profile"]["extension"] == '{"a":true,"b":[1,"yes","2"],"n":"007"}'


@pytest.mark.parametrize(
    ("token", "made"),
    [
        ("{from: env:IM_TOKEN_A}", {"from": "env:IM_TOKEN_A", "version": 1}),
        ("{from: file:secrets/a, version: 3}", {"from": "file:secrets/a", "version": 3}),
        (
            "{generate: true, sink: file:secrets/a}",
            {"generate": True, "sink": "file:secrets/a", "version": 1},
        ),
        (
            "{generate: vendor, sink: file:secrets/a}",
            {"generate": "vendor", "sink": "file:secrets/a", "version": 1},
        ),
    ],
)
def test_a_token_is_a_reference_and_a_version(tmp_path, token, made):
    """A token section keeps references and the version, which is 1 by default."""
    assert document(tmp_path, f"{A}  a: {{token: {token}}}\n") == {"token": made}


@pytest.mark.parametrize(
    ("token", "id"),
    [
        ("s3cr3t-value", "literal-secret"),
        ("{from: s3cr3t-value}", "literal-secret"),
        ("{from: env:OTHER}", "forbidden-reference"),
        ("{from: env:YUNXIN_APP_SECRET}", "forbidden-reference"),
        ("""{from: 'cmd:["s3cr3t-value"]'}""", "forbidden-reference"),
        ("{from: file:/etc/s3cr3t-value}", "forbidden-reference"),
        ("{from: file:secrets/../x}", "bad-reference"),
        ("{version: 2}", "missing-key"),
        ("{from: env:IM_TOKEN_A, generate: true, sink: file:secrets/a}", "bad-token"),
        ("{generate: true}", "missing-key"),
        ("{generate: maybe, sink: file:secrets/a}", "bad-choice"),
        ("{from: env:IM_TOKEN_A, version: 0}", "out-of-range"),
        ("{from: env:IM_TOKEN_A, version: '1'}", "wrong-type"),
        ("{from: env:IM_TOKEN_A, sink: file:secrets/a}", "bad-token"),
    ],
)
def test_a_token_that_is_not_allowed_is_an_error(tmp_path, token, id):
    """Literals, commands and references outside secrets.allow are refused; no literal is shown."""
    allow = WORKSPACE.replace('"env:IM_TOKEN_*"', '"env:IM_TOKEN_*", "env:YUNXIN_*"')
    found = reading(tmp_path, f"{A}  a: {{token: {token}}}\n", workspace=allow)
    assert id in found.ids
    literal = [one for one in found.errors if one.id == "literal-secret"]
    assert all("s3cr3t" not in str(one) for one in literal)
    assert all(one.source.line == 2 and one.source.column > 2 for one in found.errors)


def test_a_list_of_providers_makes_one_account_each(tmp_path):
    """The same account in several apps shares one document, and each knows all of them."""
    found = reading(
        tmp_path, f"{A}  Bot: {{provider: [cn, sg], profile: {{name: B}}}}\n", workspace=BOTH
    )
    assert [account.address for account in found.accounts] == ["cn/bot", "sg/Bot"]
    assert {account.siblings for account in found.accounts} == {("cn/bot", "sg/Bot")}
    assert [one.id for one in found.warnings] == ["folded-id"]


def test_a_provider_is_needed_where_there_are_two(tmp_path):
    """Without a provider an account of a workspace with two is an error naming both."""
    found = reading(tmp_path, f"{A}  a: {{}}\n", workspace=BOTH)
    assert found.ids == ["no-provider"]
    assert "cn, sg" in found.errors[0].hint


def test_every_provider_must_have_the_field(tmp_path):
    """A field that one of the providers cannot hold is an error naming the provider."""
    text = (
        f"{A}  a: {{provider: [cn, sg], profile: {{mobile: x}}, token: {{from: env:IM_TOKEN_A}}}}\n"
    )
    found = reading(tmp_path, text, workspace=BOTH)
    assert [(one.id, one.summary) for one in found.errors] == [
        ("unsupported-field", "sg has no field profile.mobile."),
        ("unsupported-field", "sg has no field token."),
    ]


def test_the_same_account_in_two_files_names_both(tmp_path):
    """An address that stands in two files is an error at the second that names the first."""
    write(
        tmp_path, {"accounts/a.yaml": f"{A}  bot: {{}}\n", "accounts/b.yaml": f"{A}\n  BOT: {{}}\n"}
    )
    found = read(tmp_path)
    (one,) = found.errors
    assert (one.id, one.source.file, one.source.line, one.address) == (
        "duplicate-account",
        "accounts/b.yaml",
        3,
        "cn/bot",
    )
    assert "accounts/a.yaml:2" in one.hint


def test_the_same_account_on_one_line_is_found(tmp_path):
    """Two ids that fold to one address are told also where both stand on one line."""
    assert reading(tmp_path, "accounts: {bot: {}, Bot: {}}\n").ids == ["duplicate-account"]


def test_the_order_of_files_is_their_name(tmp_path):
    """Accounts come by file and then as written."""
    write(
        tmp_path,
        {"accounts/b.yaml": f"{A}  z: {{}}\n  a: {{}}\n", "accounts/a/x.yaml": f"{A}  m: {{}}\n"},
    )
    assert [account.address for account in read(tmp_path).accounts] == ["cn/m", "cn/z", "cn/a"]


def test_a_glob_without_files_is_refused(tmp_path):
    """A glob that matches nothing is no empty list of accounts: exit code 4."""
    write(tmp_path, {})
    found = read(tmp_path)
    assert isinstance(found.failure, Refused)
    assert found.ids == ["empty-glob"]


def test_a_glob_without_files_beside_errors_is_one_of_them(tmp_path):
    """With errors in other files the empty glob is told with them."""
    write(
        tmp_path,
        {"accounts/a.yaml": "accounts: []\n"},
        WORKSPACE.replace("- accounts", "- more/*.csv\n  - accounts"),
    )
    found = read(tmp_path)
    assert isinstance(found.failure, ConfigError)
    assert found.ids == ["wrong-type", "empty-glob"]


def test_a_link_out_of_the_workspace_is_an_error(tmp_path):
    """A link may point to another file of the workspace, never out of it."""
    outside = tmp_path / "outside.yaml"
    outside.write_text(f"{A}  a: {{}}\n")
    root = tmp_path / "ws"
    write(root, {"accounts/b.yaml": "accounts: {}\n"})
    (root / "accounts/a.yaml").symlink_to(outside)
    (root / "accounts/c.yaml").symlink_to("c.yaml")
    assert sorted(read(root).ids) == ["outside", "unreadable"]


def test_a_fifo_is_not_read(tmp_path):
    """A FIFO among the files is an error and does not hang."""
    write(tmp_path, {})
    (tmp_path / "accounts").mkdir()
    os.mkfifo(tmp_path / "accounts/a.yaml")
    assert read(tmp_path).ids == ["no-file"]


def test_a_glob_may_adopt(tmp_path):
    """The accounts of a glob with adopt: true are adopted, unless one says otherwise."""
    write(
        tmp_path,
        {"bans/a.csv": "id,banned\nx,true\n", "accounts/a.yaml": f"{A}  y: {{}}\n"},
        WORKSPACE.replace("secrets:", "  - {files: bans/*.csv, adopt: true}\nsecrets:"),
    )
    found = read(tmp_path)
    assert not found.errors
    assert {account.address: account.adopt for account in found.accounts} == {
        "cn/y": False,
        "cn/x": True,
    }


YAML = """\
accounts:
  bot:
    profile: {name: 客服, mobile: +8613800138000, gender: 1, extension: '{"a":1}'}
    banned: {reason: spam, until: 2027-01-31, kick: false, evidence: [x, y]}
    configuration: {p2p_chat_banned: true}
    labels: {team: a}
    token: {from: env:IM_TOKEN_A, version: 2}
  "007": {banned: true}
"""
CSV = """\
\ufeffid,profile.name,profile.mobile,profile.gender,profile.extension,banned,banned.reason,banned.until,\
banned.kick,banned.evidence,configuration.p2p_chat_banned,labels.team,token.from,token.version\r
bot,客服,+8613800138000,1,"{""a"":1}",true,spam,2027-01-31,false,x;y,true,a,env:IM_TOKEN_A,2\r
007,,,,,true,,,,,,,,\r
"""
OBJECT = {
    "bot": {
        "profile": {
            "name": "客服",
            "mobile": "+8613800138000",
            "gender": 1,
            "extension": '{"a":1}',
        },
        "banned": {"reason": "spam", "until": "2027-01-31", "kick": False, "evidence": ["x", "y"]},
        "configuration": {"p2p_chat_banned": True},
        "labels": {"team": "a"},
        "token": {"from": "env:IM_TOKEN_A", "version": 2},
    },
    "007": {"banned": True},
}


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("a.csv", CSV),
        ("a.json", json.dumps({"accounts": OBJECT}, indent="\t")),
        ("b.json", json.dumps({"accounts": OBJECT}, ensure_ascii=False)),
        ("a.jsonl", "\n".join(json.dumps({"id": key, **value}) for key, value in OBJECT.items())),
        (
            "b.jsonl",
            "\n".join(
                json.dumps({"id": key, **value}, ensure_ascii=False) + "\n"
                for key, value in OBJECT.items()
            ),
        ),
    ],
)
def test_bulk_formats_mean_what_the_yaml_would(tmp_path, file, content):
    """CSV, JSON and JSON lines give the same accounts as the YAML."""
    yaml = reading(tmp_path / "y", YAML)
    bulk = reading(tmp_path / "b", content, file=f"accounts/{file}")
    assert not yaml.errors
    assert not bulk.errors, bulk.errors
    assert yaml.written == bulk.written


@pytest.mark.parametrize(
    ("file", "content", "id", "line", "column"),
    [
        ("a.csv", "id,banned\na,maybe\n", "wrong-type", 2, 2),
        ("a.csv", "id,profile.nam\na,x\n", "unknown-key", 2, 2),
        ("a.csv", "name\na\n", "missing-key", 1, 1),
        ("a.csv", "id,id\na,b\n", "duplicate-key", 1, 2),
        ("a.csv", "id,banned\na,true\na,true\n", "duplicate-key", 3, 1),
        ("a.csv", 'id,profile.name\na,"x\n', "syntax", 2, 1),
        ("a.csv", "id,banned\na,true,x\n", "bad-row", 2, 1),
        ("a.csv", "id,banned,banned.reason\na,false,x\n", "wrong-type", 2, 3),
        ("a.csv", "id,profile.name\na,x\u202ey\n", "control-character", 2, 2),
        ("a.csv", 'id,profile.name\na,"\n\n"\nb,maybe\nc,d,e\n', "bad-row", 6, 1),
        ("a.jsonl", '{"id": "a"}\n{"id": "a"}\n', "duplicate-key", 2, 2),
        ("a.jsonl", '{"id": "a", "banned": "true"}\n', "wrong-type", 1, 23),
        ("a.jsonl", '{"id": "a", "profile": {"name": null}}\n', "null", 1, 33),
        ("a.jsonl", '\n{"banned": true}\n', "missing-key", 2, 1),
        ("a.jsonl", '{"id": "a"} x\n', "syntax", 1, 13),
        ("a.jsonl", '{"id": "a", "id": "b"}\n', "duplicate-key", 1, 13),
        ("a.jsonl", '{"id": "a", "labels": {"a": "\\ud800"}}\n', "control-character", 1, 29),
        ("a.jsonl", '\ufeff{"id": "a"}\n', "byte-order-mark", 1, 1),
        ("a.jsonl", "[" * 5000 + "\n", "too-deep", 1, None),
        ("a.jsonl", '{"id": "a", "labels": {"n": NaN}}\n', "syntax", 1, 29),
        ("a.json", '{"accounts": {"a": {"banned": 1}}}', "wrong-type", 1, 31),
        ("a.json", '{"accounts": {"a": {},\n "a": {}}}', "duplicate-key", 2, 2),
        ("a.json", '{"accounts": {"a": {}', "syntax", 1, 22),
        ("a.json", '{"accounts": []}', "wrong-type", 1, 2),
        ("a.json", "[]", "wrong-type", 1, 1),
        ("a.json", '{"accounts": {"a": {"profile": {"extension": {"x": 1.5}}}}}', "number", 1, 52),
        ("a.txt", "", "file-kind", None, None),
    ],
)
def test_bulk_formats_tell_the_place(tmp_path, file, content, id, line, column):
    """Findings in CSV, JSON and JSON lines name line and column, in CSV the cell's number."""
    found = reading(tmp_path, content, file=f"accounts/{file}")
    match = next((one for one in found.errors if one.id == id), None)
    assert match, [(str(one.source), one.id, one.summary) for one in found.errors]
    if line:
        assert match.source.line == line
    if column:
        assert match.source.column == column


def test_the_garbage_collector_is_left_as_it_was(tmp_path):
    """Reading pauses the cyclic garbage collector and lets it go on afterwards."""
    import gc

    reading(tmp_path, f"{A}  a: {{}}\n")
    assert gc.isenabled()
    reading(tmp_path, f"{A}  a: []\n")
    assert gc.isenabled()


def test_many_warnings_never_drop_an_account(tmp_path):
    """Warnings are capped, accounts are not: every one of 1,000 folded ids is desired."""
    found = reading(tmp_path, A + "".join(f"  User{n}: {{}}\n" for n in range(1000)))
    assert not found.errors
    assert len(found.accounts) == 1000
    assert len(found.warnings) == 201
    assert found.warnings[-1].id == "more"
