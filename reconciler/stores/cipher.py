"""Cipher: how what is recorded is hidden at rest; nothing above knows it, no database beneath.

A row keeps what finds it (address, number, time, run) and hides the rest in one of its cells.
Seals, sums and chain are of rows as they are stored, so none of them tells what is hidden.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from struct import Struct
from typing import Any, Final, Protocol

from reconciler.values import canonical

_NONCE: Final = 12
_LOOK_NONCE: Final = 15
_DIGEST: Final = 32
_SALT: Final = 16
_BLOCK: Final = 64
_NOTHING: Final = 0xFFFFFFFF
_EMPTY: Final[dict[type, Any]] = {bytes: b"", str: "", int: 0}
_NO_LOOK: Final = bytes(_DIGEST)


@dataclass(frozen=True, slots=True)
class Key:
    """A key and its id, which is derived from it and no secret."""

    id: str
    secret: bytes = field(repr=False)


class Forged(Exception):
    """What is hidden was not hidden with this key, or not for this place."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of row: its name for good, how messages call one by its cells, and what is hidden.

    Hidden cells are together in the first that is named, the others are empty then.
    """

    name: str
    told: str
    hidden: tuple[tuple[int, type], ...]


class Cipher(Protocol):
    """Hides what belongs to one state: to its workspace and its lineage."""

    @property
    def id(self) -> str:
        """The id of the key; empty where nothing is hidden."""
        ...

    def encrypt(self, kind: Kind, cells: Sequence[Any]) -> tuple[Any, ...]:
        """Return the cells of a row as they are stored."""
        ...

    def decrypt(self, kind: Kind, cells: Sequence[Any]) -> tuple[Any, ...]:
        """Return the cells as they were given. Raises Forged where any of them is another."""
        ...

    def mask(self, looks: Sequence[bytes | None]) -> Sequence[bytes | None]:
        """Return index digests as they are stored."""
        ...

    def unmask(self, looks: Sequence[bytes | None]) -> Sequence[bytes | None]:
        """Return index digests as they were given; what vouches for them is the sum of them all."""
        ...

    def prove(self, data: bytes) -> bytes:
        """Return what shows that whoever wrote the data had the key; empty where there is none."""
        ...


class Clear:
    """Implements `Cipher` where nothing is hidden.

    Index digests are salted: what the chain adds them up to is kept for ever, and must not tell of
    a record that was erased, or is encrypted by now.
    """

    id = ""

    def encrypt(self, kind: Kind, cells: Sequence[Any]) -> tuple[Any, ...]:  # noqa: ARG002
        return tuple(cells)

    def decrypt(self, kind: Kind, cells: Sequence[Any]) -> tuple[Any, ...]:  # noqa: ARG002
        return tuple(cells)

    def mask(self, looks: Sequence[bytes | None]) -> Sequence[bytes | None]:
        return [(look or b"") + os.urandom(_SALT) for look in looks]

    def unmask(self, looks: Sequence[bytes | None]) -> Sequence[bytes | None]:
        # Those of the first schema have no salt.
        return [look[:_DIGEST] if look and len(look) >= _DIGEST else None for look in looks]

    def prove(self, data: bytes) -> bytes:  # noqa: ARG002
        return b""


CLEAR: Final = Clear()


class Aes:
    """Implements `Cipher` with AES-256-GCM; needs `cryptography`.

    Every purpose has a key of its own, derived with HMAC-SHA-256 from the given one, the workspace
    and the lineage; so nothing of one state can be put into another. The cells of a row that are
    not hidden are authenticated with those that are.
    """

    def __init__(self, key: Key, workspace: str, lineage: str) -> None:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers import Cipher as Raw
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.ciphers.algorithms import AES256
        from cryptography.hazmat.primitives.ciphers.modes import ECB

        def derived(purpose: str) -> bytes:
            label = canonical(["reconciler", purpose, workspace, lineage])
            return hmac.digest(key.secret, label, "sha256")

        self.id = key.id
        self._rows = AESGCM(derived("rows"))
        self._texts = AESGCM(derived("texts"))
        # Counter mode of our own making, for a thousand nonces at once: see `_stream`.
        self._blocks = Raw(AES256(derived("looks")), ECB())  # noqa: S305
        self._proof = derived("proof")
        self._refused = (InvalidTag, ValueError, TypeError)

    def encrypt(self, kind: Kind, cells: Sequence[Any]) -> tuple[Any, ...]:
        stored = list(cells)
        for n, type in kind.hidden:
            stored[n] = _EMPTY[type]
        about = ascii((kind.name, *stored)).encode("ascii")
        stored[kind.hidden[0][0]] = _closed(self._rows, _packed(kind, cells), about)
        return tuple(stored)

    def decrypt(self, kind: Kind, cells: Sequence[Any]) -> tuple[Any, ...]:
        given = list(cells)
        for n, type in kind.hidden:
            given[n] = _EMPTY[type]
        about = ascii((kind.name, *given)).encode("ascii")
        data = self._opened(self._rows, cells[kind.hidden[0][0]], about)
        for (n, type), value in zip(kind.hidden, _unpacked(kind, data), strict=True):
            given[n] = value if value is None or type is bytes else type(value.decode())
        return tuple(given)

    def mask(self, looks: Sequence[bytes | None]) -> Sequence[bytes | None]:
        nonces = [os.urandom(_LOOK_NONCE) for _ in looks]
        shown = b"".join([look or _NO_LOOK for look in looks])
        hidden = _split(_xor(shown, self._stream(nonces)))
        return [nonce + look for nonce, look in zip(nonces, hidden, strict=True)]

    def unmask(self, looks: Sequence[bytes | None]) -> Sequence[bytes | None]:
        stored = [look for look in looks if look and len(look) == _LOOK_NONCE + _DIGEST]
        if len(stored) != len(looks):
            raise Forged
        hidden = b"".join([look[_LOOK_NONCE:] for look in stored])
        shown = _split(_xor(hidden, self._stream([look[:_LOOK_NONCE] for look in stored])))
        return (
            [None if look == _NO_LOOK else look for look in shown] if _NO_LOOK in shown else shown
        )

    def prove(self, data: bytes) -> bytes:
        return bytes.fromhex(self.id) + hmac.digest(self._proof, data, "sha256")

    def close_text(self, data: bytes, about: bytes) -> bytes:
        """Return a text as it is stored, bound to what it is about."""
        return _closed(self._texts, data, about)

    def open_text(self, data: bytes, about: bytes) -> bytes:
        """Return a text as it was given. Raises Forged where it is another, or about another."""
        return self._opened(self._texts, data, about)

    def _opened(self, with_: Any, data: bytes, about: bytes) -> bytes:
        try:
            opened: bytes = with_.decrypt(data[:_NONCE], data[_NONCE:], about)
        except self._refused:
            raise Forged from None
        return opened

    def _stream(self, nonces: Sequence[bytes]) -> bytes:
        """Return 32 bytes of AES-CTR key stream per nonce, two counters each.

        One call for many: an index of 100,000 digests is read before every plan.
        """
        blocks = b"".join([nonce + b"\0" + nonce + b"\1" for nonce in nonces])
        return self._blocks.encryptor().update(blocks)


def _closed(with_: Any, data: bytes, about: bytes) -> bytes:
    nonce = os.urandom(_NONCE)
    closed: bytes = nonce + with_.encrypt(nonce, data, about)
    return closed


def _packed(kind: Kind, cells: Sequence[Any]) -> bytes:
    """Return the hidden cells as bytes: lengths, then each; filled up, as sizes tell something."""
    values = [_bytes(cells[n]) for n, _ in kind.hidden]
    sizes = (_NOTHING if value is None else len(value) for value in values)
    packed = _sizes(kind).pack(*sizes) + b"".join([value or b"" for value in values])
    return packed + bytes(-len(packed) % _BLOCK)


def _unpacked(kind: Kind, data: bytes) -> list[bytes | None]:
    sizes = _sizes(kind)
    at, values = sizes.size, list[bytes | None]()
    for size in sizes.unpack_from(data):
        if size == _NOTHING:
            values.append(None)
            continue
        values.append(data[at : at + size])
        at += size
    return values


@cache
def _sizes(kind: Kind) -> Struct:
    return Struct(f">{len(kind.hidden)}I")


def _bytes(value: bytes | str | int | None) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return str(value).encode()


def _xor(one: bytes, other: bytes) -> bytes:
    both = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return both.to_bytes(len(one), "big")


def _split(data: bytes) -> list[bytes]:
    return [data[at : at + _DIGEST] for at in range(0, len(data), _DIGEST)]


def same(one: bytes, other: bytes) -> bool:
    """Compare two proofs without telling by the time it takes where they differ."""
    return hmac.compare_digest(one, other)


def key_id(secret: bytes) -> str:
    """Return the id of a key, which does not tell it: 12 hex characters."""
    return hmac.digest(secret, b"reconciler key id", hashlib.sha256).hex()[:12]
