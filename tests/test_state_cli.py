"""State commands: verified, backed up before each change, restored, pushed."""

from __future__ import annotations

import json
import os
import re
import shlex
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.cli.console import Console
from reconciler.stores import backups
from reconciler.stores.sqlite import SqliteStore
from tests.state_server import PASSWORD, USER, Fault, serving
from tests.world import World

NAME = re.compile(r"auto-(\d+)-[0-9a-f]{8}-\d{4}-\d\d-\d\dT\d{6}Z\.db")


@pytest.fixture
def world(tmp_path: Path, endpoint: str) -> World:
    """A workspace with two recorded accounts, applied in two runs."""
    world = World(tmp_path, endpoint)
    applied(world, "Alice")
    world.accounts("alice: {profile: {name: Alice}}\nbob: {profile: {name: Bob}}")
    assert world.run("apply", "--auto-approve").code == 0
    return world


def applied(world: World, name: str) -> None:
    """Apply a name of alice."""
    world.accounts(f"alice: {{profile: {{name: {name}}}}}")
    ended = world.run("apply", "--auto-approve")
    assert ended.code == 0, ended.err


def kept(world: World) -> list[Path]:
    """Return the backups, by name."""
    return sorted((world.root / ".reconciler/backups").glob("*"))


def named(world: World) -> str:
    """Return the recorded name of alice."""
    shown = world.run("state", "show", "cn-prod/alice", "--json").json
    name: str = shown["attributes"]["profile"]["name"]
    return name


