"""Events: the careful reading of one YAML or JSON file, with a place for everything in it."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias

from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    StreamEndEvent,
)

from reconciler.config.built import Built, Place
from reconciler.config.quick import Doubt
from reconciler.config.scalars import Quoted
from reconciler.config.text import HIDDEN, MARK, named
from reconciler.diagnostics import Diagnostic, Source, error

DEPTH: Final = 64
ANCHORS: Final = 64
EXPANDED: Final = 10_000
NODES: Final = 20_000
"""Parts of one account or setting that are read; its places need far more memory than its text."""

_UNTAG = "remove it; types come from the field"

Node: TypeAlias = list[Event]
"""The events of one value, aliases already replaced by what they stand for."""

Get: TypeAlias = Callable[[], Event]


class Stop(Exception):
    """The file cannot be read any further; the finding says why."""

    def __init__(self, finding: Diagnostic) -> None:
        self.finding = finding
        super().__init__(finding.summary)


class Suspects:
    """Tabs and direction marks of a file: allowed in some texts, so read texts clear them."""

    def __init__(self, found: Iterable[tuple[int, int, str]] = ()) -> None:
        self.found = list(found)
        self._cleared: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self.found)

    def clear(self, event: ScalarEvent, *, profile: bool) -> None:
        """Clear what stands in a text: tabs in a quoted one, marks in one of a profile."""
        start, end = begin(event), ending(event)
        quoted = event.style in ("'", '"')
        for at in range(bisect_left(self.found, start), bisect_left(self.found, end)):
            if quoted if self.found[at][2] == "\t" else profile:
                self._cleared.add(at)

    def left(self) -> Iterator[tuple[int, int, str]]:
        """Yield line, column and character of what no text cleared."""
        return (one for at, one in enumerate(self.found) if at not in self._cleared)


class Reader:
    """Reads the events of one file; `findings` takes what is wrong and can be read over."""

    def __init__(
        self, get: Get, file: str, findings: list[Diagnostic], suspects: Suspects | None = None
    ) -> None:
        self.get, self.file, self.findings = get, file, findings
        self.suspects = suspects or Suspects()
        self.anchors: dict[str, Node] = {}
        self.expanded = 0
        self.noted: set[Diagnostic] = set()

    def note(self, id: str, summary: str, event: Event, hint: str = "") -> None:
        """Take a finding at the start of an event."""
        finding = error(id, summary, hint=hint, source=self.at(event))
        # An alias brings what is wrong in its anchor along, and it is told once.
        if finding not in self.noted:
            self.noted.add(finding)
            self.findings.append(finding)

    def at(self, event: Event) -> Source:
        """Return where an event begins."""
        return Source(self.file, *begin(event))

    def top(self) -> Iterator[tuple[ScalarEvent, Event]]:
        """Yield the keys of the top mapping with the first event of their values.

        The caller reads the value (`node` or `pairs`) before it asks for the next one.
        """
        self.get()
        event = self.get()
        if isinstance(event, StreamEndEvent):
            return
        assert isinstance(event, DocumentStartEvent)
        if event.version or event.tags:
            self.note("directive", "A % directive begins the file.", event, "remove it")
        root = self.get()
        if isinstance(root, MappingStartEvent):
            yield from self.pairs(root)
        elif not (isinstance(root, ScalarEvent) and root.value == "" and not root.style):
            raise Stop(
                error(
                    "wrong-type",
                    "The file is no mapping.",
                    hint="begin with a key at the left margin, like accounts:",
                    source=self.at(root),
                )
            )
        self.get()
        if isinstance(after := self.get(), DocumentStartEvent):
            raise Stop(
                error(
                    "several-documents",
                    "A second document begins here.",
                    hint="put it into a file of its own",
                    source=self.at(after),
                )
            )

    def pairs(self, start: Event) -> Iterator[tuple[ScalarEvent, Event]]:
        """Yield the keys of a big mapping with the first event of their values."""
        self._bare(start)
        seen: dict[str, Place] = {}
        while not isinstance(key := self.get(), MappingEndEvent):
            found = self.node(key)
            if self._key(found, seen) is None:
                self.node(self.get())
                continue
            first = found[0]
            assert isinstance(first, ScalarEvent)
            yield first, self.get()

    def node(self, first: Event) -> Node:
        """Collect one value from its first event on; aliases are replaced here."""
        node: Node = []
        open_: list[tuple[str | None, int]] = []
        event = first
        while True:
            if isinstance(event, AliasEvent):
                node += self._alias(event)
            elif isinstance(event, CollectionEndEvent):
                node.append(event)
                self._anchor(*open_.pop(), node, event)
            else:
                assert isinstance(event, NodeEvent)
                if event.tag is not None:  # type: ignore[attr-defined]
                    self.note("tag", "A tag stands here.", event, _UNTAG)
                if isinstance(event, CollectionStartEvent):
                    open_.append((event.anchor, len(node)))
                    if len(open_) > DEPTH - 2:
                        raise Stop(too_deep(self.at(event)))
                    node.append(event)
                else:
                    node.append(event)
                    self._anchor(event.anchor, len(node) - 1, node, event)
            if not open_:
                return node
            if len(node) > NODES:
                raise Stop(
                    error(
                        "too-big",
                        f"What begins here has more than {NODES:,} parts.",
                        hint="is this the file that was meant?",
                        source=self.at(first),
                    )
                )
            event = self.get()

    def _anchor(self, name: str | None, start: int, node: Node, event: Event) -> None:
        if name is None:
            return
        self.anchors[name] = node[start:]
        if len(self.anchors) > ANCHORS:
            raise Stop(
                error(
                    "too-many-anchors",
                    f"There are more than {ANCHORS} anchors.",
                    hint="use defaults, or write the values out",
                    source=self.at(event),
                )
            )

    def _alias(self, event: AliasEvent) -> Node:
        node = self.anchors.get(event.anchor or "")
        if node is None:
            raise Stop(
                error(
                    "bad-alias",
                    f"*{event.anchor} refers to itself or to nothing.",
                    hint="write the value out",
                    source=self.at(event),
                )
            )
        self.expanded += len(node)
        if self.expanded > EXPANDED:
            raise Stop(
                error(
                    "too-many-aliases",
                    "Aliases stand for too many values.",
                    hint="use defaults, or write the values out",
                    source=self.at(event),
                )
            )
        return node

    def _bare(self, start: Event) -> None:
        assert isinstance(start, MappingStartEvent)
        if start.tag is not None:
            self.note("tag", "A tag stands here.", start, _UNTAG)
        if start.anchor is not None:
            self.note(
                "too-many-aliases",
                "This mapping is too big for an anchor.",
                start,
                "remove the anchor",
            )

    def bare(self, node: Node) -> Any:
        """Return the value of a node without places. Raises Doubt where only `build` will do."""
        if self.suspects:
            raise Doubt
        events = iter(node)
        return _bare(next(events), events)

    def build(self, node: Node) -> Built:
        """Return the value of a node with the places of all its parts."""
        keys: dict[tuple[Any, ...], tuple[int, int]] = {}
        values: dict[tuple[Any, ...], tuple[int, int]] = {}
        value, _ = self._build(node, 0, (), keys, values)
        return Built(value, keys, values)

    def _build(
        self,
        node: Node,
        at: int,
        path: tuple[Any, ...],
        keys: dict[tuple[Any, ...], tuple[int, int]],
        values: dict[tuple[Any, ...], tuple[int, int]],
    ) -> tuple[Any, int]:
        event = node[at]
        values[path] = begin(event)
        at += 1
        if isinstance(event, ScalarEvent):
            return self.scalar(event, profile=path[:1] == ("profile",) and len(path) > 1), at
        if not isinstance(event, MappingStartEvent):
            items: list[Any] = []
            while not isinstance(node[at], CollectionEndEvent):
                item, at = self._build(node, at, (*path, len(items)), keys, values)
                items.append(item)
            return items, at + 1
        made: dict[str, Any] = {}
        seen: dict[str, Place] = {}
        while not isinstance(key := node[at], CollectionEndEvent):
            end = _end(node, at)
            if (text := self._key(node[at:end], seen)) is None:
                _, at = self._build(node, end, (*path, None), {}, {})
                continue
            keys[*path, text] = begin(key)
            made[text], at = self._build(node, end, (*path, text), keys, values)
        return made, at + 1

    def _key(self, node: Node, seen: dict[str, Place]) -> str | None:
        """Return the text of a key, None for one that cannot be; `seen` is by normal form."""
        event = node[0]
        if not isinstance(event, ScalarEvent):
            self.note(
                "bad-key", "A key is no plain text.", event, "write a single text before the colon"
            )
            return None
        if event.value == "<<" and not event.style:
            self.note("merge-key", "The merge key << stands here.", event, "use defaults instead")
            return None
        text = str(self.scalar(event, profile=False))
        normal = text if text.isascii() else unicodedata.normalize("NFC", text)
        if (first := seen.get(normal)) is not None:
            self.note(
                "duplicate-key",
                f"The key {text[:80]!r} stands here again.",
                event,
                f"keep one of them; the first is at {Source(self.file, *first)}",
            )
            return None
        seen[normal] = begin(event)
        return text

    def scalar(self, event: ScalarEvent, *, profile: bool) -> str:
        """Return the text of a scalar; says whether it was quoted by its class."""
        text = event.value
        plain = not event.style
        if not plain:
            text = Quoted(text)
        if HIDDEN.search(text) or (not profile and MARK.search(text)):
            found = HIDDEN.search(text) or MARK.search(text)
            assert found
            if event.style == '"' or not MARK.fullmatch(found[0]):
                self.note(
                    "control-character",
                    f"The text holds the character {named(found[0])}.",
                    event,
                    "remove it",
                )
        if self.suspects:
            self.suspects.clear(event, profile=profile)
        return text


def _bare(event: Event, events: Iterator[Event]) -> Any:
    if isinstance(event, ScalarEvent):
        text = event.value
        if not event.style:
            return text
        if event.style == '"' and not text.isprintable():
            raise Doubt
        return Quoted(text)
    if not isinstance(event, MappingStartEvent):
        items = []
        while not isinstance(item := next(events), CollectionEndEvent):
            items.append(_bare(item, events))
        return items
    made: dict[str, Any] = {}
    while not isinstance(key := next(events), CollectionEndEvent):
        if not isinstance(key, ScalarEvent):
            raise Doubt
        text = key.value
        if text in made or text == "<<" or not (text.isascii() and text.isprintable()):
            raise Doubt
        made[text] = _bare(next(events), events)
    return made


def begin(event: Event) -> Place:
    """Return line and column, from 1, where an event begins."""
    mark: Any = event.start_mark
    return mark.line + 1, mark.column + 1


def too_deep(place: Source) -> Diagnostic:
    """Return the finding for what is nested beyond `DEPTH`."""
    return error(
        "too-deep",
        f"More than {DEPTH} levels are nested here.",
        hint="write it flatter",
        source=place,
    )


def ending(event: Event) -> Place:
    """Return line and column, from 1, behind an event."""
    end: Any = event.end_mark
    return end.line + 1, end.column + 1


def _end(node: Node, at: int) -> int:
    depth = 0
    while True:
        event = node[at]
        at += 1
        if isinstance(event, CollectionStartEvent):
            depth += 1
        elif isinstance(event, CollectionEndEvent):
            depth -= 1
        if not depth:
            return at
