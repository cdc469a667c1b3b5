"""Values: canonical JSON, strict decoding, moments and references."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.values import ABSENT, Reference, canonical, digest, loads, to_moment, to_text

STABLE = settings(derandomize=True, deadline=None)

json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(json)
@STABLE
def test_decoding_gives_back_what_was_encoded(value):
    """Canonical JSON loses nothing: decode(encode(x)) is x, and it is pure ASCII."""
    data = canonical(value)
    assert loads(data) == value
    assert data.isascii()
    assert b"\n" not in data


@given(st.dictionaries(st.text(max_size=4), st.integers(), max_size=6), st.randoms())
@STABLE
def test_key_order_does_not_matter(mapping, random):
    """A mapping has one canonical text however it was built."""
    items = list(mapping.items())
    random.shuffle(items)
    assert canonical(dict(items)) == canonical(mapping)
    assert digest(canonical(dict(items))) == digest(canonical(mapping))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_json_number_is_not_written(value):
    """NaN and the infinities cannot be encoded."""
    with pytest.raises(ValueError, match="JSON"):
        canonical({"x": value})


def test_what_json_cannot_say_is_not_written():
    """A value without a JSON form is a TypeError, never its repr."""
    with pytest.raises(TypeError):
        canonical({"x": Reference("env:A")})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"a":1,"a":2}', "stands twice"),
        (b'{"b":{"a":1,"a":1}}', "stands twice"),
        (b"[NaN]", "no JSON number"),
        (b"[-Infinity]", "no JSON number"),
        (b"[" * 100_000, "nested too deeply"),
        (b"\xff\xfe\xfa", "decode"),
        (b"", "Expecting"),
        (b"{}{}", "Extra"),
    ],
)
def test_lying_json_is_refused(data, says):
    """Duplicate keys, NaN, bottomless nesting and broken bytes are a ValueError with a reason."""
    with pytest.raises(ValueError, match=says):
        loads(data)


def test_absent_is_a_value_of_its_own():
    """ABSENT is neither None nor empty, and says its name."""
    assert ABSENT is not None
    assert ABSENT != ""
    assert repr(ABSENT) == "ABSENT"


@given(
    st.datetimes(
        datetime(1, 1, 2),  # noqa: DTZ001
        datetime(9999, 12, 30),  # noqa: DTZ001
        timezones=st.just(UTC),
    )
)
@STABLE
def test_a_moment_survives_its_text(moment):
    """A moment in UTC to the second is read back from its own text."""
    moment = moment.replace(microsecond=0)
    assert to_moment(to_text(moment)) == moment


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("2027-01-31", "2027-01-31T00:00:00Z"),
        ("2027-01-31T08:00:00+08:00", "2027-01-31T00:00:00Z"),
        ("2027-01-31t00:00:00z", "2027-01-31T00:00:00Z"),
        ("2027-01-31 23:59Z", "2027-01-31T23:59:00Z"),
        ("2027-01-31T00:00:00.123456789Z", "2027-01-31T00:00:00Z"),
    ],
)
def test_times_are_read_as_their_moment(text, means):
    """Dates mean midnight UTC; zones, fractions and short clocks are understood."""
    assert to_text(to_moment(text)) == means


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "2027-01-31T00:00:00",
        "2027-13-01",
        "2023-02-30",
        "12:30:45",
        "2027-1-1",
        "2027-01-31T25:00:00Z",
        "٢٠٢٧-٠١-٣١",
        "2027-01-31T00:00:00Z\n",
        "0001-01-01T00:00:00+08:00",
    ],
)
def test_what_is_no_time_is_refused(text):
    """A time without its zone, an impossible date and anything else is a ValueError."""
    with pytest.raises(ValueError, match=r".+"):
        to_moment(text)


def test_a_reference_knows_its_parts():
    """Scheme and target are split at the first colon only."""
    reference = Reference("file:secrets/a:b")
    assert (reference.scheme, reference.target, str(reference)) == (
        "file",
        "secrets/a:b",
        "file:secrets/a:b",
    )
