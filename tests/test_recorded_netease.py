"""What NetEase's public pages say about requests, against the bytes that both versions send.

The pages are listed in `recorded_netease.py`; what only the vendor's server SDK tells is marked.
"""

from __future__ import annotations

import hashlib
from urllib.parse import unquote

import pytest
from recorded_netease import (
    APP_KEY,
    GOOD,
    JSON,
    PUSH,
    TOKEN_REF,
    TOKEN_SINK,
    Speak,
    Wire,
    banned,
    changed,
    form,
    lifted,
    made,
    read,
    spoken,
    wire,
)
from transport_faults import APP_SECRET, TOKEN

FULL = {
    "profile": {
        "name": "张三",
        "avatar": "https://netease/xxx.png",
        "sign": "a&b=c +",
        "email": "zhangsan@xx.com",
        "birthday": "1974-12-27",
        "mobile": "+852-12345678",
        "gender": 2,
        "extension": '{"level":1}',
    },
    "token": {"value": TOKEN_REF},
}
V1: dict[str, tuple[Speak, list[Wire]]] = {
    "create": (
        made(
            **FULL, configuration={"p2p_chat_banned": True, "qchat_chat_banned": True, PUSH: True}
        ),
        [
            form(
                "create",
                accid="zhangsan",
                token=TOKEN,
                name="张三",
                icon="https://netease/xxx.png",
                sign="a&b=c +",
                email="zhangsan@xx.com",
                birth="1974-12-27",
                mobile="+852-12345678",
                gender="2",
                ex='{"level":1}',
            ),
            form("muteModule", accid="zhangsan", muteP2P="true", muteQChat="true"),
        ],
    ),
    "create of an id alone": (made(), [form("create", accid="zhangsan")]),
    "profile, an empty text clears": (
        changed(profile__avatar="", profile__gender=0, profile__birthday="xxxx-xx-xx"),
        [form("updateUinfo", accid="zhangsan", icon="", gender="0", birth="xxxx-xx-xx")],
    ),
    "mutes by module": (
        changed(configuration__team_chat_banned=False, configuration__chatroom_chat_banned=True),
        [form("muteModule", accid="zhangsan", muteTeam="false", muteRoom="true")],
    ),
    "token": (changed(TOKEN_REF), [form("update", accid="zhangsan", token=TOKEN)]),
    "token minted by the vendor": (
        changed(TOKEN_SINK),
        [form("refreshToken", accid="zhangsan")],
    ),
    # Vendor SDK: donnopOpen "true" says that the mobile is not pushed while a desktop is online.
    "push off": (
        changed(**{f"configuration__{PUSH}": False}),
        [form("setDonnop", accid="zhangsan", donnopOpen="true")],
    ),
    "push on": (
        changed(**{f"configuration__{PUSH}": True}),
        [form("setDonnop", accid="zhangsan", donnopOpen="false")],
    ),
    "block": (
        banned(reason="spam", notify='{"why":"条款"}'),
        [form("block", accid="zhangsan", needkick="true", kickNotifyExt='{"why":"条款"}')],
    ),
    "block without a kick": (
        banned(kick=False),
        [form("block", accid="zhangsan", needkick="false")],
    ),
    "unblock": (lifted, [form("unblock", accid="zhangsan")]),
    "read": (
        read("a_1", "b@x.y-z"),
        [form("getUinfos", accids='["a_1","b@x.y-z"]', muteStatus="true")],
    ),
}
ONE = "/im/v2/accounts/zhangsan"
V2: dict[str, tuple[Speak, list[Wire]]] = {
    "create": (
        made(
            **FULL, configuration={"p2p_chat_banned": True, "qchat_chat_banned": False, PUSH: True}
        ),
        [
            Wire(
                "POST",
                "/im/v2/accounts",
                JSON,
                {
                    "account_id": "zhangsan",
                    "token": TOKEN,
                    "configuration": {"p2p_chat_banned": True, "qchat_chat_banned": False},
                    "user_information": FULL["profile"],
                },
            )
        ],
    ),
    "create of an id alone": (
        made(),
        [Wire("POST", "/im/v2/accounts", JSON, {"account_id": "zhangsan"})],
    ),
    "profile, an empty text clears": (
        changed(profile__avatar="", profile__gender=0),
        [Wire("PATCH", "/im/v2/users/zhangsan", JSON, {"avatar": "", "gender": 0})],
    ),
    "flags and token": (
        changed(TOKEN_REF, configuration__team_chat_banned=False),
        [Wire("PATCH", ONE, JSON, {"configuration": {"team_chat_banned": False}, "token": TOKEN})],
    ),
    # Neither body nor type, as the vendor's Go SDK sends it.
    "token minted by the vendor": (
        changed(TOKEN_SINK),
        [Wire("PATCH", f"{ONE}/actions/refresh_token")],
    ),
    "push off": (
        changed(**{f"configuration__{PUSH}": False}),
        [Wire("PATCH", f"{ONE}/actions/push_config", JSON, {PUSH: False})],
    ),
    "block": (
        banned(reason="spam", notify="bye"),
        [
            Wire(
                "PATCH",
                f"{ONE}/actions/disable",
                JSON,
                {"enabled": False, "need_kick": True, "kick_notify_extension": "bye"},
            )
        ],
    ),
    "block without a kick": (
        banned(kick=False),
        [Wire("PATCH", f"{ONE}/actions/disable", JSON, {"enabled": False, "need_kick": False})],
    ),
    "unblock": (lifted, [Wire("PATCH", f"{ONE}/actions/disable", JSON, {"enabled": True})]),
    "an id with an at sign in the path": (
        lambda speaks: speaks.unblock("b@x.y-z", {}),
        [Wire("PATCH", "/im/v2/accounts/b%40x.y-z/actions/disable", JSON, {"enabled": True})],
    ),
}
SHAPES = [
    *(("commsease", *case) for case in V1.values()),
    *(("yunxin", *case) for case in V2.values()),
]
IDS = [*(f"v1 {name}" for name in V1), *(f"v2 {name}" for name in V2)]


