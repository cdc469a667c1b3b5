"""Files: all that is kept is private, whole or absent, and nothing half written stays behind."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.errors import ConfigError
from reconciler.files import private_folder, replace_private, write_private
from tests.canaries import HOLD, Relay, echo, relayed
from tests.forks import Child
from tests.world import World

ACCOUNTS = """
alice:
  profile: {name: Alice}
  token: {generate: true, sink: "file:secrets/deep/alice", version: 1}
bob:
  profile: {name: Bob}
"""
WRITE = b"POST /im/v2/accounts "
LEFTOVER = re.compile(r"\.tmp$|\.new-|\.[0-9a-f]{8,}$")


class Modes(World):
    """A workspace whose commands run as processes with a umask of their own."""

    umask = 0o022

    def start(self, *words: str, **how: object) -> Child:
        """Start a command that may dump its core, unless it forbids that itself."""
        most = resource.getrlimit(resource.RLIMIT_CORE)[1]
        return super().start(*words, umask=self.umask, core=(most, most), **how)

    def kept(self) -> list[Path]:
        """Return what the program has written, folders included; not what the user has."""
        places = [self.root / ".reconciler", self.root / "secrets", self.root / "next.plan.json"]
        inner = [path for place in places for path in place.rglob("*")]
        return [path for path in (*places, *inner) if path.exists()]

    def check(self, *, over: bool = True) -> None:
        """Assert that everything kept is private and, once a run is over, nothing half written."""
        for path in self.kept():
            wanted = 0o700 if path.is_dir() else 0o600
            assert stat.S_IMODE(path.stat().st_mode) == wanted, path
        if over:
            names = [path.name for path in self.root.rglob("*")]
            assert [name for name in names if LEFTOVER.search(name)] == []


@pytest.fixture
def place(tmp_path: Path, endpoint: str) -> Iterator[tuple[Modes, Relay]]:
    """A workspace whose vendor is behind a relay."""
    with relayed(endpoint) as relay:
        world = Modes(tmp_path, relay.endpoint)
        world.accounts(ACCOUNTS)
        yield world, relay


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_all_that_is_kept_is_private(place: tuple[Modes, Relay], umask: int) -> None:
    """State, WAL, locks, plans, sinks and backups are 0600 in folders of 0700, whatever umask.

    So they are while a run is under way, after it was killed, after one that failed, and after
    one that went well; and nothing half written is left.
    """
    world, relay = place
    world.umask = umask
    (world.root / ".reconciler/schemas").mkdir(parents=True)
    (world.root / ".reconciler").chmod(0o777)
    (world.root / ".reconciler/schemas").chmod(0o700)
    assert world.process("plan", "--out", str(world.root / "next.plan.json")).code == 0
    relay.meddle = lambda request: HOLD if request.startswith(WRITE) else None
    process = world.start("apply", "--auto-approve")
    try:
        assert relay.held.wait(60)
        assert {"state.db", "state.db-wal", "state.db-shm"} <= {p.name for p in world.kept()}
        world.check(over=False)
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        assert re.search(r"Max core file size +0 +0 ", limits)
    finally:
        process.kill()
    world.check(over=False)
    refusal = echo("200 OK", b"", [])
    relay.meddle = lambda request: refusal if request.startswith(WRITE) else None
    assert world.process("apply", "--auto-approve").code == 3
    world.check()
    relay.meddle = lambda _request: None
    assert world.process("apply", "--auto-approve").code == 0
    assert world.process("state", "backup").code == 0
    world.check()
    names = {path.name for path in world.kept()}
    assert {"state.db", "state.db.high-water", "alice", "backups", "deep"} <= names


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_init_keeps_its_own_folder_private(tmp_path: Path, umask: int) -> None:
    """`init` makes `.reconciler` for its owner alone; what goes into git is as the umask says."""
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "reconciler", "--chdir", str(tmp_path), "init"],
        umask=umask,
        check=True,
        capture_output=True,
    )
    assert b"wrote reconciler.yaml" in ended.stdout
    assert stat.S_IMODE((tmp_path / ".reconciler").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "reconciler.yaml").stat().st_mode) == 0o666 & ~umask


def test_a_crash_leaves_no_core(place: tuple[Modes, Relay]) -> None:
    """A command that aborts with secrets in memory leaves no core file, where others would."""
    world, relay = place
    relay.meddle = lambda request: HOLD if request.startswith(WRITE) else None
    process = world.start("apply", "--auto-approve", cwd=str(world.root))
    assert relay.held.wait(60)
    process.signal(signal.SIGABRT)
    assert process.wait() == -signal.SIGABRT
    assert [path.name for path in world.root.rglob("core*")] == []


KILLED = """\
import os, signal, sys
from pathlib import Path
from reconciler import files
files.os.rename = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
files.write_private(Path(sys.argv[1]), [b"half"])
"""


def test_a_killed_writer_is_cleared_away(tmp_path: Path) -> None:
    """What a writer left that was killed before its rename is private, and goes with the next."""
    file = tmp_path / "sink"
    file.write_text("old")
    ended = subprocess.run([sys.executable, "-P", "-c", KILLED, str(file)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert file.read_text() == "old"
    left = tmp_path / ".sink.tmp"
    assert (left.read_text(), stat.S_IMODE(left.stat().st_mode)) == ("half", 0o600)
    write_private(file, [b"new"])
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("sink", "new")]


def test_writers_of_one_file_wait_for_each_other(tmp_path: Path) -> None:
    """Of many writers at once each leaves its file whole, and none fails or leaves anything."""
    file, failures = tmp_path / "sink", []

    def write(letter: str) -> None:
        try:
            for _ in range(50):
                write_private(file, [letter.encode()] * 500)
        except ConfigError as problem:
            failures.append(problem)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    text = file.read_text()
    assert (len(text), len(set(text))) == (500, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["sink"]


@pytest.mark.parametrize("kind", ["link", "fifo", "file", "socket"])
def test_what_lies_in_the_way_is_not_written_through(tmp_path: Path, kind: str) -> None:
    """Whatever a checkout lays under the temporary name is removed, never followed or filled."""
    (tmp_path / "victim").write_text("kept")
    folder = tmp_path / "folder"
    folder.mkdir()
    way = folder / ".sink.tmp"
    match kind:
        case "link":
            way.symlink_to(tmp_path / "victim")
        case "fifo":
            os.mkfifo(way)
        case "socket":
            os.mknod(way, stat.S_IFSOCK | 0o600)
        case _:
            way.write_text("mine")
            way.chmod(0o666)
    write_private(folder / "sink", [b"new"])
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("sink", "new")]
    assert stat.S_IMODE((folder / "sink").stat().st_mode) == 0o600
    assert (tmp_path / "victim").read_text() == "kept"


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    """Where the pieces end in an error, the former file stands and nothing lies beside it."""
    file = tmp_path / "plan"
    file.write_text("old")

    def pieces() -> Iterator[bytes]:
        yield b"new"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_private(file, pieces())
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("plan", "old")]


@pytest.mark.parametrize("name", ["pipe", "link", "folder"])
def test_only_plain_files_are_replaced(tmp_path: Path, name: str) -> None:
    """A plan is not put in place of a pipe (or a device, as /dev/null is), a link or a folder."""
    (tmp_path / "victim").write_text("kept")
    (tmp_path / "link").symlink_to("victim")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = os.lstat(tmp_path / name)
    with pytest.raises(ConfigError, match="cannot be written"):
        write_private(tmp_path / name, [b"new"])
    assert os.path.samestat(os.lstat(tmp_path / name), before)
    assert (tmp_path / "victim").read_text() == "kept"


def test_a_sink_that_is_a_link_is_replaced(tmp_path: Path) -> None:
    """A token never goes through a link: the link itself becomes the file."""
    (tmp_path / "victim").write_text("kept")
    (tmp_path / "sink").symlink_to("victim")
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        replace_private(folder, "sink", [b"token"])
    finally:
        os.close(folder)
    assert not (tmp_path / "sink").is_symlink()
    assert (tmp_path / "victim").read_text() == "kept"


def test_the_own_folder_behind_a_link_is_left_alone(tmp_path: Path) -> None:
    """A checkout that makes `.reconciler` a link cannot have another folder's mode changed."""
    (tmp_path / "shared").mkdir(mode=0o755)
    (tmp_path / "shared").chmod(0o755)
    (tmp_path / ".reconciler").symlink_to("shared")
    private_folder(tmp_path / ".reconciler/backups")
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "shared/backups").stat().st_mode) == 0o700


def test_links_in_place_of_state_and_plan_are_refused(place: tuple[Modes, Relay]) -> None:
    """State or a plan that is a link is refused, and what it points to stays as it was."""
    world, _ = place
    victim = world.write("victim", "kept")
    (world.root / "next.plan.json").symlink_to(victim)
    (world.root / ".reconciler").mkdir()
    (world.root / ".reconciler/state.db").symlink_to(victim)
    planned = world.run("plan", "--out", str(world.root / "next.plan.json"), "--json")
    applied = world.run("apply", "--auto-approve")
    assert (planned.code, applied.code) == (1, 1)
    assert "symbolic link" in applied.err
    (world.root / ".reconciler/state.db").unlink()
    planned = world.run("plan", "--out", str(world.root / "next.plan.json"), "--json")
    assert planned.code == 1
    assert "regular file" in planned.err
    assert json.loads(planned.out)["summary"]["create"] == 2
    assert victim.read_text() == "kept"
