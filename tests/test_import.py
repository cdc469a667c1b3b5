"""import: accounts that exist are recorded and written down, nothing at the vendor is changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.config.lists import read
from reconciler.providers import capabilities
from tests.shared_emulator import emulating
from tests.test_provider_commsease_cli import Classic
from tests.test_provider_tencent_cli import Chat
from tests.world import World

TABLES = {"cn-prod": capabilities("yunxin")}


VENDORS: dict[str, tuple[type[World], str, str]] = {
    "yunxin": (World, "yunxin/demo-app-key", "cn-prod"),
    "commsease": (Classic, "yunxin/demo-app-key", "cn-prod"),
    "tencent": (Chat, "tencent/1400000000", "sg-chat"),
}
HELD: list[dict[str, Any]] = [
    {"account_id": "007", "profile": {"name": "no", "sign": "x: y"}},
    {"account_id": "plain"},
    {"account_id": "spammer", "profile": {"name": "B"}, "enabled": False},
    {"account_id": "odd", "profile": {"name": "a\u202eb", "sign": " ::set-output x"}},
    {
        "account_id": "muted",
        "profile": {"name": "客服"},
        "configuration": {"p2p_chat_banned": True},
    },
]
RICH = {
    "account_id": "rich",
    "profile": {
        "name": "Rich",
        "avatar": "http://cdn.example.com/a.png",
        "gender": 2,
        "birthday": "1990/1/31",
        "email": "no address",
        "mobile": "+8613800138000",
        "extension": '{"level":3,"tags":["a","1"]}',
    },
}
MINE = {"account_id": "mine", "profile": {"name": "Mine"}}
DECLARED = """
mine:
  profile: {name: Mine}
  labels: {team: a}
"""


@pytest.fixture(params=VENDORS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[World, str, str]]:
    """A workspace at each vendor, the path of its accounts in the emulator, and its provider."""
    kind, path, provider = VENDORS[request.param]
    with emulating() as endpoint:
        yield kind(tmp_path, endpoint), path, provider


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A workspace at an unthrottled emulator."""
    with emulating() as endpoint:
        yield World(tmp_path, endpoint)


def test_what_exists_is_recorded_and_written(place: tuple[World, str, str]) -> None:
    """At every vendor: tidy YAML, no defaults in it, bans where they can be read, exit 3 for some.

    The plan right after is empty, drift watches what was written, and nobody was changed.
    """
    world, path, provider = place
    tencent = provider == "sg-chat"
    tag = {"Tag_Profile_Custom_Blocked": "1"}
    held = [
        {**one, "extra": tag} if tencent and "enabled" in one else one
        for one in (
            *HELD,
            *([] if tencent else [RICH]),
            {"account_id": "mine", "profile": {"name": "Mine"}},
        )
    ]
    world.control(f"accounts/{path}", {"accounts": held}, "PUT")
    world.accounts(DECLARED)
    ids = [one["account_id"] for one in held]
    world.write("ids.txt", "\n".join([*ids, "nobody", "007", ""]))

    ended = world.run("import", "--from", "ids.txt", "--write", "accounts/app/all.yaml")

    assert ended.code == 3
    assert ended.err.startswith(f"error: {provider}/nobody does not exist at the vendor\n")
    assert f"{provider}/odd: profile.name is left out: It holds the character U+202E." in ended.err
    assert "info: 1 account named more than once\n" in ended.err
    count = len(held)
    assert ended.out.endswith(
        f"Import: {count} recorded, 1 failed.\n"
        f"{count - 1} accounts written to accounts/app/all.yaml.\n"
    )
    banned = "" if isinstance(world, Classic) else "    banned: true\n"
    rich = (
        "  rich:\n    profile:\n      name: Rich\n      avatar: http://cdn.example.com/a.png\n"
        '      mobile: "+8613800138000"\n      gender: 2\n'
        '      extension: {level: 3, tags: [a, "1"]}\n'
    )
    assert (world.root / "accounts/app/all.yaml").read_text() == (
        'accounts:\n  "007":\n    profile: {name: "no", sign: "x: y"}\n  plain: {}\n'
        f"  spammer:\n    profile: {{name: B}}\n{banned}"
        '  odd:\n    profile: {sign: " \\x3a:set-output x"}\n'
        "  muted:\n    profile: {name: 客服}\n    configuration: {p2p_chat_banned: true}\n"
        f"{'' if tencent else rich}"
    )
    if isinstance(world, Classic):
        assert (
            f"{provider} does not tell bans: of 6 accounts none is written as banned" in ended.err
        )
    if not tencent:
        assert "rich: profile.email is left out: 'no address' is no mail address." in ended.err
        assert "rich: profile.birthday is left out: '1990/1/31' is no date." in ended.err
    assert world.run("fmt", "--check", "accounts/app").code == 0
    assert world.run("plan").last == f"No changes. {count} accounts as recorded."
    assert world.run("drift").code == 0
    assert world.mutations() == []
    world.control(f"accounts/{path}/muted", {"profile": {"name": "Else"}}, "PATCH")
    drifted = world.run("drift", "--json").json["drift"]
    assert [one["address"] for one in drifted] == [f"{provider}/muted"]
    again = world.run("import", "--from", "ids.txt", "--write", "accounts/app/all.yaml")
    assert f"Import: 0 recorded, {count} recorded already and not read again, 1" in again.out


