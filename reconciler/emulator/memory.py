"""A vendor in memory: requests are answered in place, without a server and without waiting."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from reconciler.emulator.context import opened
from reconciler.emulator.exchange import Asked, Exchange
from reconciler.emulator.settings import Clock, Settings
from reconciler.emulator.vendors import VENDORS

_PART: Final = re.compile(r"\\{(\w+)(:path)?\\}")


def compiled(path: str) -> re.Pattern[str]:
    """Return what matches a path of `Paths`: `{name}` one part of it, `{name:path}` the rest."""
    return re.compile(
        _PART.sub(lambda found: f"(?P<{found[1]}>{'.*' if found[2] else '[^/]+'})", re.escape(path))
    )


class Memory:
    """One app of one vendor: what it holds is in `context`, which is the caller's to look into."""

    def __init__(self, vendor: str, clock: Clock) -> None:
        self.context = opened(Settings(rate=0), clock)
        self._paths: list[tuple[re.Pattern[str], Exchange]] = [
            (compiled(path), exchange) for path, exchange in VENDORS[vendor].routes(self.context)
        ]

    def answer(self, method: str, target: str, headers: Mapping[str, str], raw: bytes) -> bytes:
        """Return the body of the answer to a request, whose status is always 200.

        Raises LookupError for a path that is of no API of the vendor.
        """
        path, _, query = target.partition("?")
        path = unquote(path)
        for pattern, exchange in self._paths:
            if found := pattern.fullmatch(path):
                path_id = found.groupdict().get("account_id", "")
                return exchange.at_once(Asked(method, path, path_id, query, headers, raw))
        raise LookupError(path)
