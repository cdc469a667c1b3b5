"""Canaries: finding a secret in any disguise, and a vendor that hangs or repeats it."""

from __future__ import annotations

import base64
import importlib
import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

from reconciler import transport
from reconciler.__main__ import main


def driven() -> None:
    """Run a command that gives up on a silent vendor soon, and breaks in the function BREAK names.

    What breaks tells all it has at hand: arguments, results, and what is inside of them.
    """
    transport._BACKOFF = 0.01
    transport.Transport.__init__.__kwdefaults__["deadline"] = 0.4

    def breaking(real: Callable[..., Any]) -> Callable[..., Any]:
        def broken(*args: Any, **kwargs: Any) -> Any:
            try:
                made = real(*args, **kwargs)
            except Exception as failure:
                made = failure
            Path(os.environ["TMPDIR"], "broken").touch()
            inner = [repr(vars(one)) for one in args if hasattr(one, "__dict__")]
            told = [repr(made), *map(repr, args), *inner]
            raise RuntimeError(" ".join([str(made), *told]))

        return broken

    if place := os.environ.pop("BREAK", ""):
        module, _, name = place.partition(":")
        holder = importlib.import_module(module)
        *path, last = name.split(".")
        for one in path:
            holder = getattr(holder, one)
        setattr(holder, last, breaking(getattr(holder, last)))
    main()


@cache
def disguises(value: str) -> dict[str, set[bytes]]:
    """Return how a secret may stand in a text, by the name of the encoding; eight and more."""
    data = value.encode()
    found = {
        "raw": {data},
        "url": {quote(value, safe="").encode(), quote_plus(value).encode()},
        "hex": {data.hex().encode(), data.hex().upper().encode()},
        "json": {json.dumps(value)[1:-1].encode()},
        "repr": {repr(value)[1:-1].encode()},
    }
    found["url"] |= {re.sub(b"%..", lambda two: two[0].lower(), one) for one in found["url"]}
    for phase in range(3):
        whole = base64.b64encode(b"\0" * phase + data)
        inner = whole[-(-phase * 8 // 6) : (phase + len(data)) * 8 // 6]
        found[f"base64 {phase}"] = {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}
    return found


def seen(data: bytes, value: str) -> list[str]:
    """Return the encodings in which a secret stands in some bytes."""
    return [
        name for name, needles in disguises(value).items() if any(one in data for one in needles)
    ]


def of_process(pid: int, name: str) -> bytes:
    """Return a file of a process just started, as soon as the kernel has filled it."""
    while not (data := Path(f"/proc/{pid}/{name}").read_bytes()):
        os.sched_yield()
    return data


def contents(*places: Path) -> bytes:
    """Return the names and bytes of every file at or beneath some places."""
    pieces = []
    for place in places:
        for path in [place, *sorted(place.rglob("*"))]:
            pieces.append(str(path.name).encode("utf-8", "surrogateescape"))
            if path.is_file() and not path.is_symlink():
                pieces.append(path.read_bytes())
    return b"\n".join(pieces)


@dataclass
class Relay:
    """Stands before a vendor: hears what is sent, and may answer in its place.

    `meddle` is given each request whole; it returns an answer, None to pass the request on, or
    `HOLD` to say nothing until the client leaves. `held` is set when one is held.
    """

    upstream: str
    endpoint: str = ""
    meddle: Callable[[bytes], bytes | None] = lambda _request: None
    heard: list[bytes] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)

    def serve(self, client: socket.socket) -> None:
        """Serve one connection to its end."""
        parts = urlsplit(self.upstream)
        with (
            client,
            suppress(OSError),
            socket.create_connection((parts.hostname, parts.port), timeout=30) as vendor,
        ):
            while request := _message(client):
                self.heard.append(request)
                answer = self.meddle(request)
                if answer is HOLD:
                    self.held.set()
                    client.recv(1)
                    return
                if answer is None:
                    vendor.sendall(request)
                    answer = _message(vendor)
                if not answer:
                    return
                client.sendall(answer)


HOLD = b"(hold)"


@contextmanager
def relayed(upstream: str) -> Iterator[Relay]:
    """Run a relay before a vendor on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = Relay(upstream, f"http://127.0.0.1:{listener.getsockname()[1]}")
        clients: list[socket.socket] = []
        threads: list[threading.Thread] = []

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                client.settimeout(60)
                clients.append(client)
                threads.append(threading.Thread(target=relay.serve, args=(client,), daemon=True))
                threads[-1].start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield relay
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for client in clients:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def _message(peer: socket.socket) -> bytes:
    """Return one HTTP message, head and body; empty at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (piece := peer.recv(65536)):
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    while length and len(body) < int(length[1]):
        if not (piece := peer.recv(65536)):
            return b""
        body += piece
    return head + b"\r\n\r\n" + body


def echo(status: str, request: bytes, secrets: Iterable[str]) -> bytes:
    """Return an answer that repeats a request and every secret in every disguise."""
    told = [request.decode("utf-8", "replace")]
    for value in secrets:
        told += [one.decode() for way in disguises(value).values() for one in sorted(way)]
    text = " ".join(told)
    body = json.dumps(
        {
            "code": 404,
            "desc": text,
            "msg": text,
            "ErrorCode": 70402,
            "ErrorInfo": text,
            "ActionStatus": "FAIL",
            "data": {text: [text]},
        }
    ).encode()
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