def test_without_write_stdout_has_the_yaml_and_nothing_else(world: World) -> None:
    """What stands on stdout is a file; the same import again then knows which fields are ours."""
    world.control("accounts/yunxin/demo-app-key", {"accounts": HELD}, "PUT")
    ids = [f"cn-prod/{one['account_id']}" for one in HELD]

    first = world.run("import", *ids)
    unsaid = world.run("drift", "--json").json["coverage"]
    world.write("accounts/app.yaml", first.out)
    planned = world.run("plan").last
    again = world.run("import", *ids)
    said = world.run("drift", "--json").json["coverage"]

    assert (first.code, again.code, again.out) == (0, 0, "")
    assert "  imported cn-prod/007\n" in first.err
    assert "The next plan forgets accounts that no file declares." in first.err
    assert first.out.startswith('accounts:\n  "007":\n')
    assert world.run("fmt", "--check").out == "reconciler.yaml\n"
    assert planned == "No changes. 5 accounts as recorded."
    assert (unsaid["checked"], said["checked"]) == (5, 11)
    assert world.run("plan").last == planned
    assert world.mutations() == []


def test_policies_for_what_the_yaml_declares(world: World) -> None:
    """must-match records what is as the YAML says, and names what is not; adopt records both.

    What cannot be read is said, and the next plan sets it; no token is touched by an import.
    """
    held = [
        {"account_id": one, "profile": {"name": one}} for one in ("same", "other", "ban", "bot")
    ]
    world.control("accounts/yunxin/demo-app-key", {"accounts": held}, "PUT")
    world.accounts(
        "same:\n  profile: {name: same}\n  labels: {a: b}\n"
        "other:\n  profile: {name: Other, sign: x}\n"
        "ban:\n  banned: {reason: spam}\n"
        "bot:\n  token: {from: env:IM_TOKEN_A, version: 2}\n"
    )
    ids = [f"cn-prod/{one['account_id']}" for one in held]

    strict = world.run("import", "--policy", "must-match", *ids)
    recorded = [one["address"] for one in world.run("state", "list", "--json").json]
    adopted = world.run("import", *ids)
    planned = world.run("plan", "--json").json

    assert (strict.code, adopted.code) == (3, 0)
    assert (
        "error: cn-prod/other is not as the YAML says: profile.name, profile.sign\n"
        "error: cn-prod/ban is not as the YAML says: banned\n"
    ) in strict.err
    assert "info: cn-prod does not give token back: 1 account with it in the YAML" in strict.err
    assert recorded == ["cn-prod/bot", "cn-prod/same"]
    assert "Import: 2 recorded, 2 recorded already and not read again, 0 failed." in adopted.err
    assert (strict.out, adopted.out) == ("", "")
    assert [(one["account_id"], one["action"]) for one in planned["actions"]] == [
        ("ban", "block"),
        ("bot", "update"),
        ("other", "update"),
    ]
    assert world.mutations() == []


