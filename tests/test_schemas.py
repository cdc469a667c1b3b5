"""Schemas: valid, documented, installed where they are looked for, and true of their examples."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from config_capabilities import TABLES
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.accounts import Address
from reconciler.changes import Change, Kind, Reason, Update, to_json
from reconciler.config import schema_names, schema_text
from reconciler.config.schema import allows
from reconciler.config.table import BAN, CONFIGURATION, PROFILE
from reconciler.diagnostics import Source, warning
from reconciler.providers import TYPES
from reconciler.stores.http_settings import HttpSettings
from reconciler.stores.postgres_place import SCHEMA
from reconciler.workspace import DEFAULT_LIMITS, App, Workspace

ROOT = Path(__file__).parents[1]
WRITTEN = ("workspace", "accounts", "baseline")
"""The schemas of what people write."""

UNWRITTEN = {
    *("provider", "profile", "configuration", "token", "on_absent", "custom", "ban_reasons", "max"),
    *("reason", "ticket", "evidence", "until", "notify", "from", "generate", "sink"),
    *("url", "address", "lock_address", "unlock_address", "username", "password", "ca_file"),
    "secret",
    *("encryption", "key", "region", "endpoint", "credentials", "rate", "proxy", "blocked_tag"),
    "fingerprint_key",
    *("format", "percent", "count", "block", "unblock", "forget", "update", "action", "match"),
    *("deny", "warn", "require", "limit", "approval", "when"),
    *PROFILE,
    *CONFIGURATION,
}
"""What has no default: not written it is not there, or something else takes its place."""

NAMES = ("workspace", "accounts", "scenario", "baseline", "plan", "events", "history", "expire")


def schema(name):
    return json.loads(schema_text(name))


def nodes(rule, root):
    """Yield every subschema with the value of each of its examples."""
    if isinstance(rule, dict):
        yield rule
        for key, inner in rule.items():
            if key in ("properties", "$defs"):
                for one in inner.values():
                    yield from nodes(one, root)
            elif key in ("items", "additionalProperties"):
                yield from nodes(inner, root)


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_valid_and_its_examples_too(name):
    """Each schema is Draft 2020-12, and every example in it fits the place it stands in."""
    assert schema_names() == NAMES
    whole = schema(name)
    jsonschema.Draft202012Validator.check_schema(whole)
    assert whole["$schema"].endswith("2020-12/schema")
    assert whole["$id"]
    assert whole["title"]
    assert whole["examples"]
    for rule in nodes(whole, whole):
        alone = {**rule, "$defs": whole.get("$defs", {})}
        for example in rule.get("examples", ()):
            jsonschema.Draft202012Validator(alone).validate(example)


@pytest.mark.parametrize("name", NAMES)
def test_every_property_says_what_it_is(name):
    """Every property has a description and examples, and no choice between whole shapes."""
    whole = schema(name)
    text = json.dumps(whole)
    assert '"anyOf"' not in text
    assert '"oneOf"' not in text
    for rule in nodes(whole, whole):
        for key, one in rule.get("properties", {}).items():
            if "$ref" in one:
                one = whole["$defs"][one["$ref"].removeprefix("#/$defs/")]
            assert one["description"], key
            assert one["examples"], key


@pytest.mark.parametrize("name", WRITTEN)
def test_every_property_says_its_default(name):
    """What need not be written says what holds then, or is known to have no default."""
    whole = schema(name)
    for rule in nodes(whole, whole):
        for key, one in rule.get("properties", {}).items():
            if "$ref" in one:
                one = whole["$defs"][one["$ref"].removeprefix("#/$defs/")]
            if key in rule.get("required", ()):
                assert "default" not in one or "$ref" in rule["properties"][key], key
            elif key not in UNWRITTEN:
                assert "default" in one, key
            if "default" in one:
                alone = {**one, "$defs": whole.get("$defs", {})}
                jsonschema.Draft202012Validator(alone).validate(one["default"])


def test_the_defaults_are_those_of_the_code():
    """What the schema calls the default is what the code takes."""
    root = schema("workspace")
    told = {name: one["default"] for name, one in root["properties"].items() if "default" in one}
    plain = Workspace("im", "/", {})
    assert told["accounts"] == [one.pattern for one in plain.accounts]
    assert told["on_absent"] == plain.on_absent
    assert told["limits"] == {
        kind: {
            key: value
            for key, value in dataclasses.asdict(limit).items()
            if value is not None and (key != "above" or kind == "update")
        }
        for kind, limit in DEFAULT_LIMITS.items()
    }
    state = root["$defs"]["state"]["properties"]
    assert root["$defs"]["state"]["default"] == {
        "backend": plain.state.backend,
        "path": plain.state.path,
    }
    assert state["backend"]["default"] == plain.state.backend
    assert state["path"]["default"] == plain.state.path
    assert state["schema"]["default"] == SCHEMA
    http = HttpSettings("https://x")
    for name in ("update_method", "lock_method", "unlock_method", "allow_http"):
        assert state[name]["default"] == getattr(http, name)
    app = root["$defs"]["app"]["properties"]
    assert app["concurrency"]["default"] == App("a", "yunxin", "").concurrency
    assert app["type"]["enum"] == list(TYPES)


@pytest.fixture
def vendors(monkeypatch):
    """What brings files up to date with the vendors' tables."""
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    return importlib.import_module("vendors")


