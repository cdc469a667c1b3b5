"""What the parts of the emulator share: settings, clock, store, guesses, log and faults."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.emulator.faults import Script
from reconciler.emulator.guesses import Guesses
from reconciler.emulator.limits import Repeats, Throttle
from reconciler.emulator.log import Log
from reconciler.emulator.settings import Clock, Settings
from reconciler.emulator.store import Store


def _minted() -> str:
    return secrets.token_hex(16)


@dataclass(slots=True)
class Context:
    """Hold what every vendor and every control route shares.

    `mint` makes a token of 32 characters. `unwanted` are accounts that Tencent does not import,
    as a scripted fault would refuse all of a call. `guesses` is the one field that is ever
    assigned anew. `stopping` is set when the server begins to stop, so that a request that hangs
    lets go.
    """

    settings: Settings
    clock: Clock
    store: Store
    throttle: Throttle
    guesses: Guesses = field(default_factory=Guesses)
    repeats: Repeats = field(default_factory=Repeats)
    log: Log = field(default_factory=Log)
    script: Script = field(default_factory=Script)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    unwanted: set[str] = field(default_factory=set)
    mint: Callable[[], str] = _minted

    def close(self) -> None:
        """Close what is open on disk."""
        self.store.close()


def opened(settings: Settings, clock: Clock | None = None) -> Context:
    """Return the context of one emulator, with its data file read.

    Raises ValueError for a negative rate and for a data file that cannot be used.
    """
    if settings.rate < 0:
        raise ValueError("rate is a whole number of calls per second, 0 for no limit")
    return Context(
        settings=settings,
        clock=clock or Clock(),
        store=Store(None if settings.data is None else Path(settings.data)),
        throttle=Throttle(settings.rate),
    )
