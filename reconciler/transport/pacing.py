"""Pacing: when a call may leave, so that no vendor API ever hears more than its rate allows."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from reconciler.transport.clock import Clock

_GUARD: Final = 0.04
_CREEP: Final = 0.0001
_ENOUGH: Final = 32
_ROUNDING: Final = 1e-6
_CATCH_UP: Final = 0.1
_SLICE: Final = 0.1


class Slot:
    """One call that was let go at `sent` (monotonic seconds); it counts until a second after it
    was answered.
    """

    __slots__ = ("_lane", "sent")

    def __init__(self, sent: float, lane: _Lane) -> None:
        self._lane = lane
        self.sent = sent

    def answered(self, now: float) -> None:
        """Note, once, that the vendor hears no more of the call: answered, given up, or not sent.

        Until then the slot stays taken, as the call may be heard at any moment.
        """
        self._lane.hear(self.sent, now)


class _Lane:
    """The pace of one API: `count` calls in any window of `span` seconds, evenly spaced.

    `open` is how many calls are under way, `heard` when those were answered that count still, and
    `quickest` how many seconds the quickest of all `answers` takes these days.
    """

    __slots__ = (
        "answers",
        "count",
        "gate",
        "heard",
        "lock",
        "next",
        "open",
        "paused",
        "quickest",
        "span",
    )

    def __init__(self, rate: float, now: float) -> None:
        self.gate = threading.Lock()
        self.lock = threading.Lock()
        self.count = max(1, int(rate))
        self.span = max(1.0, 1 / rate) + _ROUNDING
        self.open = 0
        self.heard: deque[float] = deque()
        self.next = now
        self.paused = now
        self.quickest = math.inf
        self.answers = 0

    def recall(self, heard: Sequence[float], paused: float) -> None:
        """Count calls that another process sent, by when each was answered, oldest first."""
        self.heard.extend(heard)
        self.paused = max(self.paused, paused)

    def told(self, now: float) -> dict[str, Any]:
        """Return what `recall` needs, in seconds before now; what is under way counts as of now."""
        with self.lock:
            ages = [now - one for one in self.heard if now - one < self.span]
            return {
                "heard": [*(round(age, 4) for age in ages), *[0.0] * self.open],
                "paused": max(0.0, self.paused - now),
            }

    def due(self, now: float) -> float:
        """Return when the next call may leave, as far as it is known now."""
        with self.lock:
            # Of the quickest answer's time, one part passed after the vendor heard the old call,
            # the other will pass before it hears the new one.
            # Few answers prove nothing: each thread's first call had to connect.
            known = self.quickest if self.answers >= _ENOUGH else 0.0
            lasts = self.span - max(0.0, known - _GUARD)
            while self.heard and self.heard[0] + lasts <= now:
                self.heard.popleft()
            if self.open + len(self.heard) < self.count:
                full = now
            else:
                full = self.heard[0] + lasts if self.heard else math.inf
        return max(self.next, self.paused, full)

    def take(self, now: float) -> Slot:
        """Let one call go."""
        with self.lock:
            self.open += 1
        self.next = max(self.next, now - _CATCH_UP) + self.span / self.count
        return Slot(now, self)

    def hear(self, sent: float, now: float) -> None:
        """Note that a call was answered."""
        with self.lock:
            self.open -= 1
            # Threads may come here in another order than they looked at the clock.
            self.heard.append(max(now, self.heard[-1]) if self.heard else now)
            # It creeps up, so that a way that became longer is found out in the end.
            self.answers += 1
            self.quickest = min(now - sent, self.quickest + _CREEP)


class Pacer:
    """Holds the calls of each API below its rate (calls per second), whoever makes them.

    Two rules together. Spacing, as in the generic cell rate algorithm: calls leave evenly, and
    one that woke late lets the next ones catch up by at most 100 ms. Counting: the vendor counts
    by its own clock when it hears a call, some time between our sending and its answer. So a call
    counts from when it leaves until a second after its answer, however long that takes, and one
    leaves only while fewer than `rate` count; neither a stalled process nor a stalled network
    makes a burst. Of a vendor that is never quick, all but 40 ms of its quickest answer is taken
    off that second, as both calls were on their way for that long: waiting for answers costs at
    most 4 % of the rate, and what else an answer takes at times beyond the quickest.

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
        self._before: Mapping[str, Mapping[str, Any]] | None = {}
        self._since = 0.0

    def resume(self, before: Mapping[str, Mapping[str, Any]] | None, age: float = 0.0) -> None:
        """Count what another process sent; call it before the first `wait`.

        `before` is what its pacer `told`, `age` seconds ago; None where nobody knows: then it sent
        as much as it could until now.
        """
        self._before, self._since = before, self._clock.monotonic() - age

    def told(self) -> dict[str, dict[str, Any]] | None:
        """Return, by API, what still counts: for another process that goes on from here.

        None where what was sent before is not known, and still counts.
        """
        now = self._clock.monotonic()
        age, lasts = now - self._since, max(1.0, 1 / self._rate("")) + _ROUNDING
        with self._lock:
            lanes = {api: lane.told(now) for api, lane in self._lanes.items()}
        if self._before is None:
            return None if age < lasts else lanes
        unused = {api: one for api, one in self._before.items() if api not in lanes}
        for api, one in unused.items():
            heard = [past + age for past in one["heard"] if past + age < lasts]
            lanes[api] = {"heard": heard, "paused": max(0.0, one["paused"] - age)}
        return {api: one for api, one in lanes.items() if one["heard"] or one["paused"]}

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
                self._recall(api, lane)
            return lane

    def _recall(self, api: str, lane: _Lane) -> None:
        if self._before is None:
            lane.recall([self._since] * lane.count, self._since)
        elif one := self._before.get(api):
            heard = sorted(self._since - age for age in one["heard"])
            lane.recall(heard, self._since + one["paused"])
