"""The request log: what was called and what was answered, without a secret in it."""

import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

HIDDEN = "***"
_SECRET_KEYS = frozenset({"token", "usersig", "checksum", "app_secret", "secret_key"})
# A backslash may spell a key, a zero byte is UTF-16: both are read before they are kept.
_SUSPECT = re.compile(rb"token|usersig|checksum|secret|\\|\x00", re.IGNORECASE)
_KEPT = 200_000
_LONGEST = 1 << 18


@dataclass(slots=True)
class Entry:
    """Hold one request; its outcome is filled in as it becomes known.

    `at` is seconds of the monotonic clock, `wall` seconds since the epoch. `code` is the vendor
    code in the answer and `status` the HTTP status, None while or when none was sent. `mutated`
    says whether a write was carried out, also one that set what was already there. `body` is
    JSON text with tokens hidden, or empty.
    """

    seq: int
    at: float
    wall: float
    vendor: str
    app: str
    api: str
    method: str
    path: str
    account_ids: tuple[str, ...]
    body: bytes
    code: int | None = None
    status: int | None = None
    mutated: bool = False
    fault: str | None = None

    def shown(self) -> dict[str, object]:
        """Return the entry as the control route answers it."""
        wall = datetime.fromtimestamp(self.wall, UTC).isoformat(timespec="milliseconds")
        return {
            "seq": self.seq,
            "at": self.at,
            "wall": wall.replace("+00:00", "Z"),
            "vendor": self.vendor,
            "app": self.app,
            "api": self.api,
            "method": self.method,
            "path": self.path,
            "account_ids": list(self.account_ids),
            "code": self.code,
            "status": self.status,
            "mutated": self.mutated,
            "fault": self.fault,
            "body": json.loads(self.body) if self.body else None,
        }


class Log:
    """Keep the newest entries, 200,000 at most."""

    __slots__ = ("_entries", "_seq")

    def __init__(self, kept: int = _KEPT) -> None:
        self._entries: deque[Entry] = deque(maxlen=kept)
        self._seq = 0

    def next(self) -> int:
        """Return the next sequence number, from 1; clearing the log does not start it anew."""
        self._seq += 1
        return self._seq

    def add(self, entry: Entry) -> None:
        """Append one entry; the oldest falls out when the log is full."""
        self._entries.append(entry)

    def since(self, seq: int) -> Iterator[Entry]:
        """Yield the entries whose sequence number is greater than `seq`, oldest first."""
        return (entry for entry in tuple(self._entries) if entry.seq > seq)

    @property
    def last(self) -> int:
        """Return the sequence number of the newest request, 0 before the first."""
        return self._seq

    def clear(self) -> None:
        """Drop every entry."""
        self._entries.clear()


def hidden(raw: bytes, body: object) -> bytes:
    """Return a request body as JSON text for the log, with the value of every token hidden.

    `raw` is what was sent and `body` what it was read as. Raw JSON that cannot hold a secret
    is kept as it is, which is the fast way: reading it again can wait until somebody asks for
    the log. A body over 256 KiB is not kept.
    """
    if not isinstance(body, dict | list) or not body or len(raw) > _LONGEST:
        return b""
    if raw[:1] == b"{" and _SUSPECT.search(raw) is None:
        return raw
    return json.dumps(_redacted(body)).encode()


def _redacted(value: object) -> object:
    if isinstance(value, dict):
        return {
            key: HIDDEN if str(key).lower() in _SECRET_KEYS else _redacted(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_redacted(item) for item in value]
    return value
