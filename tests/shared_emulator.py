"""Emulators as new for every test, on servers that a process starts once."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import pytest
from starlette.types import Receive, Scope, Send

from reconciler.emulator import Clock, Settings, running, wire
from reconciler.emulator.app import built
from reconciler.emulator.context import opened

UNTHROTTLED = Settings(rate=0)


class _Server:
    """Serves the vendors of the test that has it at the time."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        stack = ExitStack()
        with patch.object(wire, "built", lambda _: self):
            self.url = stack.enter_context(running())
        atexit.register(stack.close)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._loop = asyncio.get_running_loop()
        await self._app(scope, receive, send)

    def renew(self, settings: Settings, clock: Clock | None) -> None:
        """Be as new; a request that is still under way goes on at the vendors where it began."""
        self._context = opened(settings, clock)
        self._app = built(self._context)

    def release(self) -> None:
        """Let requests that hang go."""
        if self._loop:
            self._loop.call_soon_threadsafe(self._context.stopping.set)


_IDLE: list[_Server] = []


@contextmanager
def emulating(settings: Settings = UNTHROTTLED, *, clock: Clock | None = None) -> Iterator[str]:
    """Yield the base URL of vendors as new: what `running` does, without its start and its end."""
    server = _IDLE.pop() if _IDLE else _Server()
    server.renew(settings, clock)
    try:
        yield server.url
    finally:
        server.release()
        _IDLE.append(server)


@pytest.fixture
def endpoint() -> Iterator[str]:
    """The base URL of unthrottled vendors as new."""
    with emulating() as url:
        yield url
