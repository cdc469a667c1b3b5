"""Meaning: what a YAML file says, whatever it looks like, to compare one text with another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from io import BytesIO
from typing import Any, Final, NamedTuple

import yaml
from yaml.events import MappingStartEvent

from reconciler.config import scalars
from reconciler.config.careful import HEAD, misplaced, suspects
from reconciler.config.events import Reader, Stop
from reconciler.config.libyaml import syntax, yaml_events
from reconciler.config.scalars import FLAGS, NULLS, Quoted, Wrong
from reconciler.config.schema import schema
from reconciler.diagnostics import Diagnostic


class Rule(NamedTuple):
    """What a schema says of one place: its types, None where any will do; what is beneath."""

    types: frozenset[str] | None
    fields: Mapping[str, Rule]
    rest: Rule | None = None

    def below(self, key: str) -> Rule:
        """Return the rule of the value of a key; of an item, whatever the key."""
        return self.fields.get(key) or self.rest or FREE


FREE: Final = Rule(None, {})
"""Where the schema says nothing, as within an extension."""

TEXT: Final = frozenset({"string"})


def meaning(
    data: bytes, file: str, name: str, findings: list[Diagnostic]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield path and meaning of what stands at the top, and of each account, in their order.

    `name` is the schema that says which places hold flags, numbers and texts. What the reader
    refuses is appended to `findings`; then what was yielded is worth nothing.
    """
    stream = BytesIO(data)
    found = suspects(stream, file, findings)
    if findings:
        return
    root = rules(name)
    stream.seek(0)
    reader = Reader(yaml_events(stream, file), file, findings, found)
    try:
        for key, first in reader.top():
            rule = root.below(key.value)
            if key.value == "accounts" and isinstance(first, MappingStartEvent):
                each = rule.below("")
                yield ("accounts",), {}
                for account, event in reader.pairs(first):
                    identity = str(reader.scalar(account, profile=False))
                    built = reader.build(reader.node(event))
                    yield ("accounts", identity), tree(built.value, each)
            else:
                yield (key.value,), tree(reader.build(reader.node(first)).value, rule)
    except Stop as stop:
        findings.append(stop.finding)
    except yaml.YAMLError as wrong:
        findings.append(syntax(wrong, file, data[:HEAD]))
    findings.extend(misplaced(found, file))


@cache
def rules(name: str) -> Rule:
    """Return what a schema says of places, compiled once."""
    root = schema(name)
    return _compiled(root, root)


def _compiled(shape: Any, root: Mapping[str, Any]) -> Rule:
    if not isinstance(shape, Mapping):
        return FREE
    if reference := shape.get("$ref"):
        return _compiled(root["$defs"][reference.removeprefix("#/$defs/")], root)
    fields = {key: _compiled(one, root) for key, one in shape.get("properties", {}).items()}
    rest = shape.get("additionalProperties") or shape.get("items")
    types = shape.get("type")
    return Rule(
        None if types is None else frozenset([types] if isinstance(types, str) else types),
        fields,
        _compiled(rest, root),
    )


def is_typed(text: str, rule: Rule) -> bool:
    """Tell whether a plain scalar is no text in this place: a flag, a number, or null."""
    if text in NULLS:
        return True
    types = rule.types
    if types is None:
        try:
            return bool(scalars.data(text) != text)
        except Wrong:
            return True
    if types == TEXT:
        return False
    if "boolean" in types and text in FLAGS:
        return True
    if "integer" in types and scalars.INTEGER.fullmatch(text):
        return True
    return "number" in types and scalars.number(text) is not None


def tree(value: Any, rule: Rule) -> Any:
    """Return the value with each scalar as its text and whether that is a text there."""
    if isinstance(value, dict):
        return {key: tree(inner, rule.below(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [tree(inner, rule.rest or FREE) for inner in value]
    return str(value), isinstance(value, Quoted) or not is_typed(value, rule)
