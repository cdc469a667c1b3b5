"""Tencent: Tencent Cloud Chat's server API as conversations and a capability table."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from reconciler.accounts import MISSING, Document, Observed, flatten
from reconciler.capabilities import UNSUPPORTED, Capabilities, Field, IdRule, Support
from reconciler.conversation import (
    REGISTERED,
    Answer,
    Call,
    Credentials,
    Outcome,
    ReadFailed,
    Request,
    Result,
    Signed,
    Verdict,
    Why,
)
from reconciler.providers.usersig import usersig
from reconciler.values import Reference

PERMANENT: Final = 4_294_967_295
"""The mute that never ends; 0 lifts, anything between is seconds."""

_CUSTOM: Final = "Tag_Profile_Custom_"
_KEY: Final = re.compile(r"[A-Za-z]{1,8}")
_PROFILE_PAGE, _MUTE_PAGE = "vendor page: profile fields", "vendor page: global mute"
_ACCOUNT, _PROFILE, _MUTE = "im_open_login_svc", "profile", "openconfigsvr"
_GENDERS: Final = ("Gender_Type_Unknown", "Gender_Type_Male", "Gender_Type_Female")
_ALLOWS: Final = MappingProxyType(
    {
        "need_confirm": "AllowType_Type_NeedConfirm",
        "allow_any": "AllowType_Type_AllowAny",
        "deny_any": "AllowType_Type_DenyAny",
    }
)
_TAGS: Final = MappingProxyType(
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
_MUTES: Final = MappingProxyType(
    {"p2p_chat_banned": "C2CmsgNospeakingTime", "team_chat_banned": "GroupmsgNospeakingTime"}
)
_IMPORTED: Final = MappingProxyType({"profile.name": "Nick", "profile.avatar": "FaceUrl"})
"""What an import takes of the profile; all else follows with calls of its own."""

_BAN = (
    "the vendor has no ban: muted for good, sessions ended; a newly signed UserSig logs in again, "
    "so whoever issues UserSigs must refuse blocked users"
)
_UNTAGGED = f"{_BAN}; without blocked_tag it cannot be told from two permanent mutes"


def _text(limit: int = 500, note: str = "") -> Field:
    return Field(Support.NATIVE, "", limit, "bytes", note=note, source=_PROFILE_PAGE)


def _number(note: str = "whole number, the app's own meaning") -> Field:
    return Field(Support.NATIVE, 0, note=note, source=_PROFILE_PAGE)


class _Table(Capabilities):
    """The table with its rule for custom keys; the marker of bans is nobody's custom field."""

    marker = ""

    def field(self, path: str) -> Field:
        """Return the field at a path; a custom key must be letters, at most 8."""
        key = path.removeprefix("profile.custom.")
        if key != path and (not _KEY.fullmatch(key) or _CUSTOM + key == self.marker):
            return UNSUPPORTED
        return Capabilities.field(self, path)


def _table(marker: str) -> _Table:
    table = _Table(
        type="tencent",
        title="Tencent Cloud Chat, server API v4",
        id=IdRule(
            re.compile(r"[A-Za-z0-9_-]{1,32}"),
            32,
            "bytes",
            folds=False,
            words="1 to 32 of the letters A-Z and a-z, digits, _ and -",
        ),
        fields=MappingProxyType(_fields(_BAN if marker else _UNTAGGED)),
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
                "profile": ("portrait_set",),
                "configuration": ("setnospeaking",),
                "block": ("setnospeaking", *(("portrait_set",) if marker else ()), "kick"),
                "unblock": ("setnospeaking", *(("portrait_set",) if marker else ())),
                "read": ("account_check", "portrait_get", "getnospeaking"),
            }
        ),
        rates=MappingProxyType({"": 200.0, "multiaccount_import": 100.0, "account_check": 100.0}),
        batch=MappingProxyType({"read": 100, "create": 100}),
        waits=("configuration.",),
        credentials=("sdk_app_id", "admin", "secret_key"),
        # No page says how long a throttled API stays closed; the rates are per second.
        penalty=1.0,
    )
    object.__setattr__(table, "marker", marker)
    return table


