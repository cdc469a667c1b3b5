"""Wire: one HTTP exchange within one deadline, told as facts; the only place that knows httpx."""

from __future__ import annotations

import logging
import math
import re
import ssl
import threading
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from typing import Final

import certifi
import httpcore
import httpx

from reconciler.diagnostics import error
from reconciler.errors import ConfigError
from reconciler.redaction import Redactor
from reconciler.transport.answers import LARGEST, Facts
from reconciler.transport.clock import Clock
from reconciler.workspace import App

_CONNECT: Final = 5.0
_TALK: Final = 15.0
_KEPT: Final = 60.0
_SLICE: Final = 0.25
_PIECE: Final = 16 * 1024
_TIMEOUTS: Final = {"connect": _CONNECT, "read": _TALK, "write": _TALK, "pool": None}
_WANTED: Final = frozenset({b"date", b"retry-after", b"content-encoding"})
_LOGGERS: Final = ("httpx", "httpcore", "httpcore.connection", "httpcore.http11", "httpcore.proxy")


class TooLarge(Exception):
    """The answer is larger than any that the vendors send."""


class Garbled(Exception):
    """The answer is compressed in a way nobody asked for, or not to its end."""


class _Flight(threading.local):
    """The exchange that a thread is in: when it must be over, and whether it may have left."""

    ends = 0.0
    mutates = wrote = False


@dataclass(slots=True)
class _Hurry:
    """When exchanges must be over, however much time their own deadlines would leave them."""

    reads: float = math.inf
    mutates: float = math.inf


@dataclass(frozen=True, slots=True)
class _Trip:
    """What all connections to one vendor share; `layers` of TLS are around every request."""

    flight: _Flight
    hurry: _Hurry
    clock: Clock
    layers: int


class _Stream(httpcore.NetworkStream):
    """A connection that keeps to the deadline of the exchange that it serves at the moment.

    `layers` of TLS are still to come before the request itself: until then, what is written
    only asks a proxy for the way.
    """

    def __init__(self, inner: httpcore.NetworkStream, trip: _Trip, layers: int) -> None:
        self._inner = inner
        self._trip = trip
        self._flight = trip.flight
        self._layers = layers

    def _left(self, timeout: float | None, late: type[Exception]) -> float:
        hurry = self._trip.hurry
        ends = min(self._flight.ends, hurry.mutates if self._flight.mutates else hurry.reads)
        left = ends - self._trip.clock.monotonic()
        if left <= 0:
            raise late
        return left if timeout is None else min(left, timeout)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = self._left(timeout, httpcore.ReadTimeout)
        while True:
            # In slices, as a run that is told to hurry cannot wake a thread that waits here.
            piece = min(left, _SLICE)
            try:
                return self._inner.read(max_bytes, piece)
            except httpcore.ReadTimeout:
                left = min(left - piece, self._left(timeout, httpcore.ReadTimeout))
                if left <= 0:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            left = self._left(timeout, httpcore.WriteTimeout)
            self._flight.wrote |= self._layers <= 0
            self._inner.write(buffer[start : start + _PIECE], left)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = self._left(timeout, httpcore.ConnectTimeout)
        inner = self._inner.start_tls(ssl_context, server_hostname, left)
        return _Stream(inner, self._trip, self._layers - 1)

    def get_extra_info(self, info: str) -> object:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    """Opens connections that keep to deadlines."""

    def __init__(self, trip: _Trip) -> None:
        self._inner = httpcore.SyncBackend()
        self._trip = trip

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        inner = self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(inner, self._trip, self._trip.layers)


class _Pool(httpx.BaseTransport):
    """httpx's way to the network: reads whole answers, up to the largest size allowed.

    Each thread has a connection of its own: threads that share a pool spend more time at its lock
    than they save. The target (path and query) comes beside the URL, so that a query, which may
    be a signature, is in no URL that httpx could log or put into an exception.
    """

    def __init__(self, make: Callable[[], httpcore.ConnectionPool], url: httpx.URL) -> None:
        self._make = make
        self._origin = (url.raw_scheme, url.raw_host, url.port)
        self._own = threading.local()
        self._all: list[httpcore.ConnectionPool] = []

    def _pool(self) -> httpcore.ConnectionPool:
        pool: httpcore.ConnectionPool | None = getattr(self._own, "pool", None)
        if pool is None:
            pool = self._own.pool = self._make()
            self._all.append(pool)
        return pool

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        try:
            response, body = self._read(request)
        except BaseException:
            # What state the connection is in is unknown, and a tunnel that failed would keep its
            # place in the pool: the next request opens a new one.
            pool = self._pool()
            del self._own.pool
            pool.close()
            self._all.remove(pool)
            raise
        # No cookie, no redirect and no encoding is for httpx to follow.
        headers = {k.lower(): v for k, v in response.headers if k.lower() in _WANTED}
        body = _decoded(body, headers.pop(b"content-encoding", b""))
        return httpx.Response(response.status, headers=list(headers.items()), content=body)

    def _read(self, request: httpx.Request) -> tuple[httpcore.Response, bytes]:
        scheme, host, port = self._origin
        target = request.extensions["target"]
        response = self._pool().handle_request(
            httpcore.Request(
                request.method,
                httpcore.URL(scheme=scheme, host=host, port=port, target=target),
                headers=request.headers.raw,
                content=request.content,
                extensions={"timeout": _TIMEOUTS},
            )
        )
        try:
            pieces, size = [], 0
            for piece in response.iter_stream():
                size += len(piece)
                if size > LARGEST:
                    raise TooLarge
                pieces.append(piece)
        finally:
            response.close()
        return response, b"".join(pieces)

    def close(self) -> None:
        while self._all:
            self._all.pop().close()


