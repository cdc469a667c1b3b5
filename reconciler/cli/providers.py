"""providers: what each vendor can hold of an account, from the tables the code runs on."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from reconciler.capabilities import Capabilities, Field
from reconciler.cli.console import Console
from reconciler.exits import Exit
from reconciler.providers import TYPES, provider
from reconciler.views.text import table


def run(arguments: Namespace, console: Console) -> int:
    """Print the table."""
    tables = [provider(type).capabilities for type in TYPES]
    if arguments.format == "json":
        console.json({"providers": [_shape(one) for one in tables]})
        return Exit.DONE
    for one in tables:
        console.print(f"{one.type}: {one.title}")
        console.print(f"  ids: {one.id.words}")
        console.print(
            f"  regions: {', '.join(one.regions)}; documented rate "
            f"{one.rates['']:g}/s per API, reads {one.batch.get('read', 1)} at a time"
        )
        rows = [("  field", "support", "limit", "default", "note")]
        rows += [
            (f"  {path}", str(held.support), _limit(held), _default(held), held.note)
            for path, held in one.fields.items()
        ]
        console.lines(table(rows))
    return Exit.DONE


def _limit(field: Field) -> str:
    if field.choices:
        return " ".join(str(choice) for choice in field.choices)
    return f"{field.limit} {field.unit}" if field.limit else ""


def _default(field: Field) -> str:
    if field.default is None:
        return ""
    return '""' if field.default == "" else str(field.default).lower()


def _shape(one: Capabilities) -> dict[str, Any]:
    return {
        "type": one.type,
        "title": one.title,
        "id": {
            "pattern": one.id.pattern.pattern,
            "limit": one.id.limit,
            "unit": one.id.unit,
            "folds": one.id.folds,
        },
        "regions": dict(one.regions),
        "rates": dict(one.rates),
        "batch": dict(one.batch),
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
