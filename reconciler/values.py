"""Values: canonical JSON, digests, erased values, absence, time as text, secret references."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import Final


def _encoder() -> Callable[[object], str]:
    """Return the function behind `canonical`.

    `JSONEncoder.encode` makes a C encoder for every value, which costs as much as encoding a
    small one; so one is made and kept, where this Python has it.
    """
    plain = json.JSONEncoder(
        sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return plain.encode
    # No markers: what is encoded here is made of plain values and cannot hold itself.
    kept = make(
        None,
        plain.default,
        json.encoder.encode_basestring_ascii,
        None,
        ":",
        ",",
        True,
        False,
        False,
    )
    return lambda value: "".join(kept(value, 0))


_encode: Final = _encoder()


class _Absent(Enum):
    """The type of `ABSENT`, so that a checker can tell it from every other value."""

    ABSENT = "absent"

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent.ABSENT
"""No value at all: what a field has that nobody wrote. Never the same as empty."""


def canonical(value: object) -> bytes:
    """Return the one JSON text of a value: sorted keys, no spaces, pure ASCII.

    Raises ValueError for NaN and infinities, TypeError for what JSON cannot say.
    """
    return _encode(value).encode("ascii")


def digest(data: bytes) -> bytes:
    """Return the SHA-256 digest of the bytes (32 bytes)."""
    return hashlib.sha256(data).digest()


ERASED: Final = re.compile(r"erased:([0-9a-f]{32}):[0-9a-f]{64}")
"""What stands in the place of an erased value: its salt and its digest."""


def erased(value: object, salt: bytes) -> str:
    """Return what is kept of an erased value: enough to tell it from another, not to read it.

    `salt` is 16 random bytes. The digest is slow (some 40 ms and 16 MiB) because a telephone
    number under a fast one is found by trying them all; what is erased already stays as it is.
    """
    if isinstance(value, str) and is_erased(value):
        return value
    return _slow(canonical(value), salt)


def is_erased(value: object) -> bool:
    """Tell whether a value is one that `erased` made."""
    return isinstance(value, str) and ERASED.fullmatch(value) is not None


def was(mark: str, value: object) -> bool:
    """Tell whether a value is the one that was erased; False for a mark that is none."""
    found = ERASED.fullmatch(mark)
    return found is not None and _slow(canonical(value), bytes.fromhex(found[1])) == mark


@lru_cache(maxsize=4096)
def _slow(data: bytes, salt: bytes) -> str:
    told = hashlib.scrypt(data, salt=salt, n=1 << 14, r=8, p=1, dklen=32)
    return f"erased:{salt.hex()}:{told.hex()}"


def loads(data: bytes | str) -> object:
    """Decode JSON that must not lie: duplicate keys, NaN and infinities are refused.

    Raises ValueError with the reason.
    """
    try:
        return json.loads(data, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is no JSON number")


def to_text(moment: datetime) -> str:
    """Return a moment as RFC 3339 text in UTC, to the second: `2026-01-31T00:00:00Z`."""
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


_MOMENT = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)([Zz]|[+-]\d{2}:\d{2}))?"
)


def to_moment(text: str) -> datetime:
    """Read RFC 3339 text, or a plain date meaning midnight UTC.

    Raises ValueError for anything else: a time without its zone is ambiguous and refused.
    """
    if not (match := _MOMENT.fullmatch(text)):
        raise ValueError(f"{text!r} is not a time like 2027-01-31T00:00:00Z")
    date, clock, zone = match.groups()
    if clock is None:
        return datetime.fromisoformat(date).replace(tzinfo=UTC)
    clock = re.sub(r"(\.\d{1,6})\d*", r"\1", clock)
    offset = "+00:00" if zone in "Zz" else zone
    try:
        return datetime.fromisoformat(f"{date}T{clock}{offset}").astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is out of range") from None


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a secret is kept: `env:NAME`, `file:PATH` or `cmd:["argv", …]`; never the secret."""

    text: str

    @property
    def scheme(self) -> str:
        """The part before the first colon."""
        return self.text.partition(":")[0]

    @property
    def target(self) -> str:
        """The part behind the first colon."""
        return self.text.partition(":")[2]

    def __str__(self) -> str:
        return self.text