@pytest.mark.parametrize(("vendor", "speak", "wires"), SHAPES, ids=IDS)
def test_what_is_sent(vendor: str, speak: Speak, wires: list[Wire]) -> None:
    """Each operation is the documented method, path, content type and body, and nothing more."""
    _, seen = spoken(vendor, speak)
    assert [wire(exchange) for exchange in seen] == wires


def test_what_is_sent_to_read_with_version_2() -> None:
    """Ids are joined by commas and percent-encoded; neither reading has a body or a type."""
    listed = {"code": 200, "msg": "success", "data": {"success_list": [{"account_id": "b@x"}]}}
    _, seen = spoken("yunxin", read("a", "b@x"), listed)
    assert [wire(exchange) for exchange in seen] == [
        Wire("GET", "/im/v2/accounts?account_ids=a%2Cb%40x"),
        Wire("GET", "/im/v2/users?account_ids=b%40x"),
    ]
    assert unquote(wire(seen[0]).path).endswith("=a,b@x")


@pytest.mark.parametrize(
    ("vendor", "trace"), [("commsease", "RequestId"), ("yunxin", "X-custom-traceid")]
)
def test_every_call_is_signed(vendor: str, trace: str) -> None:
    """AppKey, Nonce, CurTime and CheckSum are as documented, and each attempt's id is its own.

    CheckSum is the lower-case hex SHA-1 of AppSecret, Nonce and CurTime. The vendor de-duplicates
    on the id (vendor SDK), so a repeated call must not repeat it.
    """
    busy = {"code": 449, "desc": "need retry", "msg": "need retry", "data": {}}
    _, seen = spoken(vendor, changed(profile__name="A"), busy, busy, GOOD[vendor])
    assert len(seen) == 3
    for exchange in seen:
        names = [line.partition(":")[0] for line in exchange.head.split("\r\n")[1:]]
        nonce, moment = exchange.header("Nonce"), exchange.header("CurTime")
        digest = hashlib.sha1(b"".join(part.encode() for part in (APP_SECRET, nonce, moment)))
        assert {"AppKey", "Nonce", "CurTime", "CheckSum", trace} <= set(names)
        assert exchange.header("AppKey") == APP_KEY
        assert 1 <= len(nonce) <= 128
        assert abs(int(moment) - 1_000_000) <= 5 * 60
        assert exchange.header("CheckSum") == digest.hexdigest()
        assert APP_SECRET not in exchange.head + exchange.body.decode()
    assert len({exchange.header(trace) for exchange in seen}) == 3
    # What coreutils' sha1sum makes of that secret, the nonce 0…01 and 1000000.
    assert seen[0].header("CheckSum") == "ef2704a83a29972258a4c42d0fc228aadc9963cb"
