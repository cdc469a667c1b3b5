"""Interrupts: once finishes what is in flight, twice leaves now; both are recoverable."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from reconciler.exits import Exit

if TYPE_CHECKING:
    from reconciler.cli.console import Console
    from reconciler.transport import Transport


@contextmanager
def interruptible(
    stop: threading.Event, transports: Sequence[Transport], console: Console
) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into a wish to stop, and a second one into leaving at once."""

    def stopping(_signal: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(Exit.INTERRUPTED)
        stop.set()
        for transport in transports:
            transport.stop()
        console.say("Interrupted: finishing what is in flight; once more leaves now.")

    before = {number: signal.signal(number, stopping) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
