"""Yunxin against its emulated vendor: the suite that every provider passes."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from reconciler.providers import provider
from reconciler.transport import Clock, Transport
from reconciler.values import Reference
from reconciler.workspace import App
from tests.provider_conformance import ProviderConformance, Vendor

SECRETS = {
    "env:SECRET": "demo-app-secret",
    "env:IM_TOKEN": "a-first-token",
    "env:OTHER_TOKEN": "another-token",
}


@pytest.fixture
def vendor(endpoint: str) -> Iterator[Vendor]:
    """Yunxin IM v2 on loopback; a pause after throttling passes at once."""
    passed = [0.0]
    real = Clock()
    clock = Clock(
        real.now,
        lambda: real.monotonic() + passed[0],
        lambda seconds: passed.__setitem__(0, passed[0] + seconds),
        real.random,
        real.nonce,
    )

    def control(path: str, body: Any = None, method: str = "GET") -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{endpoint}/_emulator/{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")

    def held(account_id: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = control(f"accounts/yunxin/demo-app-key/{account_id}")
        return found

    def faults(api: str, **fault: Any) -> None:
        control("faults", [{"match": {"api": api}, **fault}], "POST")

    app = App(
        "cn-prod",
        "yunxin",
        endpoint,
        rate=2000,
        credentials={"app_key": "demo-app-key", "app_secret": Reference("env:SECRET")},
    )
    speaks = provider("yunxin")
    with Transport(speaks, app, lambda ref: SECRETS[ref.text], clock=clock) as transport:
        yield Vendor(speaks, transport, held, faults)


class TestYunxin(ProviderConformance):
    """NetEase Yunxin, IM server API v2."""
