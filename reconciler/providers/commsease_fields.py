"""CommsEase's fields: what version 1 calls them, and the capability table."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from reconciler.capabilities import Capabilities, Field, Support
from reconciler.providers.netease import ID

_REGISTER = "vendor page: Register an Account (CommsEase, v1, 2022-11-25)"
_ACCOUNT = "vendor page: CommsEase IM account (v1, 2022-11-25)"
_CARD = "user profile (v1): doc.yunxin.163.com/messaging/server-apis/zI0NzYyMDQ"
_BAN = "ban an account (v1): doc.commsease.com/en/messaging/server-apis/TUzOTA4NTY"
_MUTE = "mute by module (v1): doc.commsease.com/en/messaging/server-apis/DU5NDM5MjQ"
_SDK = "the vendor's server SDK: github.com/netease-im/yunxin-server-sdk-java"
PUSH = "configuration.push_enabled_when_desktop_online"

PROFILE: Final = MappingProxyType(
    {
        "name": "name",
        "avatar": "icon",
        "sign": "sign",
        "email": "email",
        "birthday": "birth",
        "mobile": "mobile",
        "gender": "gender",
        "extension": "ex",
    }
)
"""Profile fields, and what version 1 calls them."""

MUTES: Final = MappingProxyType(
    {
        "p2p_chat_banned": "muteP2P",
        "team_chat_banned": "muteTeam",
        "chatroom_chat_banned": "muteRoom",
        "qchat_chat_banned": "muteQChat",
    }
)
"""Chat flags, and what version 1 calls them."""


def _text(limit: int, note: str = "") -> Field:
    return Field(Support.NATIVE, "", limit, note=note, source=_CARD)


CAPABILITIES: Final = Capabilities(
    type="commsease",
    title="NetEase CommsEase, classic server API v1",
    id=ID,
    fields=MappingProxyType(
        {
            "profile.name": _text(64),
            "profile.avatar": _text(1024, "a URL"),
            "profile.sign": _text(256),
            "profile.email": _text(64),
            "profile.birthday": _text(16),
            "profile.mobile": _text(32, "outside mainland China with its country code"),
            "profile.gender": Field(Support.NATIVE, 0, choices=(0, 1, 2), source=_CARD),
            "profile.extension": _text(1024),
            **{
                f"configuration.{name}": Field(Support.NATIVE, False, source=_MUTE)
                for name in MUTES
            },
            PUSH: Field(
                Support.UNREADABLE,
                True,
                source=_SDK,
                note="the vendor takes it only after the account's first login, as its inverse",
            ),
            "banned": Field(
                Support.UNREADABLE,
                False,
                source=_ACCOUNT,
                note="version 1 has no way to ask for it; what is recorded is what was done",
            ),
            "banned.kick": Field(Support.NATIVE, True, source=_ACCOUNT),
            "banned.notify": Field(
                Support.NATIVE, None, 256, note="shown by SDK 7.7.0 and newer", source=_BAN
            ),
            "token": Field(
                Support.UNREADABLE,
                None,
                128,
                source=_ACCOUNT,
                note="never given back; version or keyed fingerprint tells a change",
            ),
            "token.vendor": Field(
                Support.NATIVE,
                None,
                source=_ACCOUNT,
                note="minted by the vendor; the weaker choice, as a lost answer loses it",
            ),
        }
    ),
    regions=MappingProxyType(
        {
            "china": "https://api.yunxinapi.com/nimserver",
            "singapore": "https://api-sg.yunxinapi.com/nimserver",
        }
    ),
    calls=MappingProxyType(
        {
            "create": ("create",),
            "created.configuration": ("mute_module",),
            f"created.{PUSH}": (),
            "profile": ("update_uinfo",),
            "configuration": ("mute_module",),
            "token": ("update_token",),
            "token.vendor": ("refresh_token",),
            PUSH: ("set_donnop",),
            "block": ("block",),
            "unblock": ("unblock",),
            "read": ("get_uinfos",),
        }
    ),
    rates=MappingProxyType({"": 100.0}),
    batch=MappingProxyType({"read": 200, "create": 1}),
    # Nobody says what version 1 refuses for a blocked account, so nothing waits: 422 would tell.
    waits=(),
    after_login=(PUSH,),
    credentials=("app_key", "app_secret"),
    entry="""\
  sg-prod:
    type: commsease  # CommsEase, the classic server API v1
    region: singapore  # or china; for a private deployment or the emulator instead:
    # endpoint: http://127.0.0.1:8900/nimserver
    credentials: {app_key: env:COMMSEASE_APP_KEY, app_secret: env:COMMSEASE_APP_SECRET}
""",
    penalty=10.0,
    sources=MappingProxyType(
        {
            "id": _REGISTER,
            "regions": "how to call (v1): doc.yunxin.163.com/messaging/server-apis/jk3MzY2MTI",
            "rates": "vendor page: API list and rate limits (v1)",
            "batch": _CARD,
        }
    ),
)
