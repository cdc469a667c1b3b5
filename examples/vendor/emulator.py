"""Minichat as the emulator has it: written from the vendor's pages, not from the provider."""

import hashlib
import hmac
import json
import re
from dataclasses import dataclass, replace
from urllib.parse import parse_qs

from reconciler.emulator.context import Context
from reconciler.emulator.emulated import Emulated
from reconciler.emulator.exchange import Answer, Call, Exchange, Operation, Paths, Vendor
from reconciler.emulator.store import Account

VENDOR = "minichat"
LIMITS = {"name": 40, "avatar": 200, "sign": 80}
MUTES = {"mute_direct": "p2p_chat_banned", "mute_groups": "team_chat_banned"}
_ID = re.compile(r"[a-z0-9-]{1,20}")


def routes(context: Context) -> Paths:
    """Return the paths of the API, all below /minichat/."""
    api = _Api(context)
    vendor = Vendor(VENDOR, context.settings.app_key, api.admit, json.loads, _failed)
    wrong = Operation("wrong_method", _of_path, lambda _: _failed(405))
    unknown = Operation("unknown_path", _of_path, lambda _: _failed(400))
    user = "/minichat/users/{account_id}"
    table = {
        "/minichat/users": {
            "POST": Operation("create", _of_body, api.create),
            "GET": Operation("list", _of_query, api.list),
        },
        user: {"POST": Operation("change", _of_path, api.change)},
        f"{user}/ban": {"POST": Operation("ban", _of_path, api.ban)},
        "/minichat/{rest:path}": {},
    }
    return [
        (path, Exchange(context, vendor, operations, wrong if operations else unknown))
        for path, operations in table.items()
    ]


@dataclass(frozen=True, slots=True)
class _Api:
    context: Context

    def admit(self, call: Call) -> Answer | None:
        """Judge signature, then rate; return the refusal, or None."""
        settings = self.context.settings
        key, moment, nonce, signed = [*call.headers.get("mini-sign", "").split("."), *"...."][:4]
        text, secret = f"{moment}.{nonce}".encode(), settings.app_secret.encode()
        good = hmac.compare_digest(signed, hmac.new(secret, text, hashlib.sha256).hexdigest())
        fresh = moment.isdigit() and abs(call.wall - int(moment)) <= 60
        if not (key == settings.app_key and good and fresh):
            return _failed(401)
        counted = (VENDOR, key, call.api)
        allowed = self.context.throttle.allows(counted, call.at, 1.0, prolongs=False)
        return None if allowed else _failed(429)

    def create(self, call: Call) -> Answer:
        """Register a user; one that is there stays as it is."""
        given = call.body.get("id") if isinstance(call.body, dict) else None
        if not isinstance(given, str) or not _ID.fullmatch(given):
            return _failed(422)
        if self._held(given):
            return _failed(409)
        now, app = self.context.clock.wall(), self.context.settings.app_key
        return self._set(Account(VENDOR, app, given, None, now, now), call.body, also=("id",))

    def change(self, call: Call) -> Answer:
        """Set the fields that are sent."""
        held = self._held(call.path_id)
        return self._set(held, call.body) if held else _failed(404)

    def ban(self, call: Call) -> Answer:
        """Ban a user or lift the ban; a kick ends the sessions."""
        held, body = self._held(call.path_id), call.body
        if not isinstance(body, dict) or not isinstance(body.get("banned"), bool):
            return _failed(422)
        if held is None:
            return _failed(404)
        kicks = held.kicks + (body["banned"] and body.get("kick") is True)
        self.context.store.put(replace(held, enabled=not body["banned"], kicks=kicks))
        return Answer(0, {"code": 0}, mutated=True)

    def list(self, call: Call) -> Answer:
        """Show the users that exist, each whole."""
        ids = _of_query(call)
        if len(ids) > 50:
            return _failed(422)
        users = [_shown(held) for held in map(self._held, ids) if held]
        return Answer(0, {"code": 0, "users": users})

    def _held(self, id: str) -> Account | None:
        return self.context.store.get(VENDOR, self.context.settings.app_key, id)

    def _set(self, account: Account, body: object, also: tuple[str, ...] = ()) -> Answer:
        fields = body if isinstance(body, dict) else {"": ""}
        profile, flags = dict(account.profile), dict(account.configuration)
        for name, value in fields.items():
            text = isinstance(value, str) and len(value) <= LIMITS.get(name, -1)
            if text or (name == "gender" and value in (0, 1, 2)):
                profile[name] = value
            elif name in MUTES and isinstance(value, bool):
                flags[MUTES[name]] = value
            elif name not in also:
                return _failed(422)
        self.context.store.put(replace(account, profile=profile, configuration=flags))
        return Answer(0, {"code": 0}, mutated=True)


def _shown(held: Account) -> dict[str, object]:
    profile = {name: held.profile.get(name, "") for name in LIMITS}
    mutes = {name: held.configuration.get(flag, False) for name, flag in MUTES.items()}
    gender = held.profile.get("gender", 0)
    return {"id": held.id, **profile, "gender": gender, **mutes, "banned": not held.enabled}


def _failed(code: int) -> Answer:
    return Answer(code, {"code": code, "message": "refused"})


def _of_path(call: Call) -> tuple[str, ...]:
    return (call.path_id,) if call.path_id else ()


def _of_body(call: Call) -> tuple[str, ...]:
    given = call.body.get("id") if isinstance(call.body, dict) else None
    return (given,) if isinstance(given, str) else ()


def _of_query(call: Call) -> tuple[str, ...]:
    found = ",".join(parse_qs(call.query).get("ids", ()))
    return tuple(dict.fromkeys(filter(None, found.split(","))))


EMULATED = Emulated(
    routes,
    lambda settings: settings.app_key,
    {"create": "create", "profile": "change", "block": "ban"},
    {"refused": 422, "throttled": 429},
)