HEAD = """\
# Ours.
defaults: {labels: {team: a}}
accounts:
    old: {}   # the first
        # its own
"""
TAIL = "    # about nobody\n# the end"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (HEAD + TAIL, f'{HEAD}    "1": {{}}\n    x:\n      banned: true\n{TAIL}'),
        ("# only this", '# only this\naccounts:\n  "1": {}\n  x:\n    banned: true\n'),
        ("accounts: {}   # none", 'accounts:   # none\n  "1": {}\n  x:\n    banned: true\n'),
        (
            "accounts:\n  a: {}\ndefaults:\n  protected: true\n",
            'accounts:\n  a: {}\n  "1": {}\n  x:\n    banned: true\ndefaults:\n  protected: true\n',
        ),
        ("accounts:\n  a: {}", 'accounts:\n  a: {}\n  "1": {}\n  x:\n    banned: true\n'),
    ],
)
def test_a_file_is_added_to_and_otherwise_left(world: World, before: str, after: str) -> None:
    """Entries go behind the last account, as deep as the others; all else is as it was.

    Defaults of the file hold for them, too, and so the plan is empty.
    """
    path = world.write("accounts/a.yaml", before)
    path.chmod(0o600)
    held = [{"account_id": "1"}, {"account_id": "x", "enabled": False}]
    world.control("accounts/yunxin/demo-app-key", {"accounts": held}, "PUT")
    ended = world.run("import", "cn-prod/1", "cn-prod/x", "--write", "./accounts/a.yaml")
    assert ended.code == 0, ended.err
    assert path.read_text() == after
    assert path.stat().st_mode & 0o777 == 0o600
    planned = world.run("plan", "--json").json
    assert {one["account_id"] for one in planned["actions"]} <= {"old", "a"}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        (
            "accounts/a.yaml",
            "accounts: {a: {}}\n",
            "a.yaml:1: error: The accounts of the file stand",
        ),
        ("accounts/a.yaml", "defaults: {profile: {sign: x}}\n", "error: The defaults of the file"),
        ("accounts/a.csv", "id\n", "accounts/a.csv: error: Only YAML is written."),
        (
            "b.yaml",
            "accounts: {x: {nmae: y}}\n",
            "b.yaml:1:16: error: There is no key 'nmae' here.",
        ),
        ("b.yaml", "jobs: {}\n", "b.yaml:1:1: error: There is no key 'jobs' here."),
        ("b.yaml", "a: !!x y\n", "b.yaml:1:4: error: A tag stands here."),
        ("../nowhere/b.yaml", None, "../nowhere/b.yaml: error: Its folder is not there."),
        ("away.yaml", None, "away.yaml: error: The link leaves the workspace."),
    ],
)
def test_what_cannot_be_added_to_is_told_first(
    world: World, name: str, text: str | None, told: str
) -> None:
    """A file that is not of ours, or cannot take entries, is refused before anybody is asked."""
    if text is not None:
        world.write(name, text)
    if name == "away.yaml":
        (world.root / name).symlink_to("/etc/hostname")
    ended = world.run("import", "cn-prod/x", "--write", name)
    assert ended.code == 1
    assert told in ended.err
    assert world.control("requests")["requests"] == []


def test_a_file_that_no_plan_reads_is_warned_about(world: World) -> None:
    """A file beside the globs is written, with a warning: the next plan forgets its accounts."""
    world.seed("a")
    ended = world.run("import", "cn-prod/a", "--write", "other.yaml")
    assert ended.code == 0
    assert "other.yaml: warning: No glob of reconciler.yaml matches this file" in ended.err
    world.write("reconciler.yaml", (world.root / "reconciler.yaml").read_text())
    world.write("accounts/none.yaml", "accounts: {}\n")
    assert "1 to forget" in world.run("plan", "--allow", "forget=1").last
    world.write("accounts/a.yaml", (world.root / "other.yaml").read_text())
    assert world.run("plan").last.startswith("No changes.")


def test_several_apps(world: World) -> None:
    """Entries say their app, or the file does once; an id that a file has already is told."""
    text = (world.root / "reconciler.yaml").read_text()
    entry = text[text.index("  cn-prod:") : text.index("secrets:")]
    world.write("reconciler.yaml", text.replace(entry, entry + entry.replace("cn-prod", "zz")))
    world.seed("a", "b", "c")
    one = world.run("import", "zz/a", "--write", "accounts/zz.yaml")
    both = world.run("import", "cn-prod/b", "zz/c", "zz/b", "cn-prod/a")
    again = world.run("import", "cn-prod/a", "--write", "accounts/zz.yaml")
    assert (one.code, both.code, again.code) == (0, 3, 3)
    assert (world.root / "accounts/zz.yaml").read_text() == (
        "defaults:\n  provider: zz\naccounts:\n  a:\n    profile: {name: a}\n"
    )
    assert both.out == (
        "accounts:\n  b:\n    provider: cn-prod\n    profile: {name: b}\n"
        "  a:\n    provider: cn-prod\n    profile: {name: a}\n"
        "  c:\n    provider: zz\n    profile: {name: c}\n"
    )
    assert "error: zz/b is not written: the file has its id already\n" in both.err
    assert "error: cn-prod/a is not written: the file has its id already\n" in again.err


