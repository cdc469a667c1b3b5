"""Hints: what the headers of an answer say about time, and what an endpoint may be."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from reconciler.diagnostics import error
from reconciler.errors import ConfigError
from reconciler.workspace import App

_LONGEST_PAUSE = 60.0


def prefix(app: App) -> str:
    """Return the path part of an app's endpoint. Raises ConfigError for an unsafe endpoint.

    Plain http carries signatures in clear: only loopback hosts, or with `allow_http`.
    """
    try:
        url = urlsplit(app.endpoint)
        host, _ = url.hostname or "", url.port
    except ValueError:
        raise _refusal(app, "is no address", "Write https://host[:port][/path].") from None
    odd = "@" in url.netloc or "?" in app.endpoint or "#" in app.endpoint
    if url.scheme not in ("http", "https") or not host or odd:
        raise _refusal(app, "is no plain https address", "Write https://host[:port][/path].")
    if url.scheme == "http" and not (app.allow_http or _loopback(host)):
        raise _refusal(app, "is plain http", "Use https, or set allow_http: true.")
    return url.path.rstrip("/")


def pause(retry_after: str, now: float) -> float | None:
    """Return the seconds that a Retry-After header asks for, from 1 to 60; None if it says none."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    elif (moment := _moment(text)) is not None:
        seconds = moment - now
    else:
        return None
    return min(max(seconds, 1.0), _LONGEST_PAUSE)


def skew(date: str, before: float, after: float) -> float:
    """Return how many seconds the vendor's clock is surely apart from ours.

    `date` is its Date header, which is whole seconds; it was written between `before` and `after`
    (Unix seconds by our clock). 0 if there is no such header.
    """
    if (moment := _moment(date)) is None:
        return 0.0
    return max(0.0, before - (moment + 1), moment - after)


def _moment(date: str) -> float | None:
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refusal(app: App, what: str, hint: str) -> ConfigError:
    return ConfigError(
        error("endpoint", f"The endpoint of {app.name} {what}.", hint=hint, source=app.source)
    )
