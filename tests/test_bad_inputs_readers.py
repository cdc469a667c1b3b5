"""The bad inputs through the other readers: JSON, JSON lines, CSV, and the workspace file."""

from __future__ import annotations

import pytest
from bad_inputs import Untouched, put, refused
from bad_inputs_readers import CSV, JSON, JSONL
from bad_inputs_workspace import WORKSPACE

from tests.world import World

pytest_plugins = ["spoilt_workspace"]


@pytest.mark.parametrize(
    ("file", "content", "place", "says"),
    [
        pytest.param(file, *case[1:], id=f"{case[0]}-{suffix}")
        for suffix, table in (("json", JSON), ("jsonl", JSONL), ("csv", CSV))
        for file in [f"accounts/bad.{suffix}"]
        for case in table
    ],
)
def test_a_bad_input_is_told_in_every_format(spoilt: World, file, content, place, says) -> None:
    """What is wrong is told with its place (in CSV line and column number), and changes nothing."""
    put(spoilt.root, file, content)
    with Untouched(spoilt):
        told = refused(spoilt, ("validate",), 1, f"{file}:{place}: error: {says}\n")
        refused(spoilt, ("apply", "--auto-approve"), 1, f"{file}:{place}: error:")
    assert "\n    hint: " in told.err


@pytest.mark.parametrize(
    ("content", "place", "says"), [pytest.param(*case[1:], id=case[0]) for case in WORKSPACE]
)
def test_a_bad_workspace_is_told_with_its_place(spoilt: World, content, place, says) -> None:
    """The workspace file is read as strictly, by every command that reads it."""
    put(spoilt.root, "reconciler.yaml", content)
    with Untouched(spoilt):
        for words in (("validate",), ("apply", "--auto-approve"), ("state", "pull"), ("drift",)):
            told = refused(spoilt, words, 1, f"reconciler.yaml:{place}: error: {says}\n")
    assert "\n    hint: " in told.err
