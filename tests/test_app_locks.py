"""Apps side by side at the command line: what takes which lock, and what is settled and told."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from reconciler.config import schema_text
from reconciler.stores import backups
from reconciler.stores.keys import NO_KEYS
from reconciler.stores.sqlite import SqliteStore
from tests.forks import Child, forking
from tests.github_runner import ROOT, program
from tests.world import World

pytest.register_assert_rewrite("store_postgres")

from state_server import PASSWORD, USER, serving  # noqa: E402
from store_postgres import database as database  # noqa: E402

WORKSPACE = """\
version: 1
workspace: {name}
providers:
  cn-prod:
    type: yunxin
    endpoint: {endpoint}
    credentials: {{app_key: env:APP_KEY, app_secret: env:APP_SECRET}}
  sg-chat:
    type: tencent
    endpoint: {endpoint}
    credentials: {{sdk_app_id: "1400000000", admin: administrator, secret_key: env:SECRET_KEY}}
"""
APPS = ("cn-prod", "sg-chat")
HELD = "C6 intents committed"
"""Where a process waits that holds its lock and has written something down."""


class Two(World):
    """A workspace of two apps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.environ["SECRET_KEY"] = "demo-secret-key"
        self.names("A")

    def workspace(self, more: str = "", name: str = "test-im") -> None:
        """Write reconciler.yaml."""
        text = WORKSPACE.format(name=name, endpoint=self.endpoint) + more
        self.write("reconciler.yaml", text)

    def names(self, name: str) -> None:
        """Declare three accounts in each app, all with a new name."""
        self.accounts(
            "\n".join(
                f"{app[:2]}-{n}: {{provider: {app}, profile: {{name: {name}{n}}}}}"
                for app in APPS
                for n in range(3)
            )
        )

    def apply(self, *words: str, **how: Any) -> Child:
        """Start an apply of some targets."""
        targets = [text for one in words for text in ("--target", one)]
        return self.start("apply", "--auto-approve", *targets, **how)

    def applying(self, *words: str, point: str = HELD) -> Child:
        """Start an apply that holds its lock and waits."""
        child = self.apply(*words, point=point, then="wait")
        child.reached()
        return child

    def locks(self) -> list[list[str] | None]:
        """Return the apps of every lock that is held."""
        return [one["apps"] for one in self.run("lock", "status", "--json").json["locks"]]


@pytest.fixture
def world(tmp_path: Path, endpoint: str) -> Two:
    """Nothing is recorded yet."""
    return Two(tmp_path / "workspace", endpoint)


@pytest.fixture(params=["sqlite", "postgres"])
def tables(request: pytest.FixtureRequest, world: Two) -> Two:
    """The same with its state in each kind of tables."""
    if request.param == "postgres":
        world.environ["STATE_URL"] = request.getfixturevalue("database")
        world.workspace("state: {backend: postgres, url: env:STATE_URL}\n")
    return world


def done(child: Child) -> None:
    """Let an apply go on, and demand that it ends well."""
    child.go()
    assert child.wait() == 0, child.out + child.err


def test_two_apps_are_applied_at_the_same_time(tables: Two) -> None:
    """Each with its lock and its own writes; who wants one of them, or all, is exit 5 and told."""
    assert tables.run("apply", "--auto-approve").code == 0
    tables.names("B")
    children = [tables.applying(app) for app in APPS]

    status = tables.run("lock", "status", "--json").json
    assert [one["apps"] for one in status["locks"]] == [["cn-prod"], ["sg-chat"]]
    assert [one["pid"] for one in status["locks"]] == [one.pid for one in children]
    oldest = status["locks"][0]
    assert {key: value for key, value in status.items() if key != "locks"}.items() <= oldest.items()
    told = tables.run("lock", "status").out
    for app in APPS:
        assert f"The accounts of {app} are locked by " in told
    for words, app in ((("--target", "sg-chat/sg-1"), "sg-chat"), ((), "cn-prod")):
        refused = tables.run("apply", "--auto-approve", *words)
        assert refused.code == 5
        assert f"the accounts of {app} are locked by" in refused.err
    assert tables.run("plan").code == 0

    for child in children:
        done(child)
        assert "Apply complete: 0 created, 3 updated" in child.out
    assert tables.run("plan", "--refresh").last == "No changes. 6 accounts as recorded."
    assert tables.run("state", "verify").code == 0
    assert tables.locks() == []
    kept = os.listdir(tables.root / ".reconciler" / "backups")
    assert len(kept) == 1, kept


