"""libyaml: the events of a YAML stream, and its errors in words for a person."""

from __future__ import annotations

import re
from typing import Any, BinaryIO

import yaml
from yaml.events import Event

from reconciler.config.events import Get, Stop, ending, too_deep
from reconciler.config.text import LONGEST, too_long
from reconciler.diagnostics import Diagnostic, Source, error

_CONFLICT = re.compile(rb"^(?:<{7}|>{7}|={7})(?: |\r?$)", re.MULTILINE)


def yaml_events(stream: BinaryIO, file: str) -> Get:
    """Return what gives the events of a YAML stream, one after the other. Raises Stop."""
    fed = _Fed(stream, file)
    parser: Any = yaml.CSafeLoader(fed)
    get: Get = parser.get_event

    def event() -> Event:
        found = fed.last = get()
        fed.taken = 0
        return found

    return event


class _Fed:
    """Feeds libyaml, and stops where one event takes too much of the file.

    A scalar over many lines is held in memory whole before it comes out as an event.
    """

    def __init__(self, stream: BinaryIO, file: str) -> None:
        self.stream, self.file = stream, file
        self.taken = 0
        self.last: Event | None = None

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes. Raises Stop."""
        data = self.stream.read(size)
        self.taken += len(data)
        if self.taken > LONGEST:
            place = ending(self.last) if self.last else (1, 1)
            raise Stop(too_long(Source(self.file, *place)))
        return data


_HINTS = (
    ("mapping values are not allowed", "quote a text that holds a colon and a space"),
    ("cannot start any token", "quote a text that begins with @, `, % or a tab"),
    ("could not find expected ':'", "write key: value, with a space behind the colon"),
    ("expected <document start>", "begin every line of the mapping in the same column"),
    (
        "did not find expected key",
        "check the indentation, the key before the colon, and the quotes",
    ),
    ("did not find expected ',' or", "close the bracket, and quote texts that hold commas"),
    ("unexpected end of stream", "close what is opened here"),
    ("invalid Unicode character", "write the character itself"),
    ("incompatible YAML document", "remove the line that begins with %"),
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
    opening = getattr(wrong, "context_mark", None)
    if "end of stream" in problem and opening:
        mark = opening
    elif context and opening and opening.line:
        context += f", begun at line {opening.line + 1}, column {opening.column + 1}"
    hint = next((hint for part, hint in _HINTS if part in problem), "check quotes and indentation")
    place = Source(file, mark.line + 1, mark.column + 1) if mark else Source(file)
    if "nesting depth" in problem:
        # Brackets are scanned ahead of the events, so libyaml may meet its own bound before ours.
        return too_deep(place)
    return error("syntax", f"This is no YAML: {problem}.", detail=context, hint=hint, source=place)