def test_files_tell_of_the_vendors_what_their_tables_say(vendors):
    """Schemas and the providers' README are what `.ci/vendors.py` makes of the tables."""
    for name, text in vendors.files().items():
        assert (ROOT / name).read_text(encoding="utf-8") == text, f"run .ci/vendors.py: {name}"


def test_descriptions_say_the_limits_of_the_vendors(vendors):
    """Every limit, and every vendor without a field, is in a description, and no other is."""
    told = dict(vendors.described(schema("accounts")["$defs"]))
    paths = {path.replace("*", "Colour") for table in TABLES.values() for path in table.fields}
    assert told.keys() == paths
    for path, text in told.items():
        said = " ".join(vendors.sentences(path))
        assert text.endswith(said), (path, said)
        rest = text.removesuffix(said)
        assert not re.search(r"At most|Only|Not \w+\.|Unreadable|Emulated", rest), path
    assert told["profile.extension"].endswith(
        "At most 1024 characters (yunxin, commsease). Not tencent."
    )
    assert told["banned"].endswith(". Emulated at tencent. Unreadable at commsease.")


def test_descriptions_say_what_the_vendors_take_for_ids_regions_and_credentials():
    """The rule of ids, the regions, the rates and the credentials are those of the tables."""
    ids = schema("accounts")["properties"]["accounts"]["description"]
    app = schema("workspace")["$defs"]["app"]["properties"]
    for table in TABLES.values():
        assert re.search(rf"\b{table.type}\b[a-z, ]*: {re.escape(table.id.words)}\.", ids)
        assert f"{', '.join(table.regions)}" in app["region"]["description"]
        assert f"{table.rates['']:g} (" in app["rate"]["description"]
        assert ", ".join(table.credentials) in app["credentials"]["description"]
        for words in ("region", "rate", "credentials"):
            assert table.type in app[words]["description"]


def test_the_readme_of_the_schemas_names_each():
    """Every schema has a line in the README beside it."""
    readme = (ROOT / "schemas/README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z]+)\.schema\.json` \|", readme, re.MULTILINE) == list(NAMES)


def test_an_unknown_schema_is_an_error():
    """There is no schema of another name, nor a file of any path."""
    with pytest.raises(KeyError):
        schema_text("../pyproject")


