"""Opened: the workspace that a command is about, which an interrupt closes."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from reconciler.cli.console import Console
from reconciler.cli.interrupt import leaving
from reconciler.session import Session


@contextmanager
def opened(arguments: Namespace, console: Console) -> Iterator[Session]:
    """Open the workspace at `--chdir`; what is printed from here on holds none of its secrets."""
    session = Session(arguments.chdir, console.environ, console.guard)
    with leaving(session.transports), session:
        yield session
