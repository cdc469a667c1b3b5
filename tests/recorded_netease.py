"""NetEase's wire, both versions: what was sent to a server that answers as told, decoded.

Sources: how to call, v1 and v2 (doc.yunxin.163.com/messaging/server-apis/jk3MzY2MTI and
.../messaging2/server-apis/zcwODA3MTU); register account v2 (.../messaging2/server-apis/TQyNjgyMzc
and yunxin-im.apifox.cn/api-140031576), update (.../api-147081129), refresh token
(.../messaging2/server-apis/DUwODIwMTg), batch get (.../api-147175988); v1 account
(doc.commsease.com/en/messaging/server-apis/TUzOTA4NTY, ban; DUxNDQ3NjA, token), profile (zI0NzYyMDQ
at doc.yunxin.163.com/messaging/server-apis), mutes (DU5NDM5MjQ), codes (TM5NTk2Mzc). What only the
vendor's server SDK tells (github.com/netease-im/yunxin-server-sdk-java) is marked.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from transport_faults import Exchange, FakeClock, Server, http, resolve

from reconciler.conversation import Provider, ReadFailed, Sink, Token
from reconciler.providers import provider
from reconciler.transport import Transport
from reconciler.values import Reference
from reconciler.workspace import App

FORM = "application/x-www-form-urlencoded;charset=utf-8"
JSON = "application/json;charset=utf-8"
PUSH = "push_enabled_when_desktop_online"
APP_KEY = "key0123456789key"
TEXTS = ("name", "avatar", "sign", "email", "birthday", "mobile", "extension")
TOKEN_REF = Reference("env:IM_TOKEN")
TOKEN_SINK = Sink(Reference("file:tokens/zhangsan"))
GOOD = {"yunxin": {"code": 200, "msg": "success", "data": {}}, "commsease": {"code": 200}}

Speak = Callable[[Provider], Any]


class Wire(NamedTuple):
    """One request: method, path with its query, content type and the body as it decodes."""

    method: str
    path: str
    kind: str = ""
    body: Any = None


def spoken(
    vendor: str, speak: Speak, *answers: Any, minted: list[str] | None = None
) -> tuple[Any, list[Exchange]]:
    """Run one operation against a server that answers so, the last for all that follow.

    The answers come without a content type, as a gateway may send them. A token that an answer
    mints is put into `minted`.
    """
    fake = FakeClock()
    said = [http(json.dumps(one, ensure_ascii=False)) for one in answers or (GOOD[vendor],)]
    with Server(*said) as server:
        endpoint = server.endpoint + ("/nimserver" if vendor == "commsease" else "")
        credentials = {"app_key": APP_KEY, "app_secret": Reference("env:APP_SECRET")}
        app = App("cn-prod", vendor, endpoint, credentials)
        speaks = provider(vendor)
        took: list[str] = [] if minted is None else minted
        with Transport(
            speaks,
            app,
            resolve,
            clock=fake.clock,
            deliver=lambda sink, token: took.append(token),
        ) as transport:
            try:
                result: Any = transport.run(speak(speaks))
            except ReadFailed as failed:
                result = failed.outcome
        return result, server.seen


def wire(exchange: Exchange) -> Wire:
    """Return what was sent, decoded by the rules of its content type."""
    method, path, _ = exchange.head.split("\r\n")[0].split(" ")
    kind = exchange.header("Content-Type")
    body: Any = None
    if kind == FORM:
        body = dict(parse_qsl(exchange.body.decode("ascii"), keep_blank_values=True))
    elif kind == JSON:
        body = json.loads(exchange.body)
    else:
        assert exchange.body == b""
    return Wire(method, path, kind, body)


def made(**document: Any) -> Speak:
    """Return the registration of `zhangsan`."""
    return lambda speaks: speaks.create({"zhangsan": document})


def changed(token: Token | None = None, **fields: Any) -> Speak:
    """Return an update of `zhangsan`; `__` stands for the dot of a path."""
    paths = {name.replace("__", "."): value for name, value in fields.items()}
    return lambda speaks: speaks.update("zhangsan", paths, token)


def banned(**ban: Any) -> Speak:
    """Return a ban of `zhangsan`."""
    return lambda speaks: speaks.block("zhangsan", ban)


def lifted(speaks: Provider) -> Any:
    """Return the end of that ban."""
    return speaks.unblock("zhangsan", {})


def read(*ids: str) -> Speak:
    """Return a reading."""
    return lambda speaks: speaks.read(ids)


def form(action: str, **fields: str) -> Wire:
    """Return a call of version 1: always POST, always a form."""
    return Wire("POST", f"/nimserver/user/{action}.action", FORM, fields)
