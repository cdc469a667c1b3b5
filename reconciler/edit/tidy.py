"""Tidy: a YAML file in the one layout, proven to say the same."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from itertools import zip_longest
from typing import Any, Final, NamedTuple

from reconciler.config.events import Stop
from reconciler.config.lines import Unusual, read
from reconciler.config.meaning import meaning, rules, tree
from reconciler.config.nodes import Close, Item, Node, Open, parts
from reconciler.config.schema import schema
from reconciler.config.text import Unfit, pieces
from reconciler.diagnostics import Diagnostic, Source, error
from reconciler.edit.layout import ACCOUNTS, Layout

_GAPS: Final = re.compile(rb"(?:^|\n)[ \t\r]*\n")


class Tidied(NamedTuple):
    """What became of a file: its text in the one layout, or why it was left (`text` is None)."""

    text: bytes | None
    findings: tuple[Diagnostic, ...] = ()


def tidy(data: bytes, file: str, name: str = ACCOUNTS, *, ours: bool = True) -> Tidied:
    """Return a file in the one layout; `name` is its schema. What does not read is left.

    So is one that is not known to be of ours, and has other keys at its top.

    Old and new are read by the program's own reader, and must say the same and hold the same
    comments; otherwise the file is left, with a finding that calls it a defect.
    """
    if name == ACCOUNTS and ours and (quick := _quickly(data, file)) is not None:
        return Tidied(quick)
    findings: list[Diagnostic] = []
    top = set()
    for path, _ in meaning(data, file, name, findings):
        if findings:
            break
        top.add(path[0])
    if findings:
        return Tidied(None, tuple(findings))
    if not ours and (not top or top - schema(name)["properties"].keys()):
        return Tidied(None, (_foreign(file),))
    text = data.decode()
    layout = Layout(name, text)
    try:
        lines = layout.file(parts(data, text, file))
    except Stop as stop:
        return Tidied(None, (stop.finding,))
    made = "".join(f"{line}\n" for line in lines).encode()
    if made != data and not _same(data, made, file, name):
        wrong = error(
            "not-the-same",
            "The file would say something else in another layout, so it was left.",
            hint="this is a bug in reconciler: please report it with the file",
            source=Source(file),
        )
        return Tidied(None, (wrong,))
    return Tidied(made)


def _quickly(data: bytes, file: str) -> bytes | None:
    """Return a file of accounts without comments in the one layout, None where that needs a look.

    Most big files are such, and what they say is read the way a plan reads it.
    """
    if b"#" in data or _GAPS.search(data):
        return None
    layout = Layout()
    made: list[str] = []
    count = 0
    try:
        for key, raw in _values(data, file):
            if key:
                made += (
                    layout.entry(key, raw) if made else [f"{ACCOUNTS}:", *layout.entry(key, raw)]
                )
                count += 1
            else:
                made += [*layout.top("defaults", raw), f"{ACCOUNTS}:"]
        text = "".join(f"{line}\n" for line in made).encode()
        if not count or (text != data and not _say_the_same(data, text, file)):
            return None
        return text
    except (Unusual, Unfit):
        return None


def _values(data: bytes, file: str) -> Iterator[tuple[str, Any]]:
    """Yield each account, before them the defaults under an empty key, read the fast way."""
    for key, _, raw in read(pieces(BytesIO(data), file)):
        yield key, raw


def _say_the_same(old: bytes, new: bytes, file: str) -> bool:
    root = rules(ACCOUNTS)
    each, defaults = root.below(ACCOUNTS).below(""), root.below("defaults")
    return all(
        one is not None
        and other is not None
        and one[0] == other[0]
        and tree(one[1], rule := each if one[0] else defaults) == tree(other[1], rule)
        for one, other in zip_longest(_values(old, file), _values(new, file))
    )


def _foreign(file: str) -> Diagnostic:
    return error(
        "foreign-file",
        "This is no account file, and no glob of the workspace matches it.",
        hint="name files of accounts; other YAML may mean another thing in this layout",
        source=Source(file),
    )


def _same(old: bytes, new: bytes, file: str, name: str) -> bool:
    """Tell whether two texts say the same: of accounts also their order, and the same comments."""
    findings: list[Diagnostic] = []
    top: list[dict[str, Any]] = [{}, {}]
    streams = (
        _accounts(meaning(data, file, name, findings), top[side])
        for side, data in enumerate((old, new))
    )
    accounts = all(one == other for one, other in zip_longest(*streams))
    return accounts and top[0] == top[1] and not findings and comments(old) == comments(new)


def _accounts(
    found: Iterator[tuple[tuple[str, ...], Any]], top: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    """Yield the accounts, and gather what else stands at the top, in any order."""
    for path, value in found:
        if len(path) > 1:
            yield path[1], value
        else:
            top[path[0]] = value


def comments(data: bytes) -> Counter[str]:
    """Return the comments of a file that reads, each with how often it stands there."""
    if b"#" not in data:
        return Counter()
    found: Counter[str] = Counter()
    for part in parts(data, data.decode(), ""):
        if isinstance(part, Close):
            found.update(filter(None, (*part.foot, part.line)))
        else:
            found.update(_of(part.item if isinstance(part, Open) else part))
    return found


def _of(item: Item) -> Iterator[str]:
    yield from filter(None, (*item.head, item.line))
    yield from _within(item.value)


def _within(value: Node) -> Iterator[str]:
    yield from filter(None, value.foot)
    for item in value.items:
        yield from _of(item)
