"""pull: recorded drift becomes edits of the YAML, and every other byte of it stays."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
import yaml
from config_capabilities import BOTH, TABLES
from config_files import write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_config_agree import files
from test_fmt_laws import commented

from reconciler.accounts import Address, flatten
from reconciler.config import load
from reconciler.config.alone import alone
from reconciler.config.files import Found
from reconciler.config.judge import Judge
from reconciler.edit.pull import Wish, pull
from reconciler.edit.tidy import comments, tidy
from reconciler.emulator import Settings
from tests.shared_emulator import emulating
from tests.test_provider_tencent_cli import Chat
from tests.world import World

TEAM = """\
# The team.
defaults:
  profile: {sign: hello}   # for all
accounts:
  alice:
    # her name
    profile: {name: "Alice", email: a@b.c}  # beside
    configuration:
      p2p_chat_banned: false   # may chat
      team_chat_banned: true
    labels: {a: b}
  bob:
    banned:   # for spam
      reason: spam
      ticket: TS-1

  # carol
  carol: {}
  dave: &d {profile: {name: Dave}}
  erin: *d
  fred: {profile: {name: Fred}}
  gina:
    profile:
      name: |
        Gina
        G
      extension: {level: 3}
    # not banned
  hank: {banned: {reason: spam, # see the ticket
    ticket: TS-2}}
  ivan:
    profile: {extension: '{"a": 1}', birthday: 1990-01-31}
    manage: {configuration: on_create}
    configuration: {p2p_chat_banned: false}
"""

PULLED = """\
# The team.
defaults:
  profile: {sign: hello}   # for all
