"""Tencent Cloud Chat's server API: accounts, profiles and global mutes, as far as it is known."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import parse_qs

from reconciler.emulator.context import Context
from reconciler.emulator.emulated import Emulated
from reconciler.emulator.exchange import Answer, Call, Exchange, Operation, Paths, Perform, Vendor
from reconciler.emulator.store import Account
from reconciler.emulator.tencent_console import TencentConsole
from reconciler.emulator.tencent_fields import (
    FOREVER,
    MUTES,
    Object,
    Refusal,
    checked,
    is_id,
    item,
    known,
    muted,
    mutes,
    tagged,
)
from reconciler.emulator.tencent_sig import verified

VENDOR = "tencent"
ACCOUNT, PROFILE, MUTE, STATUS = "im_open_login_svc", "profile", "openconfigsvr", "openim"

_WORDS = {
    40003: "account is not imported",
    40009: "no such profile tag",
    60002: "method not supported",
    60003: "the body is not a JSON object",
    60007: "request frequency exceeds the limit",
    60009: "no such API",
    60010: "the identifier is no app admin",
    60012: "sdkappid is missing",
    60015: "an account is not a text",
    70001: "usersig expired",
    70003: "usersig malformed",
    70009: "usersig was signed with another key",
    70013: "usersig is of another identifier",
    70014: "usersig is of another sdkappid",
    70107: "Err_TLS_PT_Open_Login_Account_Not_Exist",
    70402: "bad parameter",
    71000: "deletion is not enabled",
    130003: "bad Get_Account",
    130008: "neither mute is given",
}
_SIGNATURES = {"malformed": 70003, "key": 70009, "user": 70013, "app": 70014, "expired": 70001}
_STRANGERS = {ACCOUNT: 70403, PROFILE: 40004}


def routes(context: Context) -> Paths:
    """Return the paths of the API, all below /v4/."""
    api = _Api(context)
    table: dict[str, dict[str, Perform]] = {
        ACCOUNT: {
            "account_import": api.account_import,
            "multiaccount_import": api.multiaccount_import,
            "account_check": api.account_check,
            "account_delete": api.account_delete,
            "kick": api.kick,
        },
        PROFILE: {"portrait_set": api.portrait_set, "portrait_get": api.portrait_get},
        MUTE: {"setnospeaking": api.setnospeaking, "getnospeaking": api.getnospeaking},
        STATUS: {"query_online_status": api.query_online_status},
    }

    def refused(name: str, guess: str) -> Operation:
        return Operation(name, _about, lambda _: _failed("", getattr(context.guesses, guess)))

    def vendor(service: str) -> Vendor:
        fail, admit = partial(_failed, service), partial(api.admit, service)
        return Vendor(VENDOR, context.settings.sdk_app_id, admit, _parsed, fail)

    wrong = refused("wrong_method", "tencent_wrong_method_code")
    unknown = refused("unknown_path", "tencent_unknown_path_code")
    found: Paths = []
    for service, commands in table.items():
        for name, perform in commands.items():
            served = Operation(name, _about, _answering(service, perform))
            got = Operation(name, _about, api.got(served.perform, wrong.perform))
            exchange = Exchange(context, vendor(service), {"POST": served, "GET": got}, wrong)
            found.append((f"/v4/{service}/{name}", exchange))
    return [*found, ("/v4/{rest:path}", Exchange(context, vendor(""), {}, unknown))]


@dataclass(frozen=True, slots=True)
class _Api:
    """Hold the operations; each takes a call that was admitted and may raise Refusal."""

    context: Context

    def admit(self, service: str, call: Call) -> Answer | None:
        """Judge the query, the signature, who signed, and then the rate."""
        code = self._judged(service, call)
        if not code:
            settings, guesses = self.context.settings, self.context.guesses
            key = (VENDOR, settings.sdk_app_id, call.api)
            block = guesses.tencent_block_seconds
            if not self.context.throttle.allows(key, call.at, block, prolongs=False):
                code = 60007
        return _failed(service, code) if code else None

    def _judged(self, service: str, call: Call) -> int:
        settings, guesses = self.context.settings, self.context.guesses
        query = {name: values[-1] for name, values in parse_qs(call.query).items()}
        if "sdkappid" not in query:
            return 60012
        number = query.get("random", "")
        if not (number.isascii() and number.isdecimal() and int(number[:11]) <= FOREVER):
            return guesses.tencent_query_code
        if query.get("contenttype") != "json":
            return guesses.tencent_query_code
        if query["sdkappid"] != settings.sdk_app_id:
            return guesses.tencent_wrong_app_code
        identifier = query.get("identifier", "")
        sig, secret = query.get("usersig", ""), settings.secret_key
        verdict = verified(sig, settings.sdk_app_id, identifier, secret, call.wall)
        if verdict != "good":
            return _SIGNATURES[verdict]
        return 0 if identifier == settings.admin else _STRANGERS.get(service, 60010)

    def got(self, served: Perform, refused: Perform) -> Perform:
        """Return how a GET with a body is answered, which one public client sends."""
        return lambda call: (
            served(call) if self.context.guesses.tencent_get_accepted else refused(call)
        )

    def account_import(self, call: Call) -> Answer:
        """Import one account; importing it again keeps it and succeeds."""
        body = _object(call)
        self._put(body, self._legacy(body))
        return _good(mutated=True)

    def multiaccount_import(self, call: Call) -> Answer:
        """Import up to 100 accounts; those that failed are named, without a reason."""
        body = _object(call)
        if "AccountList" in body:
            rows = [row if isinstance(row, dict) else {} for row in self._many(body, "AccountList")]
        else:
            rows = [{"UserID": given} for given in self._many(body, "Accounts")]
        if not all(isinstance(row.get("UserID"), str) for row in rows):
            raise Refusal(60015)
        failed: list[object] = []
        seen: set[object] = set()
        twice = self.context.guesses.tencent_duplicate_import == "fail"
        for row in rows:
            try:
                if twice and row["UserID"] in seen:
                    raise Refusal(70402, "named twice")
                seen.add(row["UserID"])
                self._put(row, row["UserID"])
            except Refusal:
                failed.append(row["UserID"])
        return _good({"FailAccounts": failed}, mutated=len(failed) < len(rows))

    def account_check(self, call: Call) -> Answer:
        """Tell which accounts are imported."""
        return self._each(call, "CheckItem", self._status, mutated=False)

    def account_delete(self, call: Call) -> Answer:
        """Delete accounts for good; a missing one fails alone."""
        if not self.context.guesses.tencent_delete_enabled:
            raise Refusal(71000)
        return self._each(call, "DeleteItem", self._deleted, mutated=True)

    def kick(self, call: Call) -> Answer:
        """Count a kick of an account; it leaves no state that could be read."""
        account = self._known(self._legacy(_object(call)), 70107)
        self._keep(replace(account, kicks=account.kicks + 1))
        return _good(mutated=True)

    def query_online_status(self, call: Call) -> Answer:
        """Tell who is online, which is whoever the console says has logged in."""
        found: list[Object] = []
        failed: list[Object] = []
        for given in self._many(_object(call), "To_Account", 500):
            account = self._held(given)
            if account is None:
                failed.append({"To_Account": given, "ErrorCode": 70107})
            else:
                status = "Online" if account.logged_in else "Offline"
                found.append({"To_Account": given, "Status": status})
        return _good({"QueryResult": found, "ErrorList": failed})

    def portrait_set(self, call: Call) -> Answer:
        """Set tags of one account, all or none where the guess says so."""
        guesses = self.context.guesses
        body = _object(call)
        account = self._known(_text(body, "From_Account", 40001), 40003)
        items = body.get("ProfileItem")
        if not isinstance(items, list) or not items:
            raise Refusal(40001, "ProfileItem is a list of tags and values")
        changes: Object = {}
        try:
            for one in items:
                tag = one.get("Tag") if isinstance(one, dict) else None
                if not isinstance(tag, str) or not known(tag, guesses):
                    raise Refusal(40009)
                changes[tag] = checked(tag, one.get("Value"), guesses)
        except Refusal:
            if changes and not guesses.tencent_portrait_atomic:
                self._keep(tagged(account, changes))
            raise
        self._keep(tagged(account, changes))
        return _good({"ErrorDisplay": ""}, mutated=True)

    def portrait_get(self, call: Call) -> Answer:
        """Read the asked tags of many accounts; one that is missing fails alone, or all."""
        guesses = self.context.guesses
        body = _object(call)
        tags = body.get("TagList")
        if not isinstance(tags, list) or not tags:
            raise Refusal(40001, "TagList is a list of tags")
        if not all(known(tag, guesses) for tag in tags):
            raise Refusal(40009)
        found: list[Object] = []
        failed: list[object] = []
        for given in self._many(body, "To_Account"):
            account = self._held(given)
            if account is not None:
                items = [shown for tag in tags for shown in item(account, tag, guesses)]
                row: Object = {"To_Account": given, "ProfileItem": items}
                found.append({**row, "ResultCode": 0, "ResultInfo": "OK"})
                continue
            if guesses.tencent_portrait_missing == "whole":
                raise Refusal(40003)
            failed.append(given)
            row = {"To_Account": given, "ResultCode": 40003}
            found.append({**row, "ResultInfo": _WORDS[40003]})
        answered: Object = {"UserProfileItem": found}
        if failed:
            answered["Fail_Account"] = failed
        return _good({**answered, "ErrorDisplay": ""})

    def setnospeaking(self, call: Call) -> Answer:
        """Set one mute or both of one account."""
        body = _object(call, 130001)
        if "Set_Account" not in body:
            raise Refusal(130004, "Set_Account is missing")
        changes: dict[str, int] = {}
        for name, (_, code) in MUTES.items():
            seconds = body.get(name, 0)
            if type(seconds) is not int or not 0 <= seconds <= FOREVER:
                raise Refusal(code, f"{name} is a number of seconds")
            if name in body:
                changes[name] = seconds
        given = _text(body, "Set_Account", 130005)
        if not changes:
            raise Refusal(130008)
        account = self._held(given)
        if account is not None:
            self._keep(muted(account, changes, call.wall))
        elif code := self.context.guesses.tencent_mute_missing_code:
            raise Refusal(code)
        return _quiet({}, mutated=account is not None)

    def getnospeaking(self, call: Call) -> Answer:
        """Read both mutes of one account; one that does not exist is said to be muted for good."""
        body = _object(call, 130001)
        if "Get_Account" not in body:
            raise Refusal(130002, "Get_Account is missing")
        account = self._held(_text(body, "Get_Account", 130003))
        if account is not None:
            return _quiet(mutes(account, call.wall))
        guess = self.context.guesses.tencent_unknown_mute
        if guess == "error":
            raise Refusal(130003)
        return _quiet(dict.fromkeys(MUTES, FOREVER if guess == "muted" else 0))

    def _put(self, row: Mapping[str, object], given: object) -> None:
        """Add an account, or give one that exists its new name and avatar."""
        guesses, now = self.context.guesses, self.context.clock.wall()
        if not is_id(given, guesses):
            raise Refusal(70402, "UserID is 1 to 32 letters, digits, _ or -")
        if given in self.context.unwanted:
            raise Refusal(70402, "not this one")
        about: Object = {}
        for key, tag in (("Nick", "Tag_Profile_IM_Nick"), ("FaceUrl", "Tag_Profile_IM_Image")):
            if key in row:
                about[tag] = checked(tag, row[key], guesses)
        account = self._held(given)
        if account is None:
            app = self.context.settings.sdk_app_id
            account = Account(VENDOR, app, str(given), None, created_at=now, updated_at=now)
        elif not guesses.tencent_import_overwrites:
            about = {}
        self._keep(tagged(account, about))

    def _status(self, given: str) -> Object:
        state = "NotImported" if self._held(given) is None else "Imported"
        return {"ResultCode": 0, "ResultInfo": "", "AccountStatus": state}

    def _deleted(self, given: str) -> Object:
        if self.context.store.delete(VENDOR, self.context.settings.sdk_app_id, given):
            return {"ResultCode": 0, "ResultInfo": ""}
        return {"ResultCode": 70107, "ResultInfo": _WORDS[70107]}

    def _each(
        self, call: Call, name: str, answered: Callable[[str], Object], *, mutated: bool
    ) -> Answer:
        rows = self._many(_object(call), name)
        given = [row.get("UserID") if isinstance(row, dict) else None for row in rows]
        ids = [one for one in given if isinstance(one, str)]
        if len(ids) < len(given):
            raise Refusal(60015)
        results = [{"UserID": one, **answered(one)} for one in ids]
        return _good({"ResultItem": results}, mutated=mutated)

    def _many(self, body: Object, name: str, most: int = 100) -> list[object]:
        rows = body.get(name)
        if not isinstance(rows, list) or not rows:
            raise Refusal(70402, f"{name} is a list")
        if len(rows) > most:
            raise Refusal(self.context.guesses.tencent_batch_code, f"{name} has at most {most}")
        return rows

    def _legacy(self, body: Object) -> str:
        """Return the account of a call, also by the name that older pages give the field."""
        old = self.context.guesses.tencent_identifier_accepted and "UserID" not in body
        return _text(body, "Identifier" if old else "UserID", 60015)

    def _held(self, given: object) -> Account | None:
        return self.context.store.get(VENDOR, self.context.settings.sdk_app_id, str(given))

    def _known(self, given: str, missing: int) -> Account:
        account = self._held(given)
        if account is None:
            raise Refusal(missing)
        return account

    def _keep(self, account: Account) -> None:
        self.context.store.put(replace(account, updated_at=self.context.clock.wall()))


def _parsed(raw: bytes) -> object:
    """Read a body. A lone surrogate can be read as JSON and then not be sent, so it is refused."""
    value: object = json.loads(raw)
    if b"\\u" in raw:
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _good(data: Object | None = None, *, mutated: bool = False) -> Answer:
    envelope = {"ActionStatus": "OK", "ErrorCode": 0, "ErrorInfo": ""}
    return Answer(0, {**envelope, **(data or {})}, mutated)


def _quiet(data: Object, *, mutated: bool = False) -> Answer:
    """Return a good answer of the mute service, whose envelope has no ActionStatus."""
    return Answer(0, {"ErrorCode": 0, "ErrorInfo": "", **data}, mutated)


def _failed(service: str, code: int, words: str = "") -> Answer:
    told: Object = {"ErrorCode": code, "ErrorInfo": words or _WORDS.get(code, "error")}
    if service != MUTE:
        told = {"ActionStatus": "FAIL", **told}
    return Answer(code, {**told, "ErrorDisplay": ""} if service == PROFILE else told)


def _answering(service: str, perform: Perform) -> Perform:
    def answered(call: Call) -> Answer:
        try:
            return perform(call)
        except Refusal as refusal:
            return _failed(service, refusal.code, refusal.words)

    return answered


def _object(call: Call, code: int = 60003) -> Object:
    if not isinstance(call.body, dict):
        raise Refusal(code)
    return call.body


def _text(body: Object, name: str, code: int) -> str:
    given = body.get(name)
    if not isinstance(given, str) or not given:
        raise Refusal(70402 if name not in body and code == 60015 else code, f"{name} is a text")
    return given


def _about(call: Call) -> tuple[str, ...]:
    """Return the accounts a call is about, each once, in the order they were named."""
    return tuple(dict.fromkeys(_named(call.body))) if isinstance(call.body, dict) else ()


def _named(body: Mapping[str, object]) -> Iterator[str]:
    for name in ("UserID", "Identifier", "From_Account", "Set_Account", "Get_Account"):
        if isinstance(given := body.get(name), str):
            yield given
    for name in ("AccountList", "Accounts", "CheckItem", "DeleteItem", "To_Account"):
        rows = body.get(name)
        for row in rows if isinstance(rows, list) else ():
            given = row.get("UserID") if isinstance(row, dict) else row
            if isinstance(given, str):
                yield given


EMULATED = Emulated(
    routes,
    lambda settings: settings.sdk_app_id,
    {"create": "multiaccount_import", "profile": "portrait_set", "block": "kick"},
    {"refused": 40005, "throttled": 60007},
    names_refused=True,
    console=TencentConsole(),
)
