"""CommsEase: NetEase's classic server API, version 1 ("nimserver")."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from reconciler.accounts import MISSING, Document, Observed
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
from reconciler.providers.commsease_fields import CAPABILITIES, MUTES, PROFILE, PUSH
from reconciler.providers.netease import about_signature, checksum, judge
from reconciler.values import Reference

_WHY: Final = MappingProxyType(
    {
        "301": Why.BANNED,
        "422": Why.BANNED,
        "315": Why.AUTH,
        "403": Why.AUTH,
        "416": Why.THROTTLED,
        "419": Why.QUOTA,
        "449": Why.RETRY,
    }
)
"""Codes that the vendor answers before it executes anything, by what follows from them."""

_REFUSED: Final = frozenset({"404", "405", "406", "414", "10431", "10432"})
"""Other codes by which the vendor refuses a call without executing it.

431 (repeated request) and 417 (repeated operation) are not among them: each says that something
like this call came before and not whether that took effect. A create or a readable value is then
settled by reading; a ban is sent again, and as every attempt has its own RequestId, 431 does not
follow 431.
"""


class CommsEase:
    """The conversations of version 1; paths follow `https://api-sg.yunxinapi.com/nimserver`."""

    capabilities = CAPABILITIES

    def app(self, credentials: Mapping[str, str]) -> str:
        """Return the identity of the app: its AppKey, which is no secret."""
        return f"commsease:{credentials['app_key']}"

    def sign(self, request: Request, credentials: Credentials, now: float, nonce: str) -> Signed:
        """Return the CheckSum headers and a RequestId that is new for every attempt.

        The vendor de-duplicates on it, so a retry must not repeat it (vendor SDK).
        """
        signed = checksum(credentials, now, nonce)
        return replace(signed, headers={**signed.headers, "RequestId": nonce})

    def verdict(self, request: Request, status: int, body: Mapping[str, Any]) -> Verdict:
        """Judge the envelope `{code, desc}`; every business result is HTTP 200."""
        told = judge(status, body, "desc", _WHY, _REFUSED)
        if (told.result, told.code) == (Result.REJECTED, "414"):
            return replace(told, why=_cause(request, told.message))
        return told

    def read(self, ids: Sequence[str]) -> Call[Mapping[str, Observed]]:
        """Read profiles and mutes with one batch call; bans cannot be read.

        An id that the answer does not mention does not exist. Should the vendor refuse the whole
        batch for one unknown id instead, each id is asked alone, once.
        """
        answer = yield _batch(ids)
        if answer.verdict.why is not Why.MISSING:
            return _sights(answer, ids)
        if len(ids) == 1:
            return {ids[0]: MISSING}
        found: dict[str, Observed] = {}
        for id in ids:
            answer = yield _batch([id])
            if answer.verdict.why is Why.MISSING:
                found[id] = MISSING
                continue
            try:
                found.update(_sights(answer, [id]))
            except ReadFailed:
                if not found:
                    raise
                break
        return found

    def create(self, accounts: Mapping[str, Document]) -> Call[Mapping[str, Outcome]]:
        """Register one account after another, then mute it where that is asked for.

        An existing account answers 414 "already register" and is left as it is. The push switch
        is not taken at registration, so anything but its default waits.
        """
        outcomes: dict[str, Outcome] = {}
        for account_id, document in accounts.items():
            body, muted = _registration(document)
            sink = document.get("token", {}).get("value")
            answer = yield _post("create", account_id, body, sink)
            outcome = _outcome(answer, account_id)
            lost = outcome.code == UNDELIVERED
            if lost or outcome.result is Result.CONFIRMED:
                if muted:
                    told = yield _post("mute_module", account_id, muted)
                    silenced = _outcome(told, account_id, muted=muted)
                    if silenced.result is Result.CONFIRMED:
                        muted = {}
                    if muted or not lost:
                        outcome = silenced
                outcome = replace(outcome, done=_without(document, muted, lost=lost))
            flags = document.get("configuration", {})
            push = flags.get("push_enabled_when_desktop_online", True)
            outcomes[account_id] = replace(outcome, waiting=() if push else (PUSH,))
        return outcomes

    def update(
        self, account_id: str, fields: Mapping[str, Any], token: Token | None
    ) -> Call[Outcome]:
        """Set profile, mutes, token and push switch with a call for each that changes."""
        done: tuple[str, ...] = ()
        waiting: tuple[str, ...] = ()
        outcome = Outcome(Result.CONFIRMED)
        for request, paths in _updates(account_id, fields, token):
            answer = yield request
            outcome = _outcome(answer, account_id, muted=request.body)
            if request.api == "set_donnop" and (outcome.code, outcome.why) == ("414", Why.OTHER):
                # The vendor's answer for an account that never logged in (vendor SDK, its test).
                waiting += paths
                outcome = Outcome(Result.CONFIRMED)
            elif outcome.result is not Result.CONFIRMED:
                return replace(outcome, done=done, waiting=waiting)
            else:
                done += paths
        return replace(outcome, done=done, waiting=waiting)

    def block(self, account_id: str, ban: Mapping[str, Any]) -> Call[Outcome]:
        """Ban the account, and end its sessions with `needkick`.

        422 says that the account is disabled: the ban that was asked for stands already.
        """
        body: dict[str, Any] = {"needkick": bool(ban.get("kick", True))}
        if ban.get("notify"):
            body["kickNotifyExt"] = ban["notify"]
        outcome = _outcome((yield _post("block", account_id, body)), account_id)
        if outcome.code == "422":
            return Outcome(Result.CONFIRMED, outcome.code, outcome.message)
        return outcome

    def unblock(self, account_id: str, document: Document) -> Call[Outcome]:
        """Lift the ban; nothing else of the account was changed by it."""
        return _outcome((yield _post("unblock", account_id, {})), account_id)


_ACTIONS: Final = MappingProxyType(
    {
        "create": "create",
        "update_uinfo": "updateUinfo",
        "mute_module": "muteModule",
        "update_token": "update",
        "refresh_token": "refreshToken",
        "set_donnop": "setDonnop",
        "block": "block",
        "unblock": "unblock",
    }
)
"""The vendor's name of each API that changes an account."""


