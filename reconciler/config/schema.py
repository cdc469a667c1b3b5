"""Schemas: their text, and what they say of a value, in words for a person."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reconciler.config import scalars
from reconciler.config.scalars import FLAGS, Quoted
from reconciler.config.wording import Fault, fault

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

NAMES: Final = (
    "workspace",
    "accounts",
    "scenario",
    "baseline",
    "plan",
    "events",
    "history",
    "expire",
)
_WITHIN: Final = {"scenario": "accounts"}
"""Schemas that speak of what another one defines; its definitions are put into them."""

_PACKAGE = Path(__file__).resolve().parent.parent


def text(name: str) -> str:
    """Return the text of a schema, whole in itself. Raises KeyError."""
    if name not in NAMES:
        raise KeyError(name)
    found = _file(name)
    if name not in _WITHIN:
        return found
    own, other = json.loads(found), json.loads(_file(_WITHIN[name]))
    whole = {**own, "$defs": {**other["$defs"], **own["$defs"]}}
    return json.dumps(whole, ensure_ascii=False, indent=2) + "\n"


def _file(name: str) -> str:
    """Return a schema's file, from the package or from beside it."""
    for folder in (_PACKAGE / "schemas", _PACKAGE.parent / "schemas"):
        file = folder / f"{name}.schema.json"
        if file.is_file():
            return file.read_text(encoding="utf-8")
    raise FileNotFoundError(f"the schema {name} is not installed")


@functools.cache
def schema(name: str) -> Mapping[str, Any]:
    """Return a schema, decoded once."""
    decoded: dict[str, Any] = json.loads(text(name))
    return decoded


@functools.cache
def validator(name: str) -> Draft202012Validator:
    """Return the validator of a schema, built once."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema(name))


def typed(value: Any, name: str, part: str = "") -> Any:
    """Return the value with its plain scalars typed as the schema wants them in their place.

    `part` names the definition of the schema that the value is of.
    """
    root = schema(name)
    return _typed(value, root["$defs"][part] if part else root, root)


def _typed(value: Any, rule: Any, root: Mapping[str, Any]) -> Any:
    rule = rule if isinstance(rule, Mapping) else {}
    if reference := rule.get("$ref"):
        rule = root["$defs"][reference.removeprefix("#/$defs/")]
    if isinstance(value, dict):
        fields, rest = rule.get("properties", {}), rule.get("additionalProperties")
        return {key: _typed(inner, fields.get(key, rest), root) for key, inner in value.items()}
    if isinstance(value, list):
        return [_typed(inner, rule.get("items"), root) for inner in value]
    if isinstance(value, Quoted):
        return str(value)
    if scalars.is_null(value):
        return None
    types = rule.get("type", ())
    if "boolean" in types and value in FLAGS:
        return FLAGS[value]
    if "integer" in types and scalars.INTEGER.fullmatch(value):
        return int(value)
    if "number" in types and (number := scalars.number(value)) is not None:
        return number
    return value


def faults(value: Any, name: str) -> Iterator[Fault]:
    """Yield what the schema does not allow in a typed value."""
    for wrong in validator(name).iter_errors(value):
        yield from fault(wrong)