def _fields(ban: str) -> dict[str, Field]:
    choices = tuple(_ALLOWS)
    mute = Field(Support.NATIVE, False, note="global mute, for good", source=_MUTE_PAGE)
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
            Support.NATIVE, "need_confirm", choices=choices, source=_PROFILE_PAGE
        ),
        "profile.custom.*": Field(
            Support.UNREADABLE,
            "",
            500,
            "bytes",
            note="key of 1 to 8 letters, registered in the console; tags are read by name only",
            source=_PROFILE_PAGE,
        ),
        "configuration.p2p_chat_banned": mute,
        "configuration.team_chat_banned": mute,
        "banned": Field(Support.EMULATED, False, note=ban, source=_MUTE_PAGE),
        "banned.kick": Field(Support.NATIVE, True, source="vendor page: kick"),
    }


def _classed(whys: Mapping[Why, str]) -> dict[str, Why]:
    return {code: why for why, codes in whys.items() for code in codes.split()}


_PUBLIC: Final = _classed(
    {
        Why.THROTTLED: "60007 60011 60018 60019",
        Why.RETRY: "60004 60005 60008 60013 60014 70169 70202 70404 70500",
        # Every attempt is signed anew, so an expired signature means that clocks are apart.
        Why.AUTH: "60006 60010 60016 60017 60020 60021 60026 60027 60028 "
        "70001 70003 70009 70013 70014 70016 70020 70050 70403",
        Why.MISSING: "70107",
        Why.QUOTA: "70398",
        Why.OTHER: "60002 60003 60009 60012 60015 60025 70051 70399 70402 71000",
    }
)
_PORTRAIT: Final = {
    Why.RETRY: "40006",
    Why.AUTH: "40004",
    Why.MISSING: "40003",
    Why.OTHER: "40001 40002 40005 40007 40008 40009 40601 40605 40610",
}
_OWN: Final = MappingProxyType(
    {
        _ACCOUNT: _classed(_PORTRAIT) | _classed({Why.RETRY: "30006 30007 30008"}),
        _PROFILE: _classed(_PORTRAIT),
        _MUTE: _classed(
            {
                Why.RETRY: "130014",
                Why.OTHER: "130001 130002 130003 130004 130005 130006 130007 130008",
            }
        ),
    }
)
"""Codes that only one service gives this meaning; the vendor uses some numbers twice."""

_UNSURE: Final = frozenset(
    _classed({Why.RETRY: "60008 60013 60014 70169 70202 70404 70500 40006 30006 30007 130014"})
)
"""Codes of a backend that failed or ran out of time: the call may have been carried out."""