def _post(
    api: str, account_id: str, body: Mapping[str, Any], token: Token | None = None
) -> Request:
    """Return a call that changes an account; `token` a sink takes the one that it answers."""
    return Request(
        api,
        "POST",
        f"/user/{_ACTIONS[api]}.action",
        body={"accid": account_id, **body},
        encoding="form",
        account_ids=(account_id,),
        minted=Minted(("info", "token"), token) if isinstance(token, Sink) else None,
    )


def _batch(ids: Sequence[str]) -> Request:
    return Request(
        "get_uinfos",
        "POST",
        "/user/getUinfos.action",
        body={"accids": list(ids), "muteStatus": True},
        encoding="form",
        mutates=False,
        account_ids=tuple(ids),
    )


def _registration(document: Document) -> tuple[dict[str, Any], dict[str, bool]]:
    """Return the fields of a registration, and the mutes that must follow it."""
    body = {PROFILE[name]: value for name, value in document.get("profile", {}).items()}
    if isinstance(token := document.get("token", {}).get("value"), Reference):
        body["token"] = token
    flags = document.get("configuration", {})
    return body, {MUTES[name]: True for name in flags if name in MUTES and flags[name]}


def _without(document: Document, muted: Mapping[str, bool], *, lost: bool) -> tuple[str, ...]:
    """Return the paths that a registration has set, less mutes and a token that did not follow."""
    paths = [REGISTERED]
    paths += [f"profile.{name}" for name in document.get("profile", {})]
    flags = document.get("configuration", {})
    paths += [f"configuration.{name}" for name in flags if MUTES.get(name, "") not in muted]
    paths += ["token"] if document.get("token") and not lost else []
    return tuple(path for path in paths if path != PUSH)


