"""Diff: which fields differ, and which only look different."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.accounts import flatten, unflatten
from reconciler.diff import diff, same
from reconciler.values import ABSENT

EXTENSION = "profile.extension"
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = texts | st.integers() | st.booleans() | st.lists(texts, max_size=3)
flats = st.dictionaries(texts, values, max_size=6)


@given(flats)
@settings(derandomize=True, deadline=None)
def test_a_value_does_not_differ_from_itself(flat):
    """diff(x, x) is empty for every x."""
    assert list(diff(flat, dict(flat))) == []


@given(flats, flats)
@settings(derandomize=True, deadline=None)
def test_a_difference_turns_one_side_into_the_other(before, after):
    """Applying the differences to the one side gives the other, sorted by path."""
    made = dict(before)
    found = list(diff(before, after))
    for path, old, new in found:
        assert made.get(path, ABSENT) is old or made[path] == old
        if new is ABSENT:
            del made[path]
        else:
            made[path] = new
    assert made == after
    assert [path for path, *_ in found] == sorted(path for path, *_ in found)


@pytest.mark.parametrize(("old", "new"), [(1, True), (0, False), (1, 1.0), ("1", 1), ("", None)])
def test_types_are_never_mixed_up(old, new):
    """One, one point nought and true are three values; an empty text is not nothing."""
    assert not same("profile.gender", old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('{"a":1,"b":[1,2]}', '{ "b": [1, 2], "a": 1 }'),
        ("[1]", "[ 1 ]"),
    ],
)
def test_an_extension_is_compared_by_meaning(old, new):
    """Spacing and key order of JSON in an extension are no difference, elsewhere they are one."""
    assert same(EXTENSION, old, new)
    assert not same("profile.sign", old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('{"a":1}', '{"a":2}'),
        ('{"a":1}', '{"a":true}'),
        ('{"a":1}', '{"a":1.0}'),
        ("[1,2]", "[2,1]"),
        ('{"a":1}', '{"a":1,"b":2}'),
        ('{"__v":1}', '{"__v":2}'),
        ('{"a":{"__v":1}}', '{"a":{}}'),
        ("1", "1.0"),
        ("plain", "text"),
        ('{"a":1}', ""),
    ],
)
def test_an_extension_that_means_something_else_differs(old, new):
    """Any other value, order of a list, type, or key (also one that begins with __) differs."""
    assert not same(EXTENSION, old, new)


def test_a_bottomless_extension_is_compared_as_text():
    """JSON too deep to be walked is no error; it differs where its text differs."""
    deep = "[" * 500 + "]" * 500
    assert same(EXTENSION, deep, deep)
    assert not same(EXTENSION, deep, deep.replace("]", " ]", 1))


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"profile": {"name": "A", "custom": {"Key.with.dots": "x", "K": ""}}},
        {"labels": {"a.b.c": "d", "": "empty"}, "protected": False, "on_absent": "block"},
        {"configuration": {"p2p_chat_banned": True}},
    ],
)
def test_flat_fields_give_the_document_back(document):
    """unflatten(flatten(x)) is x, also for names that hold dots."""
    assert unflatten(flatten(document)) == document
