"""Fixtures of the tests of bad inputs: a workspace with recorded state, to be spoilt."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shared_emulator import emulating
from tests.world import World


@pytest.fixture(scope="session")
def bad_vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One emulator, and a workspace whose account `kept` is applied and recorded."""
    with emulating() as endpoint:
        world = World(tmp_path_factory.mktemp("vendor"), endpoint)
        world.workspace('accounts: ["accounts/**/*"]')
        world.accounts("kept: {profile: {name: Kept}}", "aaa")
        assert world.run("apply", "--auto-approve").code == 0
        yield world


@pytest.fixture
def spoilt(bad_vendor: World, tmp_path: Path) -> World:
    """A copy of that workspace with its state, to be spoilt."""
    root = tmp_path / "workspace"
    shutil.copytree(bad_vendor.root, root)
    copy = World(root, bad_vendor.endpoint)
    copy.workspace('accounts: ["accounts/**/*"]')
    return copy
