"""Wording: what a JSON Schema does not allow, in words for a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from reconciler.config.close import close

if TYPE_CHECKING:
    from jsonschema import ValidationError

Place = tuple[Any, ...]
Fault = tuple[Place, str, str, str]
"""Path, id, summary and hint of what the schema does not allow."""

_TYPES: Final = {
    "object": "a mapping",
    "array": "a list",
    "string": "a text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
}
_HINTS: Final = {
    "object": "write key: value pairs beneath",
    "array": "write a list: [a, b]",
    "boolean": "write true or false, without quotes",
    "string": "write a single text",
    "integer": "write digits only, without quotes",
    "number": "write a number, without quotes",
}
_EFFECTS: Final = "write exactly one of deny, warn, require, limit, approval"


def fault(wrong: ValidationError) -> Iterator[Fault]:
    """Yield path, id, summary and hint of an error, one for each key that is too many."""
    path: Place = tuple(wrong.absolute_path)
    limit: Any = wrong.validator_value
    found: Any = wrong.instance
    if "propertyNames" in wrong.absolute_schema_path:
        yield (
            (*path, found),
            "bad-form",
            f"The name {found[:80]!r} has not the form of a name.",
            f"it must match {limit}",
        )
        return
    match wrong.validator:
        case "additionalProperties":
            rules: Any = wrong.schema
            known = rules.get("properties", {})
            for key in found:
                if key not in known:
                    yield (
                        (*path, key),
                        "unknown-key",
                        f"There is no key {key[:80]!r} here.",
                        close(key, known),
                    )
        case "required":
            for key in limit:
                # jsonschema raises one error for each missing key; the message names it.
                if key not in found and wrong.message.startswith(f"{key!r} "):
                    yield (
                        (*path, key),
                        "missing-key",
                        f"The key {key!r} is missing.",
                        f"add {key}: here",
                    )
        case "type":
            yield _type(path, limit, found)
        case "enum":
            yield _enum(path, limit, found)
        case _:
            yield _other(path, str(wrong.validator), limit, found)


def _type(path: Place, wanted: Any, found: Any) -> Fault:
    kinds: Iterable[str] = (wanted,) if isinstance(wanted, str) else wanted
    first = next(iter(kinds))
    if path and path[-1] == "token":
        return (
            path,
            "literal-secret",
            "A token is written out here.",
            "write {from: env:NAME, version: 1}; a token never stands in a file of accounts",
        )
    if found is None:
        hint = {
            "string": 'leave it out, or write "" for an empty text',
            "object": "leave it out, or write {}",
        }.get(first, "leave it out")
        return path, "null", "null is no value.", hint
    names = " or ".join(_TYPES[kind] for kind in kinds if kind != "null")
    return path, "wrong-type", f"{names[0].upper()}{names[1:]} is expected here.", _HINTS[first]


def _enum(path: Place, limit: Any, found: Any) -> Fault:
    named = [str(one).lower() if isinstance(one, bool) else str(one) for one in limit]
    said = "This" if found is None or isinstance(found, dict | list) else repr(str(found)[:80])
    return (
        path,
        "bad-choice",
        f"{said} is none of {', '.join(named)}.",
        close("" if said == "This" else str(found), named),
    )


def _other(path: Place, keyword: str, limit: Any, found: Any) -> Fault:
    if path[:-1] == ("rules",) and keyword in ("minProperties", "maxProperties"):
        return path, "bad-rule", "A rule has exactly one effect.", _EFFECTS
    match keyword:
        case "pattern":
            return (
                path,
                "bad-form",
                f"{str(found)[:80]!r} does not have the form asked for here.",
                f"it must match {limit}",
            )
        case "minItems" | "minLength" | "minProperties":
            return path, "empty", "This is empty.", "write at least one"
        case "minimum":
            return path, "out-of-range", f"{found} is too small.", f"write {limit} or more"
        case "exclusiveMinimum":
            return path, "out-of-range", f"{found} is too small.", f"write more than {limit}"
        case "maximum":
            return path, "out-of-range", f"{found} is too big.", f"write {limit} or less"
        case "uniqueItems":
            return path, "twice", "An entry stands in the list twice.", "remove one"
    return path, "bad-token", "This does not go with the other keys.", "remove it"
