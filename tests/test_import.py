"""import: accounts that exist are recorded and written down, nothing at the vendor is changed."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli import import_, progress
from reconciler.config.lists import MOST, read
from reconciler.edit import append
from reconciler.emulator import Settings, running
from reconciler.errors import ConfigError
from reconciler.providers import capabilities
from tests.test_provider_commsease_cli import Classic
from tests.test_provider_tencent_cli import Chat
from tests.world import World

TABLES = {"cn-prod": capabilities("yunxin")}
BOTH = {**TABLES, "sg-chat": capabilities("tencent")}

# Lists


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


# The command

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
    with running(Settings(rate=0)) as endpoint:
        yield kind(tmp_path, endpoint), path, provider


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A workspace at an unthrottled emulator."""
    with running(Settings(rate=0)) as endpoint:
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


# Stopped in the middle


def many(world: World, count: int) -> Path:
    """Make accounts at the vendor, and return the list of them."""
    world.seed(*(f"u{n:04}" for n in range(count)))
    return world.write("ids.txt", "".join(f"u{n:04}\n" for n in range(count)))


def asked(world: World) -> list[str]:
    """Return the accounts whose flags the vendor told, and forget the requests so far."""
    calls = world.control("requests")["requests"]
    world.control("requests", method="DELETE")
    told = (call for call in calls if call["api"] == "batch_get" and call["code"] == 200)
    return sorted(one for call in told for one in call["account_ids"])


def test_what_is_recorded_is_not_read_again(world: World) -> None:
    """An import whose vendor fails keeps what it read; the same command reads the rest alone.

    Its YAML then has all of them, those that were read before too, in the order of the list.
    """
    many(world, 350)
    text = (world.root / "reconciler.yaml").read_text()
    world.write("reconciler.yaml", text.replace("rate: 2000", "rate: 2000\n    concurrency: 1"))
    fails = {"fault": "code", "code": 414, "after": 2, "times": None}
    world.faults({"match": {"api": "batch_get"}, **fails})
    command = ("import", "--from", "ids.txt", "--write", "accounts/app.yaml")

    failed = world.run(*command)
    first = asked(world)
    assert not (world.root / "accounts/app.yaml").exists()
    world.control("faults", method="DELETE")
    ended = world.run(*command)
    second = asked(world)

    assert (failed.code, ended.code) == (1, 0)
    assert "200 accounts recorded by now; the same command goes on from there." in failed.err
    assert first + second == [f"u{n:04}" for n in range(350)]
    assert "Import: 150 recorded, 200 recorded already and not read again, 0 failed." in ended.out
    held = (world.root / "accounts/app.yaml").read_text()
    assert re.findall(r"^  (\w+):$", held, re.MULTILINE) == [f"u{n:04}" for n in range(350)]
    assert world.run("fmt", "--check", "accounts").code == 0
    assert world.run("plan").last == "No changes. 350 accounts as recorded."


def test_an_interrupt_keeps_what_was_read(world: World) -> None:
    """Ctrl-C ends an import at once with 130; the same command goes on, the lock is free."""
    many(world, 250)
    text = (world.root / "reconciler.yaml").read_text()
    world.write("reconciler.yaml", text.replace("rate: 2000", "rate: 2000\n    concurrency: 1"))
    hang = {"fault": "hang", "seconds": 60, "after": 1, "times": None}
    world.faults({"match": {"api": "batch_get"}, **hang})
    process = world.start("import", "--from", "ids.txt", "--write", "accounts/app.yaml")
    while sum(one["api"] == "batch_get" for one in world.control("requests")["requests"]) < 2:
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    world.control("faults", method="DELETE")
    assert (process.returncode, out) == (130, "")
    kept = re.search(r"^(\d+) accounts? recorded by now; the same command", err, re.MULTILINE)
    assert kept is not None, err
    assert "Traceback" not in err
    ended = world.run("import", "--from", "ids.txt", "--write", "accounts/app.yaml")
    assert f"Import: {250 - int(kept[1])} recorded, " in ended.out
    assert world.run("plan").last == "No changes. 250 accounts as recorded."


