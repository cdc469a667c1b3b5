"""Golden files: each view of each plan and drift report, as it was reviewed."""

from __future__ import annotations

import pytest
from golden_plans import FOLDER, views

from reconciler.views.words import harmless

NAMES = sorted(path.name for path in FOLDER.iterdir() if path.is_file())


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    """Every view as it is now."""
    return views()


def test_every_view_is_kept(made):
    """No view is without its file, and no file without its view."""
    assert sorted(made) == NAMES


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("github")])
def test_a_view_needs_no_cleaning(made, name):
    """What the console cleans last is clean already, so that it never changes a format."""
    assert harmless(made[name]) == made[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_view_reads_as_it_was_reviewed(made, name):
    """What is printed is what was reviewed; `python tests/golden_plans.py` takes a change over."""
    assert made[name] == (FOLDER / name).read_bytes().decode()
