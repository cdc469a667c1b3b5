"""Several processes read what one would: the same accounts and findings, or an error."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

import pytest
from config_capabilities import BOTH, TABLES
from config_files import Reading, write
from config_random import files
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reconciler.config import crew, cuts, load, shared, stream
from reconciler.config.judge import Judge
from reconciler.errors import ReconcilerError

WORKSPACE = BOTH.replace("**/*.yaml", "**/*")
NOW = datetime(2026, 12, 31, tzinfo=UTC)
SMALL = 96
"""Bytes of a part in these tests: an account or two."""


class Here:
    """A crew that is this process: every part is read when it is handed out."""

    def __init__(self, count, work):
        self.work, self.told = work, deque()

    @property
    def room(self):
        return len(self.told) < 3

    def hand(self, file, part):
        self.told.append(self.work(file, part))

    def take(self):
        return self.told.popleft()

    def close(self):
        pass


def read(root: Path, share=None, moment=None) -> Reading:
    """Read a workspace; `share` returns what shares the reading, given root, files and judge.

    With a moment it is validated.
    """
    warnings, accounts = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "shared", share or (lambda *_: None))
        try:
            workspace = load(root, capabilities=TABLES.get)
            tables = {name: TABLES[app.type] for name, app in workspace.apps.items()}
            accounts.extend(stream.Desired(workspace, tables, warnings, moment))
        except ReconcilerError as failure:
            return Reading(accounts, warnings, failure)
    return Reading(accounts, warnings, None)


def in_parts(root: Path, moment=None) -> Reading:
    """Read a workspace in parts of about an account, in this process."""

    def share(root, files, judge):
        workspace = load(root, capabilities=TABLES.get)
        return shared.Shared(root, files, Judge(workspace, judge.capabilities, moment), 2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared, "Crew", Here)
        patch.setattr(cuts, "PIECE", SMALL)
        return read(root, share, moment)


def same(one: Reading, other: Reading) -> None:
    assert other.accounts == one.accounts or (one.failure and other.failure)
    assert other.warnings == one.warnings
    assert other.errors == one.errors
    assert type(other.failure) is type(one.failure)


LONG = {"accounts/a.yaml": "accounts:\n" + "".join(f"  u{n}: {{provider: cn}}\n" for n in range(9))}


GLOBS = WORKSPACE.replace(
    "- accounts/**/*",
    "- {files: accounts/*.y*ml, defaults: {labels: {deep: glob}}}\n"
    "  - {files: accounts/*l, adopt: true}\n"
    "accounts_from: [{bans: accounts/*.csv, provider: cn}]",
)
LINES = LONG["accounts/a.yaml"]
SHEET = "id,reason,until,ticket\n" + "".join(f"s{n},spam,2027-01-0{n},T-{n}\n" for n in range(1, 9))


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(files(), st.sampled_from([WORKSPACE, GLOBS]), st.sampled_from([None, NOW]))
@example(LONG, WORKSPACE, None)
@example({"accounts/a.yaml": LINES + "  u0: {provider: sg}\n"}, WORKSPACE, None)
@example({"accounts/a.yaml": LINES + "defaults: {labels: {late: z}}\n"}, GLOBS, NOW)
@example({**LONG, "accounts/b.yaml": LINES}, WORKSPACE, NOW)
@example({**LONG, "accounts/c.csv": SHEET}, GLOBS, NOW)
@example({**LONG, "accounts/c.csv": SHEET.replace("s8", "u8")}, GLOBS, NOW)
def test_parts_are_read_as_the_whole(tmp_path_factory, made, workspace, moment):
    """Cut into parts of an account each, files give the same accounts, warnings and findings."""
    root = tmp_path_factory.mktemp("w")
    write(root, made, workspace)
    same(read(root, moment=moment), in_parts(root, moment))


def test_a_reader_that_ends_is_an_error(tmp_path):
    """Killed before, in the middle of or out of memory at any part: never a shorter set.

    Where its end would not be seen there is none: started with SIGCHLD ignored, or embedded.
    """
    made = {
        "accounts/a.yaml": "accounts:\n"
        + "".join(f"  a{n}: {{provider: cn}}\n" for n in range(60)),
        "accounts/b.csv": "id,provider\n" + "".join(f"b{n},sg\n" for n in range(60)),
        "accounts/c.jsonl": "".join(f'{{"id":"c{n}","provider":"cn"}}\n' for n in range(60)),
    }
    write(tmp_path, made, WORKSPACE)
    ended = subprocess.run(
        [sys.executable, Path(__file__).with_name("shared_processes.py"), tmp_path],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    told = json.loads(ended.stdout)
    for fault, at, agrees, failure, left in told:
        assert agrees, (fault, at)
        assert not left, (fault, at)
        if fault == "none":
            assert not failure
        else:
            assert failure.startswith("reader-ended: "), (fault, at, failure)
            assert ("SIGKILL" in failure) == (fault in ("killed", "half")), (fault, failure)
    assert len(told) > 20


@pytest.mark.parametrize("changed", [0, 5])
def test_a_file_that_changes_between_two_readings_is_not_mixed(tmp_path, monkeypatch, changed):
    """Half written it is read once more; whether what was read before is still so is looked at."""
    line = '{{"id": "u{}", "provider": "cn", "profile": {{"name": "A"}}}}\n'.format
    text = "".join(map(line, range(30)))
    write(tmp_path, {"accounts/a.jsonl": text[:-9]}, WORKSPACE)
    assert in_parts(tmp_path).failure
    rest = stream.Desired._rest

    def written(self, found, *more):
        (tmp_path / "accounts/a.jsonl").write_text(text.replace("A", "B", changed))
        return rest(self, found, *more)

    monkeypatch.setattr(stream.Desired, "_rest", written)
    failure = in_parts(tmp_path).failure
    assert ("was changed while it was read" in str(failure)) == bool(changed), failure


@pytest.fixture
def large(tmp_path):
    """A workspace that several processes read; all of its accounts are recorded."""
    write(
        tmp_path,
        {
            "accounts/a.jsonl": "".join(
                f'{{"id":"u{n}","provider":"cn","profile":{{"sign":"{"x" * 200}"}}}}\n'
                for n in range(10_000)
            )
        },
        WORKSPACE,
    )
    return tmp_path


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def readers(pid: int) -> list[int]:
    """Wait for the readers of a process and return them; none if it has ended."""
    while lives(pid):
        if found := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            return [int(one) for one in found]
    return []


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: nobody helps to read")
@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_a_plan_whose_reader_ends(large, how):
    """A killed reader is exit 1 and no plan, an interrupt 130; and no process is left of it."""
    plan = subprocess.Popen(
        [sys.executable, "-P", "-m", "reconciler", "--chdir", large, "plan", "--out", large / "p"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    found = readers(plan.pid)
    assert found
    if how == "killed":
        os.kill(found[0], signal.SIGKILL)
    else:
        os.killpg(plan.pid, signal.SIGINT)
    out, said = plan.communicate()
    assert out == ""
    assert plan.returncode == (1 if how == "killed" else 130)
    assert ("ended before its time (signal SIGKILL)" in said) == (how == "killed")
    assert "Traceback" not in said
    assert not (large / "p").exists()
    while any(map(lives, found)):
        pass  # whoever was forked a moment before the interrupt finds nobody to work for


def test_small_inputs_are_read_alone(tmp_path, monkeypatch):
    """Below the size from which it pays no process is asked for."""
    monkeypatch.setattr(crew, "cores", lambda: pytest.fail("asked for processes"))
    write(tmp_path, LONG, WORKSPACE)
    workspace = load(tmp_path, capabilities=TABLES.get)
    tables = {name: TABLES[app.type] for name, app in workspace.apps.items()}
    assert len(list(stream.Desired(workspace, tables, []))) == 9
