"""What both versions of the NetEase server API share: admission, accounts, ids and limits."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from reconciler.emulator.context import Context
from reconciler.emulator.exchange import Answer, Call, Perform
from reconciler.emulator.store import Account

VENDOR = "yunxin"
"""The name that the accounts of a NetEase app are stored under, for both versions."""

Signature = Literal["good", "header", "app", "expired", "checksum"]
Object = dict[str, object]

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


class Refusal(Exception):
    """Say that a call is refused: the vendor code and, where it helps, what is wrong."""

    def __init__(self, code: int, words: str = "") -> None:
        super().__init__(code, words)
        self.code = code
        self.words = words


def refusing(perform: Perform, failure: Callable[[int, str], Answer]) -> Perform:
    """Return an operation that answers a Refusal as a version of the API words it."""

    def performed(call: Call) -> Answer:
        try:
            return perform(call)
        except Refusal as refusal:
            return failure(refusal.code, refusal.words)

    return performed


@dataclass(frozen=True, slots=True)
class Gate:
    """Hold what a version lets through: seconds of a block after 416, and of a repeated `trace`.

    `trace` is the header that a repeated request has in common with the first one.
    """

    name: str
    block: float
    prolongs: bool
    trace: str
    repeats: float

    def judge(self, context: Context, call: Call) -> Signature | Literal["rate", "repeated"]:
        """Judge signature, then rate, then repetition; the first that is wrong, or `good`."""
        app = context.settings.app_key
        signed = signature(app, context.settings.app_secret, call.headers, call.wall)
        if signed != "good":
            return signed
        key = (self.name, app, call.api)
        if not context.throttle.allows(key, call.at, self.block, prolongs=self.prolongs):
            return "rate"
        trace = call.headers.get(self.trace)
        if not trace or not self.repeats:
            return "good"
        first = context.repeats.first((self.name, app, trace), call.at, self.repeats)
        return "good" if first else "repeated"


def registered(context: Context, given: str, token: str | None, about: Object) -> Account:
    """Return an account of the app as it is when it is made; without a token it is given one."""
    now = context.clock.wall()
    return Account(
        vendor=VENDOR,
        app=context.settings.app_key,
        id=folded(given),
        token=context.mint() if token is None else token,
        created_at=now,
        updated_at=now,
        profile=cleared(about),
    )


def held(context: Context, account_id: str) -> Account | None:
    """Return an account of the app, or None."""
    return context.store.get(VENDOR, context.settings.app_key, account_id)


def cleared(about: Mapping[str, object]) -> Object:
    """Return a profile without the texts that were cleared."""
    return {key: value for key, value in about.items() if value != ""}


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
