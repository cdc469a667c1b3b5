"""Compare: two texts of a file as a unified diff, in time that follows their length."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final, NamedTuple

AROUND: Final = 3
"""Equal lines that are shown before and behind a change."""

_SMALL: Final = 400
"""Lines up to which two pieces without a line of their own are compared in detail."""


class Change(NamedTuple):
    """Lines `start` to `stop` of the old text, which lines `begin` to `end` of the new replace."""

    start: int
    stop: int
    begin: int
    end: int


def compare(name: str, before: bytes, after: bytes) -> Iterator[str]:
    """Yield the lines of a unified diff, in the form that `git apply` and `patch` take."""
    old, new = _lines(before), _lines(after)
    shown = False
    for hunk in _hunks(_changes(old, new)):
        if not shown:
            yield from (f"--- a/{name.lstrip('/')}", f"+++ b/{name.lstrip('/')}")
            shown = True
        yield from _hunk(hunk, old, new)


def _lines(data: bytes) -> list[str]:
    """Return the lines; one that lacks its end is another than one that has it."""
    text = data.decode(errors="replace")
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    else:
        lines[-1] += "\n\\ No newline at end of file"
    return lines


def _changes(old: Sequence[str], new: Sequence[str]) -> Iterator[Change]:
    """Yield where the texts differ, in order: aligned by the lines that each has only once."""
    todo = [Change(0, len(old), 0, len(new))]
    while todo:
        start, stop, begin, end = todo.pop()
        while start < stop and begin < end and old[start] == new[begin]:
            start, begin = start + 1, begin + 1
        while start < stop and begin < end and old[stop - 1] == new[end - 1]:
            stop, end = stop - 1, end - 1
        if start == stop and begin == end:
            continue
        here = Change(start, stop, begin, end)
        if start == stop or begin == end:
            yield here
        elif pairs := _anchors(old[start:stop], new[begin:end]):
            pieces, i, j = [], start, begin
            for one, other in [*pairs, (stop - start, end - begin)]:
                pieces.append(Change(i, start + one, j, begin + other))
                i, j = start + one + 1, begin + other + 1
            todo.extend(reversed(pieces))
        elif max(stop - start, end - begin) <= _SMALL:
            matcher = SequenceMatcher(None, old[start:stop], new[begin:end], autojunk=False)
            for tag, i1, i2, j1, j2 in matcher.get_opcodes():
                if tag != "equal":
                    yield Change(start + i1, start + i2, begin + j1, begin + j2)
        else:
            yield here


def _anchors(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """Return the places of lines that both have once, as many as stand in the same order."""
    here, there = Counter(old), Counter(new)
    places = {line: place for place, line in enumerate(new) if there[line] == 1}
    pairs = [
        (place, places[line])
        for place, line in enumerate(old)
        if here[line] == 1 and line in places
    ]
    ends: list[int] = []
    tails: list[int] = []
    before: list[int] = []
    for number, (_, other) in enumerate(pairs):
        at = bisect_left(ends, other)
        before.append(tails[at - 1] if at else -1)
        ends[at : at + 1] = [other]
        tails[at : at + 1] = [number]
    chosen: list[tuple[int, int]] = []
    number = tails[-1] if tails else -1
    while number >= 0:
        chosen.append(pairs[number])
        number = before[number]
    return chosen[::-1]


def _hunks(changes: Iterator[Change]) -> Iterator[list[Change]]:
    """Yield changes in groups that share the lines around them."""
    hunk: list[Change] = []
    for change in changes:
        if hunk and change.start - hunk[-1].stop > 2 * AROUND:
            yield hunk
            hunk = []
        hunk.append(change)
    if hunk:
        yield hunk


def _hunk(hunk: Sequence[Change], old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    first, last = hunk[0], hunk[-1]
    lead = min(AROUND, first.start)
    tail = min(AROUND, len(old) - last.stop)
    before = _range(first.start - lead, last.stop + tail)
    after = _range(first.begin - lead, last.end + tail)
    yield f"@@ -{before} +{after} @@"
    at = first.start - lead
    for change in hunk:
        yield from (f" {line}" for line in old[at : change.start])
        yield from (f"-{line}" for line in old[change.start : change.stop])
        yield from (f"+{line}" for line in new[change.begin : change.end])
        at = change.stop
    yield from (f" {line}" for line in old[at : at + tail])


def _range(start: int, stop: int) -> str:
    count = stop - start
    return f"{start + 1 if count else start},{count}" if count != 1 else f"{start + 1}"