class TestVerify:
    def test_it_says_what_was_verified(self, world: World):
        """Records, chain, history and doubts are counted, as text and as JSON."""
        world.run("state", "rm", "cn-prod/bob", "--auto-approve")
        told = world.run("state", "verify")
        assert told.code == 0
        assert "3 serials of the chain" in told.out
        assert "1 record, each with its digest" in told.out
        assert "3 lines of history" in told.out
        assert "0 actions in doubt" in told.out
        shown = world.run("state", "verify", "--json").json
        assert shown == {
            "valid": True,
            "lineage": shown["lineage"],
            "serial": 3,
            "chain": world.run("state", "pull").json["chain"],
            "serials": 3,
            "records": 1,
            "history": 3,
            "in_doubt": 0,
            "encryption": None,
        }

    def test_nothing_recorded_is_fine(self, tmp_path: Path):
        """An empty workspace has nothing to verify, and nothing is made for it."""
        world = World(tmp_path, "http://127.0.0.1:1")
        told = world.run("state", "verify")
        assert (told.code, told.out[:20]) == (0, "Nothing is recorded ")
        assert not (tmp_path / ".reconciler").exists()

    @pytest.mark.parametrize(
        "damage",
        [
            "UPDATE accounts SET banned = 1",
            "DELETE FROM accounts WHERE address LIKE '%alice'",
            "UPDATE journal SET code = '201' WHERE seq = 1",
            "DELETE FROM journal WHERE seq = 2",
            "UPDATE serials SET prev = zeroblob(32) WHERE serial = 1",
            "UPDATE serials SET content = zeroblob(32) WHERE serial = 1",
            "DELETE FROM serials WHERE serial = 1",
            "UPDATE serials SET run = 'nobody' WHERE serial = 1",
            "UPDATE runs SET operator = 'somebody else'",
            "UPDATE meta SET serial = 3",
        ],
    )
    def test_damage_is_found(self, world: World, damage: str):
        """Whatever row was changed, verifying ends with 1 and says that state is damaged."""
        with closing(sqlite3.connect(world.root / ".reconciler/state.db")) as connection:
            connection.execute(damage)
            connection.commit()
        told = world.run("state", "verify")
        assert told.code == 1
        assert "damaged" in told.err
        assert "state restore" in told.err

    @pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
    def test_a_flipped_page_is_found(self, world: World, part: float):
        """Bytes overwritten anywhere in the tables do not pass."""
        file = world.root / ".reconciler/state.db"
        size = file.stat().st_size
        with file.open("r+b") as opened:
            opened.seek(int(size * part) // 4096 * 4096)
            opened.write(b"\xff" * 4096)
        assert world.run("state", "verify").code == 1


class TestBackups:
    def test_one_before_every_apply_that_changes(self, world: World):
        """There is none before the first, none for a run without changes, and else one each."""
        assert [NAME.fullmatch(path.name)[1] for path in kept(world)] == ["1"]
        applied(world, "Alicia")
        applied(world, "Alicia")
        assert [NAME.fullmatch(path.name)[1] for path in kept(world)] == ["1", "2"]
        assert {stat.S_IMODE(path.stat().st_mode) for path in kept(world)} == {0o600}
        assert stat.S_IMODE(kept(world)[0].parent.stat().st_mode) == 0o700

    def test_ten_are_kept_and_those_made_by_hand(self, world: World, monkeypatch):
        """The oldest goes first; what somebody else put there stays."""
        monkeypatch.setattr(backups, "KEPT", 3)
        world.run("state", "backup")
        (world.root / ".reconciler/backups/mine.db").write_bytes(b"x")
        for number in range(5):
            applied(world, f"A{number}")
        serials = [int(found[1]) for path in kept(world) if (found := NAME.fullmatch(path.name))]
        assert sorted(serials) == [5, 6, 7]
        assert len(kept(world)) == 5

    def test_ten_is_the_number(self):
        """The number that the documents tell."""
        assert backups.KEPT == 10

    def test_runs_that_fail_push_nothing_out(self, world: World):
        """While nothing new is recorded, the backup that is there is the one that matters."""
        world.accounts("alice: {profile: {name: Other}}\nbob: {profile: {name: Bob}}")
        world.faults({"match": {}, "fault": "code", "code": 403, "times": None})
        for _ in range(3):
            assert world.run("apply", "--auto-approve").code == 3
        assert [NAME.fullmatch(path.name)[1] for path in kept(world)] == ["1", "2"]

    def test_a_backup_is_never_written_over(self, world: World):
        """A backup's bytes stay as they were, whatever is applied later."""
        before = kept(world)[0].read_bytes()
        applied(world, "Alicia")
        applied(world, "Alice")
        assert kept(world)[0].read_bytes() == before

    def test_a_backup_that_fails_stops_the_apply(self, world: World):
        """Nothing is sent where the state cannot be backed up; the message says where and what."""
        folder = world.root / ".reconciler/backups"
        for path in kept(world):
            path.unlink()
        folder.rmdir()
        folder.write_text("in the way")
        sent, serial = len(world.mutations()), world.serial()
        world.accounts("alice: {profile: {name: Other}}")
        ended = world.run("apply", "--auto-approve")
        assert ended.code == 1
        assert "the state could not be backed up, so nothing was done" in ended.err
        assert str(folder) in ended.err
        assert (len(world.mutations()), world.serial()) == (sent, serial)
        assert world.run("state", "list").code == 0

    def test_a_full_disk_stops_the_apply(self, world: World):
        """A copy that does not fit is removed, and no call is made."""
        world.accounts("alice: {profile: {name: Other}}")
        sent = len(world.mutations())
        code = (
            "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
            "from reconciler.stores.sqlite import SqliteStore; real = SqliteStore.backup\n"
            "def full(self, target):\n"
            "    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))\n"
            "    real(self, target)\n"
            "SqliteStore.backup = full\n"
            "from reconciler.__main__ import main; main()"
        )
        words = ["--chdir", str(world.root), "apply", "--auto-approve"]
        ended = subprocess.run(
            [sys.executable, "-c", code, *words],
            env=world.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 1, ended.stderr
        assert "could not be backed up" in ended.stderr
        assert len(world.mutations()) == sent
        assert [path.name for path in kept(world) if not NAME.fullmatch(path.name)] == []
        assert world.run("apply", "--auto-approve").code == 0

    def test_half_a_copy_is_cleared_away(self, world: World):
        """What a killed run left half copied is no backup, and goes with the next one."""
        (world.root / ".reconciler/backups/.auto-9-x.tmp").write_bytes(b"half")
        applied(world, "Alicia")
        assert all(NAME.fullmatch(path.name) for path in kept(world))

    def test_in_doubt_is_backed_up_before_it_is_settled(self, world: World):
        """Settling changes records too, so the backup comes before."""
        world.accounts("alice: {profile: {name: Other}}\nbob: {profile: {name: Bob}}")
        world.faults({"match": {}, "fault": "close", "times": None})
        assert "1 in doubt." in world.run("apply", "--auto-approve").out
        for path in kept(world):
            path.unlink()
        world.control("faults", method="DELETE")
        assert world.run("apply", "--auto-approve").code == 0
        store = SqliteStore(kept(world)[0], "test-im")
        assert [one.address for one in store.unresolved()] == ["cn-prod/alice"]
        store.close()

    @pytest.mark.parametrize("backend", ["file", "object"])
    def test_a_backup_is_what_restore_takes(self, tmp_path: Path, backend: str, endpoint: str):
        """The records are as they were, of either kind of store; the serial goes on rising."""
        world = World(tmp_path / "ws", endpoint)
        if backend == "object":
            place = (tmp_path / "objects").as_uri()
            world.workspace(f"state: {{backend: object, url: {place}}}")
        applied(world, "Alice")
        applied(world, "Alicia")
        (backup,) = kept(world)
        assert backup.suffix == (".json" if backend == "object" else ".db")
        assert stat.S_IMODE(backup.stat().st_mode) == 0o600
        serial = world.serial()
        asked = world.run("state", "restore", str(backup))
        restored = world.run("state", "restore", str(backup), "--auto-approve")
        assert (asked.code, restored.code) == (64, 0)
        assert restored.out == "Recorded 1 account, dropped 0.\n"
        assert named(world) == "Alice"
        assert world.serial() == serial + 1
        assert world.run("state", "verify").code == 0
        # What was restored over is kept too.
        assert len(kept(world)) == 2

    def test_a_backup_brings_history_back(self, world: World):
        """Where the state itself is beyond use, a copy of it takes its place, history included."""
        applied(world, "Alicia")
        history = world.run("state", "history", "--json").lines
        file = world.root / ".reconciler/state.db"
        file.write_bytes(b"")
        restored = world.run("state", "restore", str(kept(world)[-1]), "--auto-approve")
        assert restored.code == 0, restored.err
        assert "history since the backup is only in there" in restored.err
        assert world.run("state", "history", "--json").lines == history[:2]
        assert world.run("state", "verify").code == 0
        assert world.serial() == 2
        assert named(world) == "Alice"
        applied(world, "Alicia")

    @pytest.mark.parametrize("kind", ["db", "json"])
    def test_the_way_out_of_a_rolled_back_state_works(self, world: World, kind: str):
        """An older file put back is refused; the command that the message names mends it."""
        file = world.root / ".reconciler/state.db"
        older = file.read_bytes()
        applied(world, "Alicia")
        backup = world.run("state", "backup").out.split()[-1] if kind == "json" else kept(world)[-1]
        file.write_bytes(older)
        told = world.run("apply", "--auto-approve")
        assert told.code == 1
        assert "rolled back" in told.err
        assert "`reconciler state restore FILE`" in told.err
        restored = world.run("state", "restore", str(backup), "--auto-approve")
        assert restored.code == 0, restored.err
        assert named(world) == ("Alicia" if kind == "json" else "Alice")
        applied(world, "Alicia")

    def test_a_copy_holds_no_lock(self, world: World):
        """A backup is made under the lock and does not keep it."""
        store = SqliteStore(kept(world)[0], "test-im")
        assert store.held() is None
        store.close()

    def test_a_damaged_or_foreign_backup_is_refused(self, world: World, tmp_path: Path):
        """A copy with a flipped row, of another workspace, or of something else is exit 1."""
        copy = tmp_path / "copy.db"
        copy.write_bytes(kept(world)[0].read_bytes())
        copy.chmod(0o600)
        with closing(sqlite3.connect(copy)) as connection:
            connection.execute("UPDATE accounts SET banned = 1")
            connection.commit()
        foreign = tmp_path / "foreign.db"
        with closing(sqlite3.connect(foreign)) as connection:
            connection.execute("CREATE TABLE t (x)")
            connection.commit()
        foreign.chmod(0o600)
        before = world.serial()
        for file in (copy, foreign):
            told = world.run("state", "restore", str(file), "--auto-approve")
            assert told.code == 1, told
            assert str(file) in told.err
        world.workspace(name="another-im")
        told = world.run("state", "restore", str(kept(world)[0]), "--auto-approve")
        assert "belongs to the workspace 'test-im'" in told.err
        world.workspace()
        assert world.serial() == before


class TestSnapshots:
    def test_a_snapshot_names_its_chain(self, world: World):
        """A pulled snapshot has version, lineage, serial, digest, and the chain that led to it."""
        told = world.run("state", "pull").json
        assert (told["version"], told["serial"]) == (1, 2)
        assert told["lineage"]
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", told["digest"])
        assert re.fullmatch(r"[0-9a-f]{64}", told["chain"])

    @pytest.mark.parametrize("command", ["push", "restore"])
    @pytest.mark.parametrize("key", ["chain", "serial", "accounts"])
    def test_an_edited_one_is_refused(self, world: World, command: str, key: str):
        """Whatever was edited, the digest does not fit, and nothing is recorded."""
        told = world.run("state", "pull").json
        told[key] = {"chain": "0" * 64, "serial": 99, "accounts": told["accounts"][:1]}[key]
        file = world.write("edited.json", json.dumps(told))
        before = world.serial()
        ended = world.run("state", command, str(file), "--auto-approve")
        assert ended.code == 1
        assert "its digest does not fit" in ended.err
        assert world.serial() == before

    def test_two_states_of_one_serial_are_told_apart(self, world: World, tmp_path: Path):
        """A state that was copied and changed on both sides is not pushed over the other."""
        other = World(tmp_path / "other", world.endpoint)
        file = other.write("pulled.json", world.run("state", "pull").out)
        os.makedirs(other.root / ".reconciler", 0o700)
        store = SqliteStore(world.root / ".reconciler/state.db", "test-im")
        store.backup(other.root / ".reconciler/state.db")
        store.close()
        other.run("state", "rm", "cn-prod/bob", "--auto-approve")
        world.run("state", "rm", "cn-prod/alice", "--auto-approve")
        assert world.serial() == other.serial() == 3
        file = other.write("theirs.json", other.run("state", "pull").out)
        told = world.run("state", "push", str(file), "--auto-approve")
        assert told.code == 1
        assert "each was changed without the other" in told.err
        assert world.run("state", "list").out == "cn-prod/bob\n"
        own = world.write("own.json", world.run("state", "pull").out)
        assert world.run("state", "push", str(own), "--auto-approve").code == 0


@pytest.mark.parametrize(
    "words", ["push pulled.json", "restore pulled.json", "mv cn-prod/alice cn-prod/carol"]
)
def test_what_another_run_recorded_meanwhile_is_not_written_over(
    world: World, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """While a person is asked, or a lock waited for, an apply may end: the state is another."""
    pulled = world.write("pulled.json", world.run("state", "pull").out)
    words = words.replace("pulled.json", str(pulled))

    def ask(*_: object, **__: object) -> None:
        monkeypatch.undo()
        world.accounts("alice: {profile: {name: New}}\ncarol: {profile: {name: Carol}}")
        assert world.run("apply", "--auto-approve").code == 0

    monkeypatch.setattr(Console, "ask", ask)
    ended = world.run("state", *words.split(), "--auto-approve")

    assert (ended.code, "changed meanwhile (serial 2, now " in ended.err) == (1, True), ended.err
    assert (named(world), world.run("plan", "--detailed-exitcode").code) == ("New", 0)


def test_the_printed_command_saves_what_could_not_be_saved(tmp_path: Path, endpoint: str) -> None:
    """Where the backend fails under an apply, pasting what is printed mends the state."""
    with serving(gitlab=False, clock=time.time) as server:
        world = World(tmp_path / "a folder", endpoint)
        world.environ["STATE_PASSWORD"] = PASSWORD
        world.workspace(
            "state: {backend: http, username: "
            + USER
            + ", password: env:STATE_PASSWORD, "
            + ", ".join(f"{key}: {json.dumps(value)}" for key, value in server.options.items())
            + "}"
        )
        world.accounts("alice: {profile: {name: Alice}}")
        server.faults.append(Fault("POST", 403, times=100, skip=3))
        ended = world.run("apply", "--auto-approve")
        assert ended.code == 1, ended
        server.faults.clear()
        (line,) = [line for line in ended.err.splitlines() if "state push" in line]
        command = shlex.split(line.partition(": reconciler ")[2])
        assert command[0] == "--chdir"
        pushed = world.run(*command[2:])
        assert pushed.code == 0, pushed.err
        assert named(world) == "Alice"
        again = world.run("apply", "--auto-approve")
        assert again.code == 0, again.err
        assert world.run("plan").last == "No changes. 1 account as recorded."
        assert len([one for one in world.mutations() if one["api"] == "create"]) == 1