def test_many_that_do_not_exist(world: World) -> None:
    """Some are named, all of them stand in a file that --from takes; exit 1 where none is there."""
    world.write("ids.txt", "".join(f"u{n}\n" for n in range(150)))
    ended = world.run("import", "--from", "ids.txt")
    kept = world.root / ".reconciler/import-failed.txt"
    assert ended.code == 1
    assert ended.err.count(" does not exist at the vendor\n") == 20
    assert (
        "error: 130 more like these; all of them are in .reconciler/import-failed.txt" in ended.err
    )
    assert kept.stat().st_mode & 0o777 == 0o600
    lines = kept.read_text().splitlines()
    assert lines[1:3] == ["# does not exist at the vendor", "cn-prod/u0"]
    assert len(read(kept, kept.name, TABLES).addresses) == 150
    world.seed("u149")
    assert world.run("import", "--from", ".reconciler/import-failed.txt").code == 3


def test_what_left_the_yaml_is_written_as_it_was(world: World) -> None:
    """A recorded account that no file declares gets back what is recorded of it, erased data not.

    That is its protection, labels, token and ban record, beside what the vendor holds.
    """
    text = (
        "accounts:\n  a:\n    on_absent: block\n    manage: {configuration: on_create}\n"
        "    profile: {name: A, sign: ''}\n    token: {from: env:IM_TOKEN_A, version: 2}\n"
        "    banned: {reason: spam, ticket: TS-1, until: 2099-01-31T00:00:00Z}\n"
        "  b:\n    profile: {name: B}\n    banned: {reason: secret, evidence: [x], ticket: TS-2}\n"
        "  c:\n    protected: true\n    labels: {team: x}\n"
    )
    world.write("accounts/a.yaml", text)
    assert world.run("apply", "--auto-approve").code == 0
    assert world.run("erase", "cn-prod/b", "--auto-approve").code == 0
    (world.root / "accounts/a.yaml").unlink()
    ended = world.run("import", "cn-prod/a", "cn-prod/b", "cn-prod/c", "--write", "accounts/b.yaml")
    assert ended.code == 0, ended.err
    assert (world.root / "accounts/b.yaml").read_text() == (
        text.replace("''", '""').replace(
            "{reason: secret, evidence: [x], ticket: TS-2}", "{ticket: TS-2}"
        )
    )
    assert world.run("plan").last == "No changes. 3 accounts as recorded."


def test_wrong_usage(world: World) -> None:
    """Neither or both of addresses and a list, an empty list and other kinds of file are told."""
    world.write("ids.txt", "# none\n")
    world.write("ids", "# none\n")
    os.mkfifo(world.root / "pipe.txt")
    for words, code, told in (
        ((), 64, "import takes addresses, or --from FILE"),
        (("cn-prod/a", "--from", "ids.txt"), 64, "import takes addresses, or --from FILE"),
        (("--from", "ids.txt"), 64, "ids.txt names no account"),
        (("--from", "ids"), 64, "ids names no account"),
        (("--from", "gone.txt"), 1, "gone.txt: error: The file cannot be read"),
        (("--from", "pipe.txt"), 1, "pipe.txt: error: This is no regular file."),
        (("--from", "reconciler.yaml"), 1, "reconciler.yaml is of no kind that lists accounts"),
        (("cn-prd/a",), 64, "did you mean cn-prod/a?"),
        (("cn-prod/a", "--policy", "any"), 64, "--policy"),
    ):
        ended = world.run("import", *words)
        assert (ended.code, ended.out) == (code, ""), words
        assert told in ended.err, words
    world.write("accounts/bad.yaml", "accounts: {a: {nmae: x}}\n")
    ended = world.run("import", "cn-prod/a")
    assert (ended.code, "accounts/bad.yaml:1:16" in ended.err) == (1, True)
    assert world.control("requests")["requests"] == []