def test_the_schema_and_the_tables_know_the_same_fields():
    """What the fast reading knows of fields is what the schema lists."""
    rules = schema("accounts")["$defs"]
    assert set(rules["profile"]["properties"]) == {*PROFILE, "custom"}
    assert set(rules["configuration"]["properties"]) == set(CONFIGURATION)
    assert set(rules["banned"]["properties"]) == {*BAN, "evidence"}


def test_the_defaults_of_a_glob_have_the_shape_of_those_of_a_file():
    """What both schemas call by one name is the same in both, word for word."""
    whole, part = schema("accounts")["$defs"], schema("workspace")["$defs"]
    shared = whole.keys() & part.keys()
    assert shared >= set(whole["defaults"]["properties"]) | {"defaults"}
    assert {name: part[name] for name in shared} == {name: whole[name] for name in shared}


def test_the_schema_of_plans_knows_every_kind_and_reason():
    """The closed sets in the schema are the ones of the code."""
    action = schema("plan")["$defs"]["action"]["properties"]
    assert set(action["action"]["enum"]) == set(Kind)
    assert set(action["reason"]["enum"]) == set(Reason)


def test_an_action_and_a_finding_fit_the_schema_of_plans():
    """What the code writes of actions and findings is what the schema describes."""
    plan = schema("plan")["examples"][0]
    token = {"from": "env:IM_TOKEN_A", "version": 2}
    action = Update(
        Address("cn/a"),
        Reason.CONFIG_CHANGED,
        1,
        (
            Change("profile.name", "A", "", removed=True),
            Change("labels.a", None, "b", unknown=True),
            Change("token", "(v1)", "(v2)", token=token),
        ),
        "accounts/a.yaml",
        3,
    )
    finding = warning("waiting", "It waits.", source=Source("a.yaml", 1, 0), address="cn/a")
    plan |= {"actions": [to_json(action)], "diagnostics": [finding.to_json()]}
    validator = jsonschema.Draft202012Validator(schema("plan"))
    validator.validate(plan)
    assert not validator.is_valid({**plan, "more": 1})


def test_an_event_needs_the_keys_of_its_type():
    """A line of the stream without a key of its type does not fit."""
    validator = jsonschema.Draft202012Validator(schema("events"))
    for example in schema("events")["examples"]:
        validator.validate(example)
        needed = next(
            case["then"]["required"]
            for case in schema("events")["allOf"]
            if case["if"]["properties"]["type"]["const"] == example["type"]
        )
        for key in needed:
            assert not validator.is_valid({k: v for k, v in example.items() if k != key})


def test_importing_the_room_is_cheap():
    """Neither yaml nor jsonschema is imported before something is read."""
    code = (
        "import sys, reconciler.config as c; c.schema_names(); c.schema_text('plan');"
        "sys.exit(any(name in sys.modules for name in ('yaml', 'jsonschema')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


WORKSPACE = jsonschema.Draft202012Validator(schema("workspace"))
ANY = st.recursive(
    st.sampled_from([None, True, False, 0, 1, -1, 3.5, "", "a", "cn-prod", "yunxin", "env:NAME"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "type", "count", "id", "when"]), inner, max_size=3)
    ),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_quick_yes_is_never_wrong(data):
    """What is allowed without loading `jsonschema` is allowed by it, whatever stands in a place."""
    rule = WORKSPACE.schema
    (value,) = json.loads(json.dumps(rule["examples"]))
    assert allows(rule, value, rule)
    for _ in range(data.draw(st.integers(1, 2))):
        place = value
        while place and data.draw(st.booleans()):
            keys = list(place) if isinstance(place, dict) else range(len(place))
            inner = place[data.draw(st.sampled_from(list(keys)))]
            if not isinstance(inner, dict | list):
                break
            place = inner
        if isinstance(place, dict) and place:
            place[data.draw(st.sampled_from([*place, "more"]))] = data.draw(ANY)
        elif place:
            place[0] = data.draw(ANY)
    assert not allows(rule, value, rule) or WORKSPACE.is_valid(value)