@pytest.mark.parametrize("backend", ["object", "http"])
def test_documents_are_locked_as_a_whole(world: Two, tmp_path: Path, backend: str) -> None:
    """HTTP and objects keep a document, so the apply of another app is exit 5, or waits."""
    with ExitStack() as stack:
        if backend == "object":
            (tmp_path / "bucket").mkdir(mode=0o700)
            world.workspace(
                f"state: {{backend: object, url: '{(tmp_path / 'bucket').as_uri()}'}}\n"
            )
        else:
            served = stack.enter_context(serving(gitlab=False, clock=time.time))
            world.environ["STATE_PASSWORD"] = PASSWORD
            options = {**served.options, "username": USER, "password": "env:STATE_PASSWORD"}
            world.workspace(f"state: {json.dumps({'backend': 'http', **options})}\n")
        first = world.applying("cn-prod", point="C3 judged")

        assert world.locks() == [None]
        refused = world.run("apply", "--auto-approve", "--target", "sg-chat")
        assert refused.code == 5
        assert "the state is locked by" in refused.err
        patient = ("--json", "--target", "sg-chat", "--lock-timeout", "60")
        second = world.start("apply", "--auto-approve", *patient)
        second.said("lock_wait")
        done(first)
        assert second.wait() == 0, second.err
        assert world.run("plan").last == "No changes. 6 accounts as recorded."


def saved(world: Two, name: str, *targets: str) -> tuple[str, Any]:
    """Save a plan of some targets; return its file and what is in it."""
    file = str(world.root / name)
    asked = [word for target in targets for word in ("--target", target)]
    assert world.run("plan", "--out", file, *asked).code == 0
    return file, json.loads(Path(file).read_text())


def test_a_saved_plan_locks_what_it_is_about(tables: Two) -> None:
    """A plan keeps its targets; it is applied beside another app, and is not stale by it."""
    files = {app: saved(tables, f"{app}.json", app) for app in APPS}
    cn, plan = files["cn-prod"]
    whole, all_of_it = saved(tables, "whole.json")
    assert plan["targets"] == ["cn-prod"]
    assert "targets" not in all_of_it
    Draft202012Validator(json.loads(schema_text("plan"))).validate(plan)

    other = tables.applying("sg-chat")
    assert tables.run("apply", whole).code == 5
    ended = tables.run("apply", cn, "--expect", plan["fingerprint"])
    assert ended.code == 0, ended.err
    done(other)
    assert tables.run("plan").last == "No changes. 6 accounts as recorded."

    tables.names("B")
    files = {app: saved(tables, f"{app}.json", app) for app in APPS}
    serial = tables.serial()
    assert [plan["serial"] for _, plan in files.values()] == [serial, serial]
    for file, _ in files.values():
        ended = tables.run("apply", file)
        assert ended.code == 0, ended.err
    assert tables.serial() > serial + 1
    tables.names("C")
    cn, plan = saved(tables, "cn.json", "cn-prod/cn-1")
    assert plan["targets"] == ["cn-prod/cn-1"]
    assert tables.run("apply", "--auto-approve", "--target", "cn-prod").code == 0
    assert tables.run("apply", cn).code == 6


def test_only_its_own_doubts_are_settled(tables: Two) -> None:
    """An apply of one app leaves what another app's run left behind, and does not count it."""
    killed = tables.apply("cn-prod", point="C8 sent")
    assert killed.wait() == -signal.SIGKILL

    ended = tables.run("apply", "--auto-approve", "--json", "--target", "sg-chat")
    assert ended.code == 0, ended.err
    assert ended.lines[-1]["in_doubt"] == 0
    assert "settled" not in {line["type"] for line in ended.lines}
    again = tables.run("apply", "--auto-approve", "--target", "sg-chat")
    assert (again.code, again.out.splitlines()[0]) == (0, "No changes. 3 accounts as recorded.")
    assert tables.run("state", "verify", "--json").json["in_doubt"] > 0

    ended = tables.run("apply", "--auto-approve", "--json", "--target", "cn-prod")
    assert ended.code == 0, ended.err
    assert "settled" in {line["type"] for line in ended.lines}
    assert tables.run("state", "verify", "--json").json["in_doubt"] == 0
    assert tables.run("apply", "--auto-approve").code == 0
    assert tables.run("plan", "--refresh").last == "No changes. 6 accounts as recorded."


