"""What the emulator is told when it starts: where it listens, which apps it holds, the clock."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """Say where the emulator listens and which apps it holds.

    `host` must be a loopback host; `port` 0 picks a free one. `data` is the SQLite file the
    accounts are kept in, None keeps them in memory. `rate` is calls per second per app and per
    API, 0 for no limit. `app_key` and `app_secret` are the NetEase app; `sdk_app_id`, `admin`
    and `secret_key` are the Tencent app.
    """

    host: str = "127.0.0.1"
    port: int = 0
    data: str | Path | None = None
    rate: int = 100
    app_key: str = "demo-app-key"
    app_secret: str = field(default="demo-app-secret", repr=False)
    sdk_app_id: str = "1400000000"
    admin: str = "administrator"
    secret_key: str = field(default="demo-secret-key", repr=False)


@dataclass(frozen=True, slots=True)
class Clock:
    """Tell the time: `wall` in seconds since the epoch, `monotonic` in seconds since any start."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
