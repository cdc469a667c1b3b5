"""Ephemeral runners: local state that would be lost with the machine is not written there."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.stores import BACKENDS
from tests.world import World


@pytest.fixture
def world(tmp_path: Path, endpoint: str) -> World:
    """A workspace with a recorded account."""
    world = World(tmp_path, endpoint)
    applied(world, "Alice")
    return world


def applied(world: World, name: str) -> None:
    """Apply a name of alice."""
    world.accounts(f"alice: {{profile: {{name: {name}}}}}")
    ended = world.run("apply", "--auto-approve")
    assert ended.code == 0, ended.err


class TestEphemeral:
    WRITING = (
        ("apply", "--auto-approve"),
        ("refresh",),
        ("import", "cn-prod/x"),
        ("state", "rm", "cn-prod/alice", "--auto-approve"),
        ("state", "mv", "cn-prod/alice", "cn-prod/eve", "--auto-approve"),
        ("erase", "cn-prod/alice", "--auto-approve"),
        ("force-unlock", "some-id", "--auto-approve"),
    )

    @pytest.mark.parametrize("words", WRITING, ids=lambda words: "-".join(words[:2]))
    def test_what_writes_is_refused(self, world: World, words: tuple[str, ...]):
        """With CI set and local state it is exit 1, naming both ways out; nothing is touched."""
        world.accounts("alice: {profile: {name: Other}}")
        before = len(world.control("requests")["requests"]), world.serial()
        world.environ["CI"] = "true"
        told = world.run(*words)
        assert told.code == 1
        assert "CI is set and the state is a local file" in told.err
        assert all(name in told.err for name in BACKENDS[1:])
        assert "state: {ephemeral: true}" in told.err
        assert (len(world.control("requests")["requests"]), world.serial()) == before

    @pytest.mark.parametrize("command", ["push", "restore"])
    def test_a_snapshot_is_not_pushed_there(self, world: World, command: str):
        """Nor is one pushed or restored into such a state."""
        file = world.write("pulled.json", world.run("state", "pull").out)
        world.environ["CI"] = "true"
        assert world.run("state", command, str(file), "--auto-approve").code == 1

    def test_what_reads_goes_on(self, world: World):
        """Validate, plan, drift, show and state list need no other state."""
        world.environ["CI"] = "true"
        for words in (
            ("validate",),
            ("plan",),
            ("plan", "--refresh"),
            ("drift",),
            ("show",),
            ("state", "list"),
            ("state", "verify"),
            ("lock", "status"),
        ):
            assert world.run(*words).code == 0, words

    def test_a_kept_folder_is_said_once(self, world: World):
        """`ephemeral: true` says that the folder is kept, or may be lost."""
        world.environ["CI"] = "true"
        world.workspace("state: {ephemeral: true}")
        applied(world, "Other")

    def test_a_team_backend_needs_nothing(self, tmp_path: Path, endpoint: str):
        """State elsewhere is not lost with the machine."""
        world = World(tmp_path / "ws", endpoint)
        place = (tmp_path / "objects").as_uri()
        world.workspace(f"state: {{backend: object, url: {place}}}")
        world.environ["CI"] = "true"
        applied(world, "Alice")
