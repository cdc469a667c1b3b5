"""The NetEase CommsEase server API v1 ("nimserver"): the same apps and accounts as the API v2."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from reconciler.emulator import netease
from reconciler.emulator.commsease_fields import MUTES, PROFILE, Form, listed, mutes, parsed, shown
from reconciler.emulator.context import Context
from reconciler.emulator.emulated import Emulated
from reconciler.emulator.exchange import Answer, Call, Exchange, Operation, Paths, Perform, Vendor
from reconciler.emulator.netease import (
    BANS,
    PUSH,
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

VENDOR = "commsease"
"""The name of this API in log and faults; its accounts are stored as those of v2."""

_BLOCK = 10.0
"""Seconds that an API is blocked after 416 (vendor page: v1 API list)."""

_MOST_READ = 200
_MOST_STATUS = 100

_WORDS = {
    403: "forbidden",
    404: "not found",
    414: "param error",
    416: "request frequency limit",
    417: "repeated operation",
    422: "account is disabled",
    431: "repeated request",
    449: "need retry",
    500: "server error",
    503: "server busy",
}

_UNSIGNED = {"header": "header", "app": "appkey", "expired": "CurTime is expired"}


def routes(context: Context) -> Paths:
    """Return the paths of the API, all of them POST below /nimserver/user/."""
    api = _Api(context)
    vendor = Vendor(
        name=VENDOR,
        app=context.settings.app_key,
        admit=api.admit,
        parse=parsed,
        fail=_failure,
    )
    table: dict[str, tuple[str, Perform]] = {
        "create": ("create", api.create),
        "update": ("update_token", api.update_token),
        "refreshToken": ("refresh_token", api.refresh_token),
        "block": ("block", api.block),
        "unblock": ("unblock", api.unblock),
        "updateUinfo": ("update_uinfo", api.update_uinfo),
        "getUinfos": ("get_uinfos", api.get_uinfos),
        "setDonnop": ("set_donnop", api.set_donnop),
        "mute": ("mute", api.mute),
        "muteModule": ("mute_module", api.mute_module),
        "userOnlineStatus": ("online_status", api.online_status),
    }
    wrong = Operation("wrong_method", _ids, api.wrong_method)
    unknown = Operation("unknown_path", _ids, api.unknown_path)
    known = [
        (
            f"/nimserver/user/{action}.action",
            Exchange(
                context, vendor, {"POST": Operation(name, _ids, refusing(perform, _failure))}, wrong
            ),
        )
        for action, (name, perform) in table.items()
    ]
    rest = ("/nimserver/user/{rest:path}", Exchange(context, vendor, {}, unknown))
    return [*known, rest]


@dataclass(frozen=True, slots=True)
class _Api:
    """Hold the operations; each takes a call that was admitted and may raise Refusal."""

    context: Context

    def admit(self, call: Call) -> Answer | None:
        """Judge signature, then rate, then repetition; return the refusal, or None."""
        guesses = self.context.guesses
        prolongs, repeats = guesses.commsease_block_prolongs, guesses.commsease_repeat_seconds
        match Gate(VENDOR, _BLOCK, prolongs, "requestid", repeats).judge(self.context, call):
            case "good":
                return None
            case "rate":
                return _failure(416)
            case "repeated":
                return _failure(guesses.commsease_repeat_code)
            case why:
                return _failure(414, _UNSIGNED.get(why, why))

    def create(self, call: Call) -> Answer:
        """Register an account (vendor page: register an account)."""
        form = self._form(call)
        form.only("accid", "token", "props", *PROFILE)
        form.text("props", 1024)
        given = form.given.get("accid", "")
        if not is_id(given):
            raise Refusal(414, "accid is 1 to 32 letters, digits, _ @ . or -")
        token, about = form.token(), form.profile()
        if held(self.context, folded(given)) is not None:
            raise Refusal(414, "already register")
        account = registered(self.context, given, token, about)
        self.context.store.put(account)
        name = account.profile.get("name", "")
        info = {"accid": account.id, "token": account.token, "name": name}
        return _success({"info": info}, mutated=True)

    def update_token(self, call: Call) -> Answer:
        """Set the token that is given; without one nothing changes."""
        form = self._form(call)
        form.only("accid", "token", "props")
        token = form.token()
        account = self._writable(form)
        if token is None:
            return _success({})
        return self._kept(replace(account, token=token))

    def refresh_token(self, call: Call) -> Answer:
        """Give an account a new random token and answer it."""
        form = self._form(call)
        form.only("accid")
        account = replace(self._writable(form), token=self.context.mint())
        return self._kept(account, info={"accid": account.id, "token": account.token})

    def block(self, call: Call) -> Answer:
        """Ban an account; with needkick its sessions end."""
        form = self._form(call)
        form.only("accid", "needkick", "kickNotifyExt", "needUnbindPushToken")
        kick, notify = form.flag("needkick"), form.notify()
        form.flag("needUnbindPushToken")
        account = self._known(form)
        again = self.context.guesses.commsease_block_again_code
        if not account.enabled and again != 200:
            raise Refusal(again)
        account = replace(account, enabled=False)
        if kick:
            account = replace(account, kicks=account.kicks + 1, last_kick=notify)
        return self._kept(account)

    def unblock(self, call: Call) -> Answer:
        """Lift a ban; an account that has none may be unblocked too."""
        form = self._form(call)
        form.only("accid")
        return self._kept(replace(self._known(form), enabled=True))

    def update_uinfo(self, call: Call) -> Answer:
        """Change the profile fields that are sent; an empty text clears (vendor page: profile)."""
        form = self._form(call)
        form.only("accid", "bid", *PROFILE)
        about = form.profile()
        account = self._writable(form)
        if not about:
            code = self.context.guesses.commsease_empty_update_code
            if code != 200:
                raise Refusal(code, "nothing to change")
            return _success({})
        return self._kept(replace(account, profile=cleared({**account.profile, **about})))

    def get_uinfos(self, call: Call) -> Answer:
        """Read profiles, and with muteStatus the module mutes; never token or ban."""
        guesses = self.context.guesses
        form = self._form(call)
        form.only("accids", "muteStatus")
        with_mutes = form.flag("muteStatus") or False
        found: list[Object] = []
        for account_id in dict.fromkeys(map(folded, form.ids(_MOST_READ))):
            account = held(self.context, account_id)
            if account is not None:
                found.append(shown(account, guesses, with_mutes=with_mutes))
            elif guesses.commsease_unknown_ids == "refuse":
                raise Refusal(414, f"{account_id} {guesses.commsease_missing_words}")
        return _success({"uinfos": found})

    def set_donnop(self, call: Call) -> Answer:
        """Set the push switch, as its inverse, of an account that has logged in once."""
        form = self._form(call)
        form.only("accid", "donnopOpen")
        quiet = form.flag("donnopOpen")
        if quiet is None:
            raise Refusal(414, "donnopOpen is required")
        account = self._writable(form)
        if not account.logged_in:
            raise Refusal(414, "donnopOpen cannot be set before the first login")
        flags = {**account.configuration, PUSH: not quiet}
        return self._kept(replace(account, configuration=flags))

    def mute(self, call: Call) -> Answer:
        """Switch the global mute, which is apart from the module mutes unless the guess says so."""
        form = self._form(call)
        form.only("accid", "mute")
        muted = form.flag("mute")
        if muted is None:
            raise Refusal(414, "mute is required")
        account = self._writable(form)
        flags: Mapping[str, object] = account.configuration
        if self.context.guesses.commsease_mute_sets_modules:
            flags = {**flags, **dict.fromkeys(BANS, muted)}
        extra = {**account.extra, "mute": muted}
        return self._kept(replace(account, configuration=flags, extra=extra))

    def mute_module(self, call: Call) -> Answer:
        """Switch some of the module mutes and answer all of them (vendor page: mute by module)."""
        form = self._form(call)
        form.only("accid", *MUTES.values())
        given = form.mutes()
        if not given:
            raise Refusal(414, "at least one mute is required")
        account = self._writable(form)
        account = replace(account, configuration={**account.configuration, **given})
        return self._kept(account, data=mutes(account))

    def online_status(self, call: Call) -> Answer:
        """Say which accounts are unknown; no device is ever online."""
        form = self._form(call)
        form.only("accids")
        asked = tuple(dict.fromkeys(map(folded, form.ids(_MOST_STATUS))))
        known: dict[str, object] = {id_: [] for id_ in asked if held(self.context, id_) is not None}
        invalid = [id_ for id_ in asked if id_ not in known]
        return _success({"data": {"invalidAccids": invalid, "status": known}})

    def wrong_method(self, _call: Call) -> Answer:
        """Refuse a method other than POST."""
        return _failure(self.context.guesses.commsease_wrong_method_code, "method not supported")

    def unknown_path(self, _call: Call) -> Answer:
        """Refuse a path that is no API."""
        return _failure(self.context.guesses.commsease_unknown_path_code)

    def _form(self, call: Call) -> Form:
        if not isinstance(call.body, dict):
            raise Refusal(414, "the body is not a form")
        return Form(call.body, self.context.guesses)

    def _known(self, form: Form) -> Account:
        given = form.given.get("accid", "")
        if not given:
            raise Refusal(414, "accid is required")
        account = held(self.context, folded(given))
        if account is None:
            raise Refusal(414, f"{given} {self.context.guesses.commsease_missing_words}")
        return account

    def _writable(self, form: Form) -> Account:
        account = self._known(form)
        code = self.context.guesses.commsease_blocked_code
        if not account.enabled and code != 200:
            raise Refusal(code)
        return account

    def _kept(self, account: Account, **answered: object) -> Answer:
        self.context.store.put(replace(account, updated_at=self.context.clock.wall()))
        return _success(answered, mutated=True)


def _success(more: Mapping[str, object], *, mutated: bool = False) -> Answer:
    return Answer(200, {"code": 200, **more}, mutated)


def _failure(code: int, words: str = "") -> Answer:
    return Answer(code, {"code": code, "desc": words or _WORDS.get(code, "error")})


def _ids(call: Call) -> tuple[str, ...]:
    """Return the ids that a form is about, folded, each once."""
    if not isinstance(call.body, dict):
        return ()
    one = call.body.get("accid")
    found = listed(call.body.get("accids", "")) if one is None else (one,)
    return tuple(dict.fromkeys(map(folded, found)))


EMULATED = Emulated(
    routes,
    lambda settings: settings.app_key,
    {"create": "create", "profile": "update_uinfo", "block": "block"},
    {"refused": 414, "throttled": 416},
    prefix="/nimserver",
    stored_as=netease.VENDOR,
)
