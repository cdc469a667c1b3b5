"""Capabilities for the tests of the configuration room: two vendors small enough to see whole."""

from __future__ import annotations

import re

from reconciler.capabilities import Capabilities, Field, IdRule, Support


def _text(limit: int, unit: str = "characters") -> Field:
    return Field(Support.NATIVE, "", limit, unit)  # type: ignore[arg-type]


_FLAG = Field(Support.NATIVE, False)

YUNXIN = Capabilities(
    type="yunxin",
    title="Yunxin",
    id=IdRule(
        re.compile(r"[A-Za-z0-9_@.-]{1,32}"),
        32,
        "characters",
        True,
        "1 to 32 of the letters a-z, digits, _ @ . and -",
    ),
    fields={
        "profile.name": _text(64),
        "profile.avatar": _text(1024),
        "profile.sign": _text(256),
        "profile.email": _text(64),
        "profile.birthday": _text(16),
        "profile.mobile": _text(32),
        "profile.extension": _text(1024),
        "profile.gender": Field(Support.NATIVE, 0, choices=(0, 1, 2)),
        "configuration.p2p_chat_banned": _FLAG,
        "configuration.team_chat_banned": _FLAG,
        "configuration.chatroom_chat_banned": _FLAG,
        "configuration.qchat_chat_banned": _FLAG,
        "configuration.push_enabled_when_desktop_online": Field(Support.NATIVE, True),
        "banned": _FLAG,
        "banned.kick": Field(Support.NATIVE, True),
        "banned.notify": Field(Support.NATIVE, None, 256),
        "token": Field(Support.UNREADABLE, None, 128),
        "token.vendor": Field(Support.UNREADABLE, None),
    },
    regions={"china": "https://open.yunxinapi.com", "singapore": "https://open-sg.yunxinapi.com"},
    calls={},
    rates={"": 100.0},
    credentials=("app_key", "app_secret"),
)

TENCENT = Capabilities(
    type="tencent",
    title="Tencent Chat",
    id=IdRule(re.compile(r"[!-~]{1,32}"), 32, "bytes", False, "1 to 32 printable bytes"),
    fields={
        "profile.name": _text(500, "bytes"),
        "profile.avatar": _text(500, "bytes"),
        "profile.gender": Field(Support.NATIVE, 0, choices=(0, 1, 2)),
        "profile.level": Field(Support.NATIVE, 0),
        "profile.role": Field(Support.NATIVE, 0),
        "profile.language": Field(Support.NATIVE, 0),
        "profile.location": _text(16, "bytes"),
        "profile.allow_type": Field(
            Support.NATIVE, "need_confirm", choices=("need_confirm", "allow_any", "deny_any")
        ),
        "profile.custom.*": _text(500, "bytes"),
        "configuration.p2p_chat_banned": _FLAG,
        "configuration.team_chat_banned": _FLAG,
        "banned": Field(Support.EMULATED, False),
    },
    regions={
        "china": "https://console.tim.qq.com",
        "singapore": "https://adminapisgp.im.qcloud.com",
    },
    calls={},
    rates={"": 200.0},
    credentials=("sdk_app_id", "admin", "secret_key"),
)

TABLES = {"yunxin": YUNXIN, "tencent": TENCENT}

WORKSPACE = """\
version: 1
workspace: prod-im
providers:
  cn:
    type: yunxin
    region: china
    credentials: {app_key: env:YUNXIN_APP_KEY, app_secret: env:YUNXIN_APP_SECRET}
accounts:
  - accounts/**/*.yaml
secrets: {allow: ["env:IM_TOKEN_*", "file:secrets/*"]}
"""

BOTH = WORKSPACE.replace(
    "accounts:\n",
    """\
  sg:
    type: tencent
    region: singapore
    credentials: {sdk_app_id: 1400000000, admin: administrator, secret_key: env:TENCENT_KEY}
accounts:
""",
)
