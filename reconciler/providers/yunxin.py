"""Yunxin: NetEase's IM server API, version 2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from reconciler.accounts import MISSING, Document, Observed, flatten
from reconciler.capabilities import Capabilities, Field, Support
from reconciler.conversation import (
    REGISTERED,
    UNDELIVERED,
    Answer,
    Call,
    Credentials,
    Minted,
    Outcome,
    ReadFailed,
    Request,
    Result,
    Signed,
    Sink,
    Token,
    Verdict,
    Why,
    inner,
    token_lost,
)
from reconciler.providers.netease import ID, about_signature, checksum, judge
from reconciler.values import Reference

_REGISTER = "register account (v2): doc.yunxin.163.com/messaging2/server-apis/TQyNjgyMzc"
_LIST = "API list and limits (v2): doc.yunxin.163.com/messaging2/server-apis/DUzNjAzMTc"
_SDK = "the vendor's server SDK: github.com/netease-im/yunxin-server-sdk-java"
_PUSH = "configuration.push_enabled_when_desktop_online"
_TOKEN = ("data", "token")


_CLEARS = "no page says that the empty text clears it"


def _text(limit: int, note: str = "") -> Field:
    return Field(Support.NATIVE, "", limit, note=note, source=_REGISTER)


CAPABILITIES: Final = Capabilities(
    type="yunxin",
    title="NetEase Yunxin, IM server API v2",
    id=ID,
    fields=MappingProxyType(
        {
            "profile.name": _text(64, _CLEARS),
            "profile.avatar": _text(1024, "a URL; checked by the vendor's anti-spam"),
            "profile.sign": _text(256),
            "profile.email": _text(64),
            "profile.birthday": _text(16),
            "profile.mobile": _text(32, "outside mainland China with its country code"),
            "profile.gender": Field(Support.NATIVE, 0, choices=(0, 1, 2), source=_REGISTER),
            "profile.extension": _text(1024, _CLEARS),
            **{
                f"configuration.{name}": Field(Support.NATIVE, False, source=_REGISTER)
                for name in (
                    "p2p_chat_banned",
                    "team_chat_banned",
                    "chatroom_chat_banned",
                    "qchat_chat_banned",
                )
            },
            _PUSH: Field(
                Support.NATIVE,
                True,
                source=_REGISTER,
                note="the vendor takes it only after the account's first login",
            ),
            "banned": Field(Support.NATIVE, False, source=_SDK),
            "banned.kick": Field(Support.NATIVE, True, source=_SDK),
            "banned.notify": Field(Support.NATIVE, None, 256, source=_SDK),
            "token": Field(
                Support.UNREADABLE,
                None,
                128,
                source=_REGISTER,
                note="never given back; version or keyed fingerprint tells a change",
            ),
            "token.vendor": Field(
                Support.NATIVE,
                None,
                source="refresh token (v2): doc.yunxin.163.com/messaging2/server-apis/DUwODIwMTg",
                note="minted by the vendor; the weaker choice, as a lost answer loses it",
            ),
        }
    ),
    regions=MappingProxyType(
        {
            "china": "https://open.yunxinapi.com",
            "singapore": "https://open-sg.yunxinapi.com",
        }
    ),
    calls=MappingProxyType(
        {
            "create": ("create",),
            "profile": ("update_user",),
            "configuration": ("update_account",),
            "token": ("update_account",),
            "token.vendor": ("refresh_token",),
            _PUSH: ("push_config",),
            "block": ("disable",),
            "unblock": ("disable",),
            "read": ("get_accounts", "get_users"),
        }
    ),
    rates=MappingProxyType({"": 100.0}),
    batch=MappingProxyType({"read": 100, "create": 1}),
    waits=("profile.", "configuration.", "token"),
    after_login=(_PUSH,),
    credentials=("app_key", "app_secret"),
    entry="""\
  cn-prod:
    type: yunxin  # NetEase Yunxin, IM server API v2
    region: china  # or singapore; for a private deployment or the emulator instead:
    # endpoint: http://127.0.0.1:8900
    credentials: {app_key: env:YUNXIN_APP_KEY, app_secret: env:YUNXIN_APP_SECRET}
