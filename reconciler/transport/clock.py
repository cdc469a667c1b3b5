"""Clock: time, sleep and chance, as one value that tests can put in the place of the real ones."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass


def _nonce() -> str:
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Clock:
    """What depends on when and on chance.

    now: Unix time in seconds. monotonic: seconds that only grow. sleep: wait so many seconds.
    random: a number from 0 up to 1. nonce: a fresh text for one attempt (32 hex characters).
    """

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random
    nonce: Callable[[], str] = _nonce
