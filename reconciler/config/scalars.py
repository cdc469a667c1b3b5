"""Scalars: texts as written, and what becomes of them in a field of a certain type."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from reconciler.config.close import close
from reconciler.diagnostics import Severity
from reconciler.values import to_moment, to_text

NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
FLAGS: Final = {"true": True, "false": False}
INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
NUMBER: Final = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
GENDERS: Final = {"0": 0, "1": 1, "2": 2, "unknown": 0, "male": 1, "female": 2}
ALLOW_TYPES: Final = ("need_confirm", "allow_any", "deny_any")
UINT32: Final = 2**32 - 1
_BIG = 2**53
_EMAIL = re.compile(r"[^\s@<>(),;:\"\\]+@[^\s@<>(),;:\"\\]+")
_SPAN = re.compile(r"([1-9][0-9]{0,4})([dh])")
_LOOSE = re.compile(r"([0-9]{1,4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,4})(?: 0?0:00(?::00)?)?", re.ASCII)
_COUNTED = re.compile(r"[3-7][0-9]{4}")
_FIRST = date(1899, 12, 30)
"""The day that spreadsheets count from."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_WEB = re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[^\s@\\]*)?", re.ASCII)


class Quoted(str):
    """A text that was quoted, so that it is text whatever it looks like."""

    __slots__ = ()


class Wrong(Exception):
    """A value does not fit its field; `path` leads from the field to the place."""

    def __init__(
        self,
        id: str,
        summary: str,
        hint: str = "",
        path: tuple[Any, ...] = (),
        severity: Severity = Severity.ERROR,
    ) -> None:
        self.id, self.summary, self.hint, self.path = id, summary, hint, path
        self.severity = severity
        super().__init__(summary)


def is_null(value: object) -> bool:
    """Tell whether a value is a plain null."""
    return value.__class__ is str and value in NULLS


def word(value: Any) -> str:
    """Return the text of a scalar, as written."""
    if not isinstance(value, str):
        raise Wrong("wrong-type", "A text is expected here.", "write a single text")
    if value.__class__ is str and value in NULLS:
        raise Wrong(
            "null", "null is no value.", 'leave the field out, or write "" for an empty text'
        )
    return value


def flag(value: Any) -> bool:
    """Return the truth value of a plain true or false."""
    if value.__class__ is str and value in FLAGS:
        return FLAGS[value]
    raise Wrong(
        "wrong-type", "true or false is expected here.", "write true or false, without quotes"
    )


def whole(value: Any) -> int:
    """Return the number of a plain decimal from 0 to 4294967295."""
    if value.__class__ is str and INTEGER.fullmatch(value) and 0 <= int(value) <= UINT32:
        return int(value)
    raise Wrong(
        "wrong-type",
        "A whole number from 0 to 4294967295 is expected here.",
        "write digits only, without quotes",
    )


def positive(value: Any) -> int:
    """Return the number of a plain decimal from 1 to 4294967295."""
    if not (number := whole(value)):
        raise Wrong("wrong-type", "A whole number from 1 on is expected here.", "begin with 1")
    return number


def gender(value: Any) -> int:
    """Return the number of a gender given as number or word."""
    text = word(value)
    if text not in GENDERS or (text.isdigit() and value.__class__ is not str):
        raise Wrong(
            "bad-choice", f"{text[:80]!r} is no gender.", "write 0, 1, 2, unknown, male or female"
        )
    return GENDERS[text]


def allow_type(value: Any) -> str:
    """Return who may add the account as a friend."""
    text = word(value)
    if text not in ALLOW_TYPES:
        raise Wrong(
            "bad-choice",
            f"{text[:80]!r} is none of {', '.join(ALLOW_TYPES)}.",
            close(text, ALLOW_TYPES),
        )
    return text


def birthday(value: Any) -> str:
    """Return a real date, or the empty text."""
    text = word(value)
    if text:
        try:
            if not _DAY.fullmatch(text):
                raise ValueError
            date.fromisoformat(text)
        except ValueError:
            hint = _meant(text) or "write a real date as YYYY-MM-DD"
            raise Wrong("bad-date", f"{text[:40]!r} is no date.", hint) from None
    return text


def email(value: Any) -> str:
    """Return a text shaped like a mail address, or the empty text."""
    text = word(value)
    if text and not _EMAIL.fullmatch(text):
        raise Wrong("bad-email", f"{text[:80]!r} is no mail address.", "write name@host")
    return text