def _updates(
    account_id: str, fields: Mapping[str, Any], token: Token | None
) -> Iterator[tuple[Request, tuple[str, ...]]]:
    """Yield the calls of an update, each with the paths that it sets."""
    for api, section, names in (
        ("update_uinfo", "profile", PROFILE),
        ("mute_module", "configuration", MUTES),
    ):
        paths = tuple(path for path in fields if path.startswith(f"{section}.") and path != PUSH)
        if paths:
            body = {names[path.partition(".")[2]]: fields[path] for path in paths}
            yield _post(api, account_id, body), paths
    if isinstance(token, Reference):
        yield _post("update_token", account_id, {"token": token}), ("token",)
    if PUSH in fields:
        yield _post("set_donnop", account_id, {"donnopOpen": not fields[PUSH]}), (PUSH,)
    if isinstance(token, Sink):
        yield _post("refresh_token", account_id, {}, token), ("token",)


def _cause(request: Request, desc: str) -> Why:
    """Tell apart what 414 means: existing, missing, not signed well, or a wrong parameter."""
    text = desc.casefold()
    if "already regist" in text:
        return Why.EXISTS
    if "not regist" in text:
        return Why.MISSING
    return Why.AUTH if about_signature(request, desc) else Why.OTHER


def _outcome(answer: Answer, account_id: str, *, muted: Mapping[str, Any] | None = None) -> Outcome:
    """Return the outcome of one call; a success that is not about what was asked is none."""
    verdict = answer.verdict
    if verdict.result is Result.CONFIRMED:
        echoed = inner(answer.data, "info").get("accid", account_id)
        if not isinstance(echoed, str) or CAPABILITIES.id.fold(echoed) != account_id:
            return Outcome(Result.AMBIGUOUS, verdict.code, f"the answer is about {echoed!r}")
        held = inner(answer.data, "data")
        for key in MUTES.values():
            flag = _flag(held.get(key))
            if muted and flag is not None and flag is not muted.get(key, flag):
                return Outcome(Result.AMBIGUOUS, verdict.code, f"the answer says {key} is {flag}")
        if answer.undelivered:
            return token_lost(answer)
    return Outcome(verdict.result, verdict.code, verdict.message, verdict.why)


def _flag(value: object) -> bool | None:
    """Return a truth value, which version 1 might also write as a text; None for anything else."""
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None


def _sights(answer: Answer, ids: Sequence[str], *, fails: bool = True) -> dict[str, Observed]:
    """Return what a batch answer tells of the accounts it was asked for.

    Only a list that speaks of nobody else proves by its silence that an account is missing.
    """
    verdict = answer.verdict
    if fails and verdict.result is not Result.CONFIRMED:
        raise ReadFailed(Outcome(verdict.result, verdict.code, verdict.message, verdict.why))
    items = answer.data.get("uinfos")
    if not isinstance(items, list):
        return {}
    found: dict[str, Observed] = {}
    complete = True
    for item in items:
        about = item.get("accid") if isinstance(item, Mapping) else None
        id = CAPABILITIES.id.fold(about) if isinstance(about, str) else ""
        if id in ids:
            found[id] = _seen(item)
        else:
            complete = False
    return {**dict.fromkeys(ids, MISSING), **found} if complete else found


def _seen(item: Mapping[str, Any]) -> Observed:
    """Return one account: a profile field that is left out is unset, a mute is not known."""
    profile: dict[str, Any] = {}
    for name, key in PROFILE.items():
        value = item.get(key)
        profile[name] = CAPABILITIES.field(f"profile.{name}").default if value is None else value
    flags = {name: _flag(item.get(key)) for name, key in MUTES.items()}
    known = {name: flag for name, flag in flags.items() if flag is not None}
    return Observed(exists=True, profile=profile, configuration=known, banned=None)


PROVIDER: Final = CommsEase()


def make(_options: Mapping[str, Any]) -> CommsEase:
    """Return the provider; this vendor has no settings of its own."""
    return PROVIDER
