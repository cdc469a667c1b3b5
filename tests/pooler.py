"""Proxies in front of a PostgreSQL server: one backend for each client, or one a transaction."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress

_FALSE_KEY = struct.pack(">II", 99, 7)


def _exactly(peer, count):
    data = b""
    while len(data) < count:
        if not (piece := peer.recv(count - len(data))):
            raise EOFError
        data += piece
    return data


def _message(peer):
    """Return kind and payload of the next message."""
    kind, length = struct.unpack(">cI", _exactly(peer, 5))
    return kind, _exactly(peer, length - 4)


def _send(peer, kind, payload):
    peer.sendall(kind + struct.pack(">I", len(payload) + 4) + payload)


def _pump(source, target):
    """Carry bytes until one side ends, and end the other."""
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


class Pooler:
    """Listens on loopback; `shared` says that backends are handed out per transaction.

    As real ones do, it gives a client a key that is not the backend's.
    """

    def __init__(self, server, *, shared):
        self._server, self._shared = server, shared
        self._free, self._mutex = [], threading.Lock()
        self._sockets = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self):
        """End everything."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for one in self._sockets:
            one.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self._sockets.append(client)
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client):
        with suppress(OSError, EOFError):
            startup = _exactly(client, 4)
            startup += _exactly(client, struct.unpack(">I", startup)[0] - 4)
            backend = socket.socket(socket.AF_UNIX)
            self._sockets.append(backend)
            backend.connect(self._server)
            backend.sendall(startup)
            kind = b""
            while kind != b"Z":
                kind, payload = _message(backend)
                _send(client, kind, _FALSE_KEY if kind == b"K" else payload)
            if not self._shared:
                back = threading.Thread(target=_pump, args=(backend, client))
                self._threads.append(back)
                back.start()
                _pump(client, backend)
                return
            self._free.append(backend)
            backend = None
            while True:
                backend = self._transaction(client, backend)

    def _transaction(self, client, backend):
        """Carry one round of messages; return the backend that the client keeps."""
        kind, payload = _message(client)
        if backend is None:
            with self._mutex:
                backend = self._free.pop()
        while True:
            _send(backend, kind, payload)
            if kind in b"QS":
                break
            kind, payload = _message(client)
        while kind != b"Z":
            kind, payload = _message(backend)
            _send(client, kind, payload)
        if payload == b"I":
            with self._mutex:
                self._free.append(backend)
            return None
        return backend


@contextmanager
def pooling(server, *, shared):
    """Run a pooler in front of the server's socket."""
    pooler = Pooler(server, shared=shared)
    try:
        yield pooler
    finally:
        pooler.close()