def test_groups_are_recorded_as_they_come(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read is written in groups, and an account is in state before the file has it."""
    many(world, 230)
    monkeypatch.setattr(import_, "GROUP", 100)
    monkeypatch.setattr(append, "IN_MEMORY", 1000)
    saved: list[int] = []
    finish = append.Appendix.finish

    def finished(sheet: append.Appendix) -> None:
        saved.append(len(world.run("state", "list", "--json").json))
        finish(sheet)

    monkeypatch.setattr(append.Appendix, "finish", finished)
    ended = world.run("import", "--from", "ids.txt", "--write", "accounts/app.yaml")
    assert ended.code == 0
    assert saved == [230]
    assert world.serial() >= 3
    assert world.run("plan").last == "No changes. 230 accounts as recorded."


def test_progress_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off a terminal a line comes every few seconds, on one a bar; stdout has nothing of it."""
    many(world, 60)
    monkeypatch.setattr(progress, "EVERY", 0.0)
    ended = world.run("import", "--from", "ids.txt")
    assert re.search(r"^  60 of 60 accounts, \d+/s, 0 s left, 0 failed$", ended.err, re.MULTILINE)
    assert " of 60 accounts" not in ended.out
    shutil.rmtree(world.root / ".reconciler")
    front, back = pty.openpty()
    process = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "reconciler", "--chdir", str(world.root)),
            *("import", "--from", "ids.txt", "--write", "accounts/app.yaml"),
        ],
        env={**world.environ, "TERM": "xterm", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=back,
        text=True,
    )
    out, _ = process.communicate(timeout=60)
    os.close(back)
    shown = os.read(front, 1 << 16).decode()
    os.close(front)
    assert process.returncode == 0
    assert "60/60" in shown
    assert out.endswith(
        "Import: 60 recorded, 0 failed.\n60 accounts written to accounts/app.yaml.\n"
    )


def test_a_file_that_was_changed_meanwhile_is_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an editor saved while accounts were read stays; the next run adds to that."""
    world.seed("a")
    path = world.write("accounts/app.yaml", "accounts: {}\n")
    read_accounts = import_.read

    def edited(*words: Any) -> Any:
        path.write_text("# mine\naccounts: {}\n")
        return read_accounts(*words)

    monkeypatch.setattr(import_, "read", edited)
    failed = world.run("import", "cn-prod/a", "--write", "accounts/app.yaml")
    monkeypatch.undo()
    assert failed.code == 1
    assert "app.yaml was changed by somebody else meanwhile" in failed.err
    assert path.read_text() == "# mine\naccounts: {}\n"
    again = world.run("import", "cn-prod/a", "--write", "accounts/app.yaml")
    assert again.code == 0
    assert path.read_text() == "# mine\naccounts:\n  a:\n    profile: {name: a}\n"


def test_two_imports_do_not_mix(world: World) -> None:
    """While one import holds the lock another is refused, and writes nothing."""
    many(world, 150)
    hang = {"fault": "hang", "seconds": 60, "times": None}
    world.faults({"match": {"api": "batch_get"}, **hang})
    process = world.start("import", "--from", "ids.txt")
    while not world.control("requests")["requests"]:
        assert process.poll() is None, process.communicate()
    refused = world.run("import", "cn-prod/u0001", "--write", "accounts/app.yaml")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert refused.code == 5
    assert not (world.root / "accounts/app.yaml").exists()


def test_wrong_usage(world: World) -> None:
    """Neither or both of addresses and a list, an empty list and other kinds of file are told."""
    world.write("ids.txt", "# none\n")
    os.mkfifo(world.root / "pipe.txt")
    for words, code, told in (
        ((), 64, "import takes addresses, or --from FILE"),
        (("cn-prod/a", "--from", "ids.txt"), 64, "import takes addresses, or --from FILE"),
        (("--from", "ids.txt"), 64, "ids.txt names no account"),
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
