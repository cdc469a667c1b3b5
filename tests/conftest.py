"""What every test may use, whichever imports it first."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from reconciler.cli import arguments

pytest.register_assert_rewrite(
    "tests",
    "spoilt_workspace",
    *("store_conformance", "store_conformance_journal", "store_conformance_lock"),
    *("store_child", "store_encrypted", "store_http", "store_object", "store_postgres"),
    "store_sqlite",
)

from tests.forks import forking  # noqa: E402
from tests.postgres_server import NoServer, serving  # noqa: E402
from tests.shared_emulator import endpoint  # noqa: E402

__all__ = ["endpoint"]


def pytest_configure() -> None:
    """Save time: parsers are kept, and where memory has room no disk is used."""
    arguments._parser = functools.cache(arguments._parser)
    memory = "/dev/shm"
    if "TMPDIR" in os.environ or not os.access(memory, os.W_OK):
        return
    if shutil.disk_usage(memory).free > 2 << 30:
        os.environ["TMPDIR"], tempfile.tempdir = memory, None


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a PostgreSQL server, without a database."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(serving())
        except NoServer as why:
            pytest.skip(str(why))
        yield f"host={folder} user=postgres"


def pytest_runtest_teardown() -> None:
    """End the processes that a test left running."""
    if forking.cache_info().currsize:
        forking().sweep()
