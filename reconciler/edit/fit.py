"""Fit: what a vendor holds as values that the YAML can say, and what it cannot say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from reconciler.accounts import flatten
from reconciler.config.judge import Judge
from reconciler.config.report import Report
from reconciler.config.scalars import Quoted, extension
from reconciler.config.text import HIDDEN, MARK, named
from reconciler.diagnostics import Diagnostic, Severity, error
from reconciler.diff import same

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
) -> dict[str, Diagnostic]:
    """Return which fields of these sections the YAML of the providers cannot say, and why."""
    wrong: dict[str, Diagnostic] = {}
    bench = judge.within("", {})
    report = collect(wrong)
    rules = bench.table(list(providers), report)
    if rules is not None:
        bench.document(dict(account), rules, report)
    for path, value in flatten(account).items():
        if finding := unsayable(path, value):
            wrong[path] = finding
    return wrong


def unsayable(path: str, value: Any) -> Diagnostic | None:
    """Return why a value is one that no file can hold, None if it is not."""
    if isinstance(value, Mapping | list):
        inner = value.values() if isinstance(value, Mapping) else value
        keys = value if isinstance(value, Mapping) else ()
        found = (unsayable(path, one) for one in (*keys, *inner))
        return next((one for one in found if one), None)
    if not isinstance(value, bool | int | str):
        return error("wrong-type", "It is no text, number or flag.")
    if not isinstance(value, str) or value.isprintable():
        return None
    hidden = HIDDEN.search(value) or (not path.startswith("profile.") and MARK.search(value))
    if not hidden:
        return None
    return error("control-character", f"It holds the character {named(hidden[0])}.")


def collect(wrong: dict[str, Diagnostic]) -> Report:
    """Return what takes the errors of a judge, the first of each field by its path."""

    def report(
        path: tuple[Any, ...],
        id: str,
        summary: str,
        hint: str = "",
        severity: Severity = Severity.ERROR,
    ) -> None:
        if severity is Severity.ERROR:
            field = path[: 3 if path[:2] == ("profile", "custom") else 2]
            wrong.setdefault(".".join(map(str, field)), error(id, summary, hint=hint))

    return report
