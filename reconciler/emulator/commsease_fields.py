"""The form fields of the server API v1: checked on the way in and shown on the way out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from reconciler.emulator.guesses import Guesses
from reconciler.emulator.netease import (
    BANS,
    NOTIFY_LIMIT,
    TEXT_LIMITS,
    TOKEN_LIMIT,
    Object,
    Refusal,
    fits,
    is_email,
)
from reconciler.emulator.store import Account

NAMES: Mapping[str, str] = {
    "name": "name",
    "avatar": "icon",
    "sign": "sign",
    "email": "email",
    "birthday": "birth",
    "mobile": "mobile",
    "extension": "ex",
}
"""The profile texts by their v2 names, and what v1 calls them."""

MUTES: Mapping[str, str] = dict(
    zip(BANS, ("muteP2P", "muteTeam", "muteRoom", "muteQChat"), strict=True)
)
"""The module mutes by their v2 names, and what v1 calls them."""

PROFILE = (*NAMES.values(), "gender")

_FLAGS = {"true": True, "false": False}


def parsed(raw: bytes) -> Mapping[str, str]:
    """Return the fields of a form; the last of two equal names counts.

    Raises ValueError for what is no form in UTF-8.
    """
    if raw[:1] in (b"{", b"["):
        raise ValueError("this is JSON and no form")
    text = raw.decode("ascii")
    return dict(parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict"))


@dataclass(frozen=True, slots=True)
class Form:
    """Read the fields of one form; every method raises Refusal for what breaks a rule.

    A field that is missing reads as None.
    """

    given: Mapping[str, str]
    guesses: Guesses

    def only(self, *keys: str) -> None:
        """Refuse other fields, unless the guess says that they are ignored."""
        if self.guesses.commsease_unknown_fields == "reject":
            for key in self.given:
                if key not in keys:
                    raise Refusal(414, f"{key!a} is not known here")

    def text(self, key: str, limit: int) -> str | None:
        """Return a text of at most `limit` characters."""
        value = self.given.get(key)
        if value is not None and not fits(value, limit, self.guesses.yunxin_text_unit):
            raise Refusal(self.guesses.commsease_too_long_code, f"{key} is too long")
        return value

    def flag(self, key: str) -> bool | None:
        """Return true or false; a known client writes True with a capital letter."""
        if key not in self.given:
            return None
        value = _FLAGS.get(self.given[key].lower())
        if value is None:
            raise Refusal(414, f"{key} is not true or false")
        return value

    def ids(self, limit: int) -> tuple[str, ...]:
        """Return the ids of the JSON list `accids`, 1 to `limit` of them, as they are written."""
        found = listed(self.given.get("accids", ""))
        if not found or len(found) > limit:
            raise Refusal(414, f"accids is no JSON list of 1 to {limit} ids")
        return found

    def token(self) -> str | None:
        """Return the token, at most 128 characters (vendor page: IM account)."""
        token = self.text("token", TOKEN_LIMIT)
        if token == "" and self.guesses.commsease_empty_token_code != 200:
            raise Refusal(self.guesses.commsease_empty_token_code, "token is empty")
        return token

    def notify(self) -> str | None:
        """Return what a kicked session is told, at most 256 characters."""
        return self.text("kickNotifyExt", NOTIFY_LIMIT)

    def profile(self) -> Object:
        """Return the profile fields that are given, by their v2 names."""
        about: Object = {}
        for name, key in NAMES.items():
            text = self.text(key, TEXT_LIMITS[name])
            if text is None:
                continue
            if name == "email" and text and not is_email(text):
                raise Refusal(self.guesses.commsease_bad_email_code, "email is no e-mail address")
            about[name] = text
        gender = self.given.get("gender")
        if gender is not None:
            if gender not in ("0", "1", "2"):
                raise Refusal(414, "gender is none of 0, 1, 2")
            about["gender"] = int(gender)
        return about

    def mutes(self) -> Object:
        """Return those of the four module mutes that are given, by their v2 names."""
        return {name: self.flag(key) for name, key in MUTES.items() if key in self.given}


def listed(text: str) -> tuple[str, ...]:
    """Return the texts of a JSON list; nothing where it is none."""
    try:
        value = json.loads(text)
        # A lone surrogate can be read as JSON and then not be sent.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return ()
    return tuple(value)


def mutes(account: Account) -> Object:
    """Return the four module mutes of an account, as v1 names them."""
    return {key: account.configuration.get(name, False) for name, key in MUTES.items()}


def shown(account: Account, guesses: Guesses, *, with_mutes: bool) -> Object:
    """Return one item of `uinfos`; a text that nobody set is left out (vendor SDK)."""
    about: Object = {"accid": account.id}
    about |= {key: account.profile[name] for name, key in NAMES.items() if name in account.profile}
    about["gender"] = account.profile.get("gender", 0)
    if guesses.commsease_uinfos == "old":
        return about
    about["valid"] = account.enabled or guesses.commsease_blocked_is_valid
    about["mute"] = account.extra.get("mute", False)
    return about | mutes(account) if with_mutes else about
