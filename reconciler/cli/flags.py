"""Flags: what the command line's words mean: times, counts, reasons."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from reconciler.errors import UsageError
from reconciler.session import now
from reconciler.values import to_moment


def moment(text: str | None, flag: str = "--as-of") -> datetime:
    """Return the moment that a flag names, or at which a plan is judged; now without one."""
    if text is None:
        return now()
    try:
        return to_moment(text)
    except ValueError as problem:
        raise UsageError.of("bad-time", f"{flag}: {problem}") from None


def seconds(text: str) -> float:
    """Read `90s`, `3m`, `1h` or plain seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)?", text)
    if found is None:
        raise UsageError.of("bad-time", f"{text!r} is not a time like 90s or 3m")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600, None: 1}[found[2]]


def ahead(text: str, since: datetime | None = None) -> datetime:
    """Read a moment, or how far ahead one is, of now or of `since`: `30d`, `12h`."""
    found = re.fullmatch(r"(\d{1,4})(d|h)", text)
    try:
        if found is None:
            return to_moment(text)
        return (since or now()) + timedelta(hours=int(found[1]) * {"d": 24, "h": 1}[found[2]])
    except ValueError:
        raise UsageError.of(
            "bad-time", f"{text!r} is not a time like 30d or 2027-01-31T00:00:00Z"
        ) from None


def allowed(texts: Iterable[str]) -> dict[str, int]:
    """Read `--allow block=37`: which kinds may go over their limit, by exactly how many."""
    from reconciler.guard import LIMITED

    found = {}
    for text in texts:
        kind, equals, count = text.partition("=")
        if kind not in LIMITED or not equals or not count.isdecimal():
            kinds = ", ".join(LIMITED)
            raise UsageError.of(
                "bad-allow",
                f"--allow {text!r} is not KIND=COUNT",
                hint=f"KIND is one of {kinds}, COUNT the exact number",
            )
        found[kind] = int(count)
    return found


def reasons(texts: Iterable[str]) -> dict[str, str]:
    """Read `--override RULE=REASON`: why rules shall not refuse this plan."""
    found: dict[str, str] = {}
    for text in texts:
        id, equals, reason = text.partition("=")
        if not equals:
            raise UsageError.of(
                "bad-override",
                f"--override {text!r} is not RULE=REASON",
                hint=f"say why: --override '{id}=the customer asked for it, TS-1042'",
            )
        if id in found:
            raise UsageError.of("bad-override", f"--override {id} is given twice")
        found[id] = reason
    return found
