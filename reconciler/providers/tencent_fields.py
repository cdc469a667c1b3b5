"""Tencent Cloud Chat's fields: the tags they are kept in, and the capability table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from reconciler.capabilities import UNSUPPORTED, Capabilities, Field, IdRule, Support

CUSTOM: Final = "Tag_Profile_Custom_"
"""What the names of custom tags begin with."""

MUTES: Final = MappingProxyType(
    {"p2p_chat_banned": "C2CmsgNospeakingTime", "team_chat_banned": "GroupmsgNospeakingTime"}
)
"""Chat flags, and the mute that each is."""

IMPORTED: Final = MappingProxyType({"profile.name": "Nick", "profile.avatar": "FaceUrl"})
"""What an import takes of the profile; all else follows with calls of its own."""

_PATH: Final = "profile.custom."
_KEY: Final = re.compile(r"[A-Za-z]{1,8}")
_PAGES: Final = "cloud.tencent.com/document/product/269"
_PROFILE_PAGE: Final = f"profile fields: {_PAGES}/3558"
_MUTE_PAGE: Final = f"set global mute: {_PAGES}/4230"
_GENDERS: Final = ("Gender_Type_Unknown", "Gender_Type_Male", "Gender_Type_Female")
_ALLOWS: Final = MappingProxyType(
    {
        "need_confirm": "AllowType_Type_NeedConfirm",
        "allow_any": "AllowType_Type_AllowAny",
        "deny_any": "AllowType_Type_DenyAny",
    }
)
TAGS: Final = MappingProxyType(
    {
        "name": "Tag_Profile_IM_Nick",
        "avatar": "Tag_Profile_IM_Image",
        "sign": "Tag_Profile_IM_SelfSignature",
        "birthday": "Tag_Profile_IM_BirthDay",
        "gender": "Tag_Profile_IM_Gender",
        "location": "Tag_Profile_IM_Location",
        "language": "Tag_Profile_IM_Language",
        "level": "Tag_Profile_IM_Level",
        "role": "Tag_Profile_IM_Role",
        "allow_type": "Tag_Profile_IM_AllowType",
    }
)
"""The standard profile fields, and the tag of each."""

_BAN = (
    "the vendor has no ban: muted for good, sessions ended; a newly signed UserSig logs in again, "
    "so whoever issues UserSigs must refuse blocked users"
)
_UNTAGGED = f"{_BAN}; without blocked_tag it cannot be told from two permanent mutes"


def _text(limit: int = 500, note: str = "") -> Field:
    return Field(Support.NATIVE, "", limit, "bytes", note=note, source=_PROFILE_PAGE)


def _number(note: str = "0 to 4294967295, the app's own meaning") -> Field:
    return Field(Support.NATIVE, 0, note=note, source=_PROFILE_PAGE)


@dataclass(frozen=True, slots=True)
class _Table(Capabilities):
    """The table with the vendor's rule for custom keys."""

    def field(self, path: str) -> Field:
        """Return the field at a path; a custom key must be letters, at most 8."""
        key = path.removeprefix(_PATH)
        if key != path and not _KEY.fullmatch(key):
            return UNSUPPORTED
        return Capabilities.field(self, path)


def table(marker: str) -> Capabilities:
    """Return the table of an app; `marker` is the tag that marks bans, empty without one."""
    marks = ("portrait_set",) if marker else ()
    return _Table(
        type="tencent",
        title="Tencent Cloud Chat, server API v4",
        id=IdRule(
            re.compile(r"[A-Za-z0-9_-]{1,32}"),
            32,
            "bytes",
            folds=False,
            words="1 to 32 of the letters A-Z and a-z, digits, _ and -",
        ),
        fields=MappingProxyType(_fields(marker)),
        regions=MappingProxyType(
            {
                "china": "https://console.tim.qq.com",
                "singapore": "https://adminapisgp.im.qcloud.com",
                "seoul": "https://adminapikr.im.qcloud.com",
                "tokyo": "https://adminapijpn.im.qcloud.com",
                "frankfurt": "https://adminapiger.im.qcloud.com",
                "silicon-valley": "https://adminapiusa.im.qcloud.com",
                "jakarta": "https://adminapiidn.im.qcloud.com",
            }
        ),
        calls=MappingProxyType(
            {
                "create": ("multiaccount_import",),
                "created.profile": ("portrait_set",),
                **{f"created.{path}": () for path in IMPORTED},
                "created.configuration": ("setnospeaking",),
                "profile": ("portrait_set",),
                "configuration": ("setnospeaking",),
                "block": ("setnospeaking", *marks),
                "banned.kick": ("kick",),
                "unblock": ("setnospeaking", *marks),
                "read": ("account_check", "portrait_get", "getnospeaking"),
            }
        ),
        rates=MappingProxyType({"": 200.0, "multiaccount_import": 100.0, "account_check": 100.0}),
        batch=MappingProxyType({"read": 100, "create": 100}),
        waits=("configuration.",),
        lapses=tuple(f"configuration.{name}" for name in MUTES),
        credentials=("sdk_app_id", "admin", "secret_key"),
        entry="""\
  sg-chat:
    type: tencent  # Tencent Cloud Chat
    region: singapore  # or china, seoul, tokyo, frankfurt, silicon-valley, jakarta
    # endpoint: http://127.0.0.1:8900  # the emulator, instead of a region
    credentials:
      sdk_app_id: env:TENCENT_SDK_APP_ID
      admin: administrator
      secret_key: env:TENCENT_SECRET_KEY
    # Registered in the console, this lets bans be read back:
    # blocked_tag: Tag_Profile_Custom_Blocked
""",
        # No page says how long a throttled API stays closed; the rates are per second.
        penalty=1.0,
        reserved=("administrator", "@RBT#*", "@TLS#*"),
        sources=_SOURCES,
    )


