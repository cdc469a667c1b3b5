"""UserSig of Tencent Cloud Chat, verified by taking it apart and signing what it says again."""

import base64
import binascii
import hashlib
import hmac
import json
import zlib
from typing import Literal

Verdict = Literal["good", "malformed", "app", "user", "key", "expired"]

_PLAIN = bytes.maketrans(b"*-_", b"+/=")
_LONGEST = 4096


def verified(sig: str, app: str, identifier: str, secret: str, now: float) -> Verdict:
    """Judge a UserSig that claims to be of `identifier` in the app, at `now` since the epoch.

    Signers order and space the JSON differently, so what it says is signed anew and compared.
    """
    told = _opened(sig)
    if told is None:
        return "malformed"
    issued, valid, given = told.get("TLS.time"), told.get("TLS.expire"), told.get("TLS.sig")
    if type(issued) is not int or type(valid) is not int or not isinstance(given, str):
        return "malformed"
    if str(told.get("TLS.sdkappid")) != app:
        return "app"
    if told.get("TLS.identifier") != identifier:
        return "user"
    lines = {"identifier": identifier, "sdkappid": app, "time": issued, "expire": valid}
    text = "".join(f"TLS.{name}:{value}\n" for name, value in lines.items())
    made = hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()
    if not hmac.compare_digest(base64.b64encode(made), given.encode(errors="replace")):
        return "key"
    return "good" if now < issued + valid else "expired"


def _opened(sig: str) -> dict[str, object] | None:
    """Return what a UserSig of version 2.0 says, None for anything else."""
    try:
        packed = base64.b64decode(sig.encode("ascii").translate(_PLAIN), validate=True)
        told = json.loads(zlib.decompressobj().decompress(packed, _LONGEST))
    except (ValueError, binascii.Error, zlib.error, RecursionError):
        return None
    return told if isinstance(told, dict) and told.get("TLS.ver") == "2.0" else None
