"""Interrupts: once finishes what is in flight, twice leaves now; both are recoverable."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from reconciler.exits import Exit

if TYPE_CHECKING:
    from reconciler.cli.console import Console
    from reconciler.transport import Transport


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def leaving(transports: Sequence[Transport]) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into KeyboardInterrupt, and do not wait for what is being read.

    What is not committed is undone and the lock given up on the way out; a second one leaves at
    once, and the lock of a process that is gone is free.
    """
    left = threading.Event()

    def leave(_signal: int, _frame: FrameType | None) -> None:
        if left.is_set():
            os._exit(Exit.INTERRUPTED)
        left.set()
        for transport in transports:
            transport.stop()
        raise KeyboardInterrupt

    with _handling(leave):
        yield
    if left.is_set():
        # It came in a destructor, out of which nothing is raised: a worker would go on for ever.
        raise KeyboardInterrupt


@contextmanager
def interruptible(
    stop: threading.Event, transports: Sequence[Transport], console: Console
) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into a wish to stop, and a second one into leaving at once.

    For the time in which calls are under way whose outcomes are to be recorded.
    """

    def stopping(_signal: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(Exit.INTERRUPTED)
        stop.set()
        for transport in transports:
            transport.stop()
        # It may have come in the middle of a line, or after the other end of the pipe has gone.
        with suppress(RuntimeError, OSError):
            console.say("Interrupted: finishing what is in flight; once more leaves now.")

    with _handling(stopping):
        yield


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Have signals handled so for a time; other than in the main thread they are not ours."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
