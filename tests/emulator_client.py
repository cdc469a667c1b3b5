"""A caller of the emulator for its tests: it signs by its own reading of the vendor page."""

import hashlib
import itertools
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from reconciler.emulator import Clock, Settings
from tests.shared_emulator import UNTHROTTLED, emulating

_NONCES = itertools.count(1)


def signed(
    secret: str = "demo-app-secret", *, key: str = "demo-app-key", at: float | None = None
) -> dict[str, str]:
    """Return the four headers of a call made at `at` seconds since the epoch, default now."""
    nonce = f"nonce-{next(_NONCES)}"
    moment = str(int(time.time() if at is None else at))
    text = f"{secret}{nonce}{moment}".encode()
    return {
        "AppKey": key,
        "Nonce": nonce,
        "CurTime": moment,
        "CheckSum": hashlib.sha1(text).hexdigest(),
    }


def client(url: str) -> httpx.Client:
    """Return a client for loopback; reading the authorities that it need not trust takes 15 ms."""
    return httpx.Client(base_url=url, trust_env=False, verify=False)


@dataclass
class Caller:
    """Call one emulator and read its control routes."""

    http: httpx.Client
    headers: Mapping[str, str] = field(default_factory=dict)

    def send(self, method: str, path: str, body: object = None, **more: Any) -> httpx.Response:
        """Send one signed call and return the response as it came."""
        if body is not None:
            more["json"] = body
        return self.http.request(method, path, headers={**signed(), **self.headers}, **more)

    def call(self, method: str, path: str, body: object = None, **more: Any) -> dict[str, Any]:
        """Send one signed call; return the envelope of an answer with HTTP status 200."""
        response = self.send(method, path, body, **more)
        assert response.status_code == 200
        envelope: dict[str, Any] = response.json()
        assert set(envelope) == {"code", "msg", "data"}
        if envelope["code"] != 200:
            assert envelope["data"] == {}
        return envelope

    def code(self, method: str, path: str, body: object = None, **more: Any) -> int:
        """Send one signed call and return its code."""
        return int(self.call(method, path, body, **more)["code"])

    def create(self, account_id: str, **fields: object) -> dict[str, Any]:
        """Register an account and return the answer's data."""
        answer = self.call("POST", "/im/v2/accounts", {"account_id": account_id, **fields})
        assert answer["code"] == 200, answer
        data: dict[str, Any] = answer["data"]
        return data

    def control(self, method: str, path: str, body: object = None) -> Any:
        """Call a control route, unsigned, and return its JSON."""
        response = self.http.request(method, f"/_emulator{path}", json=body)
        assert response.status_code == 200, response.text
        return response.json()

    def held(self, account_id: str) -> dict[str, Any]:
        """Return an account as the console shows it."""
        path = f"/accounts/yunxin/demo-app-key/{account_id}"
        shown: dict[str, Any] = self.control("GET", path)
        return shown

    def guess(self, **guesses: object) -> None:
        """Change guesses."""
        self.control("PATCH", "/guesses", guesses)


C = TypeVar("C", bound=Caller)


@contextmanager
def calling(
    kind: type[C], settings: Settings = UNTHROTTLED, clock: Clock | None = None
) -> Iterator[C]:
    """Give a caller of an emulator as new."""
    with emulating(settings, clock=clock) as url, client(url) as http:
        yield kind(http)
