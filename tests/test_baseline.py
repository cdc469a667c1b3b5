"""Baseline: what drift accepts for a time is read strictly, and written so that it can be read."""

from __future__ import annotations

from datetime import timedelta

import pytest
from core_accounts import NOW, where

from reconciler.config.baseline import LONGEST, read, written
from reconciler.drift import Accepted
from reconciler.errors import ConfigError

ENTRY = """\
version: 1
accepted:
  - address: cn/bot
    path: profile.name
    owner: ann
    reason: renamed for the fair
    expires: 2027-01-31T00:00:00Z
"""


def reading(tmp_path, text, now=NOW):
    file = tmp_path / "baseline.yaml"
    file.write_text(text, encoding="utf-8")
    return read(file, "baseline.yaml", now)


def wrong(tmp_path, text):
    """Return the findings of a baseline that is refused, as (place, id)."""
    with pytest.raises(ConfigError) as refused:
        reading(tmp_path, text)
    return [(str(one.source), one.id) for one in refused.value.diagnostics]


def test_an_entry_is_read_with_its_place(tmp_path):
    """Every field is text, the end is a moment, and the place is the entry's."""
    (one,) = reading(tmp_path, ENTRY)
    assert one[:4] == (where("bot"), "profile.name", "ann", "renamed for the fair")
    assert one.expires.isoformat() == "2027-01-31T00:00:00+00:00"
    assert str(one.source) == "baseline.yaml:3:5"


@pytest.mark.parametrize(
    ("old", "new", "place", "id"),
    [
        ("    expires: 2027-01-31T00:00:00Z\n", "", "3:5", "missing-key"),
        ("    owner: ann\n", "", "3:5", "missing-key"),
        ("    reason: renamed for the fair\n", "", "3:5", "missing-key"),
        ("owner: ann", "owner:", "5:11", "null"),
        ("owner: ann", 'owner: ""', "5:12", "bad-form"),
        ("owner: ann", "owned: ann", "5:5", "unknown-key"),
        ("cn/bot", "bot", "3:14", "bad-form"),
        ("profile.name", "labels.team", "4:11", "bad-form"),
        ("profile.name", '"*"', "4:11", "bad-form"),
        ("2027-01-31T00:00:00Z", "soon", "7:14", "bad-time"),
        ("2027-01-31T00:00:00Z", "2027-01-31T00:00:00", "7:14", "bad-time"),
        ("2027-01-31T00:00:00Z", "2027-04-15T08:00:01Z", "7:14", "too-far"),
        ("2027-01-31T00:00:00Z", "never", "7:14", "bad-time"),
        ("version: 1", "version: 2", "1:10", "bad-choice"),
        ("version: 1", "version: 1\nmuted: []", "2:1", "unknown-key"),
    ],
)
def test_what_does_not_fit_is_told_where_it_stands(tmp_path, old, new, place, id):
    """No entry without owner, reason and a near end, and nothing that matches more than it says."""
    found = wrong(tmp_path, ENTRY.replace(old, new))
    assert (f"baseline.yaml:{place}", id) in found


def test_the_same_difference_twice_is_refused(tmp_path):
    """Which of two owners answers for it would be luck."""
    again = ENTRY + ENTRY.partition("accepted:\n")[2].replace("ann", "bob")
    assert wrong(tmp_path, again) == [("baseline.yaml:9:5", "duplicate-key")]


def test_the_longest_time_is_just_allowed(tmp_path):
    """Ninety days ahead is the most, and an entry that ran out is read all the same."""
    assert timedelta(days=90) == LONGEST
    (one,) = reading(tmp_path, ENTRY.replace("2027-01-31T00:00:00Z", "2027-04-15T08:00:00Z"))
    assert one.expires - NOW == LONGEST
    (old,) = reading(tmp_path, ENTRY.replace("2027-01-31", "2020-01-31"))
    assert old.expires < NOW


def test_a_file_that_is_not_there_is_told(tmp_path):
    """A baseline that is named must be there: nothing accepted is not what was meant."""
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "none.yaml", "none.yaml", NOW)


def test_what_is_written_can_be_read(tmp_path):
    """Quotes, colons, emoji and words that YAML would type come back as they were."""
    entries = tuple(
        Accepted(where(id), path, owner, reason, NOW + timedelta(days=1))
        for id, path, owner, reason in (
            ("007", "profile.custom.Key", "安娜 😀", 'he said: "no" # really'),
            ("no", "missing", "null", "C:\\temp \u00e9"),
            ("yes", "banned", "*ann", "true"),
        )
    )
    back = reading(tmp_path, "".join(f"{line}\n" for line in written(reversed(entries))))
    assert tuple(one._replace(source=None) for one in back) == entries
