"""Schemas: their text, and what they say of a value, in words for a person."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reconciler.config import scalars
from reconciler.config.scalars import FLAGS, Quoted

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

    from reconciler.config.wording import Fault

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
    if allows(schema(name), value, schema(name)):
        return
    from reconciler.config.wording import fault

    for wrong in validator(name).iter_errors(value):
        yield from fault(wrong)


def allows(rule: Mapping[str, Any] | bool, value: Any, root: Mapping[str, Any]) -> bool:
    """Tell whether a value is certainly allowed; where it is not, `jsonschema` has the word.

    Loading that takes longer than all else that reading a workspace does.
    """
    if isinstance(rule, bool):
        return rule
    for keyword, wanted in rule.items():
        check = _CHECKS.get(keyword)
        if check is not None:
            if not check(wanted, value, rule, root):
                return False
        elif keyword not in _SILENT:
            return False
    return True


def _properties(wanted: Mapping[str, Any], value: Any, _: Any, root: Any) -> bool:
    return not isinstance(value, dict) or all(
        allows(wanted[key], inner, root) for key, inner in value.items() if key in wanted
    )


def _others(wanted: Any, value: Any, rule: Mapping[str, Any], root: Any) -> bool:
    named = rule.get("properties", {})
    return not isinstance(value, dict) or all(
        allows(wanted, inner, root) for key, inner in value.items() if key not in named
    )


def _chosen(wanted: Mapping[str, Any], value: Any, rule: Mapping[str, Any], root: Any) -> bool:
    then, other = (allows(rule.get(name, True), value, root) for name in ("then", "else"))
    if allows(wanted, value, root):
        return then
    # What is not certainly so may be so; of required keys it is certain either way.
    return other and (then or wanted.keys() == {"required"})


def _sized(kind: type[str | list[Any] | dict[str, Any]], *, least: bool) -> Any:
    def check(wanted: int, value: Any, *_: Any) -> bool:
        if not isinstance(value, kind):
            return True
        return len(value) >= wanted if least else len(value) <= wanted

    return check


_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}

_SILENT: Final = frozenset(
    {"$schema", "$id", "$defs", "title", "description", "examples", "default", "then", "else"}
)

_CHECKS: Final[dict[str, Callable[[Any, Any, Mapping[str, Any], Mapping[str, Any]], bool]]] = {
    "type": lambda wanted, value, *_: any(
        value.__class__ in _TYPES.get(one, ())
        for one in ([wanted] if isinstance(wanted, str) else wanted)
    ),
    "if": _chosen,
    "enum": lambda wanted, value, *_: any(
        value.__class__ is one.__class__ and value == one for one in wanted
    ),
    "properties": _properties,
    "additionalProperties": _others,
    "propertyNames": lambda wanted, value, _, root: (
        not isinstance(value, dict) or all(allows(wanted, key, root) for key in value)
    ),
    "items": lambda wanted, value, _, root: (
        not isinstance(value, list) or all(allows(wanted, inner, root) for inner in value)
    ),
    "required": lambda wanted, value, *_: (
        not isinstance(value, dict) or all(key in value for key in wanted)
    ),
    "$ref": lambda wanted, value, _, root: allows(
        root["$defs"][wanted.removeprefix("#/$defs/")], value, root
    ),
    "pattern": lambda wanted, value, *_: (
        not isinstance(value, str) or re.search(wanted, value) is not None
    ),
    "minLength": _sized(str, least=True),
    "minItems": _sized(list, least=True),
    "minProperties": _sized(dict, least=True),
    "maxProperties": _sized(dict, least=False),
    "minimum": lambda wanted, value, *_: not isinstance(value, int | float) or value >= wanted,
    "maximum": lambda wanted, value, *_: not isinstance(value, int | float) or value <= wanted,
    "exclusiveMinimum": lambda wanted, value, *_: (
        not isinstance(value, int | float) or value > wanted
    ),
}
