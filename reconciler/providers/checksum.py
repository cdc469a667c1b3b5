"""CheckSum: how both generations of NetEase's server API authenticate a call."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from reconciler.conversation import Credentials, Request, Signed

_WORDS: Final = ("checksum", "appkey", "curtime")


def checksum(credentials: Credentials, now: float, nonce: str) -> Signed:
    """Return the four headers of one attempt.

    CheckSum is the lower-case hex SHA-1 of AppSecret, Nonce and CurTime in a row; CurTime is Unix
    time in seconds and good for five minutes; Nonce is at most 128 characters (vendor page: how
    to call). It does not cover the body, so a leaked header is a key to everything for that time.
    """
    current = str(int(now))
    text = f"{credentials.values['app_secret']}{nonce}{current}"
    return Signed(
        headers={
            "AppKey": credentials.values["app_key"],
            "Nonce": nonce,
            "CurTime": current,
            "CheckSum": hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(),
        }
    )


def about_signature(request: Request, text: str) -> bool:
    """Tell whether the words that come with 414 say that the signature was not taken.

    An account's own id may stand among them, and may be called "checksum".
    """
    words = text.casefold()
    for account_id in request.account_ids:
        own = rf"(?<![\w@.-]){re.escape(account_id.casefold())}(?![\w@.-])"
        words = re.sub(own, "", words)
    return any(word in words for word in _WORDS)
