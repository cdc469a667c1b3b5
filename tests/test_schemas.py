"""Schemas: valid, documented, installed where they are looked for, and true of their examples."""

from __future__ import annotations

import json
import subprocess
import sys

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.accounts import Address
from reconciler.changes import Change, Kind, Reason, Update, to_json
from reconciler.config import schema_names, schema_text
from reconciler.config.schema import allows
from reconciler.config.table import BAN, CONFIGURATION, PROFILE
from reconciler.diagnostics import Source, warning

NAMES = ("workspace", "accounts", "baseline", "plan", "events", "history")


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
