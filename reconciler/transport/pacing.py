"""Pacing: when a call may leave, so that no vendor API ever hears more than its rate allows."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from reconciler.transport.clock import Clock

_GUARD: Final = 0.04
_RARE_GUARD: Final = 0.25
_LEARN: Final = 0.05
_ROUNDING: Final = 1e-6
_CATCH_UP: Final = 0.1
_SLICE: Final = 0.1


class Slot:
    """One call that was let go. `ends` is when the second that it counts in is over."""

    __slots__ = ("_lane", "ends", "sent")

    def __init__(self, sent: float, lane: _Lane) -> None:
        self._lane = lane
        self.sent = sent
        self.ends = sent + lane.span + (_RARE_GUARD if 0 < lane.usual < _GUARD else _GUARD)

    def answered(self, now: float) -> None:
        """Note that the vendor has heard the call by `now` (monotonic seconds)."""
        lane = self._lane
        took = now - self.sent
        lane.usual += (took - lane.usual) * (_LEARN if lane.usual else 1.0)
        self.ends = min(self.ends, now + lane.span)


class _Lane:
    """The pace of one API: `count` calls in any window of `span` seconds, evenly spaced.

    `usual` is how many seconds an answer takes these days.
    """

    __slots__ = ("count", "gate", "next", "paused", "slots", "span", "usual")

    def __init__(self, rate: float, now: float) -> None:
        self.gate = threading.Lock()
        self.count = max(1, int(rate))
        self.span = max(1.0, 1 / rate) + _ROUNDING
        self.slots: deque[Slot] = deque()
        self.next = now
        self.paused = now
        self.usual = 0.0

    def due(self, now: float) -> float:
        """Return when the next call may leave."""
        while self.slots and self.slots[0].ends <= now:
            self.slots.popleft()
        full = self.slots[0].ends if len(self.slots) >= self.count else now
        return max(self.next, self.paused, full)

    def take(self, now: float) -> Slot:
        """Let one call go."""
        self.next = max(self.next, now - _CATCH_UP) + self.span / self.count
        slot = Slot(now, self)
        self.slots.append(slot)
        return slot


class Pacer:
    """Holds the calls of each API below its rate (calls per second), whoever makes them.

    Two rules together. Spacing, as in the generic cell rate algorithm: calls leave evenly, and
    one that woke late lets the next ones catch up by at most 100 ms. Counting: a call leaves only
    when the one `rate` places before it left a whole second ago, by the times they really left,
    so that a process that was stalled sends no burst. The vendor counts by its own clock when it
    hears a call, some time between our sending and its answer: so the second begins with the
    answer. Of a vendor whose answers usually take longer than 40 ms only these 40 ms are waited
    for, which costs 4 % of the rate; of any other, up to 250 ms, as only hiccups take that long.

    A rate that is no whole number counts as the whole number below it; one below 1 is one call
    in `1 / rate` seconds.
    """

    def __init__(
        self, rate: Callable[[str], float], clock: Clock, stopped: Callable[[], bool]
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._stopped = stopped
        self._lock = threading.Lock()
        self._lanes: dict[str, _Lane] = {}

    def wait(self, api: str) -> Slot | None:
        """Wait until a call of the API may leave; None if the run was stopped meanwhile."""
        lane = self._lane(api)
        # The gate is held while sleeping: one call waits for the time, the others for the gate.
        with lane.gate:
            while not self._stopped():
                now = self._clock.monotonic()
                if (due := lane.due(now)) <= now:
                    return lane.take(now)
                self._clock.sleep(min(due - now, _SLICE))
        return None

    def penalize(self, api: str, seconds: float) -> bool:
        """Pause one API; return whether it was not paused already."""
        lane = self._lane(api)
        with self._lock:
            now = self._clock.monotonic()
            fresh = lane.paused <= now
            lane.paused = max(lane.paused, now + seconds)
            return fresh

    def _lane(self, api: str) -> _Lane:
        with self._lock:
            if (lane := self._lanes.get(api)) is None:
                lane = self._lanes[api] = _Lane(self._rate(api), self._clock.monotonic())
            return lane
