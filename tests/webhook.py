"""A webhook on loopback that keeps what is posted to it and answers as it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from tests.loopback import Answer, answered


@dataclass
class Webhook:
    """What was posted, as (path, JSON), and the answer to give."""

    url: str = ""
    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    posted: list[tuple[str, Any]] = field(default_factory=list)
    hang: Event | None = None


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Serve a webhook while the block runs."""
    hook = Webhook()

    def answer(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        hook.posted.append((path, json.loads(body)))
        if hook.hang:
            hook.hang.wait()
        return hook.status, hook.body, hook.headers

    with answered(answer) as base:
        hook.url = f"{base}/services/T0/B0/secret-path?key=k-e-y"
        yield hook
