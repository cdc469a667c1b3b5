"""Notify: one text or JSON value posted to a webhook whose address is a secret."""

from __future__ import annotations

import hmac
from base64 import b64encode
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from reconciler.config.apps import loopback
from reconciler.secrets import Redactor
from reconciler.transport.clock import Clock
from reconciler.values import loads
from reconciler.workspace import App

PATIENCE: Final = 10.0
"""Seconds for one whole exchange, connecting included."""

_SECRET: Final = 8
"""Characters from which on a path is a secret and no word."""

_CODES: Final = ("errcode", "code", "StatusCode")
"""Where chat services that answer 200 to everything say how it went; 0 is well."""


def notify(url: str, body: bytes, redactor: Redactor, *, patience: float = PATIENCE) -> str:
    """Post JSON to a webhook once; return why it was not taken, or nothing.

    Never raises for what a network or a service does, and never tells the address. Redirects are
    not followed, proxies of the environment not used; plain http is for this machine only.
    """
    from reconciler.transport.wire import Wire

    redactor.add(url)
    if len(path := url.partition("://")[2].partition("/")[2]) >= _SECRET:
        redactor.add(path)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "its address is no URL"
    if not host or parts.scheme not in ("http", "https") or "@" in parts.netloc:
        return "its address is no https URL"
    if parts.scheme == "http" and not loopback(host):
        return "its address is plain http to another machine"
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if parts.query:
        target += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    origin = App("notify", "", f"{parts.scheme}://{parts.netloc}")
    headers = [
        (b"Content-Type", b"application/json; charset=utf-8"),
        (b"User-Agent", b"reconciler"),
        (b"Accept-Encoding", b"identity"),
    ]
    try:
        wire = Wire(origin, "", Clock(), patience, redactor)
    except Exception as failure:  # its text may repeat the address
        return f"its address cannot be used ({type(failure).__name__})"
    try:
        facts = wire.exchange("POST", target.encode(), headers, body, mutates=True)
    finally:
        wire.close()
    if facts.error:
        return f"no answer came ({facts.error})"
    if not 200 <= facts.status < 300:
        return f"it answered with status {facts.status}"
    code = _code(facts.body)
    return f"it answered with code {code}" if code else ""


def signed(
    url: str, told: dict[str, Any], format: str, secret: str, stamp: float
) -> tuple[str, dict[str, Any]]:
    """Return address and message of a robot that wants a signature; `stamp` is seconds since 1970.

    As both services' pages on custom robots have it, and not verified against them: DingTalk signs
    milliseconds and secret with the secret and wants it in the query, Feishu signs nothing at all
    with a key of seconds and secret and wants it in the message.
    """
    if format == "feishu":
        seconds = str(int(stamp))
        key = f"{seconds}\n{secret}".encode()
        return url, {**told, "timestamp": seconds, "sign": _mac(key, b"")}
    millis = str(int(stamp * 1000))
    sign = _mac(secret.encode(), f"{millis}\n{secret}".encode())
    query = urlencode({"timestamp": millis, "sign": sign})
    return f"{url}{'&' if '?' in url else '?'}{query}", told


def _mac(key: bytes, message: bytes) -> str:
    return b64encode(hmac.digest(key, message, "sha256")).decode()


def _code(body: bytes) -> int:
    """Return the code that a chat service answers with beside status 200; 0 where there is none."""
    try:
        told = loads(body)
    except ValueError:
        return 0
    if not isinstance(told, dict):
        return 0
    codes = (told.get(name) for name in _CODES)
    return next((code for code in codes if isinstance(code, int) and code), 0)