def test_which_commands_lock_which_apps(world: Two) -> None:
    """Refresh and import lock the apps that they are told of; what is of all locks all."""
    assert world.run("apply", "--auto-approve").code == 0
    world.seed("newcomer")
    world.names("B")
    child = world.applying("sg-chat")
    for words, code in {
        ("refresh", "--target", "cn-prod"): 0,
        ("refresh", "--target", "cn-prod", "--target", "sg-chat/sg-0"): 5,
        ("refresh",): 5,
        ("import", "cn-prod/newcomer"): 0,
        ("import", "sg-chat/newcomer"): 5,
        ("state", "rm", "cn-prod/newcomer", "--auto-approve"): 5,
        ("erase", "cn-prod/cn-0", "--auto-approve"): 5,
    }.items():
        ended = world.run(*words)
        assert ended.code == code, (words, ended.err)
    done(child)


def test_force_unlock_frees_one_app(world: Two) -> None:
    """The run whose lock is broken stops, and the other one ends well."""
    late, other = (world.applying(app) for app in APPS)
    first, second = world.run("lock", "status", "--json").json["locks"]
    asked = world.run("force-unlock", first["id"], "--auto-approve")
    assert asked.code == 0, asked.err
    assert world.locks() == [["sg-chat"]]
    late.go()
    assert late.wait() == 5, late.err
    done(other)
    assert world.run("force-unlock", second["id"], "--auto-approve").code == 1
    lines = world.run("state", "history", "--json").lines
    (broken,) = (one["action"] for one in lines if one["action"]["action"] == "force-unlock")
    assert broken["lock"]["apps"] == ["cn-prod"]
    assert world.run("apply", "--auto-approve").code == 0


def test_one_keeps_a_backup_at_a_time(
    world: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one process writes a backup, no other one tidies up beside it."""
    assert world.run("apply", "--auto-approve").code == 0
    folder, copied, seen = tmp_path / "backups", backups._copied, []

    def watched(store: SqliteStore, path: Path) -> Path:
        other = os.open(folder, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)
        seen.append(path)
        return copied(store, path)

    monkeypatch.setattr(backups, "_copied", watched)
    store = SqliteStore(world.root / ".reconciler/state.db", "test-im")
    made = backups.keep(store, folder, "2027-01-15T08:00:00Z", NO_KEYS)
    store.close()
    assert made is not None
    assert seen
    assert list(folder.iterdir()) == [made]


def test_a_job_per_app(world: Two, database: str, tmp_path: Path) -> None:
    """The matrix of the page on CI, both jobs at once as shown there, leaves nothing to do."""
    world.environ["STATE_URL"] = database
    world.workspace("state: {backend: postgres, url: env:STATE_URL}\n")
    page = (ROOT / "examples/ci/README.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```yaml\n(apply:\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    job = yaml.safe_load(text)["apply"]
    assert job["env"] == {"APP": "${{ matrix.app }}"}
    script = "\n".join(step["run"] for step in job["steps"])
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin/reconciler", forking().line)
    path = f"{tmp_path / 'bin'}:{world.environ['PATH']}"
    around = {**world.environ, "CI": "true", "RUNNER_TEMP": str(tmp_path), "PATH": path}
    jobs = [
        subprocess.Popen(
            ["bash", "-e", "-c", script],
            cwd=world.root,
            env={**around, "APP": app},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for app in job["strategy"]["matrix"]["app"]
    ]
    for one in jobs:
        told, _ = one.communicate(timeout=60)
        assert one.returncode == 0, told
        assert "Apply complete: 3 created" in told
    assert world.run("plan").last == "No changes. 6 accounts as recorded."
