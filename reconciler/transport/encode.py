"""Encode: a request with its secrets as the bytes of its body, and its signature as headers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from reconciler import __version__
from reconciler.conversation import Request, Signed
from reconciler.values import Reference

_TYPES: Final = {
    "json": b"application/json;charset=utf-8",
    "form": b"application/x-www-form-urlencoded;charset=utf-8",
}
_ALWAYS: Final = [
    (b"User-Agent", f"reconciler/{__version__}".encode()),
    (b"Accept", b"application/json"),
    (b"Accept-Encoding", b"identity"),
]


def encode(request: Request, reveal: Callable[[Reference], str]) -> bytes:
    """Return the body of a request, every reference in it replaced by its secret.

    In a form, truth values are `true` and `false` and lists and mappings JSON text. Raises
    TypeError or ValueError for what cannot be written.
    """
    if request.body is None:
        return b""
    body = _revealed(request.body, reveal)
    if request.encoding == "json":
        return _json(body).encode()
    return urlencode({key: _field(value) for key, value in body.items()}).encode()


def target(prefix: str, request: Request, signed: Signed) -> bytes:
    """Return path and query as they stand in the request line; the query may be secret."""
    query = urlencode({**request.query, **signed.query}, quote_via=quote)
    return f"{prefix}{request.path}{'?' if query else ''}{query}".encode("ascii")


def headers(request: Request, signed: Signed) -> list[tuple[bytes, bytes]]:
    """Return the headers of a request; those of the signature are secret."""
    found = [*_ALWAYS, *((k.encode("ascii"), v.encode("ascii")) for k, v in signed.headers.items())]
    if request.body is not None:
        found.append((b"Content-Type", _TYPES[request.encoding]))
    return found


def _revealed(value: Any, reveal: Callable[[Reference], str]) -> Any:
    match value:
        case Reference():
            return reveal(value)
        case Mapping():
            return {key: _revealed(inner, reveal) for key, inner in value.items()}
        case list() | tuple():
            return [_revealed(inner, reveal) for inner in value]
    return value


def _field(value: object) -> str:
    match value:
        case str():
            return value
        case bool() | int() | float() | list() | dict():
            return _json(value)
    raise TypeError(type(value).__name__)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
