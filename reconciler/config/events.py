"""Events: the careful reading of one YAML or JSON file, with a place for everything in it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final, NamedTuple, TypeAlias

import yaml
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

from reconciler.config.quick import Doubt
from reconciler.config.scalars import Quoted
from reconciler.config.text import HIDDEN, MARK, named
from reconciler.diagnostics import Diagnostic, Source, error

DEPTH: Final = 64
ANCHORS: Final = 64
EXPANDED: Final = 10_000
KEYED: Final = frozenset({"unknown-key", "unsupported-field", "bad-key", "duplicate-key"})
"""Kinds of finding that are about a key, not about its value."""

_UNTAG = "remove it; types come from the field"
_CONFLICT = re.compile(rb"^(?:<{7}|>{7}|={7})(?: |\r?$)", re.MULTILINE)

Node: TypeAlias = list[Event]
"""The events of one value, aliases already replaced by what they stand for."""

Get: TypeAlias = Callable[[], Event]
Span: TypeAlias = tuple[int, int, int, int]


class Stop(Exception):
    """The file cannot be read any further; the finding says why."""

    def __init__(self, finding: Diagnostic) -> None:
        self.finding = finding
        super().__init__(finding.summary)


class Built(NamedTuple):
    """A value with the places of its keys and values, by path; lines and columns from 1."""

    value: Any
    keys: dict[tuple[Any, ...], tuple[int, int]]
    values: dict[tuple[Any, ...], tuple[int, int]]

    def place(self, path: tuple[Any, ...], id: str = "") -> tuple[int, int] | None:
        """Return the place of the value at a path, or of the nearest one around it.

        A finding of a kind that is about keys (`id`) is placed at the key.
        """
        while path not in self.values:
            if not path:
                return None
            path = path[:-1]
        return self.keys.get(path, self.values[path]) if id in KEYED else self.values[path]


class Reader:
    """Reads the events of one file; `findings` takes what is wrong and can be read over."""

    def __init__(self, get: Get, file: str, findings: list[Diagnostic]) -> None:
        self.get, self.file, self.findings = get, file, findings
        self.anchors: dict[str, Node] = {}
        self.expanded = 0
        self.quoted: list[Span] | None = None
        """Where quoted text stands; collected only when asked for."""
        self.profiles: list[Span] | None = None

    def note(self, id: str, summary: str, event: Event, hint: str = "") -> None:
        """Take a finding at the start of an event."""
        self.findings.append(error(id, summary, hint=hint, source=self.at(event)))

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
        seen: dict[str, Event] = {}
        while not isinstance(key := self.get(), MappingEndEvent):
            found = self.node(key)
            if (text := self._key(found, seen)) is None:
                self.node(self.get())
                continue
            if text in seen:
                self._twice(text, key, seen)
                self.node(self.get())
                continue
            seen[text] = key
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
                        raise Stop(
                            error(
                                "too-deep",
                                f"More than {DEPTH} levels are nested here.",
                                hint="write it flatter",
                                source=self.at(event),
                            )
                        )
                    node.append(event)
                else:
                    node.append(event)
                    self._anchor(event.anchor, len(node) - 1, node, event)
            if not open_:
                return node
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
        if self.quoted is not None:
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
        seen: dict[str, Event] = {}
        while not isinstance(key := node[at], CollectionEndEvent):
            end = _end(node, at)
            text = self._key(node[at:end], seen)
            if text is None or text in seen:
                if text is not None:
                    self._twice(text, key, seen)
                _, at = self._build(node, end, (*path, None), {}, {})
                continue
            seen[text] = key
            keys[*path, text] = begin(key)
            made[text], at = self._build(node, end, (*path, text), keys, values)
        return made, at + 1

    def _key(self, node: Node, seen: dict[str, Event]) -> str | None:
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
        if not text.isascii():
            normal = unicodedata.normalize("NFC", text)
            same = next(
                (
                    one
                    for one in seen
                    if one != text
                    and not one.isascii()
                    and unicodedata.normalize("NFC", one) == normal
                ),
                None,
            )
            return same or text
        return text

    def _twice(self, text: str, key: Event, seen: dict[str, Event]) -> None:
        first = self.at(seen[text])
        self.note(
            "duplicate-key",
            f"The key {text[:80]!r} stands here again.",
            key,
            f"keep one of them; the first is at {first}",
        )

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
        if self.quoted is not None and event.style in ("'", '"'):
            self.quoted.append(_span(event))
        if self.profiles is not None and profile:
            self.profiles.append(_span(event))
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


def begin(event: Event) -> tuple[int, int]:
    """Return line and column, from 1, where an event begins."""
    mark: Any = event.start_mark
    return mark.line + 1, mark.column + 1


def _span(event: Event) -> Span:
    end: Any = event.end_mark
    return *begin(event), end.line + 1, end.column + 1


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


def yaml_events(stream: BinaryIO) -> Get:
    """Return what gives the events of a YAML stream, one after the other."""
    parser: Any = yaml.CSafeLoader(stream)
    get: Get = parser.get_event
    return get


_HINTS = (
    ("mapping values are not allowed", "quote a text that holds a colon and a space"),
    ("cannot start any token", "quote a text that begins with @, `, % or a tab"),
    ("could not find expected ':'", "write key: value, with a space behind the colon"),
    ("expected <document start>", "begin every line of the mapping in the same column"),
    ("did not find expected key", "check the indentation, and quote texts that hold quotes"),
    ("did not find expected ',' or", "close the bracket, and quote texts that hold commas"),
    ("unexpected end of stream", "close what is opened here"),
    ("escape character", "double the backslash, or use single quotes"),
)


def syntax(wrong: yaml.YAMLError, file: str, head: bytes) -> Diagnostic:
    """Return the finding for what libyaml could not read; `head` is the file's beginning."""
    if found := _CONFLICT.search(head):
        return error(
            "conflict-marker",
            "A conflict marker of git stands here.",
            hint="settle the conflict and remove the markers",
            source=Source(file, head.count(b"\n", 0, found.start()) + 1, 1),
        )
    problem = str(getattr(wrong, "problem", None) or "the text is no YAML")
    context = str(getattr(wrong, "context", None) or "")
    mark = getattr(wrong, "problem_mark", None)
    if "end of stream" in problem and getattr(wrong, "context_mark", None):
        mark = getattr(wrong, "context_mark", None)
    hint = next((hint for part, hint in _HINTS if part in problem), "check quotes and indentation")
    place = Source(file, mark.line + 1, mark.column + 1) if mark else Source(file)
    return error("syntax", f"This is no YAML: {problem}.", detail=context, hint=hint, source=place)