class Tencent:
    """The conversations of the server API; paths follow `https://console.tim.qq.com`."""

    def __init__(self, blocked_tag: str = "") -> None:
        self.capabilities: Capabilities = _table(blocked_tag)
        self._marker = blocked_tag

    def app(self, credentials: Mapping[str, str]) -> str:
        """Return the identity of the app: its SDKAppID, which is no secret."""
        return f"tencent:{credentials['sdk_app_id']}"

    def sign(self, request: Request, credentials: Credentials, now: float, nonce: str) -> Signed:
        """Return the query that authenticates one attempt; `random` is 32 bits of the nonce."""
        known = credentials.values
        return Signed(
            query={
                "sdkappid": known["sdk_app_id"],
                "identifier": known["admin"],
                "usersig": usersig(known["sdk_app_id"], known["admin"], known["secret_key"], now),
                "random": str(zlib.crc32(nonce.encode())),
                "contenttype": "json",
            }
        )

    def verdict(self, request: Request, status: int, body: Mapping[str, Any]) -> Verdict:
        """Judge `ErrorCode`, the only part of the envelope that every service sends."""
        code = body.get("ErrorCode")
        if isinstance(code, bool) or not isinstance(code, int):
            return Verdict(Result.AMBIGUOUS, str(status), "the answer carries no ErrorCode")
        text, message = str(code), str(body.get("ErrorInfo", ""))
        if code == 0:
            good = status == 200 and body.get("ActionStatus", "OK") in ("OK", "", None)
            return Verdict(Result.CONFIRMED if good else Result.AMBIGUOUS, text, message)
        _, _, service, *_ = *request.path.split("/"), "", ""
        why = _OWN.get(service, {}).get(text) or _PUBLIC.get(text)
        if why is None:
            return Verdict(Result.AMBIGUOUS, text, message)
        if request.api == "kick" and text in _UNSURE:
            # Repeating it could end a session that began since.
            return Verdict(Result.AMBIGUOUS, text, message, why)
        return Verdict(Result.REJECTED, text, message, why)

    def read(self, ids: Sequence[str]) -> Call[Mapping[str, Observed]]:
        """Ask which exist, then for their profiles at once and for their mutes one by one.

        The mute of an account that does not exist reads as permanent, so it is never asked for.
        """
        found: dict[str, Observed] = {}
        imported: list[str] = []
        check = {"CheckItem": [{"UserID": id} for id in ids]}
        answer = _told((yield _request(_ACCOUNT, "account_check", check, ids, mutates=False)))
        for item in _items(answer.data, "ResultItem", "UserID", ids):
            match item.get("ResultCode", 0), item.get("AccountStatus"):
                case 0, "Imported":
                    imported.append(item["UserID"])
                case (0, "NotImported") | (70107, _):
                    found[item["UserID"]] = MISSING
        portraits = (yield from self._portraits(imported)) if imported else {}
        for id, tags in portraits.items():
            asked = {"Get_Account": id}
            answer = yield _request(_MUTE, "getnospeaking", asked, (id,), mutates=False)
            verdict = answer.verdict
            if verdict.result is Result.REJECTED and verdict.why in (Why.OTHER, Why.MISSING):
                continue
            times = [_told(answer).data.get(name) for name in _MUTES.values()]
            if all(isinstance(time, int) and not isinstance(time, bool) for time in times):
                found[id] = self._observed(tags, times)
        return found

    def _portraits(self, ids: Sequence[str]) -> Call[dict[str, Mapping[str, Any]]]:
        """Return the tags of each account; one that fails, in the batch or with it, is left out."""
        tags = [*_TAGS.values(), *((self._marker,) if self._marker else ())]
        body = {"To_Account": list(ids), "TagList": tags}
        answer = yield _request(_PROFILE, "portrait_get", body, ids, mutates=False)
        found: dict[str, Mapping[str, Any]] = {}
        if answer.verdict.why is Why.MISSING:
            for id in ids if len(ids) > 1 else ():
                found |= yield from self._portraits((id,))
            return found
        failed = _told(answer).data.get("Fail_Account") or ()
        for item in _items(answer.data, "UserProfileItem", "To_Account", ids):
            if item.get("ResultCode", 0) == 0 and item["To_Account"] not in failed:
                held = item.get("ProfileItem")
                found[item["To_Account"]] = {
                    one["Tag"]: one.get("Value")
                    for one in (held if isinstance(held, list) else ())
                    if isinstance(one, Mapping) and isinstance(one.get("Tag"), str)
                }
        return found

    def _observed(self, tags: Mapping[str, Any], times: Sequence[Any]) -> Observed:
        """Return what is known; mutes that may be those of a ban tell nothing of the flags."""
        banned = tags.get(self._marker) == "1" if self._marker else None
        hidden = all(time == PERMANENT for time in times) if banned is None else banned
        flags = {} if hidden else {name: time > 0 for name, time in zip(_MUTES, times, strict=True)}
        return Observed(exists=True, profile=_profile(tags), configuration=flags, banned=banned)

    def create(self, accounts: Mapping[str, Document]) -> Call[Mapping[str, Outcome]]:
        """Import accounts with one call, then set what an import does not take, one by one.

        An import overwrites an account that exists, so these must be known to be absent.
        """
        outcomes = yield from _import(accounts)
        for id, document in accounts.items():
            if outcomes[id].result is Result.CONFIRMED:
                outcomes[id] = yield from self._completed(id, document)
        return outcomes

    def _completed(self, account_id: str, document: Document) -> Call[Outcome]:
        """Set the rest of an account that was just imported."""
        fields = {path: value for path, value in flatten(document).items() if _at_vendor(path)}
        muted = any(fields.get(f"configuration.{name}") for name in _MUTES)
        rest = {
            path: value
            for path, value in fields.items()
            if path not in _IMPORTED and (muted or not path.startswith("configuration."))
        }
        outcome = yield from self.update(account_id, rest, None)
        if outcome.result is Result.CONFIRMED:
            return outcome
        held = tuple(path for path in fields if path not in rest)
        return replace(outcome, done=(REGISTERED, *held, *outcome.done))

    def update(
        self, account_id: str, fields: Mapping[str, Any], token: Reference | None
    ) -> Call[Outcome]:
        """Set the tags that changed with one call, the mutes that changed with another."""
        done: tuple[str, ...] = ()
        for request, paths in _updates(account_id, fields):
            outcome = _outcome((yield request))
            if outcome.result is not Result.CONFIRMED:
                return replace(outcome, done=done)
            done += paths
        return Outcome(Result.CONFIRMED, done=done)

    def block(self, account_id: str, ban: Mapping[str, Any]) -> Call[Outcome]:
        """Mute for good, mark, and end the sessions last; every part may be repeated."""
        return (
            yield from _all(
                _mute(account_id, dict.fromkeys(_MUTES, True)),
                *self._marked(account_id, "1"),
                *((_kick(account_id),) if ban.get("kick", True) else ()),
            )
        )

    def unblock(self, account_id: str, document: Document) -> Call[Outcome]:
        """Bring back the mutes that are recorded of the account, then take the mark away."""
        flags = document.get("configuration", {})
        declared = {name: bool(flags.get(name)) for name in _MUTES}
        return (yield from _all(_mute(account_id, declared), *self._marked(account_id, "")))

    def _marked(self, account_id: str, value: str) -> tuple[Request, ...]:
        return (_portrait(account_id, {self._marker: value}),) if self._marker else ()


