"""Redaction: texts without the secret values that are known, whatever their encoding."""

from __future__ import annotations

import base64
import json
import re
import threading
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from logging import LogRecord

HIDDEN: Final = "***"
"""What stands where a secret was."""

SHORTEST: Final = 6
"""Characters of a value that is looked for within words, and in every encoding."""


class Redactor:
    """Every secret value seen, and texts without them.

    A value is found raw, URL-encoded, JSON-escaped, in hex, and in base64 wherever it may begin
    within a group of three bytes. One shorter than six characters is only found raw and as a
    whole word. Looking costs as much as the text is long, however many values are known. Serves
    as a logging filter as it is. Safe to share between threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._grams: dict[str, tuple[str, ...]] = {}
        self._short: dict[str, re.Pattern[str]] = {}

    def __repr__(self) -> str:
        return "Redactor(…)"

    def add(self, value: str) -> None:
        """Remember a value; an empty one is no secret."""
        with self._lock:
            if 0 < len(value) < SHORTEST:
                self._short[value] = re.compile(rf"(?<!\w){re.escape(value)}(?!\w)")
            elif value:
                for text in _disguises(value):
                    known = self._grams.get(text[:SHORTEST], ())
                    if text not in known:
                        self._grams[text[:SHORTEST]] = (*known, text)

    def redact(self, text: str) -> str:
        """Return the text with `***` for every known value; the same object if there is none."""
        for pattern in tuple(self._short.values()):
            text = pattern.sub(HIDDEN, text)
        grams = self._grams
        last = len(text) - SHORTEST + 1
        if not grams or grams.keys().isdisjoint(text[i : i + SHORTEST] for i in range(last)):
            return text
        pieces, done = [], 0
        for start, end in self._spans(text):
            pieces += [text[done:start], HIDDEN]
            done = end
        return "".join([*pieces, text[done:]]) if pieces else text

    def _spans(self, text: str) -> list[tuple[int, int]]:
        """Return where values stand; those that overlap are one span, so that no tail is left."""
        found: list[tuple[int, int]] = []
        for i in range(len(text) - SHORTEST + 1):
            here = [
                len(v) for v in self._grams.get(text[i : i + SHORTEST], ()) if text.startswith(v, i)
            ]
            if not here:
                continue
            end = i + max(here)
            if found and i < found[-1][1]:
                found[-1] = (found[-1][0], max(end, found[-1][1]))
            else:
                found.append((i, end))
        return found

    def filter(self, record: LogRecord) -> bool:
        """Clean a log record with its traceback in place, and let it through."""
        text = record.getMessage()
        if (clean := self.redact(text)) is not text:
            record.msg, record.args = clean, ()
        if record.exc_info and record.exc_info[0]:
            import traceback

            record.exc_text = record.exc_text or "".join(
                traceback.format_exception(*record.exc_info)
            ).rstrip("\n")
        if record.exc_text:
            record.exc_text, record.exc_info = self.redact(record.exc_text), None
        if record.stack_info:
            record.stack_info = self.redact(record.stack_info)
        return True


def _disguises(value: str) -> set[str]:
    """Return the texts that a value can appear as."""
    data = value.encode("utf-8", "surrogatepass")
    found = {
        value,
        data.hex(),
        data.hex().upper(),
        repr(value)[1:-1],
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
    }
    for url in (quote(data, safe=""), quote(data), quote_plus(data)):
        found |= {url, re.sub("%..", lambda match: match[0].lower(), url)}
    for phase in range(3):
        text = base64.b64encode(bytes(phase) + data).decode()
        # Only the characters that the value decides alone; its neighbours share the others.
        inner = text[-(-8 * phase // 6) : 8 * (phase + len(data)) // 6]
        found |= {inner, inner.replace("+", "-").replace("/", "_")}
    return found
