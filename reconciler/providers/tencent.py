"""Tencent: Tencent Cloud Chat's server API as conversations."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from reconciler.accounts import MISSING, Document, Observed, flatten
from reconciler.capabilities import Capabilities, Support
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
    Token,
    Verdict,
    Why,
)
from reconciler.providers.tencent_fields import (
    IMPORTED,
    MUTES,
    TAGS,
    custom_tag,
    read,
    table,
    written,
)
from reconciler.providers.usersig import usersig

PERMANENT: Final = 4_294_967_295
"""The mute that never ends; 0 lifts, anything between is seconds."""

_ACCOUNT, _PROFILE, _MUTE = "im_open_login_svc", "profile", "openconfigsvr"


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


_NOT_GIVEN: Final = frozenset({"40007", "40009"})
"""Codes of a tag that nobody may read, or that was never registered."""

_Tags: TypeAlias = dict[str, Any]
"""What an account holds, by tag."""


class Tencent:
    """The conversations of the server API; paths follow `https://console.tim.qq.com`."""

    def __init__(self, blocked_tag: str = "", fields: Collection[str] = ()) -> None:
        self.capabilities: Capabilities = table(blocked_tag)
        self._marker = blocked_tag
        self._tags = (*TAGS.values(), *((blocked_tag,) if blocked_tag else ()))
        self._custom = tuple(
            custom_tag(path)
            for path in sorted(fields)
            if custom_tag(path) and self.capabilities.field(path).support is not Support.UNSUPPORTED
        )

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
            times = [_told(answer).data.get(name) for name in MUTES.values()]
            if all(isinstance(time, int) and not isinstance(time, bool) for time in times):
                found[id] = self._observed(tags, times)
        return found

    def _portraits(self, ids: Sequence[str]) -> Call[dict[str, _Tags]]:
        """Return the tags of each account that were given.

        One custom tag that the console does not know, or lets nobody read, fails a call as a
        whole: then each is asked for alone, and what is not given is left out.
        """
        try:
            return (yield from _portraits(ids, (*self._tags, *self._custom)))
        except ReadFailed as failed:
            if not self._custom or failed.outcome.code not in _NOT_GIVEN:
                raise
        found = yield from _portraits(ids, self._tags)
        for tag in self._custom if found else ():
            try:
                more = yield from _portraits(tuple(found), (tag,))
            except ReadFailed as failed:
                if failed.outcome.code not in _NOT_GIVEN:
                    raise
            else:
                found |= {id: found[id] | tags for id, tags in more.items()}
        return found

    def _observed(self, tags: _Tags, times: Sequence[Any]) -> Observed:
        """Return what is known; mutes that may be those of a ban tell nothing of the flags."""
        banned = tags.get(self._marker) == "1" if self._marker else None
        hidden = all(time == PERMANENT for time in times) if banned is None else banned
        flags = {} if hidden else {name: time > 0 for name, time in zip(MUTES, times, strict=True)}
        profile = read({tag: value for tag, value in tags.items() if tag != self._marker})
        return Observed(exists=True, profile=profile, configuration=flags, banned=banned)

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
        muted = any(fields.get(f"configuration.{name}") for name in MUTES)
        rest = {
            path: value
            for path, value in fields.items()
            if path not in IMPORTED and (muted or not path.startswith("configuration."))
        }
        outcome = yield from self.update(account_id, rest, None)
        if outcome.result is Result.CONFIRMED:
            return outcome
        held = tuple(path for path in fields if path not in rest)
        return replace(outcome, done=(REGISTERED, *held, *outcome.done))

    def update(
        self, account_id: str, fields: Mapping[str, Any], token: Token | None
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
        """Mute for good, end the sessions, and mark; every part may be repeated.

        The mark comes last: it tells whoever reads it that nothing of the ban is left to do.
        """
        return (
            yield from _all(
                _mute(account_id, dict.fromkeys(MUTES, True)),
                *((_kick(account_id),) if ban.get("kick", True) else ()),
                *self._marked(account_id, "1"),
            )
        )

    def unblock(self, account_id: str, document: Document) -> Call[Outcome]:
        """Bring back the mutes that are recorded of the account, then take the mark away."""
        flags = document.get("configuration", {})
        declared = {name: bool(flags.get(name)) for name in MUTES}
        return (yield from _all(_mute(account_id, declared), *self._marked(account_id, "")))

    def _marked(self, account_id: str, value: str) -> tuple[Request, ...]:
        return (_portrait(account_id, {self._marker: value}),) if self._marker else ()


def _portraits(ids: Sequence[str], tags: Sequence[str]) -> Call[dict[str, _Tags]]:
    """Return the asked tags of each account, None for one that nobody set.

    An account that fails, in the batch or with it, is left out.
    """
    body = {"To_Account": list(ids), "TagList": list(tags)}
    answer = yield _request(_PROFILE, "portrait_get", body, ids, mutates=False)
    found: dict[str, _Tags] = {}
    if answer.verdict.why is Why.MISSING:
        for id in ids if len(ids) > 1 else ():
            found |= yield from _portraits((id,), tags)
        return found
    failed = _told(answer).data.get("Fail_Account") or ()
    for item in _items(answer.data, "UserProfileItem", "To_Account", ids):
        if item.get("ResultCode", 0) == 0 and item["To_Account"] not in failed:
            held = item.get("ProfileItem")
            found[item["To_Account"]] = dict.fromkeys(tags) | {
                one["Tag"]: one.get("Value")
                for one in (held if isinstance(held, list) else ())
                if isinstance(one, Mapping) and one.get("Tag") in tags
            }
    return found


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
    times = {MUTES[name]: PERMANENT if flag else 0 for name, flag in flags.items()}
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
        yield _portrait(account_id, dict(written(path, fields[path]) for path in profile)), profile
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
    taken = {name: fields[path] for path, name in IMPORTED.items() if fields.get(path)}
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


def make(options: Mapping[str, Any]) -> Tencent:
    """Return the provider.

    `blocked_tag` is the registered custom tag that marks bans; `fields` are paths of which the
    custom ones are to be read, as this vendor gives them by name only.
    """
    return Tencent(str(options.get("blocked_tag", "")), options.get("fields", ()))
