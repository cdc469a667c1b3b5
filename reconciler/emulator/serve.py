"""Running the emulator: until a signal comes, or in a background thread for a test or a demo."""

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from queue import SimpleQueue

from reconciler.emulator.settings import Clock, Settings


def serve(settings: Settings, *, announce: Callable[[str], None]) -> None:
    """Serve every vendor on one loopback port until SIGINT or SIGTERM, then return.

    Calls `announce` once, with `listening on http://HOST:PORT`, when connections are accepted.
    Raises ValueError for a host that is not loopback, a port that is none, a rate below 0 or a data
    file that cannot be used, and OSError when the port is taken.
    """
    # Imported here so that the room costs nothing until somebody serves.
    from reconciler.emulator.context import opened
    from reconciler.emulator.wire import Server

    with _bound(settings) as listener, closing(opened(settings)) as context:
        line = f"listening on {_url(listener)}"
        Server(context, lambda: announce(line)).run(sockets=[listener])


@contextmanager
def running(settings: Settings | None = None, *, clock: Clock | None = None) -> Iterator[str]:
    """Run the emulator in a background thread and yield its base URL; stop it at the end.

    `clock` stands in for the real one: it decides signatures, rates and recorded times, not the
    waiting of faults. Raises what `serve` raises.
    """
    from reconciler.emulator.context import opened
    from reconciler.emulator.wire import Server

    settings = settings or Settings()
    with _bound(settings) as listener, closing(opened(settings, clock)) as context:
        started: SimpleQueue[bool] = SimpleQueue()
        server = Server(context, lambda: started.put(True))

        def run() -> None:
            try:
                server.run(sockets=[listener])
            finally:
                started.put(False)

        thread = threading.Thread(target=run, name="emulator", daemon=True)
        thread.start()
        if not started.get():
            thread.join()
            raise RuntimeError("the emulator did not start")
        try:
            yield _url(listener)
        finally:
            server.should_exit = True
            thread.join()


def _bound(settings: Settings) -> socket.socket:
    host = "127.0.0.1" if settings.host == "localhost" else settings.host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is None or not address.is_loopback:
        raise ValueError(f"the emulator listens on loopback only, not on {settings.host!r}")
    if not 0 <= settings.port < 1 << 16:
        raise ValueError(f"port is a number from 0 to 65535, not {settings.port}")
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    # Named TCP outright: asyncio turns Nagle's delay off only for sockets that say so.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(address), settings.port))
    except BaseException:
        listener.close()
        raise
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
