"""The fields of Tencent Cloud Chat: account ids, profile tags and mutes, checked and shown."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace

from reconciler.emulator.guesses import Guesses
from reconciler.emulator.store import Account

Object = dict[str, object]

FOREVER = 4_294_967_295
"""A mute without an end, the largest value of the vendor's numbers."""

CUSTOM = "Tag_Profile_Custom_"
_STANDARD = "Tag_Profile_IM_"
_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_WIDE_ID = re.compile(r"[ -~]{1,32}")
_KEYWORD = re.compile(r"[A-Za-z]{1,8}")
_LONGEST = 500

NAMES = {
    "Nick": "name",
    "Image": "avatar",
    "SelfSignature": "sign",
    "BirthDay": "birthday",
    "Gender": "gender",
    "Location": "location",
    "Language": "language",
    "Level": "level",
    "Role": "role",
    "AllowType": "allow_type",
    "AdminForbidType": "admin_forbid_type",
    "MsgSettings": "msg_settings",
}
"""The standard tags by what follows their prefix, and the names their values are stored by."""

NUMBERS = frozenset({"BirthDay", "Language", "Level", "Role", "MsgSettings"})
CHOICES = {
    "Gender": ("Gender_Type_Unknown", "Gender_Type_Male", "Gender_Type_Female"),
    "AllowType": (
        "AllowType_Type_NeedConfirm",
        "AllowType_Type_AllowAny",
        "AllowType_Type_DenyAny",
    ),
    "AdminForbidType": ("AdminForbid_Type_None", "AdminForbid_Type_SendOut"),
}
MUTES = {
    "C2CmsgNospeakingTime": ("p2p_chat_banned", 130006),
    "GroupmsgNospeakingTime": ("team_chat_banned", 130007),
}
"""The two mutes, the flag each is stored by, and the code for a value that is no number."""


class Refusal(Exception):
    """Refuse a call with a vendor code."""

    def __init__(self, code: int, words: str = "") -> None:
        self.code = code
        self.words = words
        super().__init__(words)


def is_id(given: object, guesses: Guesses) -> bool:
    """Tell whether the vendor takes this as an account id."""
    rule = _WIDE_ID if guesses.tencent_wide_ids else _ID
    return (
        isinstance(given, str)
        and rule.fullmatch(given) is not None
        and not given.startswith(("@RBT#", "@TLS#"))
    )


def known(tag: object, guesses: Guesses) -> bool:
    """Tell whether a profile tag is a standard one, or a custom one that can be registered."""
    if not isinstance(tag, str):
        return False
    if tag.startswith(CUSTOM):
        keyword = _KEYWORD.fullmatch(tag.removeprefix(CUSTOM))
        return keyword is not None and guesses.tencent_custom_tags
    return tag.startswith(_STANDARD) and tag.removeprefix(_STANDARD) in NAMES


def checked(tag: str, value: object, guesses: Guesses) -> object:
    """Return the value of a known tag. Raises Refusal for one that the vendor does not take."""
    name = tag.removeprefix(_STANDARD)
    if name in NUMBERS:
        if type(value) is not int or not 0 <= value <= FOREVER:
            raise Refusal(40610, f"{tag} is a number of 32 bits")
        return value
    if not isinstance(value, str):
        raise Refusal(40610, f"{tag} is a text")
    if name in CHOICES and value not in CHOICES[name]:
        raise Refusal(40605, f"{tag} is one of {', '.join(CHOICES[name])}")
    most = guesses.tencent_location_bytes if name == "Location" else _LONGEST
    if len(value.encode(errors="replace")) > most:
        raise Refusal(40601, f"{tag} is at most {most} bytes")
    return value


def tagged(account: Account, changes: Mapping[str, object]) -> Account:
    """Return the account with tags set: standard ones by their plain names, custom in `extra`.

    Gender is stored as 0, 1 or 2; every other value as the vendor writes it.
    """
    profile, extra = dict(account.profile), dict(account.extra)
    for tag, value in changes.items():
        name = tag.removeprefix(_STANDARD)
        if tag.startswith(CUSTOM):
            extra[tag] = value
        elif name == "Gender":
            profile["gender"] = CHOICES["Gender"].index(str(value))
        else:
            profile[NAMES[name]] = value
    return replace(account, profile=profile, extra=extra)


def item(account: Account, tag: str, guesses: Guesses) -> list[Object]:
    """Return the answered item of one tag; a list without it where it was never set."""
    name = tag.removeprefix(_STANDARD)
    held = account.extra.get(tag) if tag.startswith(CUSTOM) else account.profile.get(NAMES[name])
    if name == "Gender" and isinstance(held, int) and 0 <= held < len(CHOICES[name]):
        held = CHOICES[name][held]
    if held is None:
        if guesses.tencent_unset_tags == "absent":
            return []
        held = 0 if name in NUMBERS else CHOICES.get(name, ("",))[0]
    return [{"Tag": tag, "Value": held}]


def muted(account: Account, changes: Mapping[str, int], now: float) -> Account:
    """Return the account with mutes set to 0, to a number of seconds from now, or for good."""
    flags, extra = dict(account.configuration), dict(account.extra)
    for name, seconds in changes.items():
        flag, _ = MUTES[name]
        flags[flag] = seconds == FOREVER
        extra.pop(_until(flag), None)
        if 0 < seconds < FOREVER:
            extra[_until(flag)] = now + seconds
    return replace(account, configuration=flags, extra=extra)


def mutes(account: Account, now: float) -> Object:
    """Return both mutes as they are read: what is left of each, in seconds."""
    left: Object = {}
    for name, (flag, _) in MUTES.items():
        ends = account.extra.get(_until(flag), 0.0)
        seconds = math.ceil(ends - now) if isinstance(ends, int | float) else 0
        left[name] = FOREVER if account.configuration.get(flag) else max(0, seconds)
    return left


def _until(flag: str) -> str:
    return f"{flag}_until"