def avatar(value: Any) -> str:
    """Return an https address without user name, or the empty text."""
    text = word(value)
    if not text or _WEB.fullmatch(text):
        return text
    try:
        parts = urlsplit(text)
        host, user = parts.hostname, "@" in parts.netloc
    except ValueError:
        host, user, parts = None, False, urlsplit("")
    if user or any(c.isspace() or c == "\\" for c in text):
        raise Wrong(
            "bad-url",
            "The address holds a user name, a space or a backslash.",
            "write it without them",
        )
    if parts.scheme.lower() not in ("https", "http") or not host:
        raise Wrong("bad-url", f"{text[:80]!r} is no https address.", "write https://host/path")
    if parts.scheme.lower() == "http":
        raise Wrong(
            "plain-http",
            "The avatar is loaded without encryption.",
            "write https:// where the host has it",
            severity=Severity.WARNING,
        )
    return text


def extension(value: Any) -> str:
    """Return text as it is, and a mapping as its JSON text: keys sorted, no spaces.

    Characters stay what they are: an escape would count as six of the vendor's limit.
    """
    if isinstance(value, Mapping):
        return json.dumps(data(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return word(value)


def data(value: Any, path: tuple[Any, ...] = ()) -> Any:
    """Return plain JSON data: plain true, false and whole numbers are typed, all else is text."""
    if isinstance(value, Mapping):
        return {str(key): data(inner, (*path, key)) for key, inner in value.items()}
    if isinstance(value, str):
        return value if isinstance(value, Quoted) else _datum(value, path)
    if isinstance(value, Sequence):
        return [data(inner, (*path, n)) for n, inner in enumerate(value)]
    raise Wrong("wrong-type", "A text, a mapping or a list is expected here.", path=path)


def _datum(value: str, path: tuple[Any, ...]) -> Any:
    if value in FLAGS:
        return FLAGS[value]
    if value in NULLS:
        raise Wrong("null", "null is no value.", "leave the key out, or quote the text", path)
    if INTEGER.fullmatch(value) and value != "-0":
        if abs(int(value)) <= _BIG:
            return int(value)
    elif not NUMBER.fullmatch(value) or (value.isdigit() and len(value) < 20):
        return value
    raise Wrong(
        "number",
        f"{value[:40]!r} is a number that JSON readers may change.",
        "quote it to keep it as text, or write a whole number up to 2 to the 53rd",
        path,
    )


@lru_cache(maxsize=1024)
def _normal(moment: str) -> str:
    return to_text(to_moment(moment))


def until(value: Any) -> str:
    """Return a moment as normal text in UTC."""
    text = word(value)
    try:
        return _normal(text)  # bans end on the same days
    except (ValueError, OverflowError):
        hint = _meant(text) or "write 2027-01-31T00:00:00Z, or a date meaning midnight UTC"
        raise Wrong("bad-time", f"{text[:40]!r} is no time with a zone.", hint) from None


def _meant(text: str) -> str:
    """Return the hint for a date as spreadsheets and people write it, empty for anything else."""
    days = list(dict.fromkeys(day.isoformat() for day in _days(text)))
    if not days:
        return ""
    return f"write {' or '.join(days)}, and have a spreadsheet keep the column as text"


def _days(text: str) -> Iterator[date]:
    """Yield the days that a text may stand for, also where it is the number of a day."""
    if _COUNTED.fullmatch(text):
        yield _FIRST + timedelta(days=int(text))
        return
    match = _LOOSE.fullmatch(text)
    if match is None:
        return
    one, two, three = (int(part) for part in match.groups())
    orders = [(one, two, three)] if one > 31 else [(three, two, one), (three, one, two)]
    for year, month, day in orders:
        with suppress(ValueError):
            yield date(year + 2000 if year < 100 else year, month, day)


def span(text: str) -> timedelta | None:
    """Return a time like 90d or 12h, None for anything else."""
    match = _SPAN.fullmatch(text)
    return timedelta(hours=int(match[1]) * {"d": 24, "h": 1}[match[2]]) if match else None


def number(value: str) -> int | float | None:
    """Return the number of a plain decimal, None for anything else."""
    if INTEGER.fullmatch(value):
        return int(value)
    if NUMBER.fullmatch(value) and len(value) < 40 and value[-1] in "0123456789.":
        found = float(value)
        return found if math.isfinite(found) else None
    return None
