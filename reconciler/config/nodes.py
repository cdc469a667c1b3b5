"""Nodes: a YAML file as it is written, with the place of every part and its comments.

`events` says what a file means; here is how it looks. Comments are what libyaml skips between two
tokens: a `#` there can be nothing else.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from io import BytesIO
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    StreamEndEvent,
)

from reconciler.config.events import Stop, begin
from reconciler.config.libyaml import yaml_events
from reconciler.diagnostics import Diagnostic, Source, error

Kind: TypeAlias = Literal["text", "alias", "mapping", "list"]
Lines: TypeAlias = tuple[str, ...]
"""Comments on lines of their own, in order; an empty one is a blank line."""

BLANK: Final = -1
"""The column of a blank line."""

_HEADER = re.compile(r"[|>][-+0-9]*[ \t]*(#[^\r\n]*)?")


class Node(NamedTuple):
    """One value. `start` and `end` are its characters in the text, an anchor included.

    `text` is the value of a scalar or the name of an alias, `style` how a scalar is quoted;
    `column` is where a block collection's keys or dashes begin. `foot` stands behind its last item.
    """

    kind: Kind
    start: int
    end: int
    text: str = ""
    style: str = ""
    anchor: str = ""
    flow: bool = False
    column: int = 0
    items: tuple[Item, ...] = ()
    foot: Lines = ()

    @property
    def commented(self) -> bool:
        """Whether a comment stands within."""
        return any(self.foot) or any(
            item.line or any(item.head) or item.value.commented for item in self.items
        )

    @property
    def anchored(self) -> bool:
        """Whether an anchor or an alias stands here or within."""
        return (
            bool(self.anchor)
            or self.kind == "alias"
            or any(item.value.anchored for item in self.items)
        )

    def get(self, key: str) -> Item | None:
        """Return the item of a mapping with this key."""
        return next((one for one in self.items if one.key and one.key.text == key), None)


class Item(NamedTuple):
    """One pair of a mapping, or one value of a list, with its comments: before it, and beside."""

    key: Node | None
    value: Node
    head: Lines = ()
    line: str = ""


class Open(NamedTuple):
    """The mapping of all accounts begins: its own item without any; they follow, then `Close`."""

    item: Item


class Close(NamedTuple):
    """The mapping of all accounts, or the file, ends; `foot` stands behind its last item.

    `end` is the character behind its last token, `line` the comment beside a bracket there.
    """

    foot: Lines
    end: int
    line: str = ""


Part: TypeAlias = Item | Open | Close


def parts(data: bytes, text: str, file: str) -> Iterator[Part]:
    """Yield what stands at the top of a file, its accounts one by one, and at last its foot.

    `text` are the decoded `data`. Only for a file that the reader has taken. Raises Stop.
    """
    walk = _Walk(data, text, file)
    walk.next()
    if not isinstance(walk.peek(), StreamEndEvent):
        walk.next()
    if isinstance(root := walk.peek(), MappingStartEvent):
        yield from walk.top(flow=_flows(root))
    foot = walk.lines()
    while not isinstance(walk.peek(), StreamEndEvent):
        walk.next()
        foot += walk.lines()
    yield Close(foot, walk.at)


class _Gap(NamedTuple):
    """What stands between two tokens: beside the first, and on lines of their own by column."""

    beside: str
    lines: deque[tuple[int, str]]


class _Walk:
    """Goes through the events of a file, and looks ahead for what stands before the next token."""

    def __init__(self, data: bytes, text: str, file: str) -> None:
        self.text, self.file = text, file
        self._get = yaml_events(BytesIO(data), file)
        self._ahead: deque[Event] = deque()
        self.at = 0
        self._gap: _Gap | None = None

    def peek(self) -> Event:
        """Return the event that comes next."""
        if not self._ahead:
            self._ahead.append(self._get())
        return self._ahead[0]

    def next(self) -> Any:
        """Take the next event; what stands before a token must have been taken by then."""
        event: Any = self.peek()
        if _is_token(event):
            gap = self._between()
            if gap.lines or gap.beside:
                raise Stop(_lost(self.file, event))
            self.at, self._gap = event.end_mark.index, None
        return self._ahead.popleft()

    def _between(self) -> _Gap:
        """Return what is left of what stands before the next token."""
        if self._gap is None:
            position = 0
            while True:
                if position == len(self._ahead):
                    self._ahead.append(self._get())
                event: Any = self._ahead[position]
                if _is_token(event):
                    break
                position += 1
            last = isinstance(event, StreamEndEvent)
            end = len(self.text) if last else event.start_mark.index
            self._gap = _scan(self.text, self.at, end)
        return self._gap

    def beside(self) -> str:
        """Take the comment on the line of the last token."""
        gap = self._between()
        if gap.beside:
            self._gap = gap._replace(beside="")
        return gap.beside

    def lines(self, *, flow: bool = False) -> Lines:
        """Take all comments before the next token; blank lines in brackets say nothing."""
        gap = self._between()
        if not (gap.lines or gap.beside):
            return ()
        beside = (gap.beside,) if gap.beside else ()
        found = (*beside, *(text for _, text in gap.lines if text or not flow))
        self._gap = _Gap("", deque())
        return found

    def _foot(self, least: int) -> Lines:
        """Take what belongs to a block that ends here: comments as far in as its items."""
        lines = self._between().lines
        taken = 0
        for position, (column, _) in enumerate(lines, 1):
            if column != BLANK:
                if column < least:
                    break
                taken = position
        return tuple(lines.popleft()[1] for _ in range(taken))

    def key(self, *, flow: bool) -> tuple[Node, Lines]:
        """Take the next key, and the comments before it."""
        head = self.lines(flow=flow)
        return self._scalar(self.next()), head

    def top(self, *, flow: bool) -> Iterator[Part]:
        """Yield the parts of the top mapping, up to its end."""
        above = self.lines() if flow else ()
        self.next()
        while not isinstance(self.peek(), CollectionEndEvent):
            key, head = self.key(flow=flow)
            head, above = (*above, *head), ()
            if key.text == "accounts" and isinstance(self.peek(), MappingStartEvent):
                yield from self.accounts(key, head)
            else:
                yield self.item(key, head, outer=0)
        if above:
            yield Close(above, self.at)

    def accounts(self, key: Node, head: Lines) -> Iterator[Part]:
        """Yield the mapping of all accounts in parts; the key was taken."""
        first = self.peek()
        flow = _flows(first)
        line = "" if flow else self.beside()
        head += _told(self.lines()) if flow else ()
        start = self.next()
        yield Open(Item(key, _collection(start, flow=flow), head, line))
        column = 0
        while not isinstance(self.peek(), CollectionEndEvent):
            column = self._column()
            name, above = self.key(flow=flow)
            yield self.item(name, above, outer=column)
        foot = self.lines(flow=True) if flow else self._foot(max(column, 1))
        self.next()
        at = self.at
        yield Close(foot, at, self.beside() if flow else "")

    def item(self, key: Node | None, head: Lines, *, outer: int) -> Item:
        """Take the value of a key, or of a dash, with the comments about it.

        `outer` is the column of the block that holds it.
        """
        first = self.peek()
        if isinstance(first, CollectionStartEvent) and not _flows(first):
            line = self.beside() if key else ""
            return Item(key, self._value(outer), head, line)
        head += _told(self.lines())
        value = self._value(outer)
        line = self._header(value) or self.beside()
        return Item(key, value, head, line)

    def _header(self, value: Node) -> str:
        """Return the comment that stands within the first line of a block scalar."""
        if value.style not in ("|", ">"):
            return ""
        found = _HEADER.search(self.text, value.start, value.end)
        return (found[1] or "").rstrip() if found else ""

    def _value(self, outer: int) -> Node:
        event: Any = self.next()
        if isinstance(event, AliasEvent):
            return Node("alias", *_span(event), str(event.anchor or ""))
        if isinstance(event, ScalarEvent):
            return self._scalar(event)
        flow = _flows(event)
        mapping = isinstance(event, MappingStartEvent)
        items: list[Item] = []
        column = event.start_mark.column
        while not isinstance(self.peek(), CollectionEndEvent):
            if mapping:
                column = self._column()
                key, head = self.key(flow=flow)
                items.append(self.item(key, head, outer=column))
            else:
                items.append(self.item(None, self.lines(flow=flow), outer=column))
        foot = self.lines(flow=True) if flow else self._foot(max(column, outer + 1))
        last = self.at
        end = self.next()
        return _collection(event, flow=flow)._replace(
            end=end.end_mark.index if flow else last,
            column=column,
            items=tuple(items),
            foot=foot,
        )

    def _column(self) -> int:
        key: Any = self.peek()
        return int(key.start_mark.column)

    def _scalar(self, event: Any) -> Node:
        return Node("text", *_span(event), event.value, event.style or "", event.anchor or "")


def _collection(event: Any, *, flow: bool) -> Node:
    return Node(
        "mapping" if isinstance(event, MappingStartEvent) else "list",
        *_span(event),
        anchor=event.anchor or "",
        flow=flow,
        column=event.start_mark.column,
    )


def _flows(event: Any) -> bool:
    return bool(event.flow_style)


def _told(lines: Lines) -> Lines:
    return tuple(filter(None, lines))


def _is_token(event: Any) -> bool:
    """Tell whether an event has characters of its own, behind which a comment may stand."""
    if isinstance(event, ScalarEvent | AliasEvent | StreamEndEvent):
        return True
    if isinstance(event, CollectionStartEvent):
        return _flows(event)
    if not isinstance(event, CollectionEndEvent):
        return False
    start, end = _span(event)
    return start != end


def _span(event: Any) -> tuple[int, int]:
    return event.start_mark.index, event.end_mark.index


def _lost(file: str, event: Event) -> Diagnostic:
    return error(
        "comment-lost",
        "A comment before this would be lost, so the file was left.",
        hint="this is a bug in reconciler: please report it with the file",
        source=Source(file, *begin(event)),
    )


def _scan(text: str, start: int, end: int) -> _Gap:
    """Return the comments and blank lines between two tokens; of many blank lines one is kept."""
    lines: deque[tuple[int, str]] = deque()
    if text.find("#", start, end) < 0 and text.count("\n", start, end) < 2:
        return _Gap("", lines)
    beside = ""
    at = start
    if start and text[start - 1] != "\n":
        stop = text.find("\n", start, end)
        first = text[start : end if stop < 0 else stop]
        mark = first.find("#")
        beside = first[mark:].rstrip() if mark >= 0 else ""
        at = end if stop < 0 else stop + 1
    while at < end:
        stop = text.find("\n", at, end)
        piece = text[at : end if stop < 0 else stop]
        mark = piece.find("#")
        if mark >= 0:
            lines.append((mark, piece[mark:].rstrip()))
        elif stop >= 0 and not piece.strip() and not (lines and lines[-1][0] == BLANK):
            lines.append((BLANK, ""))
        at += len(piece) + 1
    return _Gap(beside, lines)
