"""Counting calls: the throttle of each API, and the requests seen before."""

from collections import deque


class Throttle:
    """Allow `rate` calls in any one second per key, and block the key for a while beyond that.

    A key is whatever the vendor counts by, usually (vendor, app, API). Rate 0 allows everything.
    Times are seconds of one monotonic clock.
    """

    __slots__ = ("_blocked", "_rate", "_seen")

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._seen: dict[object, deque[float]] = {}
        self._blocked: dict[object, float] = {}

    def allows(self, key: object, now: float, block: float, *, prolongs: bool) -> bool:
        """Count one call at `now`; return whether it may pass.

        The first call over the rate is refused and blocks the key for `block` seconds. A call
        during the block is refused, and starts the block anew where `prolongs` says so.
        """
        rate = self._rate
        if rate == 0:
            return True
        if now < self._blocked.get(key, 0.0):
            if prolongs:
                self._blocked[key] = now + block
            return False
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = deque()
        while seen and seen[0] <= now - 1.0:
            seen.popleft()
        if len(seen) >= rate:
            self._blocked[key] = now + block
            return False
        seen.append(now)
        return True

    def clear(self) -> None:
        """Forget every call and lift every block."""
        self._seen.clear()
        self._blocked.clear()


class Repeats:
    """Remember request ids for a time, in the order they came."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[object, float] = {}

    def first(self, key: object, now: float, seconds: float) -> bool:
        """Note one id at `now`; return False when it was noted within the last `seconds`."""
        seen = self._seen
        while seen:
            oldest = next(iter(seen))
            if seen[oldest] > now - seconds:
                break
            del seen[oldest]
        if key in seen:
            return False
        seen[key] = now
        return True