""",
    # Version 1 states 10 s; version 2 states no length.
    penalty=10.0,
    sources=MappingProxyType(
        {
            "id": f"{_REGISTER}; letters and folding as in version 1",
            "regions": "how to call (v2): doc.yunxin.163.com/messaging2/server-apis/zcwODA3MTU",
            "rates": f"{_LIST}; the Standard plan, others have more",
            "batch": "no page states it; what clients are known to send",
        }
    ),
)

_WHY: Final = MappingProxyType(
    {
        "102404": Why.MISSING,
        "103404": Why.MISSING,
        "102405": Why.EXISTS,
        "102422": Why.BANNED,
        "102434": Why.QUOTA,
        "416": Why.THROTTLED,
        "449": Why.RETRY,
        "102449": Why.RETRY,
        "398": Why.RETRY,
        "403": Why.AUTH,
        "315": Why.AUTH,
        "101301": Why.AUTH,
        "101302": Why.AUTH,
        "101303": Why.AUTH,
        "101304": Why.AUTH,
        "101305": Why.AUTH,
    }
)
"""Codes that the vendor answers before it executes anything, by what follows from them."""

_REFUSED: Final = frozenset({"404", "414", "463", "102301", "102421", "102426", "103451"})
"""Other codes by which the vendor refuses a call without executing it."""

_FLAGS = (
    "p2p_chat_banned",
    "team_chat_banned",
    "chatroom_chat_banned",
    "qchat_chat_banned",
    "push_enabled_when_desktop_online",
)


class Yunxin:
    """The conversations of IM server API v2; paths follow `https://open.yunxinapi.com`."""

    capabilities = CAPABILITIES

    def app(self, credentials: Mapping[str, str]) -> str:
        """Return the identity of the app: its AppKey, which is no secret."""
        return f"yunxin:{credentials['app_key']}"

    def sign(self, request: Request, credentials: Credentials, now: float, nonce: str) -> Signed:
        """Return the CheckSum headers and a trace id that is new for every attempt.

        The vendor de-duplicates on the trace id, so a retry must not repeat it (vendor SDK).
        """
        signed = checksum(credentials, now, nonce)
        return replace(signed, headers={**signed.headers, "X-custom-traceid": nonce})

    def verdict(self, request: Request, status: int, body: Mapping[str, Any]) -> Verdict:
        """Judge the envelope `{code, msg, data}`; every business result is HTTP 200.

        For a signature that is not taken the page lists 403, and users report 414.
        """
        told = judge(status, body, "msg", _WHY, _REFUSED)
        refused = (told.result, told.code) == (Result.REJECTED, "414")
        if refused and about_signature(request, told.message):
            return replace(told, why=Why.AUTH)
        return told

    def read(self, ids: Sequence[str]) -> Call[Mapping[str, Observed]]:
        """Read flags and profiles with two batch calls; an unknown id is in the failed list."""
        found: dict[str, Observed] = {}
        accounts = yield _batch("get_accounts", "/im/v2/accounts", ids)
        for item in _listed(accounts, "success_list", ids):
            flags = inner(item, "configuration")
            enabled = flags.get("enabled")
            found[item["account_id"]] = Observed(
                exists=True,
                banned=not enabled if isinstance(enabled, bool) else None,
                configuration={name: flags[name] for name in _FLAGS if name in flags},
            )
        for item in _listed(accounts, "failed_list", ids):
            if _WHY.get(str(item.get("error_code"))) is Why.MISSING:
                found[item["account_id"]] = MISSING
        living = [id for id, seen in found.items() if seen.exists]
        if living:
            users = yield _batch("get_users", "/im/v2/users", living)
            profiles = {item["account_id"]: item for item in _listed(users, "success_list", living)}
            for id in living:
                if id in profiles:
                    found[id] = replace(found[id], profile=_profile(profiles[id]))
                else:
                    # Without its profile the account was not read: half of it proves nothing.
                    del found[id]
        return found

    def create(self, accounts: Mapping[str, Document]) -> Call[Mapping[str, Outcome]]:
        """Register one account; an existing one answers 102405 and is left as it is.

        The push switch is not taken at registration, so anything but its default waits.
        """
        outcomes: dict[str, Outcome] = {}
        for account_id, document in accounts.items():
            body: dict[str, Any] = {"account_id": account_id}
            if profile := document.get("profile"):
                body["user_information"] = dict(profile)
            flags = dict(document.get("configuration", {}))
            push = flags.pop("push_enabled_when_desktop_online", True)
            if flags:
                body["configuration"] = flags
            minted = None
            match document.get("token", {}).get("value"):
                case Reference() as token:
                    body["token"] = token
                case Sink() as sink:
                    minted = Minted(_TOKEN, sink)
            answer = yield Request(
                "create",
                "POST",
                "/im/v2/accounts",
                body=body,
                account_ids=(account_id,),
                minted=minted,
            )
            outcome = _outcome(answer, account_id, waiting=() if push else (_PUSH,))
            if outcome.code == UNDELIVERED:
                set_ = tuple(path for path in flatten(document) if path != _PUSH)
                outcome = replace(outcome, done=(REGISTERED, *set_))
            outcomes[account_id] = outcome
        return outcomes

    def update(
        self, account_id: str, fields: Mapping[str, Any], token: Token | None
    ) -> Call[Outcome]:
        """Set flags and token with one call, the push switch and the profile with one each.

        A token that the vendor mints comes last, with a call of its own.
        """
        done: tuple[str, ...] = ()
        waiting: tuple[str, ...] = ()
        outcome = Outcome(Result.CONFIRMED)
        for request, paths in _updates(account_id, fields, token):
            answer = yield request
            outcome = _outcome(answer, account_id)
            if request.api == "push_config" and _push_waits(answer, fields[_PUSH]):
                waiting += paths
                outcome = Outcome(Result.CONFIRMED)
            elif outcome.result is not Result.CONFIRMED:
                return replace(outcome, done=done, waiting=waiting)
            else:
                done += paths
        return replace(outcome, done=done, waiting=waiting)

    def block(self, account_id: str, ban: Mapping[str, Any]) -> Call[Outcome]:
        """Disable the account, and end its sessions with `need_kick`."""
        body: dict[str, Any] = {"enabled": False, "need_kick": bool(ban.get("kick", True))}
        if ban.get("notify"):
            body["kick_notify_extension"] = ban["notify"]
        return _outcome((yield _switch(account_id, body)), account_id, enabled=False)

    def unblock(self, account_id: str, document: Document) -> Call[Outcome]:
        """Enable the account; nothing else of it was changed by the ban."""
        return _outcome((yield _switch(account_id, {"enabled": True})), account_id, enabled=True)


def _path(account_id: str, room: str = "accounts", action: str = "") -> str:
    return f"/im/v2/{room}/{quote(account_id, safe='')}{action}"


def _batch(api: str, path: str, ids: Sequence[str]) -> Request:
    return Request(
        api,
        "GET",
        path,
        query={"account_ids": ",".join(ids)},
        mutates=False,
        account_ids=tuple(ids),
    )


def _switch(account_id: str, body: Mapping[str, Any]) -> Request:
    return Request(
        "disable",
        "PATCH",
        _path(account_id, action="/actions/disable"),
        body=body,
        account_ids=(account_id,),
    )


def _updates(
    account_id: str, fields: Mapping[str, Any], token: Token | None
) -> Iterator[tuple[Request, tuple[str, ...]]]:
    """Yield the calls of an update, each with the paths that it sets."""
    flags = tuple(path for path in fields if path.startswith("configuration.") and path != _PUSH)
    profile = tuple(path for path in fields if path.startswith("profile."))
    body: dict[str, Any] = {}
    if flags:
        body["configuration"] = {path.partition(".")[2]: fields[path] for path in flags}
    if isinstance(token, Reference):
        body["token"] = token
    if body:
        yield (
            Request(
                "update_account", "PATCH", _path(account_id), body=body, account_ids=(account_id,)
            ),
            flags + (("token",) if "token" in body else ()),
        )
    if profile:
        yield (
            Request(
                "update_user",
                "PATCH",
                _path(account_id, "users"),
                body={path.partition(".")[2]: fields[path] for path in profile},
                account_ids=(account_id,),
            ),
            profile,
        )
    if _PUSH in fields:
        yield (
            Request(
                "push_config",
                "PATCH",
                _path(account_id, action="/actions/push_config"),
                body={"push_enabled_when_desktop_online": fields[_PUSH]},
                account_ids=(account_id,),
            ),
            (_PUSH,),
        )
    if isinstance(token, Sink):
        yield (
            Request(
                "refresh_token",
                "PATCH",
                _path(account_id, action="/actions/refresh_token"),
                account_ids=(account_id,),
                minted=Minted(_TOKEN, token),
            ),
            ("token",),
        )


def _push_waits(answer: Answer, wanted: bool) -> bool:
    """Tell whether the push switch was refused or had no effect, as before the first login."""
    if answer.verdict.result is Result.REJECTED:
        return answer.verdict.why is Why.OTHER and answer.verdict.code in ("414", "102301")
    held = inner(inner(answer.data, "data"), "configuration")
    return (
        answer.verdict.result is Result.CONFIRMED
        and held.get("push_enabled_when_desktop_online", wanted) != wanted
    )


def _outcome(
    answer: Answer, account_id: str, *, enabled: bool | None = None, waiting: tuple[str, ...] = ()
) -> Outcome:
    """Return the outcome of one call; a success about another account is no success."""
    verdict = answer.verdict
    data = inner(answer.data, "data")
    if verdict.result is Result.CONFIRMED:
        echoed = data.get("account_id", account_id)
        if echoed != account_id:
            return Outcome(Result.AMBIGUOUS, verdict.code, f"the answer is about {echoed!r}")
        held = inner(data, "configuration").get("enabled", enabled)
        if enabled is not None and held is not enabled:
            return Outcome(Result.AMBIGUOUS, verdict.code, f"the answer says enabled is {held!r}")
        if answer.undelivered:
            return token_lost(answer)
    return Outcome(verdict.result, verdict.code, verdict.message, verdict.why, waiting=waiting)


def _listed(answer: Answer, name: str, ids: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """Yield the items of a batch answer that are about an account which was asked for."""
    verdict = answer.verdict
    if verdict.result is not Result.CONFIRMED:
        raise ReadFailed(Outcome(verdict.result, verdict.code, verdict.message, verdict.why))
    items = inner(answer.data, "data").get(name)
    wanted = frozenset(ids)
    for item in items if isinstance(items, list) else ():
        if not isinstance(item, Mapping):
            continue
        about = item.get("account_id")
        if isinstance(about, str) and about in wanted:
            yield item


def _profile(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return every profile field, an unset one as the vendor's default."""
    profile: dict[str, Any] = {}
    for path, field in CAPABILITIES.fields.items():
        section, _, name = path.partition(".")
        if section == "profile":
            value = item.get(name)
            profile[name] = field.default if value is None else value
    return profile


PROVIDER: Final = Yunxin()


def make(options: Mapping[str, Any]) -> Yunxin:
    """Return the provider; this vendor has no settings of its own."""
    return PROVIDER
