"""Faults: a raw-socket server that misbehaves as told, and a tiny vendor that signs like one."""

import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha1
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reconciler.conversation import Answer, Credentials, Request, Result, Signed, Verdict, Why
from reconciler.transport import Clock, Transport
from reconciler.values import Reference
from reconciler.workspace import App

APP_SECRET = "5up3r+Secret/of=App"
TOKEN = "tok-7f3a+91/cd=42"
VALUES = {"env:APP_KEY": "key0123456789key", "env:APP_SECRET": APP_SECRET, "env:IM_TOKEN": TOKEN}

Behaviour = Callable[["Exchange"], object]


def resolve(ref: Reference) -> str:
    """Return a known secret."""
    return VALUES[ref.text]


@dataclass
class Exchange:
    """One request as the server got it, and the connection to misbehave on."""

    conn: socket.socket
    head: str
    body: bytes

    def header(self, name: str) -> str:
        for line in self.head.split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return ""


def reset(conn: socket.socket) -> None:
    """Close a connection with RST instead of FIN."""
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()


def http(body: bytes | str = b'{"code":200}', status: str = "200 OK", **headers: str) -> Behaviour:
    """Return a behaviour: answer so and keep the connection."""
    data = body.encode() if isinstance(body, str) else body
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Length: {len(data)}",
        *(f"{key.replace('_', '-')}: {value}" for key, value in headers.items()),
    ]

    def behave(exchange: Exchange) -> bool:
        exchange.conn.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
        return True

    return behave


def certificate(folder: Path) -> ssl.SSLContext:
    """Write `cert.pem` for 127.0.0.1 into a folder and return a server's context with it."""
    if not (openssl := shutil.which("openssl")):
        pytest.skip("openssl makes the certificate")
    made = subprocess.run(
        [
            openssl,
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
            "-days",
            "2",
            "-subj",
            "/CN=test",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ],
        cwd=folder,
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("this openssl cannot make the certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


class Server:
    """Answers the n-th request with the n-th behaviour, the last one for all that follow.

    A behaviour that returns true keeps the connection. With `rude`, connections are reset when
    something came that nobody read. With a `context`, they are TLS.
    """

    def __init__(
        self, *behaviours: Behaviour, rude: bool = False, context: ssl.SSLContext | None = None
    ) -> None:
        self._context = context
        self._behaviours = behaviours
        self._rude = rude
        self._lock = threading.Lock()
        self.seen: list[Exchange] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self.endpoint = f"http{'s' if context else ''}://127.0.0.1:{self.port}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for conn in self._open:
            with suppress(OSError):
                conn.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                conn, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self._rude:
                conn.recv(1, socket.MSG_PEEK)
                reset(conn)
                continue
            self._open.append(conn)
            thread = threading.Thread(target=self._serve, args=(conn,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, conn: socket.socket) -> None:
        try:
            if self._context:
                conn = self._context.wrap_socket(conn, server_side=True)
                self._open.append(conn)
            with conn, conn.makefile("rb") as stream:
                while head := self._head(stream):
                    length = Exchange(conn, head, b"").header("content-length")
                    exchange = Exchange(conn, head, stream.read(int(length or 0)))
                    with self._lock:
                        self.seen.append(exchange)
                        n = min(len(self.seen), len(self._behaviours)) - 1
                    if not self._behaviours[n](exchange):
                        return
        except OSError:
            return

    @staticmethod
    def _head(stream: Any) -> str:
        lines = []
        while (line := stream.readline()) not in (b"", b"\r\n"):
            lines.append(line)
        return b"".join(lines).decode("latin-1")


class Vendor:
    """A vendor with NetEase's signature and envelope."""

    def __init__(self, rates: Mapping[str, float] | None = None, penalty: float = 10.0) -> None:
        self.capabilities: Any = SimpleNamespace(rates=rates or {"": 100_000.0}, penalty=penalty)
        self.signed: list[Signed] = []

    def app(self, credentials: Mapping[str, str]) -> str:
        return f"vendor:{credentials['app_key']}"

    def sign(self, request: Request, credentials: Credentials, now: float, nonce: str) -> Signed:
        text = credentials.values["app_secret"] + nonce + str(int(now))
        check = sha1(text.encode()).hexdigest()
        signed = Signed(
            {
                "AppKey": credentials.values["app_key"],
                "Nonce": nonce,
                "CurTime": str(int(now)),
                "CheckSum": check,
            },
            {"usersig": f"eJw*{check}"},
        )
        self.signed.append(signed)
        return signed

    def verdict(self, request: Request, status: int, body: Mapping[str, Any]) -> Verdict:
        code, message = int(body["code"]), str(body.get("msg", ""))
        if code == 200:
            return Verdict(Result.CONFIRMED, "200", message)
        why = {416: Why.THROTTLED, 503: Why.RETRY, 405: Why.EXISTS}.get(code, Why.OTHER)
        result = Result.AMBIGUOUS if code == 500 else Result.REJECTED
        return Verdict(result, str(code), message, why)


@dataclass
class FakeClock:
    """Time that passes only in sleeps; several threads may share it."""

    time: float = 1_000_000.0
    slept: list[float] = field(default_factory=list)
    chance: float = 0.5

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.time += seconds
            self.slept.append(seconds)

    def nonce(self) -> str:
        with self._lock:
            self._count += 1
            return f"{self._count:032x}"

    @property
    def clock(self) -> Clock:
        return Clock(
            now=lambda: self.time,
            monotonic=lambda: self.time,
            sleep=self.sleep,
            random=lambda: self.chance,
            nonce=self.nonce,
        )


def app(endpoint: str, **more: Any) -> App:
    """Return an app at an endpoint, its credentials as references."""
    credentials = {"app_key": Reference("env:APP_KEY"), "app_secret": Reference("env:APP_SECRET")}
    return App("cn-prod", "vendor", endpoint, credentials, **more)


CREATE = Request(
    "create",
    "POST",
    "/im/v2/accounts",
    query={"q": "1"},
    body={"account_id": "u1", "token": Reference("env:IM_TOKEN")},
    account_ids=("u1",),
)
READ = Request("read", "GET", "/im/v2/accounts/u1", mutates=False, account_ids=("u1",))


def ask(*requests: Request):
    """Return a conversation that asks these things and returns the answers."""
    answers: list[Answer] = []
    for request in requests:
        answer = yield request
        answers += [answer]
    return answers


def one(
    server: Server, request: Request = CREATE, *, clock: Clock | None = None, **more: Any
) -> Answer:
    """Ask a server one thing."""
    vendor = more.pop("vendor", None) or Vendor()
    settings = more.pop("app", {})
    with Transport(
        vendor, app(server.endpoint, **settings), resolve, clock=clock or FakeClock().clock, **more
    ) as transport:
        return transport.run(ask(request))[0]
