"""UserSig: how Tencent Cloud Chat's server API authenticates a call."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import zlib
from collections.abc import Mapping
from typing import Final

VALID: Final = 86_400
"""Seconds that a signature is good for. Every attempt is signed anew, so a day is plenty."""

_ALPHABET: Final = bytes.maketrans(b"+/=", b"*-_")


def usersig(sdk_app_id: str, identifier: str, secret: str, now: float, valid: int = VALID) -> str:
    """Return the UserSig (version 2.0) of an account, issued at `now` (Unix seconds).

    Four lines are signed with HMAC-SHA256 and the app's secret as its literal text; the JSON that
    carries the signature is deflated and written in the vendor's own base64 alphabet (vendor's
    signers for Python and JavaScript). It is as good as a password of that account until it ends.
    """
    issued = int(now)
    signed = (
        f"TLS.identifier:{identifier}\n"
        f"TLS.sdkappid:{int(sdk_app_id)}\n"
        f"TLS.time:{issued}\n"
        f"TLS.expire:{valid}\n"
    )
    digest = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
    told: Mapping[str, str | int] = {
        "TLS.ver": "2.0",
        "TLS.identifier": identifier,
        "TLS.sdkappid": int(sdk_app_id),
        "TLS.expire": valid,
        "TLS.time": issued,
        "TLS.sig": base64.b64encode(digest).decode(),
    }
    packed = zlib.compress(json.dumps(told, separators=(",", ":")).encode())
    return base64.b64encode(packed).translate(_ALPHABET).decode()
