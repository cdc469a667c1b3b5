"""reconciler test: scenarios of users are read strictly, played in memory, and told readably."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml
from golden_plans import ATTACKS

from reconciler.cli.arguments import parse
from reconciler.config.pen import covers
from reconciler.diagnostics import Source
from reconciler.scenario import Given, Mismatch, Played, Scenario
from reconciler.views import scenarios as views
from reconciler.views.words import harmless
from tests.world import World

WORKSPACE = """\
version: 1
workspace: test-im
providers:
  cn: {type: yunxin, region: china, credentials: {app_key: env:KEY, app_secret: env:SECRET}}
  sg: {type: tencent, region: singapore, blocked_tag: Tag_Profile_Custom_Mark, credentials: {
    sdk_app_id: "1400000001", admin: env:ADMIN, secret_key: env:SECRET}}
state: {backend: postgres, url: env:NOBODY_ASKS}
accounts: [accounts/*.yaml, {files: "bans/**/*.yaml", adopt: true}]
secrets: {allow: ["env:IM_*", "file:secrets/*"], fingerprint_key: env:ALSO_UNSET}
rules:
  - {id: tickets, when: {action: [block]}, require: {banned.ticket: {pattern: "^TS-"}}}
  - {id: vips, when: {match: {labels.tier: vip}}, warn: look twice}
  - {id: leads, when: {action: [forget]}, approval: [leads]}
"""
HEAD = """\
defaults: {provider: cn}
given:
  accounts:
    alice: {profile: {name: Alice, sign: hi}, labels: {tier: vip}}
    bob: {profile: {name: Bob}, banned: {reason: spam, ticket: TS-1}}
    carol: {protected: true}
scenarios:
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A workspace of two apps, none of whose secrets exist and whose state nobody can reach."""
    world = World(tmp_path_factory.mktemp("rehearse"), "http://127.0.0.1:9")
    world.write("reconciler.yaml", WORKSPACE)
    world.environ = {"PATH": os.environ["PATH"]}
    return world


def play(world: World, body: str, head: str = HEAD, name: str = "one") -> list[dict]:
    """Play scenarios, written without their indentation; return them as JSON has them."""
    text = head + textwrap.indent(textwrap.dedent(body).strip("\n"), "  ")
    world.write(f"tests/{name}.test.yaml", text)
    ended = world.run("test", f"tests/{name}.test.yaml", "--json")
    assert ended.json["diagnostics"] == [], ended.json["diagnostics"]
    assert ended.code == (1 if ended.json["failed"] else 0)
    return ended.json["scenarios"]


def one(world: World, when: str, expect: str, given: str = "") -> list[dict]:
    """Play a single step; return its mismatches."""
    body = {"when": yaml.safe_load(when) or {}, "expect": yaml.safe_load(expect)}
    if given:
        body["given"] = yaml.safe_load(given)
    (told,) = play(world, yaml.safe_dump({"it is so": body}, width=1000))
    return told["mismatches"]


BAN = "change: {alice: {banned: {reason: spam, ticket: TS-2}}}"


@pytest.mark.parametrize(
    ("when", "right", "wrong", "lines"),
    [
        (
            BAN,
            "actions: [x block cn/alice (ban_declared)]",
            "actions: [block cn/bob]",
            (["block cn/bob"], ["block cn/alice (ban_declared)"]),
        ),
        (
            "change: {alice: {profile: {name: Eve}}, bob: null}",
            "actions: [{update: cn/alice, changes: {profile.name: [Alice, Eve]}}, forget cn/bob]",
            "actions: [{update: cn/alice, because: drift, changes: {profile.sign: [hi, null]}}]",
            (["update cn/alice (drift)", '    profile.sign  "hi" -> (none)'],),
        ),
        (
            "change: {alice: {banned: {reason: spam}}}",
            "refused: [{tickets: [cn/alice]}]",
            "refused: [{rule-tickets: [cn/bob]}, over-limit]",
            (["tickets: cn/bob", "over-limit"],),
        ),
        ("change: {carol: {banned: {ticket: TS-1}}}", "refused: [protected]", "refused: []", ()),
        (
            BAN,
            "warnings: [{vips: [cn/alice]}]",
            "warnings: [{vips: [cn/bob]}]",
            (["vips: cn/bob"],),
        ),
        (
            "change: {bob: null}",
            "approvals: {leads: [leads]}",
            "approvals: {}",
            ([], ["leads: leads"]),
        ),
        (
            "change: {bob: {profile: {name: Bobby}}}",
            "waiting: {cn/bob: [profile.name]}",
            "waiting: {cn/bob: [profile.sign]}",
            (["cn/bob: profile.sign"], ["cn/bob: profile.name"]),
        ),
        (
            "accounts: {dave: {adopt: true}}\nallow: {forget: 3}",
            "{refused: [protected]}",
            "{refused: []}",
            (),
        ),
        (
            "change: {dave: {adopt: true}}",
            "failed: [cn/dave]",
            "actions: [adopt cn/dave]",
            (),
        ),
        (
            "vendor: {cn/alice: {banned: true, profile: {sign: mine}}}\nrefresh: true",
            "drift: {cn/alice: {banned: [false, true], profile.sign: [hi, mine]}}",
            "drift: {cn/alice: missing}",
            (["cn/alice: missing"],),
        ),
        (
            BAN,
            "vendor: {cn/alice: {banned: true, kicks: 1, profile: {name: Alice, sign: hi}}}",
            "vendor: {cn/alice: {banned: false, profile: {name: Alice}}, cn/bob: missing}",
            (["banned  false"], ['profile.sign  "hi"', "banned  true"]),
        ),
        (BAN, "calls: 1", "calls: 2", (["2"], ["1"])),
        (
            "vendor: {cn/eve: {banned: true}}\nchange: {eve: {adopt: true}}",
            "rests: false",
            "actions: [adopt cn/eve]",
            ([], ["unblock cn/eve (drift)"]),
        ),
        (
            "change: {alice: {profile: {nam: x}, banned: maybe}}",
            "invalid: [unknown-key, wrong-type]",
            "invalid: [unknown-key]",
            (),
        ),
        (
            "change: {alice: {token: {from: env:IM_A, version: 1}}}",
            "vendor: {cn/alice: {token: env:IM_A}}",
            "vendor: {cn/alice: {token: env:IM_B}}",
            (['token  "env:IM_B"'], ['token  "env:IM_A"']),
        ),
    ],
)
def test_every_expectation_bites(
    world: World, when: str, right: str, wrong: str, lines: tuple[list[str], ...]
) -> None:
    """What is true passes, and what is not is one mismatch that shows both sides."""
    assert one(world, when, right) == []
    found = one(world, when, wrong)
    assert found
    for key, wanted in zip(("expected", "actual"), lines, strict=False):
        assert [line for line in wanted if line not in found[0][key]] == [], found


@pytest.mark.parametrize(
    ("when", "what"),
    [
        ("change: {alice: {banned: {reason: spam}}}", "refused"),
        ("change: {alice: {profil: {}}}", "invalid"),
        ("change: {bob: {profile: {name: B}}}", "waiting"),
        ("change: {zed: {adopt: true}}", "failed"),
        ("vendor: {cn/eve: {banned: true}}\nchange: {eve: {adopt: true}}", "rests"),
    ],
)
def test_nothing_bad_happens_in_silence(world: World, when: str, what: str) -> None:
    """Whatever is invalid, refused, waiting, failed or left to do must be expected."""
    assert [found["what"] for found in one(world, when, "{}")] == [what]


def test_a_story_goes_on_from_step_to_step(world: World) -> None:
    """Accounts, time and on_absent hold until they change; allow, refresh and trouble do not."""
    (told,) = play(
        world,
        """
        a life:
          given: {}
          steps:
            - when: {accounts: {"user-{1..4}": {}}, trouble: [{call: create, answers: throttled}]}
              expect: {actions: ["create cn/user-{1..4}"], calls: 4}
            - when:
                change: {"user-{1..4}": {banned: {ticket: TS-1, until: 2026-02-01}}}
                trouble: [{call: block, account: cn/user-3, answers: refused}]
                allow: {block: 4}
              expect: {failed: [cn/user-3], vendor: {cn/user-4: {banned: true}}}
            - expect: {actions: [block cn/user-3]}
            - when: {as_of: 2026-02-01, on_absent: block, change: {user-1: null}}
              expect:
                actions: ["unblock cn/user-{2..4} (ban_expired)"]
                vendor: {cn/user-1: {banned: true}}
            - when: {change: {user-1: {}}}
              expect: {actions: [unblock cn/user-1 (ban_lifted)]}
        """,
    )
    assert told["mismatches"] == []


def test_the_first_step_that_is_wrong_is_the_last(world: World) -> None:
    """What follows a mismatch would stand on it, so it is not played; the step is named."""
    (told,) = play(
        world,
        """
        wrong from the second on:
          steps:
            - expect: {actions: []}
            - when: {change: {alice: {profile: {name: A}}}}
              expect: {actions: []}
            - expect: {actions: [create cn/never]}
        """,
    )
    assert [(found["step"], found["what"]) for found in told["mismatches"]] == [(2, "actions")]
    assert "step 2: the plan is not as expected" in world.run("test").out


def test_what_a_vendor_holds_is_told_in_the_words_of_account_files(world: World) -> None:
    """Custom fields, dates, choices and mutes as they are written, whatever the vendor keeps."""
    sight = (
        "{profile: {birthday: 1990-01-31, gender: female, allow_type: deny_any, custom: {Dept: x}},"
        " configuration: {team_chat_banned: true}, banned: false}"
    )
    edit = sight.replace("banned: false}", "banned: false, logged_in: true}")
    account = sight.replace(", banned: false", "")
    assert one(world, f"vendor: {{sg/tom: {edit}}}", f"vendor: {{sg/tom: {sight}}}", "{}") == []
    made = f"accounts: {{tom: {{provider: sg, {account[1:]}}}"
    assert one(world, made, f"vendor: {{sg/tom: {sight}}}", "{}") == []
    banned = f"accounts: {{tom: {{provider: sg, banned: {{ticket: TS-1}}, {account[1:]}}}"
    assert one(world, banned, "vendor: {sg/tom: {banned: true, configuration: {}}}", "{}") == []


def test_tokens_go_nowhere(world: World) -> None:
    """Minted here or by the vendor, they reach the vendor and a sink that is no file."""
    for how in ("true", "vendor"):
        token = f"{{generate: {how}, sink: file:secrets/a, version: 1}}"
        held = "vendor: {cn/amy: {token: file:secrets/a}}"
        assert one(world, f"accounts: {{amy: {{token: {token}}}}}", held, "{}") == []
    assert not (world.root / "secrets").exists()


def test_an_entry_in_several_apps_is_in_each(world: World) -> None:
    """`provider: [a, b]` is planned, applied and held at both vendors."""
    both = "accounts: {tim: {provider: [cn, sg], profile: {name: Tim}}}"
    held = "{profile: {name: Tim}}"
    expect = (
        f"{{actions: [create cn/tim, create sg/tim], vendor: {{cn/tim: {held}, sg/tim: {held}}}}}"
    )
    assert one(world, both, expect, "{}") == []


def test_accounts_may_stand_in_a_file_of_a_glob(world: World) -> None:
    """`file` says which file they would stand in; what its globs say of its accounts holds."""
    accounts = "accounts: {ulf: {banned: {ticket: TS-1}}}"
    here = "vendor: {cn/ulf: {}}"
    assert one(world, f"{accounts}\n{here}", "{failed: [cn/ulf]}", "{}") == []
    adopted = "actions: [adopt cn/ulf, block cn/ulf]"
    assert one(world, f"{accounts}\nfile: bans/2026/ulf.yaml\n{here}", adopted, "{}") == []


def test_the_files_of_the_workspace_can_be_tested(world: World) -> None:
    """`files: true` takes them as they are: an empty glob refuses, a finding has its own place."""
    assert one(world, "files: true", "refused: [empty-glob]", "{}") == []
    world.write("accounts/team.yaml", "accounts: {vic: {provider: cn}}\n")
    world.write("bans/none.yaml", "accounts: {}\n")
    try:
        assert one(world, "files: true", "actions: [create cn/vic]", "{}") == []
        world.write("bans/none.yaml", "accounts: {wim: {provider: cm}}\n")
        (found,) = one(world, "files: true", "{}", "{}")
    finally:
        for folder, name in (("accounts", "team"), ("bans", "none")):
            (world.root / folder / f"{name}.yaml").unlink()
    assert found["actual"] == ["unknown-provider: There is no provider 'cm'.  bans/none.yaml:1:28"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "scenario: {}",
            "1:1: error: There is no key 'scenario' here.\n    hint: did you mean scenarios?",
        ),
        ("scenarios: {}", "1:12: error: This is empty."),
        ("scenarios: [a]", "1:12: error: A mapping is expected here."),
        ("scenarios: {a: {}}", "1:16: error: A scenario has either expect"),
        ("scenarios: {a: {when: {}}}", "1:16: error: A scenario has either expect"),
        ("scenarios: {a: {steps: [{expect: {}}], expect: {}}}", "has either expect"),
        ("scenarios: {a: {steps: [{when: {}}]}}", "1:25: error: The key 'expect' is missing."),
        (
            "scenarios: {a: {expekt: {}}}",
            "1:17: error: There is no key 'expekt' here.\n    hint: did",
        ),
        ("scenarios: {a: {expect: {refused: x}}}", "1:35: error: A list is expected here."),
        ("scenarios: {a: {expect: {calls: two}}}", "1:33: error: A whole number is expected"),
        (
            "scenarios: {a: {expect: {actions: [blok cn/a]}}}",
            "1:36: error: 'blok cn/a' is no action.",
        ),
        ("scenarios: {a: {expect: {actions: [block cn/a (soon)]}}}", "is no action"),
        ("scenarios: {a: {expect: {actions: [{because: drift}]}}}", "exactly one kind and account"),
        ("scenarios: {a: {expect: {actions: [{block: cn/a, changes: {x: [1]}}]}}}", "empty"),
        (
            "scenarios: {a: {expect: {actions: [{block: cn/a, changes: {x: [1, 2, 3]}}]}}}",
            "Two values",
        ),
        ("scenarios: {a: {expect: {actions: [block a]}}}", "1:36: error: 'a' names no account"),
        ("scenarios: {a: {expect: {failed: [cm/a]}}}", "1:35: error: 'cm/a' names no account"),
        ('scenarios: {a: {expect: {failed: ["cn/u{1..5000}"]}}}', "for more than 1,000"),
        ("scenarios: {a: {expect: {vendor: {cn/a: gone}}}}", "'gone' says nothing of an account"),
        ("scenarios: {a: {expect: {vendor: {cn/a: {logged_in: true}}}}}", "logged_in has no place"),
        ("scenarios: {a: {expect: {vendor: {sg/a: {profile: {email: a@b}}}}}}", "sg has no field"),
        ("scenarios: {a: {expect: {drift: {cn/a: gone}}}}", "'gone' is no drift"),
        ("scenarios: {a: {when: {as_of: soon}, expect: {}}}", "1:31: error: 'soon' is not a time"),
        ("scenarios: {a: {when: {change: {b: null}}, expect: {}}}", "no account 'b' to take away"),
        ("scenarios: {a: {when: {files: true, change: {b: {}}}, expect: {}}}", "cannot be changed"),
        ("scenarios: {a: {when: {files: true, accounts: {}}, expect: {}}}", "and files are named"),
        ("scenarios: {a: {when: {allow: {blok: 1}}, expect: {}}}", "did you mean block?"),
        (
            "scenarios: {a: {given: {accounts: {b: {x: 1}}}, expect: {}}}",
            "1:40: error: There is no key",
        ),
        (
            "given: {accounts: {b: {}}}\nscenarios: {a: {expect: {}}}",
            "The account names no provider",
        ),
        ("scenarios: {a: {expect: {}}, a: {expect: {}}}", "The key 'a' stands here again"),
        ("scenarios: {a: {expect: {}}}\n---\n", "A second document begins here"),
        ("scenarios: !!map {a: {expect: {}}}", "A tag stands here"),
    ],
)
def test_a_file_is_read_strictly(world: World, text: str, said: str) -> None:
    """What is wrong is told in its place, with a hint; nothing of the file is played."""
    world.write("bad/one.test.yaml", text)
    ended = world.run("test", "bad")
    assert ended.code == 1
    assert said in ended.err, ended.err
    assert "bad/one.test.yaml:" in ended.err
    assert ended.out == "0 scenarios: 0 passed, 0 failed, 1 file could not be read.\n"


def test_a_file_that_cannot_be_read_stops_no_other(world: World) -> None:
    """The others are played; where there is none at all, that is said."""
    world.write("more/a.test.yaml", "scenarios: {a: {expect: {}}}\n")
    world.write("more/b.test.yaml", "scenarios: {\n")
    ended = world.run("test", "more", "nowhere.yaml")
    assert (ended.code, ended.out.splitlines()[0]) == (1, "ok    a")
    assert ended.last == "1 scenario: 1 passed, 0 failed, 2 files could not be read."
    empty = World(world.root / "empty", "http://127.0.0.1:9").run("test")
    assert (empty.code, "there are no scenarios" in empty.err) == (1, True)


def test_formats(world: World) -> None:
    """JUnit has a case a scenario, GitHub an annotation a mismatch, each in its place."""
    play(world, "fine: {expect: {actions: []}}\nnot so:\n  expect: {actions: [block cn/alice]}")
    file = "tests/one.test.yaml"
    (suite,) = ET.fromstring(world.run("test", file, "--format", "junit").out)
    assert suite.attrib == {"name": file, "tests": "2", "failures": "1"}
    assert [(case.get("name"), case.find("failure") is None) for case in suite] == [
        ("fine", True),
        ("not so", False),
    ]
    (line,) = world.run("test", file, "--format", "github").out.splitlines()
    assert line.startswith("::error title=unexpected-actions,file=")
    assert ",line=10,col=14::not so: the plan is not as expected%0A- block cn/alice" in line


def test_nothing_outside_is_touched(world: World) -> None:
    """No secret, no network, no state, no file; nor is what only serves or sends HTTP needed."""
    play(world, "fine: {when: {change: {alice: {banned: {ticket: TS-1}}}}, expect: {calls: 1}}")
    before = {path: path.stat().st_mtime_ns for path in world.root.rglob("*")}
    code = """
import socket, sys
for name in ("starlette", "uvicorn", "httpx", "psycopg", "obstore", "jinja2"):
    sys.modules[name] = None
def no(*_, **__): raise AssertionError("the network is used")
socket.socket = type("No", (socket.socket,), {"connect": no, "connect_ex": no, "bind": no})
socket.getaddrinfo = no
from reconciler.cli import run
sys.exit(run(sys.argv[1:], {}))
"""
    words = ["--chdir", str(world.root), "test", "tests/one.test.yaml"]
    ended = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert ended.stdout == "ok    fine\n1 scenario: 1 passed, 0 failed.\n", ended.stderr
    assert {path: path.stat().st_mtime_ns for path in world.root.rglob("*")} == before


def test_hostile_names_and_values_stay_text() -> None:
    """Whatever a scenario or a vendor says commands no terminal and no report."""
    played = [
        Played(
            Scenario(evil, Source(evil, 1), Given(Source(evil)), ()),
            (Mismatch(1, "actions", Source(evil, 2), evil, (f"- {evil}", f"+ {evil}")),),
        )
        for evil in ATTACKS.values()
    ]
    lines = list(views.text(played, ()))
    assert all(harmless(line) == line for line in lines)
    assert len(lines) == 4 * len(played) + 1
    report = "\n".join(views.junit(played, ()))
    assert len(ET.fromstring(report).findall(".//failure")) == len(played)
    assert harmless(report) == report


@pytest.mark.parametrize(
    ("glob", "file", "fits"),
    [
        ("accounts/**/*.yaml", "accounts/a.yaml", True),
        ("accounts/**/*.yaml", "accounts/b/c/a.yaml", True),
        ("accounts/*.yaml", "accounts/b/a.yaml", False),
        ("**/bans.csv", "bans.csv", True),
        ("bans/*.csv", "bans/x.yaml", False),
    ],
)
def test_globs_cover_files_that_need_not_exist(glob: str, file: str, fits: bool) -> None:
    """As the workspace finds its files, `**` stands for any folders, also none."""
    assert covers(glob, file) is fits


def test_a_folder_may_be_called_like_a_command() -> None:
    """`--chdir test plan` is the command plan in the folder test."""
    arguments = parse(["--chdir", "test", "plan", "--json"], {})
    assert (arguments.command, arguments.chdir, arguments.format) == ("plan", "test", "json")


def test_the_path_of_a_scenario_is_beneath_the_workspace(world: World) -> None:
    """As with other commands, a name is beneath --chdir; a file elsewhere keeps its own."""
    other = Path(world.root.parent / "elsewhere.test.yaml")
    other.write_text("scenarios: {a: {expect: {failed: [cn/a]}}}\n")
    (told,) = world.run("test", str(other), "--json").json["scenarios"]
    assert told["file"] == str(other)
    assert told["mismatches"][0]["line"] == 1
