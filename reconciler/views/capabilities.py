"""Capabilities: what each vendor can hold, for a terminal, for a document, and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap
from typing import Any, Final

from reconciler.capabilities import UNSUPPORTED, Capabilities, Field, Support
from reconciler.views.text import table

WIDTH: Final = 100
"""Columns beyond which prose is hard to read, however wide the terminal is."""

_MEANING: Final = {
    Support.NATIVE: "the vendor has it.",
    Support.EMULATED: "other calls stand in for it, as the vendor has no such thing.",
    Support.UNREADABLE: "the vendor takes it and never gives it back, so it is recorded only.",
    Support.UNSUPPORTED: "the vendor has no such field, so writing it is an error of validate.",
}


def text(tables: Sequence[Capabilities], width: int) -> Iterator[str]:
    """Yield the matrix of fields and vendors, then what is to be known of each vendor."""
    width = min(width, WIDTH)
    rows = [("field", *(one.type for one in tables))]
    for label, path in _tree(_paths(tables)):
        held = (str(_held(one, path).support) if path else "" for one in tables)
        rows.append((label, *held))
    yield from table(rows)
    yield ""
    for support, meaning in _MEANING.items():
        yield from _told(str(support), meaning, width, 13)
    for one in tables:
        yield ""
        yield from _vendor(one, width)


def markdown(tables: Sequence[Capabilities]) -> Iterator[str]:
    """Yield the matrix as a Markdown table, each field with its limit."""
    yield f"| field | {' | '.join(f'`{one.type}`' for one in tables)} |"
    yield f"| --- |{' --- |' * len(tables)}"
    ids = (
        f"{one.id.limit} {one.id.unit}{', lower-cased' if one.id.folds else ''}" for one in tables
    )
    yield f"| account id | {' | '.join(ids)} |"
    for path in _paths(tables):
        cells = (_cell(_held(one, path)) for one in tables)
        yield f"| `{path}` | {' | '.join(cells)} |"


def shape(one: Capabilities) -> dict[str, Any]:
    """Return one vendor's table in the shape of `providers --json`."""
    return {
        "type": one.type,
        "title": one.title,
        "id": {
            "pattern": one.id.pattern.pattern,
            "limit": one.id.limit,
            "unit": one.id.unit,
            "folds": one.id.folds,
            "words": one.id.words,
        },
        "regions": dict(one.regions),
        "rates": dict(one.rates),
        "penalty": one.penalty,
        "batch": dict(one.batch),
        "calls": {work: list(apis) for work, apis in one.calls.items()},
        "waits": list(one.waits),
        "after_login": list(one.after_login),
        "credentials": list(one.credentials),
        "sources": dict(one.sources),
        "fields": {
            path: {
                "support": str(held.support),
                "default": held.default,
                "limit": held.limit,
                "unit": held.unit,
                "choices": list(held.choices),
                "note": held.note,
                "source": held.source,
            }
            for path, held in one.fields.items()
        },
    }


def _vendor(one: Capabilities, width: int) -> Iterator[str]:
    """Yield what is to be known of one vendor; sources are numbered and listed last."""
    sources = list(
        dict.fromkeys(
            source
            for source in (*one.sources.values(), *(held.source for held in one.fields.values()))
            if source
        )
    )

    def mark(source: str) -> str:
        return f"[{sources.index(source) + 1}]" if source else ""

    yield f"{one.type}: {one.title}"
    for name, fact, about in _facts(one):
        marked = f"{fact} {mark(one.sources.get(about, ''))}".rstrip()
        yield from _told(f"  {name}", marked, width, 13)
    yield ""
    rows, notes = [("  field", "limit", "default", "source")], [""]
    for label, path in _tree(one.fields):
        held = one.fields.get(path, UNSUPPORTED)
        rows.append((f"  {label}", _limit(held), _default(held), mark(held.source)))
        notes.append(held.note)
    for line, note in zip(table(rows), notes, strict=True):
        yield line
        yield from wrap(note, width, initial_indent=" " * 6, subsequent_indent=" " * 6)
    yield ""
    for source in sources:
        yield from _told(f"  {mark(source)}", source, width, 7)


def _facts(one: Capabilities) -> Iterator[tuple[str, str, str]]:
    """Yield name, fact and the key of its source."""
    yield "ids", one.id.words, "id"
    yield "regions", ", ".join(one.regions), "regions"
    others = "".join(f", {api} {rate:g}" for api, rate in one.rates.items() if api)
    rest = f"a throttled API rests {one.penalty:g} s"
    yield "rates", f"{one.rates['']:g} calls/s per API{others}; {rest}", "rates"
    most = (f"{work} {count}" for work, count in one.batch.items())
    yield "batches", f"accounts a call: {', '.join(most)}", "batch"
    if one.waits:
        yield "waits", f"while banned: {', '.join(name.rstrip('.') for name in one.waits)}", ""
    if one.after_login:
        yield "waits", f"before the first login: {', '.join(one.after_login)}", ""


def _told(name: str, told: str, width: int, indent: int) -> Iterator[str]:
    yield from wrap(
        told,
        width,
        initial_indent=name.ljust(indent),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _paths(tables: Iterable[Capabilities]) -> list[str]:
    """Return the fields of all vendors, those of a section together."""
    found = list(dict.fromkeys(path for one in tables for path in one.fields))
    sections = list(dict.fromkeys(path.partition(".")[0] for path in found))
    return sorted(found, key=lambda path: sections.index(path.partition(".")[0]))


def _tree(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield label and path; a section that is no field itself has a label and no path."""
    section = ""
    for path in paths:
        head, _, name = path.partition(".")
        if name and head != section:
            yield head, ""
        section = head
        yield (f"  {name}" if name else path), path


def _held(one: Capabilities, path: str) -> Field:
    # Not one.field(path): the matrix also has the pattern of custom fields, which is no field.
    return one.fields.get(path, UNSUPPORTED)


def _limit(held: Field) -> str:
    if held.choices:
        return ", ".join(str(choice) for choice in held.choices)
    return f"{held.limit} {held.unit}" if held.limit else ""


def _default(held: Field) -> str:
    if held.default is None:
        return ""
    return '""' if held.default == "" else str(held.default).lower()


def _cell(held: Field) -> str:
    return f"{held.support}, {held.limit} {held.unit}" if held.limit else str(held.support)
