"""State behind Terraform's HTTP protocol, so GitLab-managed state works: GET, POST, LOCK, UNLOCK.

The protocol knows whole documents and a lock without a lease. The lock's `Info` says where its
holder runs, and the document carries the lease that its writer prolongs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import random
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from reconciler import __version__
from reconciler.errors import ReconcilerError, StateError
from reconciler.stores.held import Held
from reconciler.stores.http_lock import OURS, PROBE, lock_holder, lock_info
from reconciler.stores.http_settings import HttpSettings, trust
from reconciler.stores.remote_content import Content, told_digest
from reconciler.stores.remote_copy import Copy, Found, Moved

LARGEST: Final = 512 << 20
"""Bytes of the largest document that is read."""

_DEADLINE: Final = 60.0
_TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)
_PIECE: Final = 64 * 1024
_TRIES: Final = 5
_PROBE_SECONDS: Final = 5.0
_LOCKED: Final = (409, 423)
_WRITTEN: Final = (200, 201, 204)
_LOGGERS: Final = ("httpx", "httpcore", "httpcore.connection", "httpcore.http11")


class _Unsure(Exception):
    """No answer, or none that says whether it was done; the message says what came instead."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes = b""

    @property
    def page(self) -> bool:
        """Whether it is a success told by something else, such as a proxy that wants a login."""
        return self.status == 200 and self.body.lstrip()[:1] == b"<"


