"""Envelope: a text of recorded state encrypted as a whole, as JSON that still says whose it is.

`{"encrypted": ["BASE64", …], "encryption": {"key": ID, "of": WHAT}, "lineage", "serial", "tool",
"version", "workspace", "digest"}`: each part is a nonce of 12 bytes and some of the text, bound to
all of the head, its number, and whether it is the last. The digest is over values, not bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from reconciler.errors import ReconcilerError, StateError
from reconciler.state import Identity
from reconciler.stores.cipher import Aes, Forged
from reconciler.stores.keys import Keys
from reconciler.values import canonical, loads

SNAPSHOT: Final = "snapshot"
"""What the text of a backup is."""

VERSION: Final = 1
_PART: Final = 1 << 20
_NAME: Final = b'"encrypted"'


@dataclass(frozen=True, slots=True)
class Opened:
    """A text in the clear, the key that its envelope was made with, and the envelope's digest.

    Key and digest (hex) are empty for a text that had none.
    """

    text: bytes
    key: str = ""
    digest: str = ""


def closed(
    pieces: Iterable[bytes], what: str, who: Identity, keys: Keys, name: str
) -> Iterator[bytes]:
    """Yield the envelope of a text, which comes in pieces; or the text, where the key is none.

    `what` is what the text is: none of another kind passes for it. `who` names the key.
    """
    cipher = keys.reading(who.key, who.workspace, who.lineage, name)
    if not isinstance(cipher, Aes):
        yield from pieces
        return
    head = {
        "encryption": {"key": cipher.id, "of": what},
        "lineage": who.lineage,
        "serial": who.serial,
        "tool": "reconciler",
        "version": VERSION,
        "workspace": who.workspace,
    }
    told = hashlib.sha256(canonical(head))
    yield b'{"encrypted":['
    for number, (part, last) in enumerate(_parts(pieces)):
        text = base64.b64encode(cipher.close_text(part, _about(head, number, last=last)))
        told.update(text + b"\n")
        yield (b',\n"' if number else b'\n"') + text + b'"'
    yield b"\n]," + canonical({**head, "digest": f"sha256:{told.hexdigest()}"})[1:] + b"\n"


def opened(data: bytes, what: str, keys: Keys, name: str) -> Opened:
    """Return the text of an envelope, or the data itself where it is none.

    Raises StateError for what is not whole, is something else's, or has a key that is not known.
    """
    if _NAME not in data:
        return Opened(data)
    try:
        shape = loads(data)
    except ValueError:
        return Opened(data)
    if not isinstance(shape, dict) or not isinstance(shape.get("encrypted"), list):
        return Opened(data)
    try:
        return _opened(shape, what, keys, name)
    except (Forged, KeyError, TypeError, ValueError, AttributeError, binascii.Error) as problem:
        why = str(problem) or "it was not written there with its key"
        raise _refused(
            "state-corrupt", f"{name}: what is encrypted there is damaged: {why}"
        ) from None


def _opened(shape: dict[str, Any], what: str, keys: Keys, name: str) -> Opened:
    parts, digest = shape.pop("encrypted"), shape.pop("digest")
    if shape["version"] > VERSION:
        raise _refused(
            "state-newer",
            f"{name} has version {shape['version']}, made by a newer reconciler; this one knows"
            f" {VERSION}",
            "Upgrade reconciler.",
        )
    told = hashlib.sha256(canonical(shape))
    for part in parts:
        told.update(part.encode("ascii") + b"\n")
    if digest != f"sha256:{told.hexdigest()}":
        raise ValueError("its digest does not fit")
    key, of = shape["encryption"]["key"], shape["encryption"]["of"]
    if of != what:
        raise ValueError(f"it is a {of}, not a {what}")
    cipher = keys.reading(key, shape["workspace"], shape["lineage"], name)
    if not isinstance(cipher, Aes):
        raise ValueError("it names no key")
    last = len(parts) - 1
    text = b"".join(
        cipher.open_text(
            base64.b64decode(part, validate=True), _about(shape, number, last=number == last)
        )
        for number, part in enumerate(parts)
    )
    return Opened(text, key, told.hexdigest())


def _about(head: Mapping[str, Any], number: int, *, last: bool) -> bytes:
    return canonical([head, number, last])


def _parts(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield the text in parts of about a mebibyte, each with whether it is the last."""
    held = bytearray()
    for piece in pieces:
        if len(held) >= _PART:
            yield bytes(held), False
            held.clear()
        held += piece
    yield bytes(held), True


def _refused(
    id: str, summary: str, hint: str = "Put back the last good version, if there is one."
) -> ReconcilerError:
    return StateError.of(id, summary, hint=hint)
