"""What files tell of the vendors, brought up to date from their capability tables.

    .venv/bin/python .ci/vendors.py

writes the limits, ids, regions, rates and credentials into the descriptions of `schemas/`, the
types that a workspace may name, and the table in `reconciler/providers/README.md`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from reconciler.capabilities import Capabilities, Support
from reconciler.providers import TYPES, provider
from reconciler.views import capabilities as views

ROOT: Final = Path(__file__).resolve().parents[1]
TABLES: Final[Mapping[str, Capabilities]] = {type: provider(type).capabilities for type in TYPES}
SCHEMAS: Final = ("accounts", "workspace")
README: Final = "reconciler/providers/README.md"
_TOLD: Final = re.compile(
    r" ?\b(?:At most \d|Only \w+[ .,]|Not \w+[ .,]|Emulated at|Unreadable at).*"
)


def listed(names: Iterable[str], last: str = "and") -> str:
    """Return names as a person lists them."""
    *before, final = names
    return f"{', '.join(before)} {last} {final}" if before else final


def sentences(path: str) -> Iterator[str]:
    """Yield what a description has to say of a field: limits, who lacks it, who does it how."""
    fields = {type: table.field(path) for type, table in TABLES.items()}
    have = [type for type, one in fields.items() if one.support is not Support.UNSUPPORTED]
    lack = [type for type in fields if type not in have]
    limits: dict[str, list[str]] = {}
    for type in have:
        if limit := fields[type].limit:
            limits.setdefault(f"{limit} {fields[type].unit}", []).append(type)
    if limits:
        told = (f"{limit} ({', '.join(types)})" for limit, types in limits.items())
        yield f"At most {' or '.join(told)}."
    if lack:
        yield f"Only {listed(have)}." if len(have) < len(lack) else f"Not {listed(lack)}."
    for support in (Support.EMULATED, Support.UNREADABLE):
        if of := [type for type, one in fields.items() if one.support is support]:
            yield f"{support.capitalize()} at {listed(of)}."


def described(rules: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the path of every field of an account in a schema's definitions, and its text."""
    for section in ("profile", "configuration"):
        for name, one in rules[section]["properties"].items():
            key = f"{section}.custom.Colour" if name == "custom" else f"{section}.{name}"
            yield key, one["description"]
    if "banned" in rules:
        yield "banned", rules["banned"]["description"]
        yield "token", rules["token"]["description"]
        yield "token.vendor", rules["token"]["properties"]["generate"]["description"]
        for name in ("kick", "notify"):
            yield f"banned.{name}", rules["banned"]["properties"][name]["description"]


def _grouped(told: Mapping[str, str], mark: str) -> str:
    """Return what is told of each vendor, those of whom the same is told together."""
    groups: dict[str, list[str]] = {}
    for type, words in told.items():
        groups.setdefault(words, []).append(type)
    return mark.join(f"{', '.join(types)}: {words}" for words, types in groups.items())


def _app() -> dict[str, str]:
    """Return what the schema of a workspace says of an app's settings."""
    titles = [f"{type} ({table.title})" for type, table in TABLES.items()]
    regions = _grouped({type: ", ".join(one.regions) for type, one in TABLES.items()}, "; ")
    keys = _grouped({type: ", ".join(one.credentials) for type, one in TABLES.items()}, "; ")
    rates: dict[str, list[str]] = {}
    for type, table in TABLES.items():
        rates.setdefault(f"{table.rates['']:g}", []).append(type)
    told = ", ".join(f"{rate} ({', '.join(types)})" for rate, types in rates.items())
    return {
        "type": f"Which vendor's API the app speaks: {listed(titles, 'or')}.",
        "region": f"Where the app lives; picks the vendor's host. {regions}.",
        "credentials": f"What signs the calls; secrets are references only. {keys}.",
        "rate": "Calls per second per vendor API; by default 80 % of the documented limit, which "
        f"for most APIs is {told}.",
    }


def schema(name: str) -> str:
    """Return the text of a schema as it has to be; the layout stays as it is written."""
    text = (ROOT / f"schemas/{name}.schema.json").read_text(encoding="utf-8")
    whole = json.loads(text)

    def put(old: object, new: object) -> None:
        nonlocal text
        before, after = (json.dumps(one, ensure_ascii=False) for one in (old, new))
        assert before in text, before
        text = text.replace(before, after)

    for path, told in described(whole["$defs"]):
        put(told, " ".join([_TOLD.sub("", told), *sentences(path)]))
    if name == "accounts":
        old = whole["properties"]["accounts"]["description"]
        ids = _grouped({type: f"{one.id.words}." for type, one in TABLES.items()}, " ")
        put(old, f"{old.partition(' as written. ')[0]} as written. {ids}")
        return text
    app = whole["$defs"]["app"]["properties"]
    for key, told in _app().items():
        put(app[key]["description"], told)
    put(app["type"]["enum"], list(TYPES))  # and the examples, which are the same
    return text


def readme() -> str:
    """Return the README of the providers with the table as `providers` prints it."""
    text = (ROOT / README).read_text(encoding="utf-8")
    begin, end = "<!-- reconciler providers --format markdown -->\n", "<!-- end -->\n"
    before, _, rest = text.partition(begin)
    table = "".join(f"{line}\n" for line in views.markdown(list(TABLES.values())))
    return f"{before}{begin}{table}{end}{rest.partition(end)[2]}"


def files() -> dict[str, str]:
    """Return every file that tells of the vendors, by its name, as it has to be."""
    return {f"schemas/{name}.schema.json": schema(name) for name in SCHEMAS} | {README: readme()}


if __name__ == "__main__":
    for name, text in files().items():
        (ROOT / name).write_text(text, encoding="utf-8")
        print(name)
