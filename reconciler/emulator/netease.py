"""What both generations of the NetEase server API share: the signature, ids and field limits."""

import hashlib
import re
from collections.abc import Mapping
from typing import Literal

Signature = Literal["good", "header", "app", "expired", "checksum"]

SKEW = 300.0
"""Seconds that CurTime may differ from the server's clock (vendor page: how to call)."""

TEXT_LIMITS: Mapping[str, int] = {
    "name": 64,
    "avatar": 1024,
    "sign": 256,
    "email": 64,
    "birthday": 16,
    "mobile": 32,
    "extension": 1024,
}
"""Most characters of each profile text, by its v2 name (vendor page: register account)."""

BANS = ("p2p_chat_banned", "team_chat_banned", "chatroom_chat_banned", "qchat_chat_banned")
"""The four module mutes by their v2 names; all default to false."""

PUSH = "push_enabled_when_desktop_online"
"""The push switch by its v2 name; defaults to true and is the inverse of v1's donnopOpen."""

TOKEN_LIMIT = 128
NOTIFY_LIMIT = 256
ID_LIMIT = 32

_ID = re.compile(r"[A-Za-z0-9_@.\-]{1,32}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_DIGITS = re.compile(r"[0-9]{1,20}")


def signature(app_key: str, app_secret: str, headers: Mapping[str, str], wall: float) -> Signature:
    """Judge the four headers of a call; names in `headers` are lower-case.

    CheckSum is the lower-case hex SHA-1 of AppSecret, Nonce and CurTime; CurTime is in seconds,
    so that thirteen digits of milliseconds are far outside the window; Nonce has 1 to 128
    characters (vendor page: how to call). What is judged first where several are wrong is the
    order of the words: header, app, expired, checksum.
    """
    key = headers.get("appkey", "")
    nonce = headers.get("nonce", "")
    moment = headers.get("curtime", "")
    if not key or not 1 <= len(nonce) <= 128 or _DIGITS.fullmatch(moment) is None:
        return "header"
    if key != app_key:
        return "app"
    if abs(wall - int(moment)) > SKEW:
        return "expired"
    signed = app_secret.encode() + nonce.encode("latin-1") + moment.encode()
    if hashlib.sha1(signed, usedforsecurity=False).hexdigest() != headers.get("checksum"):
        return "checksum"
    return "good"


def is_id(text: str) -> bool:
    """Return whether a text may be an account id: 1 to 32 of letters, digits, _ @ . and -."""
    return _ID.fullmatch(text) is not None


def folded(text: str) -> str:
    """Return an account id as the server keeps it, in lower case (vendor page: IM account)."""
    return text.lower()


def is_email(text: str) -> bool:
    """Return whether a text has the shape of an e-mail address."""
    return _EMAIL.fullmatch(text) is not None


def fits(text: str, limit: int, unit: Literal["code_points", "utf16"]) -> bool:
    """Return whether a text is Unicode that can be sent and has at most `limit` characters."""
    if len(text) > limit:
        return False
    if text.isascii():
        return True
    try:
        wide = text.encode("utf-16-le")
    except UnicodeEncodeError:
        return False
    return unit == "code_points" or len(wide) // 2 <= limit