def _request(
    service: str, api: str, body: Mapping[str, Any], ids: Sequence[str], *, mutates: bool = True
) -> Request:
    return Request(
        api,
        "POST",
        f"/v4/{service}/{api}",
        body=body,
        mutates=mutates,
        account_ids=tuple(ids),
    )


def _mute(account_id: str, flags: Mapping[str, bool]) -> Request:
    times = {_MUTES[name]: PERMANENT if flag else 0 for name, flag in flags.items()}
    body = {"Set_Account": account_id, **times}
    return _request(_MUTE, "setnospeaking", body, (account_id,))


def _portrait(account_id: str, tags: Mapping[str, Any]) -> Request:
    items = [{"Tag": tag, "Value": value} for tag, value in tags.items()]
    body = {"From_Account": account_id, "ProfileItem": items}
    return _request(_PROFILE, "portrait_set", body, (account_id,))


def _kick(account_id: str) -> Request:
    return _request(_ACCOUNT, "kick", {"UserID": account_id}, (account_id,))


def _all(*requests: Request) -> Call[Outcome]:
    """Send one after the other up to the first that fails; nobody to kick is no failure."""
    outcome = Outcome(Result.CONFIRMED)
    for request in requests:
        outcome = _outcome((yield request))
        if request.api == "kick" and outcome.why is Why.MISSING:
            outcome = Outcome(Result.CONFIRMED)
        if outcome.result is not Result.CONFIRMED:
            break
    return outcome


def _updates(
    account_id: str, fields: Mapping[str, Any]
) -> Iterator[tuple[Request, tuple[str, ...]]]:
    """Yield the calls of an update, each with the paths that it sets."""
    profile = tuple(path for path in fields if path.startswith("profile."))
    flags = tuple(path for path in fields if path.startswith("configuration."))
    if profile:
        yield _portrait(account_id, dict(_tag(path, fields[path]) for path in profile)), profile
    if flags:
        yield _mute(account_id, {path.partition(".")[2]: fields[path] for path in flags}), flags


