"""An HTTP server on loopback for tests: one function answers, and who leaves early is let go."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias

Answer: TypeAlias = tuple[int, bytes, Mapping[str, str]]
Answering: TypeAlias = Callable[[str, str, Mapping[str, str], bytes], Answer]
"""Given method, target, headers by their names in lower case, and body: status, body, headers.

A ConnectionError closes the connection without an answer.
"""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement
    server: _Server

    def handle_any(self) -> None:
        """Answer one request."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            status, told, more = self.server.answering(self.command, self.path, headers, body)
        except ConnectionError:
            self.close_connection = True
            return
        self.send_response_only(status)
        for name, value in more.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(told)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_LOCK = do_UNLOCK = handle_any  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    answering: Answering

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that were killed; let all else be seen."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # as given


@contextmanager
def answered(answering: Answering) -> Iterator[str]:
    """Run a server until the block ends; give its base URL."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.answering = answering
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
