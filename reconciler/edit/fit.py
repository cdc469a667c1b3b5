"""Fit: what a vendor holds as values that the YAML can say, and what it cannot say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from reconciler.config.judge import Judge
from reconciler.config.scalars import Quoted, extension
from reconciler.config.text import HIDDEN, MARK, named
from reconciler.diagnostics import Diagnostic, Severity, error
from reconciler.diff import same

Path: TypeAlias = tuple[str, ...]

EXTENSION: Final = "profile.extension"
DEEPEST: Final = 16
"""Levels of an extension that are written as a mapping; deeper ones stay text."""

_BIGGEST = 2**53


def raw(path: str, value: Any, *, mapping: bool = False) -> Any:
    """Return a value as the reader would give it: texts as quoted, flags and numbers as plain.

    An extension is its text, or with `mapping` a mapping, where that means the same.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Mapping):
        return {key: raw(f"{path}.{key}", inner) for key, inner in value.items()}
    text = Quoted(value)
    if path == EXTENSION and mapping and (found := _mapping(text)) is not None:
        return found
    return text


def _mapping(text: str) -> dict[str, Any] | None:
    """Return the mapping that an extension's text is, None if YAML says it otherwise."""
    if not text.startswith("{"):
        return None
    try:
        found = _plain(json.loads(text), DEEPEST)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not same(EXTENSION, extension(found), str(text)):
        return None
    return found


def _plain(value: Any, depth: int) -> Any:
    """Return JSON data as the reader would give it. Raises ValueError for what it cannot say."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) <= _BIGGEST:
        return str(value)
    if isinstance(value, str):
        return Quoted(value)
    if depth and isinstance(value, dict):
        return {key: _plain(inner, depth - 1) for key, inner in value.items()}
    if depth and isinstance(value, list):
        return [_plain(inner, depth - 1) for inner in value]
    raise ValueError


def unfit(
    account: Mapping[str, Any], providers: Sequence[str], judge: Judge
) -> dict[Path, Diagnostic]:
    """Return which of the values the YAML of these providers cannot say, and why.

    `account` holds sections (`profile`, `configuration`); the paths are of fields, or of one
    custom field.
    """
    wrong: dict[Path, Diagnostic] = {}

    def report(
        path: tuple[Any, ...],
        id: str,
        summary: str,
        hint: str = "",
        severity: Severity = Severity.ERROR,
    ) -> None:
        if severity is Severity.ERROR:
            wrong.setdefault(_field(path), error(id, summary, hint=hint))

    bench = judge.within("", {}, adopt=False)
    rules = bench.table(list(providers), report)
    if rules is not None:
        bench.document(dict(account), rules, report)
    for path, text in _texts(account, ()):
        found = HIDDEN.search(text) or (path[:1] != ("profile",) and MARK.search(text))
        if found:
            what = f"It holds the character {named(found[0])}."
            wrong[_field(path)] = error("control-character", what)
    return wrong


def _field(path: Sequence[Any]) -> Path:
    return tuple(path[: 3 if path[:2] == ("profile", "custom") else 2])


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield (*path, key), key
            yield from _texts(inner, (*path, key))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, path)
    else:
        yield path, value
