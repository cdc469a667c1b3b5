"""Redactor: what was a secret is *** in every text, in every shape, and the rest stays."""

import base64
import json
import logging
import re
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.redaction import HIDDEN, Redactor

VALUE = "v4lue-of/the+secret="
SHAPES = {
    "raw": lambda v: v,
    "url": lambda v: quote(v, safe=""),
    "url path": quote,
    "form": quote_plus,
    "lower url": lambda v: re.sub("%..", lambda m: m[0].lower(), quote(v, safe="")),
    "hex": lambda v: v.encode().hex(),
    "HEX": lambda v: v.encode().hex().upper(),
    "json": lambda v: json.dumps(v)[1:-1],
    "repr": lambda v: repr(v)[1:-1],
}
TRICKY = 'p"a\\ss/w+o rd=密'


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("value", [VALUE, TRICKY, "secret"])
def test_a_value_is_hidden_in_every_shape(shape, value):
    """Raw, URL-encoded, in hex and escaped, a value becomes ***, and the rest stays."""
    redactor = Redactor()
    redactor.add(value)
    text = SHAPES[shape](value)
    assert redactor.redact(f"<{text}> and {text}") == "<***> and ***"


@pytest.mark.parametrize("phase", range(3))
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_is_found_wherever_the_value_begins(phase, encode):
    """All that base64 says of the value alone is hidden, whatever stands before and behind it."""
    redactor = Redactor()
    redactor.add(VALUE)
    plain = encode(b"x" * phase + VALUE.encode() + b"tail").decode()
    text = redactor.redact(f"Basic {plain}")
    assert HIDDEN in text
    shown = max(text.split("Basic ")[1].split(HIDDEN), key=len)
    assert len(shown) <= 9
    assert VALUE[2:8].encode() not in base64.b64decode(shown + "=" * (-len(shown) % 4), b"-_")


def test_overlapping_values_leave_no_tail():
    """Of values that overlap or begin alike, nothing is left."""
    redactor = Redactor()
    for value in ("abcdefgh", "abcdefghij", "ghijklmnop"):
        redactor.add(value)
    assert redactor.redact("-abcdefghijklmnop-abcdefgh-") == "-***-***-"


def test_short_values_are_whole_words_only():
    """A value of a few characters is hidden where it stands alone, or every text would be ***."""
    redactor = Redactor()
    redactor.add("1234")
    redactor.add("a.b")
    redactor.add("")
    assert redactor.redact("pin 1234, 12345, a.b axb") == "pin ***, 12345, *** axb"


def test_a_clean_text_is_returned_as_it_is():
    """Without a match the same object comes back."""
    redactor = Redactor()
    redactor.add(VALUE)
    for text in ("", "abc", "v4lue-but not the secret" * 100):
        assert redactor.redact(text) is text


@given(st.lists(st.text(min_size=6, max_size=12), min_size=1, max_size=5), st.text())
def test_no_known_value_survives(values, around):
    """Whatever the values and the text, none of them is in what comes out."""
    redactor = Redactor()
    for value in values:
        redactor.add(value)
    text = redactor.redact(around.join(["", *values, ""]))
    assert not any(value in text for value in values if "*" not in value)


def test_it_filters_log_records(caplog):
    """As a logging filter it cleans message, arguments, traceback and stack."""
    redactor = Redactor()
    redactor.add(VALUE)
    logger = logging.getLogger("test.secrets")
    logger.addFilter(redactor)
    try:
        raise ValueError(VALUE)
    except ValueError:
        logger.exception("with %s", VALUE)
    logger.warning("clean %d", 1)
    logger.removeFilter(redactor)
    assert VALUE not in caplog.text
    assert "with ***" in caplog.text
    assert "ValueError: ***" in caplog.text
    assert caplog.records[1].args == (1,)
