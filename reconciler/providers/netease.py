"""NetEase: what both versions of its server API share: CheckSum, envelope and account ids."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from reconciler.capabilities import IdRule
from reconciler.conversation import Credentials, Request, Result, Signed, Verdict, Why

ID: Final = IdRule(
    # A path of dots alone would leave the path of version 2, and both have the same accounts.
    re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_@.-]{1,32}"),
    32,
    "characters",
    folds=True,
    words="1 to 32 of the letters a-z, digits, _ @ . and -; the vendor lower-cases it",
)

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


def judge(
    status: int,
    body: Mapping[str, Any],
    words: str,
    causes: Mapping[str, Why],
    refused: Collection[str],
) -> Verdict:
    """Judge an envelope with a `code`, and a message under `words`; all results are HTTP 200.

    `causes` and `refused` are the codes that the vendor answers before it executes anything.
    """
    code = body.get("code")
    if isinstance(code, bool) or not isinstance(code, int):
        return Verdict(Result.AMBIGUOUS, str(status), "the answer carries no code")
    text, message = str(code), str(body.get(words, ""))
    if status == 200 and code == 200:
        return Verdict(Result.CONFIRMED, text, message)
    if why := causes.get(text):
        return Verdict(Result.REJECTED, text, message, why)
    if text in refused:
        return Verdict(Result.REJECTED, text, message)
    return Verdict(Result.AMBIGUOUS, text, message)


def about_signature(request: Request, text: str) -> bool:
    """Tell whether the words that come with 414 say that the signature was not taken.

    An account's own id may stand among them, and may be called "checksum".
    """
    words = text.casefold()
    for account_id in request.account_ids:
        own = rf"(?<![\w@.-]){re.escape(account_id.casefold())}(?![\w@.-])"
        words = re.sub(own, "", words)
    return any(word in words for word in _WORDS)