_SOURCES: Final = MappingProxyType(
    {
        "id": f"import an account: {_PAGES}/1608; letters from the documents of UserSig signers",
        "regions": f"REST API overview: {_PAGES}/1519",
        "rates": f"the page of each API: {_PAGES}/1608, 4919, 1640, 1639, 4230, 4229, 3853, and "
        "tencentcloud.com/document/product/1047/34956",
        "batch": f"import accounts: {_PAGES}/4919; read profiles: {_PAGES}/1639",
    }
)


def _fields(marker: str) -> dict[str, Field]:
    choices = tuple(_ALLOWS)
    mute = Field(Support.NATIVE, False, note="global mute, for good", source=_MUTE_PAGE)
    ban = _BAN if marker else _UNTAGGED
    return {
        "profile.name": _text(),
        "profile.avatar": _text(note="a URL"),
        "profile.sign": _text(),
        "profile.birthday": Field(
            Support.NATIVE, "", note="kept as the number YYYYMMDD", source=_PROFILE_PAGE
        ),
        "profile.gender": Field(Support.NATIVE, 0, choices=(0, 1, 2), source=_PROFILE_PAGE),
        "profile.location": _text(16, "older pages and SDKs say 16 bytes, the newest 500"),
        "profile.language": _number(),
        "profile.level": _number(),
        "profile.role": _number(),
        "profile.allow_type": Field(
            Support.NATIVE,
            "need_confirm",
            choices=choices,
            note="no page says with which one an account begins",
            source=_PROFILE_PAGE,
        ),
        f"{_PATH}*": _text(
            note="key of 1 to 8 letters, at most 20 an app, registered in the console; read back "
            "where the console lets an admin of the app read it"
        ),
        # The mark of bans is nobody's custom field.
        **({_PATH + marker.removeprefix(CUSTOM): UNSUPPORTED} if marker else {}),
        "configuration.p2p_chat_banned": mute,
        "configuration.team_chat_banned": mute,
        "banned": Field(Support.EMULATED, False, note=ban, source=_MUTE_PAGE),
        "banned.kick": Field(Support.NATIVE, True, source=f"kick: {_PAGES}/3853"),
    }


def custom_tag(path: str) -> str:
    """Return the custom tag that a profile field is kept in, empty if it is no custom field."""
    key = path.removeprefix(_PATH)
    return CUSTOM + key if key != path else ""


def written(path: str, value: Any) -> tuple[str, Any]:
    """Return the tag of a profile field, and the value as the vendor writes it."""
    if custom := custom_tag(path):
        return custom, value
    name = path.removeprefix("profile.")
    match name:
        case "gender":
            value = _GENDERS[value]
        case "allow_type":
            value = _ALLOWS[value]
        case "birthday":
            value = int(value.replace("-", "") or 0)
    return TAGS[name], value


def read(tags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the profile that tags are; one that nobody set is the default.

    Of custom fields only those are there whose tags were read.
    """
    profile: dict[str, Any] = {}
    for name, tag in TAGS.items():
        value = tags.get(tag)
        match name:
            case "gender":
                value = _GENDERS.index(value) if value in _GENDERS else 0
            case "allow_type":
                value = {theirs: ours for ours, theirs in _ALLOWS.items()}.get(str(value))
            case "birthday":
                digits = f"{value or 0:0>8}"
                value = f"{digits[:-4]}-{digits[-4:-2]}-{digits[-2:]}" if value else ""
            case "language" | "level" | "role":
                value = int(str(value)) if str(value).isdecimal() else 0
        default = "need_confirm" if name == "allow_type" else ""
        profile[name] = default if value is None else value
    custom = {
        tag.removeprefix(CUSTOM): value or ""
        for tag, value in tags.items()
        if tag.startswith(CUSTOM)
    }
    return {**profile, "custom": custom} if custom else profile
