"""The fields of the server API v2: how each is checked on the way in and shown on the way out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconciler.emulator.guesses import Guesses
from reconciler.emulator.netease import (
    BANS,
    NOTIFY_LIMIT,
    PUSH,
    TEXT_LIMITS,
    TOKEN_LIMIT,
    Object,
    Refusal,
    fits,
    is_email,
)
from reconciler.emulator.store import Account

_NOT_KEPT = ("antispam_configuration", "email_validation_mode")


@dataclass(frozen=True, slots=True)
class Fields:
    """Read the keys of one JSON object; every method raises Refusal 414 for what breaks a rule.

    A key that is missing reads as None; null is a wrong type.
    """

    given: Mapping[str, object]
    guesses: Guesses

    def only(self, *keys: str) -> None:
        """Refuse other keys, unless the guess says that they are ignored."""
        if self.guesses.yunxin_unknown_keys == "reject":
            for key in self.given:
                if key not in keys:
                    raise Refusal(414, f"{key!a} is not known here")

    def text(self, key: str, limit: int) -> str | None:
        """Return a text of at most `limit` characters."""
        if key not in self.given:
            return None
        value = self.given[key]
        if not isinstance(value, str):
            raise Refusal(414, f"{key} is not a text")
        if not fits(value, limit, self.guesses.yunxin_text_unit):
            raise Refusal(414, f"{key} is longer than {limit} characters or no Unicode")
        return value

    def flag(self, key: str) -> bool | None:
        """Return true or false."""
        if key not in self.given:
            return None
        value = self.given[key]
        if not isinstance(value, bool):
            raise Refusal(414, f"{key} is not true or false")
        return value

    def choice(self, key: str, choices: Sequence[int]) -> int | None:
        """Return a whole number that is one of the choices."""
        if key not in self.given:
            return None
        value = self.given[key]
        if type(value) is not int or value not in choices:
            raise Refusal(414, f"{key} is none of {', '.join(map(str, choices))}")
        return value

    def texts(self, key: str, limit: int) -> None:
        """Check a list of at most `limit` texts."""
        value = self.given.get(key, [])
        if not isinstance(value, list) or len(value) > limit:
            raise Refusal(414, f"{key} is not a list of at most {limit}")
        if not all(isinstance(item, str) for item in value):
            raise Refusal(414, f"{key} holds something that is not a text")

    def object(self, key: str) -> Mapping[str, object]:
        """Return an object, empty when the key is missing."""
        value = self.given.get(key, {})
        if not isinstance(value, dict):
            raise Refusal(414, f"{key} is not an object")
        return value

    def inside(self, key: str) -> "Fields":
        """Return the fields of an object, none when the key is missing."""
        return Fields(self.object(key), self.guesses)

    def token(self) -> str | None:
        """Return the token, at most 128 characters (vendor page: register account)."""
        token = self.text("token", TOKEN_LIMIT)
        if token == "" and self.guesses.yunxin_empty_token_code != 200:
            raise Refusal(self.guesses.yunxin_empty_token_code, "token is empty")
        return token

    def notify(self) -> str | None:
        """Return the kick notification, at most 256 characters (vendor SDK)."""
        return self.text("kick_notify_extension", NOTIFY_LIMIT)

    def kick(self) -> tuple[bool, str | None]:
        """Return whether to kick, and with what notification."""
        return self.flag("need_kick") or False, self.notify()

    def flags(self) -> tuple[bool | None, Object]:
        """Return `enabled` and those of the four mutes that are given."""
        self.only("enabled", *BANS, PUSH)
        flags: Object = {key: self.flag(key) for key in BANS if key in self.given}
        return self.flag("enabled"), flags

    def push(self) -> bool | None:
        """Return the push switch."""
        return self.flag(PUSH)

    def profile(self, *, top: bool = False) -> Object:
        """Return the profile fields that are given; `top` where they are the request's own keys."""
        self.only(*TEXT_LIMITS, "gender", *(_NOT_KEPT if top else _NOT_KEPT[1:]))
        about: Object = {}
        for key, limit in TEXT_LIMITS.items():
            text = self.text(key, limit)
            if text is None:
                continue
            if text == "" and key in ("name", "extension") and not self.guesses.yunxin_clear_name:
                raise Refusal(414, f"{key} is empty")
            if key == "email" and text and not is_email(text):
                raise Refusal(414, "email is no e-mail address")
            about[key] = text
        gender = self.choice("gender", (0, 1, 2))
        if gender is not None:
            about["gender"] = gender
        self.choice("email_validation_mode", (0, 1, 2))
        self.object("antispam_configuration")
        return about


def configuration(account: Account) -> Object:
    """Return an account's flags as every answer shows them; missing ones have their defaults."""
    held = account.configuration
    flags: Object = {"enabled": account.enabled}
    for key in BANS:
        flags[key] = held.get(key, False)
    flags[PUSH] = held.get(PUSH, True)
    return flags


def profile(account: Account, guesses: Guesses) -> Object:
    """Return an account's profile; a text nobody set is empty or absent, as the guess says."""
    held = account.profile
    about: Object = {}
    for key in TEXT_LIMITS:
        if key in held:
            about[key] = held[key]
        elif guesses.yunxin_unset_texts == "empty":
            about[key] = ""
    about["gender"] = held.get("gender", 0)
    return about
