"""What every test may use, whichever imports it first."""

from __future__ import annotations

import functools
import gc
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from reconciler.cli import arguments

pytest.register_assert_rewrite(
    "tests",
    "spoilt_workspace",
    *("store_conformance", "store_conformance_journal", "store_conformance_lock"),
    "store_conformance_apps",
    *("store_child", "store_encrypted", "store_http", "store_object", "store_postgres"),
    "store_sqlite",
)

from tests.forks import forking  # noqa: E402
from tests.postgres_server import NoServer, serving  # noqa: E402
from tests.shared_emulator import endpoint  # noqa: E402

__all__ = ["endpoint"]


def pytest_configure() -> None:
    """Save time: parsers are kept, and where memory has room no disk is used."""
    sys.dont_write_bytecode = False
    arguments._parser = functools.cache(arguments._parser)
    memory = "/dev/shm"
    if "TMPDIR" in os.environ or not os.access(memory, os.W_OK):
        return
    if shutil.disk_usage(memory).free > 2 << 30:
        os.environ["TMPDIR"], tempfile.tempdir = memory, None


def pytest_xdist_auto_num_workers() -> int:
    """Use more workers than cores, as many tests wait; each costs a start, so not on many cores."""
    cores = os.cpu_count() or 1
    return max(cores, min(2 * cores, 8))


def pytest_xdist_setupnodes() -> None:
    """Compile the tests once; each worker would spend seconds on rewriting their assertions.

    One that cannot be imported is told by the workers.
    """
    suffix = f"{sys.implementation.cache_tag}-pytest-{pytest.__version__}.pyc"
    for path in Path(__file__).parent.glob("test_*.py"):
        kept = path.parent / "__pycache__" / f"{path.stem}.{suffix}"
        if not kept.exists() or kept.stat().st_mtime < path.stat().st_mtime:
            with suppress(Exception, pytest.skip.Exception):
                importlib.import_module(path.stem)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a PostgreSQL server, without a database."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(serving())
        except NoServer as why:
            pytest.skip(str(why))
        yield f"host={folder} user=postgres"


def pytest_collection_finish() -> None:
    """Save time: what was imported and collected stays, and need not be looked at again."""
    gc.collect()
    gc.freeze()


def pytest_runtest_teardown() -> None:
    """End the processes that a test left running."""
    if forking.cache_info().currsize:
        forking().sweep()