class Wire:
    """The connections to one vendor app, shared by threads. `limit` bounds a whole exchange."""

    def __init__(
        self, app: App, proxy: str, clock: Clock, limit: float, redactor: Redactor
    ) -> None:
        self._flight = _Flight()
        self._hurry = _Hurry()
        self._clock = clock
        self._limit = limit
        self._url = httpx.URL(app.endpoint)
        trip = partial(_Trip, self._flight, self._hurry, clock)
        make = _maker(app, proxy, self._url.scheme == "https", trip)
        self._client = httpx.Client(
            transport=_Pool(make, self._url), trust_env=False, follow_redirects=False
        )
        self._hush = _Hush(redactor)
        self._hush.attach()

    def exchange(
        self,
        method: str,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        content: bytes,
        *,
        mutates: bool,
    ) -> Facts:
        """Send one request and read its answer; whatever goes wrong is told in the facts."""
        flight = self._flight
        flight.mutates, flight.wrote = mutates, False
        flight.ends = self._clock.monotonic() + self._limit
        try:
            request = httpx.Request(
                method, self._url, headers=headers, content=content, extensions={"target": target}
            )
            response = self._client.send(request, auth=None)
        except Exception as failure:  # any failure is a fact, told by its kind
            return Facts(flight.wrote, error=type(failure).__name__)
        return Facts(
            True,
            response.status_code,
            response.content,
            date=response.headers.get("date", ""),
            retry_after=response.headers.get("retry-after", ""),
        )

    def hurry(self, seconds: float) -> None:
        """End reads now, and what mutates in so many seconds at the latest, answered or not."""
        now = self._clock.monotonic()
        self._hurry.reads = min(self._hurry.reads, now)
        self._hurry.mutates = min(self._hurry.mutates, now + seconds)

    def close(self) -> None:
        """Close every connection and give the loggers back."""
        self._client.close()
        self._hush.detach()


class _Hush:
    """A filter for the HTTP libraries' loggers, which write down what nobody may read."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def attach(self) -> None:
        for name in _LOGGERS:
            logger = logging.getLogger(name)
            logger.addFilter(self)
            if logger.level < logging.WARNING:
                logger.setLevel(logging.WARNING)

    def detach(self) -> None:
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return False
        record.msg, record.args = re.sub(r"\?\S+", "?…", record.getMessage()), ()
        return self._redactor.filter(record)


def _maker(
    app: App, proxy: str, secure: bool, trip: Callable[[int], _Trip]
) -> Callable[[], httpcore.ConnectionPool]:
    """Return what makes a pool of one connection; what is wrong with the settings raises here."""
    context = _trust(app.ca_file) if secure else None
    if not proxy:
        return lambda: httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=1,
            max_keepalive_connections=1,
            keepalive_expiry=_KEPT,
            network_backend=_Backend(trip(secure)),
        )
    try:
        via = httpx.Proxy(proxy)
    except Exception:  # the reason may repeat the proxy's password
        via = None
    if via is None or via.url.scheme not in ("http", "https") or not via.url.host:
        raise ConfigError(error("proxy", f"The proxy of {app.name} is no http or https address."))
    where = httpcore.URL(
        scheme=via.url.raw_scheme, host=via.url.raw_host, port=via.url.port, target=via.url.raw_path
    )
    outer = via.url.scheme == "https"
    outer_context, login = _trust(app.ca_file) if outer else None, via.raw_auth
    return lambda: httpcore.HTTPProxy(
        proxy_url=where,
        proxy_auth=login,
        ssl_context=context,
        proxy_ssl_context=outer_context,
        max_connections=1,
        max_keepalive_connections=1,
        keepalive_expiry=_KEPT,
        network_backend=_Backend(trip(secure + (secure and outer))),
    )


@cache
def _trust(ca_file: str) -> ssl.SSLContext:
    """Return the one TLS context for an extra authority, or for none.

    Not `ssl.create_default_context`: that writes session keys where SSLKEYLOGFILE says.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(certifi.where())
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ValueError) as failure:
            what = f"The ca_file {ca_file} cannot be used: {type(failure).__name__}."
            raise ConfigError(error("ca-file", what, hint="Name a PEM file.")) from None
    return context


def _decoded(body: bytes, encoding: bytes) -> bytes:
    """Undo a gzip that nobody asked for, as some gateways send; anything else is garbled."""
    match encoding.strip().lower():
        case b"" | b"identity":
            return body
        case b"gzip":
            reader = zlib.decompressobj(wbits=31)
            try:
                plain = reader.decompress(body, LARGEST + 1)
            except zlib.error:
                raise Garbled from None
            if len(plain) > LARGEST:
                raise TooLarge
            if not reader.eof:
                raise Garbled
            return plain
    raise Garbled
