"""A small S3 server on loopback: objects, listing, and conditional writes as S3 has them.

Signatures are not checked. Faults are scripted per request, as in `state_server`.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

from tests.loopback import Answer, answered

BUCKET = "states"


@dataclass
class Fault:
    """What goes wrong with the next request of a method whose key ends so.

    `after` lets it take effect first. `status` 0 closes the connection unanswered.
    """

    method: str
    status: int = 0
    key: str = ""
    after: bool = False
    times: int = 1


@dataclass
class Bucket:
    """What the server holds by key (bytes, when it came), and what it was asked."""

    clock: Callable[[], float]
    objects: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    conditional: bool = True
    mutex: threading.RLock = field(default_factory=threading.RLock)
    endpoint: str = ""

    @property
    def config(self) -> dict[str, object]:
        """What obstore must know of this server."""
        return {
            "endpoint": self.endpoint,
            "access_key_id": "key",
            "secret_access_key": "secret",
            "region": "eu-central-1",
        }

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return status, body and headers; raise ConnectionError to leave without an answer."""
        parts = urlsplit(target)
        key = unquote(parts.path).removeprefix(f"/{BUCKET}").lstrip("/")
        with self.mutex:
            self.asked.append((method, key))
            fault = next(
                (f for f in self.faults if f.method == method and key.endswith(f.key) and f.times),
                None,
            )
            if fault is not None:
                fault.times -= 1
                if fault.after:
                    self._answer(
                        method, key, parse_qs(parts.query, keep_blank_values=True), headers, body
                    )
                if not fault.status:
                    raise ConnectionError
                return fault.status, b"", {}
            return self._answer(
                method, key, parse_qs(parts.query, keep_blank_values=True), headers, body
            )

    def _answer(
        self,
        method: str,
        key: str,
        query: dict[str, list[str]],
        headers: Mapping[str, str],
        body: bytes,
    ) -> Answer:
        found = self.objects.get(key)
        match method:
            case "GET" if not key:
                return 200, self._listing(query.get("prefix", [""])[0]), {}
            case "GET" | "HEAD":
                if found is None:
                    return 404, b"", {}
                return 200, found[0], self._about(found)
            case "PUT":
                if self.conditional:
                    if headers.get("if-none-match") == "*" and found is not None:
                        return 412, b"", {}
                    if (tag := headers.get("if-match")) is not None:
                        if found is None:
                            return 404, b"", {}
                        if tag != _tag(found[0]):
                            return 412, b"", {}
                self.objects[key] = body, self.clock()
                return 200, b"", {"ETag": _tag(body)}
            case "POST" if "delete" in query and not key:
                for gone in re.findall(r"<Key>(.*?)</Key>", body.decode()):
                    self.objects.pop(unescape(gone), None)
                return 200, b'<?xml version="1.0"?><DeleteResult></DeleteResult>', {}
            case _:
                return 405, b"", {}

    def _about(self, found: tuple[bytes, float]) -> dict[str, str]:
        return {"ETag": _tag(found[0]), "Last-Modified": formatdate(found[1], usegmt=True)}

    def _listing(self, prefix: str) -> bytes:
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size>"
            f"<ETag>{escape(_tag(data))}</ETag><LastModified>"
            f"{datetime.fromtimestamp(at, UTC).strftime('%Y-%m-%dT%H:%M:%S.000Z')}"
            "</LastModified></Contents>"
            for key, (data, at) in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return (
            f'<?xml version="1.0"?><ListBucketResult><Name>{BUCKET}</Name>'
            f"<IsTruncated>false</IsTruncated>{items}</ListBucketResult>"
        ).encode()


def _tag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


@contextmanager
def bucket(clock: Callable[[], float]) -> Iterator[Bucket]:
    """Run a server until the block ends."""
    made = Bucket(clock)
    with answered(lambda *asked: made.answer(*asked)) as made.endpoint:
        yield made
