"""A strict server of Terraform's HTTP state protocol on loopback, plain or as GitLab has it.

It keeps what it was given and answers as those servers do; faults are scripted per request.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from urllib.parse import parse_qs, urlsplit

from tests.loopback import Answer, answered

SEVEN = ("ID", "Operation", "Info", "Who", "Version", "Created", "Path")
USER, PASSWORD = "ci", "state-pass-w0rd"


@dataclass
class Fault:
    """What goes wrong with the next request of a method (and path end, where one is given).

    `after` lets the request take effect first; `skip` is how many go well before. `status` 0
    closes the connection unanswered, -1 leaves it open until the server ends.
    """

    method: str
    status: int = 0
    body: bytes = b""
    after: bool = False
    times: int = 1
    skip: int = 0
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class StateServer:
    """What the server holds, and what it was asked."""

    gitlab: bool
    clock: Callable[[], float]
    document: bytes | None = None
    lock: dict[str, str] | None = None
    serials: set[int] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    most: int = 1 << 30
    enforces: bool = True
    tampers: Callable[[bytes], bytes] = lambda document: document
    mutex: threading.RLock = field(default_factory=threading.RLock)
    over: threading.Event = field(default_factory=threading.Event)
    address: str = ""
    versions: list[bytes] = field(default_factory=list)

    @property
    def options(self) -> dict[str, str]:
        """The settings of a workspace for this server, but for the login."""
        address = f"{self.address}/api/v4/projects/1/terraform/state/im"
        if not self.gitlab:
            return {"address": address}
        return {
            "address": address,
            "lock_address": f"{address}/lock",
            "lock_method": "POST",
            "unlock_address": f"{address}/lock",
            "unlock_method": "DELETE",
        }

    @property
    def posts(self) -> int:
        """How many documents were asked to be written."""
        return sum(method == "POST" and not path.endswith("/lock") for method, path in self.asked)

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return status, body and headers; raise ConnectionError to leave without an answer."""
        try:
            status, told, more = _checked(headers, body) or self._asked(method, target, body)
        except TimeoutError:
            self.over.wait()
            raise ConnectionError from None
        return status, told, {"Date": formatdate(self.clock(), usegmt=True), **more}

    def _asked(self, method: str, target: str, body: bytes) -> Answer:
        parts = urlsplit(target)
        with self.mutex:
            self.asked.append((method, parts.path))
            fault = self._fault(method, parts.path)
            if fault is not None and not fault.after:
                return self._wrong(fault)
            told = self._answer(method, parts.path, parse_qs(parts.query), body)
            return self._wrong(fault) if fault is not None else (*told, {})

    def _fault(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.method == method and path.endswith(fault.path) and fault.times:
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    def _wrong(self, fault: Fault) -> Answer:
        if fault.status <= 0:
            raise (ConnectionError if fault.status == 0 else TimeoutError)
        return fault.status, fault.body, fault.headers

    def _answer(
        self, method: str, path: str, query: dict[str, list[str]], body: bytes
    ) -> tuple[int, bytes]:
        locks = path.endswith("/lock") if self.gitlab else method in ("LOCK", "UNLOCK")
        if locks:
            taking = method == ("POST" if self.gitlab else "LOCK")
            return self._lock(body) if taking else self._unlock(body)
        if method == "GET":
            if self.document is None:
                return (204 if self.gitlab else 404), b""
            return 200, self.tampers(self.document)
        if method != "POST":
            return 405, b""
        return self._write(query.get("ID", [""])[0], body)

    def _write(self, id: str, body: bytes) -> tuple[int, bytes]:
        held = self.lock["ID"] if self.lock else ""
        if self.enforces and id != held:
            return (409 if self.gitlab else 423), json.dumps(self.lock or {}).encode()
        if len(body) > self.most:
            return 413, b""
        try:
            serial = json.loads(body)["serial"]
        except (ValueError, KeyError):
            return 422, b"No serial in payload"
        if self.gitlab and serial in self.serials:
            return 422, b"Validation failed: Version has already been taken"
        self.serials.add(serial)
        self.document = body
        self.versions.append(body)
        return 200, b""

    def _lock(self, body: bytes) -> tuple[int, bytes]:
        info = json.loads(body)
        if any(not isinstance(info.get(key), str) for key in SEVEN):
            return 400, b"a key of LockInfo is missing"
        if self.lock is None:
            self.lock = info
            if self.gitlab:
                self.lock = {**info, "Who": "gitlab-user", "Created": _iso(self.clock())}
            return 200, b""
        if not self.gitlab:
            return 423, json.dumps(self.lock).encode()
        # GitLab tells the asker's own words back, but for these three.
        mixed = {**info, **{key: self.lock[key] for key in ("ID", "Who", "Created")}}
        return 409, json.dumps(mixed).encode()

    def _unlock(self, body: bytes) -> tuple[int, bytes]:
        id = json.loads(body).get("ID") if body else None
        held = self.lock["ID"] if self.lock else ""
        if id != held and not (self.gitlab and id is None):
            return 409, json.dumps(self.lock or {}).encode()
        self.lock = None
        return 200, b""


def _checked(headers: Mapping[str, str], body: bytes) -> Answer | None:
    """Return what is said to a request that lacks what every one must have."""
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    if headers.get("authorization") != f"Basic {login}":
        return 401, b"", {}
    if body and headers.get("content-type") != "application/json":
        return 415, b"", {}
    told = headers.get("content-md5")
    if told and told != base64.b64encode(hashlib.md5(body).digest()).decode():
        return 400, b"", {}
    return None


def _iso(seconds: float) -> str:
    from reconciler.stores.rows import moment

    return moment(seconds).replace("Z", ".000Z")


@contextmanager
def serving(*, gitlab: bool, clock: Callable[[], float]) -> Iterator[StateServer]:
    """Run a server until the block ends."""
    state = StateServer(gitlab, clock)
    with answered(lambda *asked: state.answer(*asked)) as state.address:
        try:
            yield state
        finally:
            state.over.set()