class HttpRemote:
    """Implements `Remote` on one address. `clock` is in seconds since 1970, `sleep` in seconds.

    Redirects are refused and no proxy is taken from the environment. `deadline` is seconds for
    one exchange with its repetitions.
    """

    appends = None
    leases = None

    def __init__(
        self,
        settings: HttpSettings,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        deadline: float = _DEADLINE,
        timeout: httpx.Timeout = _TIMEOUT,
    ) -> None:
        self._settings = settings
        self._clock, self._sleep, self._deadline = clock, sleep, deadline
        self.name = settings.address.partition("?")[0]
        self._skew: float | None = None
        login = (settings.username, settings.password) if settings.username else None
        for name in _LOGGERS:
            if (logger := logging.getLogger(name)).level < logging.WARNING:
                logger.setLevel(logging.WARNING)
        self._client = httpx.Client(
            auth=login,
            timeout=timeout,
            trust_env=False,
            follow_redirects=False,
            verify=trust(settings) if settings.secure else False,
            headers={"User-Agent": f"reconciler/{__version__}", "Accept-Encoding": "identity"},
        )

    def now(self) -> float:
        """Return seconds since 1970 by the server's `Date`, where ours is off by more than that."""
        if self._skew is None:
            self._skew = 0.0
            # The answer does not matter here, only its time: a lease is judged by it.
            with suppress(_Unsure):
                self._exchange("GET", self._settings.address, most=0)
        return self._clock() + self._skew

    def read(self) -> Found:
        """Return the document. 404 and 204 mean that there is none, an empty 200 does not."""
        answer = self._repeated("GET", self._settings.address)
        if answer.status in (204, 404):
            return Found()
        if answer.status == 200:
            return Found(answer.body)
        raise self._refused(answer, "reading")

    def prove(self) -> None:
        """Do nothing: what the protocol promises cannot be tried without changing something."""

    def write(self, copy: Copy, after: Content, document: bytes, held: Held) -> str:
        """Post the whole document under the lock, after a look that nobody else has written."""
        self._demand(copy.content)
        url = httpx.URL(self._settings.address).copy_merge_params({"ID": held.id})
        sums = {"Content-MD5": _md5(document)}
        ends = time.monotonic() + self._deadline
        unsure = ""
        for attempt in range(_TRIES):
            try:
                answer = self._exchange(self._settings.update_method, str(url), document, sums)
            except _Unsure as problem:
                unsure = str(problem)
            else:
                if answer.status in _WRITTEN and not answer.page:
                    return ""
                if answer.page:
                    unsure = "it answered with a page"
                elif not unsure:
                    if answer.status in (*_LOCKED, 412):
                        raise Moved
                    raise self._refused(answer, "writing")
                else:
                    # What an unanswered attempt did, its repetition is refused for.
                    unsure = f"it answered {answer.status}"
            if self._took_effect(copy.content, after):
                return ""
            if time.monotonic() >= ends:
                break
            self._sleep(_pause(attempt))
        raise self._failed(f"the write was not confirmed: {unsure}")

    def holder(self) -> Held | None:
        """Return who has the lock. The protocol tells only who asks for it, so it is asked for."""
        now = self.now()
        here = socket.gethostname()
        probe = Held(PROBE, OURS, here, 0, "", "lock status", now, now + _PROBE_SECONDS)
        held = self._ask(probe)
        if held.id != probe.id:
            return held
        self.free(held, held.fence)
        return None

    def take(self, mine: Held) -> Held:
        """Ask for the lock; return it as ours, or as it is held by another."""
        # Nothing but the document could keep the last fence, and a run that changes nothing
        # writes none: so fences rise with time.
        mine = replace(mine, fence=time.time_ns() // 1000)
        for _ in range(_TRIES):
            held = self._ask(mine)
            # Somebody only looks who has the lock, and will have looked in a moment.
            if held.id != PROBE:
                break
            self._sleep(_PROBE_SECONDS / _TRIES)
        return held

    def _ask(self, mine: Held) -> Held:
        answer = self._repeated(self._settings.lock_method, self._lock_address, lock_info(mine))
        if answer.page:
            raise self._failed("locking was answered with a page")
        if answer.status in (200, 201, 204):
            return mine
        if answer.status in _LOCKED:
            # An answer that was lost may have been a yes.
            held = lock_holder(answer.body)
            return mine if held.id == mine.id else held
        raise self._refused(answer, "locking")

    def free(self, held: Held, fence: int) -> bool:  # noqa: ARG002 (the document keeps it)
        """Unlock with the id, so that a lock which is another's by now stays."""
        answer = self._repeated(self._settings.unlock_method, self._unlock_address, lock_info(held))
        if answer.status in (200, 204):
            return True
        if answer.status in (*_LOCKED, 400, 404, 412, 422):
            return False
        raise self._refused(answer, "unlocking")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @property
    def _lock_address(self) -> str:
        return self._settings.lock_address or self._settings.address

    @property
    def _unlock_address(self) -> str:
        return self._settings.unlock_address or self._lock_address

    def _demand(self, content: Content) -> None:
        """Raise Moved unless the document stored is the one that was read or written last."""
        found = self.read()
        seal = _seal(found.document)
        if seal == content.seal:
            return
        if found.document is None or _serial(found.document) < content.revision:
            raise self._failed("it does not hold any more what was written there")
        raise Moved

    def _took_effect(self, before: Content, after: Content) -> bool:
        seal = _seal(self.read().document)
        if seal not in (before.seal, after.seal):
            raise Moved
        return seal == after.seal

    def _repeated(
        self,
        method: str,
        address: str,
        body: bytes | None = None,
    ) -> _Answer:
        """Send a request that may be sent again until an answer comes that says something."""
        ends = time.monotonic() + self._deadline
        attempt = 0
        while True:
            try:
                return self._exchange(method, address, body)
            except _Unsure as problem:
                attempt += 1
                if attempt >= _TRIES or time.monotonic() >= ends:
                    raise self._failed(str(problem)) from None
            self._sleep(_pause(attempt))

    def _exchange(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        most: int = LARGEST,
    ) -> _Answer:
        """Send one request and read its answer within the deadline. Raises _Unsure."""
        ends = time.monotonic() + self._deadline
        sent: dict[str, str] = dict(headers or {})
        if body is not None:
            sent |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        content = _pieces(body, ends) if body is not None else None
        try:
            with self._client.stream(method, url, content=content, headers=sent) as answer:
                self._note_time(answer.headers.get("date", ""))
                data = b"".join(_read(answer, ends, most)) if most else b""
        except httpx.HTTPError as problem:
            # Its text may repeat the address with what stands in it.
            raise _Unsure(f"{type(problem).__name__} at {method}") from None
        status = answer.status_code
        if (status >= 500 and status != 501) or status in (408, 429):
            raise _Unsure(f"it answered {method} with {status}")
        if 300 <= status < 400 and status != 304:
            raise self._failed(f"it redirects ({status}), and redirects are not followed")
        told = answer.headers.get("content-md5", "")
        if most and data and told and told != _md5(data):
            raise _Unsure("the answer does not match its Content-MD5")
        return _Answer(status, data)

    def _note_time(self, date: str) -> None:
        try:
            skew = parsedate_to_datetime(date).timestamp() - self._clock()
        except (TypeError, ValueError):
            return
        # `Date` counts whole seconds and is older by the way of the answer.
        self._skew = skew if abs(skew) > 2 else 0.0

    def _refused(self, answer: _Answer, doing: str) -> ReconcilerError:
        causes = {
            400: "the server does not understand the request",
            401: "the user name or the password is wrong or missing",
            403: "this user may not do that",
            404: "there is no such address, or this user may not see it",
            405: "the server does not know this method; check lock_method and its like",
            501: "the server does not know this method; check lock_method and its like",
            413: "the state is larger than the server takes",
            422: "the server refuses the content of the request",
        }
        cause = causes.get(answer.status, "the server refuses it")
        return self._failed(f"{cause} ({doing} was answered with {answer.status})")

    def _failed(self, why: str) -> ReconcilerError:
        return StateError.of(
            "state-io",
            f"{self.name}: the state cannot be used: {why}",
            hint="Nothing that was acknowledged is lost; repair the cause and run again.",
        )


def _pieces(body: bytes, ends: float) -> Iterator[bytes]:
    for start in range(0, len(body), _PIECE):
        if time.monotonic() >= ends:
            raise httpx.WriteTimeout("the deadline has passed")
        yield body[start : start + _PIECE]


def _read(answer: httpx.Response, ends: float, most: int) -> Iterator[bytes]:
    size = 0
    for piece in answer.iter_raw():
        size += len(piece)
        if time.monotonic() >= ends:
            raise httpx.ReadTimeout("the deadline has passed")
        if size > most:
            raise httpx.ReadError("the answer is larger than any state")
        yield piece


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _pause(attempt: int) -> float:
    return float(min(0.5 * 2**attempt, 8.0) * random.uniform(0.5, 1.0))  # noqa: S311 (jitter)


def _seal(document: bytes | None) -> str | None:
    """Return what a document says its digest is, "" where there is none, None for nonsense."""
    return "" if document is None else told_digest(document)


def _serial(document: bytes) -> int:
    try:
        shape: Any = json.loads(document)
        return int(shape["serial"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return 0
