"""The NetEase Yunxin IM server API v2: accounts and user profiles, as far as it is known."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import parse_qs

from reconciler.emulator.context import Context
from reconciler.emulator.emulated import Emulated
from reconciler.emulator.exchange import Answer, Call, Exchange, Operation, Paths, Perform, Vendor
from reconciler.emulator.netease import (
    PUSH,
    VENDOR,
    Gate,
    Object,
    Refusal,
    cleared,
    folded,
    held,
    is_id,
    refusing,
    registered,
)
from reconciler.emulator.store import Account
from reconciler.emulator.yunxin_fields import Fields, configuration, profile

_WORDS = {
    200: "success",
    403: "authentication failed",
    404: "api not found",
    414: "parameter error",
    416: "request frequency exceeds the limit",
    431: "repeated request",
    449: "need retry",
    500: "server error",
    503: "server busy",
    101303: "appkey not exist",
    102404: "account_id not exist",
    102405: "account_id already exist",
    102422: "account is disabled",
    102434: "account quota exceeded",
    102449: "need retry",
    103404: "user profile not exist",
    103451: "user profile hit antispam",
}


def routes(context: Context) -> Paths:
    """Return the paths of the API, each with and without the /nimserver prefix."""
    api = _Api(context)
    vendor = Vendor(
        name=VENDOR,
        app=context.settings.app_key,
        admit=api.admit,
        parse=json.loads,
        fail=_failure,
    )
    wrong = Operation("wrong_method", _of_path, api.wrong_method)
    unknown = Operation("unknown_path", _of_path, api.unknown_path)
    account = "/im/v2/accounts/{account_id}"

    def one(name: str, perform: Perform) -> Operation:
        return Operation(name, _of_path, refusing(perform, _failure))

    def many(name: str, perform: Perform) -> Operation:
        return Operation(name, _of_query, refusing(perform, _failure))

    table: dict[str, dict[str, Operation]] = {
        "/im/v2/accounts": {
            "POST": Operation("create", _of_body, refusing(api.create, _failure)),
            "GET": many("batch_get", api.batch_get),
        },
        account: {"PATCH": one("update", api.update), "GET": one("get", api.get)},
        f"{account}/actions/disable": {"PATCH": one("disable", api.disable)},
        f"{account}/actions/refresh_token": {"PATCH": one("refresh_token", api.refresh_token)},
        f"{account}/actions/push_config": {"PATCH": one("push_config", api.push_config)},
        f"{account}/actions/kick": {"POST": one("kick", api.kick)},
        "/im/v2/users": {"GET": many("profile_batch_get", api.profile_batch_get)},
        "/im/v2/users/{account_id}": {
            "PATCH": one("profile_update", api.profile_update),
            "GET": one("profile_get", api.profile_get),
        },
        "/im/{rest:path}": {},
    }
    return [
        (prefix + path, Exchange(context, vendor, operations, wrong if operations else unknown))
        for prefix in ("", "/nimserver")
        for path, operations in table.items()
    ]


@dataclass(frozen=True, slots=True)
class _Api:
    """Hold the operations; each takes a call that was admitted and may raise Refusal."""

    context: Context

    def admit(self, call: Call) -> Answer | None:
        """Judge signature, then rate, then repetition; return the refusal, or None."""
        guesses = self.context.guesses
        gate = Gate(
            VENDOR,
            guesses.yunxin_block_seconds,
            guesses.yunxin_block_prolongs,
            "x-custom-traceid",
            guesses.yunxin_repeat_seconds,
        )
        match gate.judge(self.context, call):
            case "good":
                return None
            case "rate":
                return _failure(416)
            case "repeated":
                return _failure(guesses.yunxin_repeat_code)
            case "header":
                return _failure(guesses.yunxin_header_code, "bad header")
            case "app":
                return _failure(101303)
            case "expired":
                return _failure(guesses.yunxin_expired_code, "bad expired")
            case "checksum":
                return _failure(guesses.yunxin_bad_checksum_code, "bad checksum")

    def create(self, call: Call) -> Answer:
        """Register an account (vendor page: register account)."""
        fields = self._fields(call)
        fields.only(
            "account_id", "token", "configuration", "user_information", "antispam_configuration"
        )
        given = fields.text("account_id", 1 << 20)
        if given is None or not is_id(given):
            raise Refusal(414, "account_id is 1 to 32 letters, digits, _ @ . or -")
        fields.object("antispam_configuration")
        token = fields.token()
        settings = fields.inside("configuration")
        enabled, flags = settings.flags()
        push = settings.push()
        if push is not None and self.context.guesses.yunxin_push_at_create == "reject":
            raise Refusal(414, "push_enabled_when_desktop_online cannot be set at registration")
        about = fields.inside("user_information").profile()
        if held(self.context, folded(given)) is not None:
            raise Refusal(102405)
        account = registered(self.context, given, token, about)
        account = replace(account, enabled=enabled is not False, configuration=flags)
        self.context.store.put(account)
        answered = self._account(account, token=True)
        answered["user_information"] = profile(account, self.context.guesses)
        return _success(answered, mutated=True)

    def update(self, call: Call) -> Answer:
        """Change token, flags and, where the guess says so, the profile of an account."""
        guesses = self.context.guesses
        fields = self._fields(call)
        fields.only(
            "token",
            "configuration",
            "need_kick",
            "kick_notify_extension",
            "user_information",
            "antispam_configuration",
        )
        fields.object("antispam_configuration")
        token = fields.token()
        settings = fields.inside("configuration")
        enabled, flags = settings.flags()
        push = settings.push()
        about = fields.inside("user_information").profile()
        if not guesses.yunxin_update_takes_profile:
            about = {}
        kick, notify = fields.kick()
        account = self._known(call, 102404)
        if not (guesses.yunxin_update_enables and enabled):
            self._writable(account)
        if token is None and enabled is None and not flags and push is None and not about:
            if guesses.yunxin_empty_update_code != 200:
                raise Refusal(guesses.yunxin_empty_update_code, "nothing to change")
            if not kick:
                return self._answered(account, mutated=False)
        if push is not None:
            self._push_possible(account)
            flags = {**flags, PUSH: push}
        changed = replace(
            account,
            token=account.token if token is None else token,
            enabled=account.enabled if enabled is None else enabled,
            configuration={**account.configuration, **flags},
            profile=cleared({**account.profile, **about}),
        )
        return self._answered(self._kept(changed, kick, notify))

    def disable(self, call: Call) -> Answer:
        """Disable an account (enabled false) or enable it (true); both may be repeated."""
        fields = self._fields(call)
        fields.only("enabled", "need_kick", "kick_notify_extension")
        enabled = fields.flag("enabled")
        kick, notify = fields.kick()
        if enabled is None:
            raise Refusal(414, "enabled is required")
        account = replace(self._known(call, 102404), enabled=enabled)
        return self._answered(self._kept(account, kick, notify))

    def refresh_token(self, call: Call) -> Answer:
        """Give an account a new random token and answer it."""
        account = self._known(call, 102404)
        self._writable(account)
        changed = self._kept(replace(account, token=self.context.mint()))
        return _success(self._account(changed, token=True), mutated=True)

    def push_config(self, call: Call) -> Answer:
        """Set the push switch of an account that has logged in once."""
        fields = self._fields(call)
        fields.only(PUSH)
        push = fields.flag(PUSH)
        if push is None:
            raise Refusal(414, f"{PUSH} is required")
        account = self._known(call, 102404)
        self._writable(account)
        self._push_possible(account)
        flags = {**account.configuration, PUSH: push}
        return self._answered(self._kept(replace(account, configuration=flags)))

    def kick(self, call: Call) -> Answer:
        """Count a kick; no device is ever online, so both lists of the answer are empty."""
        fields = self._fields(call)
        fields.only("type", "device_id_list", "kick_notify_extension")
        fields.choice("type", (1, 2, 3))
        fields.texts("device_id_list", 20)
        notify = fields.notify()
        self._kept(self._known(call, 102404), True, notify)
        return _success({"success_list": [], "failed_list": []}, mutated=True)

    def get(self, call: Call) -> Answer:
        """Read the flags of one account; never its token (vendor SDK)."""
        return _success(self._account(self._known(call, 102404), token=False))

    def batch_get(self, call: Call) -> Answer:
        """Read the flags of many accounts."""
        return self._batch(call, lambda account: self._account(account, token=False))

    def profile_update(self, call: Call) -> Answer:
        """Change the profile fields that are sent."""
        guesses = self.context.guesses
        about = self._fields(call).profile(top=True)
        account = self._known(call, guesses.yunxin_missing_profile_code)
        self._writable(account)
        if not about and guesses.yunxin_empty_update_code != 200:
            raise Refusal(guesses.yunxin_empty_update_code, "nothing to change")
        if about:
            changed = replace(account, profile=cleared({**account.profile, **about}))
            account = self._kept(changed)
        answered = self._profile(account)
        if guesses.yunxin_profile_answer == "changed":
            answered = {"account_id": account.id, **about}
        return _success(answered, mutated=bool(about))

    def profile_get(self, call: Call) -> Answer:
        """Read one profile."""
        missing = self.context.guesses.yunxin_missing_profile_code
        return _success(self._profile(self._known(call, missing)))

    def profile_batch_get(self, call: Call) -> Answer:
        """Read many profiles."""
        return self._batch(call, self._profile)

    def wrong_method(self, _call: Call) -> Answer:
        """Refuse a method that the path does not take."""
        return _failure(self.context.guesses.yunxin_wrong_method_code, "method not supported")

    def unknown_path(self, _call: Call) -> Answer:
        """Refuse a path that is no API."""
        return _failure(self.context.guesses.yunxin_unknown_path_code)

    def _fields(self, call: Call) -> Fields:
        if not isinstance(call.body, dict):
            raise Refusal(414, "the body is not a JSON object")
        return Fields(call.body, self.context.guesses)

    def _known(self, call: Call, missing: int) -> Account:
        if not is_id(call.path_id):
            raise Refusal(self.context.guesses.yunxin_bad_id_code, "account_id is not valid")
        account = held(self.context, folded(call.path_id))
        if account is None:
            raise Refusal(missing)
        return account

    def _writable(self, account: Account) -> None:
        if not account.enabled:
            raise Refusal(self.context.guesses.yunxin_disabled_code, "account is disabled")

    def _push_possible(self, account: Account) -> None:
        code = self.context.guesses.yunxin_push_before_login_code
        if not account.logged_in and code != 200:
            raise Refusal(code, f"{PUSH} cannot be set before the first login")

    def _kept(self, account: Account, kick: bool = False, notify: str | None = None) -> Account:
        kept = replace(account, updated_at=self.context.clock.wall())
        if kick:
            kept = replace(kept, kicks=kept.kicks + 1, last_kick=notify)
        self.context.store.put(kept)
        return kept

    def _answered(self, account: Account, *, mutated: bool = True) -> Answer:
        token = self.context.guesses.yunxin_update_answers_token
        return _success(self._account(account, token=token), mutated=mutated)

    def _account(self, account: Account, *, token: bool) -> Object:
        answered: Object = {"account_id": account.id}
        if token:
            answered["token"] = account.token
        answered["configuration"] = configuration(account)
        return answered

    def _profile(self, account: Account) -> Object:
        return {"account_id": account.id, **profile(account, self.context.guesses)}

    def _batch(self, call: Call, shown: Callable[[Account], Object]) -> Answer:
        account_ids = _of_query(call)
        most = self.context.guesses.yunxin_batch_max
        if not 1 <= len(account_ids) <= most:
            raise Refusal(414, f"account_ids names 1 to {most} accounts")
        found: list[Object] = []
        failed: list[Object] = []
        for account_id in account_ids:
            account = held(self.context, account_id)
            if account is not None:
                found.append(shown(account))
                continue
            words = f"{account_id} not valid"
            failed.append({"account_id": account_id, "error_code": 102404, "error_msg": words})
        return _success({"success_list": found, "failed_list": failed})


def _success(data: Object, *, mutated: bool = False) -> Answer:
    return Answer(200, {"code": 200, "msg": "success", "data": data}, mutated)


def _failure(code: int, words: str = "") -> Answer:
    msg = words or _WORDS.get(code, "error")
    return Answer(code, {"code": code, "msg": msg, "data": {}})


def _of_path(call: Call) -> tuple[str, ...]:
    return (folded(call.path_id),) if call.path_id else ()


def _of_body(call: Call) -> tuple[str, ...]:
    given = call.body.get("account_id") if isinstance(call.body, dict) else None
    return (folded(given),) if isinstance(given, str) else ()


def _of_query(call: Call) -> tuple[str, ...]:
    """Return the ids a batch read asks for, folded, each once, in the order they were asked."""
    given = ",".join(parse_qs(call.query).get("account_ids", ()))
    return tuple(dict.fromkeys(folded(part) for part in given.split(",") if part))


EMULATED = Emulated(
    routes,
    lambda settings: settings.app_key,
    {"create": "create", "profile": "profile_update", "block": "disable"},
    {"refused": 414, "throttled": 416},
    folds=True,
)
