"""Lapses: bans that end, for a terminal, for a comment, and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from reconciler.accounts import Address
from reconciler.expire import Lapse, Status
from reconciler.values import to_moment, to_text
from reconciler.views.history import Origin
from reconciler.views.text import table
from reconciler.views.words import LONG, code, fence, mark, number, value, visible

_NOTES: Final = {
    Status.ENDED: "the next apply lifts it",
    Status.ENDS: "",
    Status.DECLARED: "not applied yet",
    Status.LEFT: "left the YAML, so no plan lifts it",
}


class Lapses(NamedTuple):
    """What was asked, and what came of it; `origins` says who set each ban where that is known."""

    workspace: str
    as_of: datetime
    before: datetime
    found: Sequence[Lapse]
    origins: Mapping[Address, Origin]


def text(told: Lapses) -> Iterator[str]:
    """Yield a line for each ban, by time, and last how many there are."""
    if told.found:
        yield from _rows(told)
        yield ""
    yield _last(told)


def markdown(told: Lapses) -> Iterator[str]:
    """Yield the same for a comment; the first line is the mark by which a pipeline finds it."""
    yield mark("expire", told.workspace)
    yield f"## Bans of {code(told.workspace)} that end"
    yield ""
    yield f"Before {code(to_text(told.before))}, as of {code(to_text(told.as_of))}."
    yield ""
    if told.found:
        yield from [*fence(_rows(told)), ""]
    yield _last(told)


def shape(told: Lapses) -> dict[str, Any]:
    """Return the shape of `expire --json`."""
    return {
        "workspace": told.workspace,
        "as_of": to_text(told.as_of),
        "before": to_text(told.before),
        "bans": [
            {
                "address": one.address,
                "until": one.until,
                "seconds_left": int((to_moment(one.until) - told.as_of).total_seconds()),
                "status": str(one.status),
                "reason": one.ban.get("reason"),
                "ticket": one.ban.get("ticket"),
                "recorded_until": one.recorded or None,
                "source": {"file": one.file, "line": one.line} if one.file else None,
                "set_by": origin._asdict() if (origin := told.origins.get(one.address)) else None,
            }
            for one in told.found
        ],
    }


def span(seconds: float) -> str:
    """Return how long something is, in its two largest units: `2 d 5 h`, `40 min`."""
    minutes = int(abs(seconds) // 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    told = [(days, "d"), (hours, "h"), (minutes, "min")]
    while len(told) > 1 and not told[0][0]:
        told.pop(0)
    return " ".join(f"{count} {unit}" for count, unit in told[:2] if count or unit == told[0][1])


def _rows(told: Lapses) -> Iterator[str]:
    return (f"  {row}" for row in table(_row(one, told) for one in told.found))


def _row(one: Lapse, told: Lapses) -> tuple[str, ...]:
    seconds = (to_moment(one.until) - told.as_of).total_seconds()
    when = f"in {span(seconds)}" if seconds > 0 else f"ended {span(seconds)} ago"
    why = [value(one.ban["reason"]) if one.ban.get("reason") else "no reason"]
    if ticket := one.ban.get("ticket"):
        why.append(f"ticket {visible(str(ticket))}")
    notes = [note] if (note := _NOTES[one.status]) else []
    if one.recorded and one.recorded != one.until:
        notes.append(f"recorded is {one.recorded}")
    if (origin := told.origins.get(one.address)) is not None:
        notes.append(f"set {visible(origin.at)} by {visible(origin.operator)}")
    if one.file:
        notes.append(f"{visible(one.file)}:{one.line}")
    return when, one.until, one.address, visible(", ".join(why), LONG), "; ".join(notes)


def _last(told: Lapses) -> str:
    """Return how many there are; those that nobody sees to are told apart."""
    counts = Counter(one.status for one in told.found)
    over, left = counts.pop(Status.ENDED, 0), counts.pop(Status.LEFT, 0)
    ends = counts.total()
    before = f"before {to_text(told.before)}"
    if not told.found:
        return f"No ban ends {before}."
    parts = [f"{number(ends, 'ban')} {'ends' if ends == 1 else 'end'} {before}"]
    if over:
        parts.append(f"{over} ended and {'waits' if over == 1 else 'wait'} for the next apply")
    if left:
        parts.append(f"{left} left the YAML and {'stays' if left == 1 else 'stay'}")
    return f"{'; '.join(parts)}."
