"""The emulator on uvicorn: a protocol that shows its transport, a server that stops at once."""

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from reconciler.emulator.app import built
from reconciler.emulator.context import Context

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Server(uvicorn.Server):
    """Serve one context; calls `ready` when connections are accepted."""

    def __init__(self, context: Context, ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                built(context),
                http=_protocol(),
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                timeout_keep_alive=60,
                timeout_graceful_shutdown=1,
            )
        )
        self._context = context
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections, then say so."""
        await super().startup(sockets=sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let hanging requests go, then close every connection."""
        self._context.stopping.set()
        await super().shutdown(sockets=sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGINT and SIGTERM, and not raise them again: stopping is how this ends."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._stop) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.should_exit = True


def _protocol() -> type[asyncio.Protocol]:
    """Return uvicorn's protocol with its transport in the state of each request's scope.

    A fault that cuts the connection needs it; ASGI itself has no way to reach it.
    """

    def connection_made(self: Any, transport: asyncio.BaseTransport) -> None:
        self.app_state = {**self.app_state, "transport": transport}
        AutoHTTPProtocol.connection_made(self, transport)

    return type("EmulatorProtocol", (AutoHTTPProtocol,), {"connection_made": connection_made})