def _import(accounts: Mapping[str, Document]) -> Call[dict[str, Outcome]]:
    """Import a batch; the vendor names who failed and not why, so these are asked again alone."""
    rows = {id: _row(id, document) for id, document in accounts.items()}
    body = {"AccountList": list(rows.values())}
    answer = yield _request(_ACCOUNT, "multiaccount_import", body, tuple(rows))
    outcomes = dict.fromkeys(rows, _outcome(answer))
    verdict = answer.verdict
    failed: Any = answer.data.get("FailAccounts") or []
    if verdict.result is Result.REJECTED and verdict.why in (Why.OTHER, Why.MISSING, Why.QUOTA):
        # One of them may have spoilt it for all.
        failed = list(rows)
    elif verdict.result is not Result.CONFIRMED:
        return outcomes
    elif not (isinstance(failed, list) and all(isinstance(id, str) for id in failed)):
        return dict.fromkeys(rows, Outcome(Result.AMBIGUOUS, verdict.code, "FailAccounts is odd"))
    elif not rows.keys() >= set(failed):
        lost = Outcome(Result.AMBIGUOUS, verdict.code, "the answer is about other accounts")
        return dict.fromkeys(rows, lost)
    full = None
    for id in dict.fromkeys(failed):
        if full is None:
            alone = yield _request(_ACCOUNT, "account_import", rows[id], (id,))
            outcomes[id] = _outcome(alone)
            full = outcomes[id] if outcomes[id].why is Why.QUOTA else None
        else:
            outcomes[id] = replace(full, result=Result.NOT_SENT)
    return outcomes


def _row(account_id: str, document: Document) -> dict[str, Any]:
    fields = flatten({"profile": document.get("profile", {})})
    taken = {name: fields[path] for path, name in _IMPORTED.items() if fields.get(path)}
    return {"UserID": account_id, **taken}


def _outcome(answer: Answer) -> Outcome:
    """Return the outcome of one writing call; what may have run is not called refused."""
    verdict = answer.verdict
    unsure = verdict.result is Result.REJECTED and verdict.code in _UNSURE
    result = Result.AMBIGUOUS if unsure else verdict.result
    return Outcome(result, verdict.code, verdict.message, verdict.why)


def _told(answer: Answer) -> Answer:
    verdict = answer.verdict
    if verdict.result is not Result.CONFIRMED:
        raise ReadFailed(Outcome(verdict.result, verdict.code, verdict.message, verdict.why))
    return answer


def _items(
    data: Mapping[str, Any], name: str, key: str, ids: Sequence[str]
) -> Iterator[Mapping[str, Any]]:
    """Yield the items of a batch answer that are about an account which was asked for."""
    items = data.get(name)
    wanted = frozenset(ids)
    for item in items if isinstance(items, list) else ():
        if isinstance(item, Mapping) and isinstance(item.get(key), str) and item[key] in wanted:
            yield item


def _at_vendor(path: str) -> bool:
    return path.startswith(("profile.", "configuration."))


def _tag(path: str, value: Any) -> tuple[str, Any]:
    """Return the tag of a profile field and the value as the vendor writes it."""
    name = path.removeprefix("profile.")
    if name.startswith("custom."):
        return _CUSTOM + name.removeprefix("custom."), value
    match name:
        case "gender":
            value = _GENDERS[value]
        case "allow_type":
            value = _ALLOWS[value]
        case "birthday":
            value = int(value.replace("-", "") or 0)
    return _TAGS[name], value


def _profile(tags: Mapping[str, Any]) -> dict[str, Any]:
    """Return every profile field that is read; a tag nobody set is the default."""
    profile: dict[str, Any] = {}
    for name, tag in _TAGS.items():
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
    return profile


def make(options: Mapping[str, Any]) -> Tencent:
    """Return the provider; `blocked_tag` is the registered custom tag that marks bans."""
    return Tencent(str(options.get("blocked_tag", "")))