accounts:
  alice:
    # her name
    profile: {name: "Al: ice", email: a@b.c, sign: x}  # beside
    configuration:
      p2p_chat_banned: true   # may chat
      team_chat_banned: true
    labels: {a: b}
  bob:
    banned: false   # for spam

  # carol
  carol:
    profile: {sign: new sign}
    banned: true
  dave: &d {profile: {name: Dave}}
  erin: *d
  fred: {profile: {name: Fred}, banned: true}
  gina:
    profile:
      name: "007"
      extension: {tags: [a, "1"], level: 4}
    banned: true
    # not banned
  hank: {banned: {reason: spam, # see the ticket
    ticket: TS-2}}
  ivan:
    profile: {extension: '{"a":1.5}', birthday: 1991-02-28}
    manage: {configuration: on_create}
    configuration: {p2p_chat_banned: false}
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A workspace in an empty folder whose provider is an unthrottled emulator."""
    with emulating() as endpoint:
        yield World(tmp_path, endpoint)


def test_what_the_vendor_holds_goes_back_into_the_yaml(world: World) -> None:
    """Profile, flags and bans; from defaults, blocks, brackets and texts of several lines.

    What cannot be is told by name with the reason. Without --write nothing changes; afterwards a
    plan has nothing but what was told, and another pull finds nothing but that.
    """
    path = world.write("accounts/team.yaml", TEAM)
    path.chmod(0o640)
    assert world.run("apply", "--auto-approve").code == 0
    flags = {"p2p_chat_banned": True}
    world.console("alice", profile={"name": "Al: ice", "sign": "x"}, configuration=flags)
    world.console("bob", enabled=True)
    world.console("carol", enabled=False, profile={"sign": "new sign", "mobile": "1"})
    world.console("dave", profile={"name": "X"})
    world.console("erin", profile={"name": "Y"})
    world.console("fred", profile={"name": "Fr\u202eed"}, enabled=False)
    extension = '{"tags": ["a", "1"], "level": 4}'
    world.console("gina", profile={"name": "007", "extension": extension}, enabled=False)
    world.console("hank", enabled=True)
    changed = {"extension": '{"a":1.5}', "birthday": "1991-02-28"}
    world.console("ivan", profile=changed, configuration=flags)
    before = world.run("pull")
    assert world.run("refresh").code == 0

    shown = world.run("pull")
    assert path.read_text() == TEAM
    wrote = world.run("pull", "--write")
    planned = world.run("plan", "--json").json
    again = world.run("pull")

    assert (before.code, before.out) == (0, "")
    assert "reconciler refresh reads what they hold now" in before.err
    assert (shown.code, wrote.code, again.code) == (3, 3, 1)
    assert path.read_text() == PULLED
    assert path.stat().st_mode & 0o777 == 0o640
    assert shown.out.startswith("--- a/accounts/team.yaml\n+++ b/accounts/team.yaml\n@@ ")
    assert '-    profile: {name: "Alice", email: a@b.c}  # beside\n' in shown.out
    assert '+    profile: {name: "Al: ice", email: a@b.c, sign: x}  # beside\n' in shown.out
    assert wrote.out == (
        "  accounts/team.yaml: 12 fields of 6 accounts\n"
        "Pulled: 12 fields of 6 accounts, 4 left as told above.\n"
    )
    for line, told in (
        (21, "cn-prod/fred: profile.name is left as it is\n    It holds the character U+202E."),
        (19, "cn-prod/dave: profile.name is left as it is\n    Its value has an anchor"),
        (20, "cn-prod/erin: profile.name is left as it is\n    Its value has an anchor"),
        (29, "cn-prod/hank: banned is left as it is\n    A comment stands within the value."),
    ):
        assert f"accounts/team.yaml:{line}: warning: {told}" in shown.err
    assert {one["account_id"] for one in planned["actions"]} == {"dave", "erin", "hank"}
    assert [call for call in world.mutations() if call["api"] not in ("create", "disable")] == []


def test_what_stands_elsewhere_is_told(world: World) -> None:
    """Rows, entries in several apps that differ, accounts that are gone or in no file any more.

    A change of the YAML that waits for its apply is left alone, unless the vendor changed too.
    """
    text = (world.root / "reconciler.yaml").read_text()
    entry = text[text.index("  cn-prod:") : text.index("secrets:")]
    twin = entry.replace("cn-prod:", "sg:").replace("type: yunxin", "type: commsease")
    twin = twin.replace(world.endpoint, f"{world.endpoint}/nimserver")
    globs = "accounts: [accounts/*]\nstate: {path: state.db}\n"
    world.write("reconciler.yaml", text.replace(entry, entry + twin) + globs)
    world.write("accounts/rows.csv", "id,provider,profile.name\nrow,cn-prod,Row\n")
    world.write(
        "accounts/old.yaml", "accounts:\n  old: {provider: cn-prod, profile: {name: Old}}\n"
    )
    path = world.write(
        "accounts/a.yaml",
        "accounts:\n  pending: {provider: cn-prod, profile: {name: P}}\n"
        "  both: {provider: cn-prod, profile: {name: B}}\n"
        "  gone: {provider: cn-prod}\n"
        "  out: {provider: cn-prod, profile: {name: O, sign: S}}\n",
    )
    assert world.run("apply", "--auto-approve").code == 0
    world.console("row", profile={"name": "Row 2"})
    world.console("old", profile={"name": "Old 2"})
    world.console("both", profile={"name": "B console"})
    world.console("out", profile={"sign": "S console"})
    world.control("accounts/yunxin/demo-app-key/gone", method="DELETE")
    assert world.run("refresh").code == 0
    (world.root / "accounts/old.yaml").unlink()
    edited = path.read_text().replace("name: P", "name: P yaml").replace("name: B", "name: B yaml")
    path.write_text(edited.replace(", sign: S", ""))

    ended = world.run("pull", "--write")

    assert ended.code == 3
    assert path.read_text() == edited.replace(", sign: S", "").replace("B yaml", "B console")
    for told in (
        "accounts/rows.csv:2: warning: cn-prod/row: profile.name is left as it is\n    It is "
        "written in rows",
        "warning: cn-prod/old drifted, and no file declares it any more",
        "accounts/a.yaml:3: warning: cn-prod/both: profile.name was changed in the YAML too",
        "accounts/a.yaml:4: warning: cn-prod/gone does not exist at the vendor any more",
        "accounts/a.yaml:5: warning: cn-prod/out: profile.sign is left as it is\n    The YAML does "
        "not write it any more.",
    ):
        assert told in ended.err, told
    assert "pending" not in ended.err


def test_an_entry_in_several_apps(world: World) -> None:
    """What one app alone holds is told and left; what all of them hold is pulled."""
    text = (world.root / "reconciler.yaml").read_text()
    entry = text[text.index("  cn-prod:") : text.index("secrets:")]
    other = entry.replace("cn-prod:", "zz:").replace("APP_KEY", "APP_KEY_2")
    world.environ["APP_KEY_2"] = "second-app-key"
    world.write("reconciler.yaml", text.replace(entry, entry + other))
    world.accounts("a:\n  provider: [cn-prod, zz]\n  profile: {name: A, sign: S}\n")
    with emulating(Settings(rate=0, app_key="second-app-key")) as endpoint:
        path = world.root / "reconciler.yaml"
        head, tail = path.read_text().split("  zz:")
        path.write_text(f"{head}  zz:{tail.replace(world.endpoint, endpoint)}")
        second = World(world.root / "second", endpoint)
        assert world.run("apply", "--auto-approve").code == 0
        world.console("a", profile={"name": "A2", "sign": "S2"})
        second.control(
            "accounts/yunxin/second-app-key/a", {"profile": {"sign": "S2"}}, method="PATCH"
        )
        assert world.run("refresh").code == 0
        ended = world.run("pull", "--write", "--target", "cn-prod")
        planned = world.run("plan", "--json").json

    assert ended.code == 3
    assert "profile: {name: A, sign: S2}" in (world.root / "accounts/team.yaml").read_text()
    assert "Its entry is for zz too, which holds something else." in ended.err
    assert [
        (one["address"], [change["path"] for change in one["changes"]])
        for one in planned["actions"]
    ] == [("cn-prod/a", ["profile.name"])]


def test_custom_fields_and_numbers(tmp_path: Path) -> None:
    """Custom fields, languages and the emulated ban of Tencent come back as they are written."""
    with emulating() as endpoint:
        world = Chat(tmp_path, endpoint)
        path = world.write(
            "accounts/a.yaml",
            "accounts:\n  a:\n    profile:\n      name: A\n      language: 1\n      gender: male\n"
            "      custom: {Team: x, Dept: y}\n",
        )
        assert world.run("apply", "--auto-approve").code == 0
        tag = "Tag_Profile_Custom_"
        extra = {f"{tag}Team": "no", f"{tag}Blocked": "1"}
        world.console("a", profile={"language": 7, "gender": 2}, extra=extra)
        assert world.run("refresh").code == 0
        assert world.run("pull", "--write").code == 0
        assert path.read_text() == (
            "accounts:\n  a:\n    profile:\n      name: A\n      language: 7\n      gender: 2\n"
            '      custom: {Team: "no", Dept: y}\n    banned: true\n'
        )
        assert world.run("plan").last.startswith("No changes.")


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """What judges accounts of a workspace with two apps."""
    root: Path = tmp_path_factory.mktemp("workspace")
    write(root, {}, BOTH)
    workspace = load(root, capabilities=TABLES.get)
    tables = {name: TABLES[app.type] for name, app in workspace.apps.items()}
    return lambda: Judge(workspace, tables)


NAMES = [
    "X",
    "no",
    "007",
    "a: b",
    "it's",
    'say "hi"',
    "a, b]",
    "客服",
    "two\nlines",
    "",
    "{x}",
    "# y",
]
VALUES = {
    "profile.name": st.sampled_from(NAMES),
    "profile.sign": st.sampled_from(NAMES),
    "profile.gender": st.sampled_from([0, 1, 2]),
    "configuration.p2p_chat_banned": st.booleans(),
    "configuration.team_chat_banned": st.booleans(),
    "banned": st.booleans(),
}
FOUND = Found("a.yaml", ())


def read(data: bytes, judge) -> tuple[list, list]:
    """Return the accounts of a file, and its findings."""
    findings: list = []
    return list(alone(judge(), FOUND, BytesIO(data), findings)), findings


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.one_of(files(), commented()), data=st.data(), laid_out=st.booleans())
def test_pull_changes_nothing_else(judge, text, data, laid_out):
    """Whatever a file looks like, what was wished is there or told as left.

    All other values are the same for another reader of YAML, in the same order; every comment is
    there; lines of other accounts are untouched; a file that was laid out is so afterwards.
    """
    before = text.encode(errors="replace")
    if laid_out:
        before = tidy(before, "a.yaml").text or before
    accounts, findings = read(before, judge)
    if findings or not accounts:
        return
    chosen = data.draw(st.lists(st.sampled_from(accounts), min_size=1, max_size=2, unique=True))
    wishes = {
        one.line: Wish(one.address, data.draw(st.fixed_dictionaries({}, optional=VALUES)))
        for one in chosen
    }
    wishes = {line: wish for line, wish in wishes.items() if wish.values}

    pulled = pull(before, FOUND, wishes, judge)

    wanted = sum(len(wish.values) for wish in wishes.values())
    assert {one.id for one in pulled.left} <= {"not-pulled"}, (text, wishes)
    assert pulled.fields + len(pulled.left) == wanted
    assert comments(pulled.text) == comments(before)
    if laid_out and tidy(before, "a.yaml").text == before:
        assert tidy(pulled.text, "a.yaml").text == pulled.text
    left = {(one.address, one.summary.split()[1]) for one in pulled.left}
    after, wrong = read(pulled.text, judge)
    assert not wrong
    for old, new in zip(accounts, after, strict=True):
        wish = wishes.get(old.line, Wish(Address(""), {}))
        asked = {path: one for path, one in wish.values.items() if (wish[0], path) not in left}
        document, was = new.written(), old.written()
        flat, earlier = flatten(document), flatten(was)
        for path, value in asked.items():
            got = "ban" in document if path == "banned" else flat.get(path)
            assert got == value, (text, wishes, pulled.text.decode())
        if "banned" not in asked:
            assert document.get("ban") == was.get("ban")
        rest = earlier.keys() - asked.keys()
        assert {path: flat.get(path) for path in rest} == {path: earlier[path] for path in rest}
    untouched(before, pulled.text, wishes)


def untouched(before: bytes, after: bytes, wishes: dict[int, Wish]) -> None:
    """Check that accounts without a wish are the same to a reader that knows only texts."""
    old, new = (yaml.load(data, Loader=yaml.BaseLoader) for data in (before, after))
    for key, value in old.items():
        if key != "accounts":
            assert new[key] == value
    assert list(new["accounts"]) == list(old["accounts"])
    for name, value in old["accounts"].items():
        lines = [line for line in wishes if name.encode() in before.split(b"\n")[line - 1]]
        if not lines:
            assert new["accounts"][name] == value
