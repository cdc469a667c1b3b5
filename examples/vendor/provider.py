"""Minichat: a fictional vendor, as small as one can be; copy it to begin with a real one."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from reconciler.accounts import MISSING, Document, Observed
from reconciler.capabilities import Capabilities, Field, IdRule, Support
from reconciler.conversation import (
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

_PAGE: Final = "made up for examples/vendor"
_PROFILE: Final = ("name", "avatar", "sign", "gender")
_MUTES: Final = {"p2p_chat_banned": "mute_direct", "team_chat_banned": "mute_groups"}
_NAMES: Final = {
    **{f"profile.{name}": name for name in _PROFILE},
    **{f"configuration.{name}": key for name, key in _MUTES.items()},
}
"""Our fields by path, and what the vendor calls them."""

CAPABILITIES: Final = Capabilities(
    type="minichat",
    title="Minichat, an example that does not exist",
    id=IdRule(
        re.compile(r"[a-z0-9-]{1,20}"),
        20,
        "characters",
        folds=False,
        words="1 to 20 of the letters a-z, digits and -",
    ),
    fields=MappingProxyType(
        {
            "profile.name": Field(Support.NATIVE, "", 40, source=_PAGE),
            "profile.avatar": Field(Support.NATIVE, "", 200, source=_PAGE),
            "profile.sign": Field(Support.NATIVE, "", 80, source=_PAGE),
            "profile.gender": Field(Support.NATIVE, 0, choices=(0, 1, 2), source=_PAGE),
            **{
                f"configuration.{name}": Field(Support.NATIVE, False, source=_PAGE)
                for name in _MUTES
            },
            "banned": Field(Support.NATIVE, False, source=_PAGE),
            "banned.kick": Field(Support.NATIVE, True, source=_PAGE),
        }
    ),
    regions=MappingProxyType({"everywhere": "https://api.minichat.example"}),
    calls=MappingProxyType(
        {
            "create": ("create",),
            "profile": ("change",),
            "configuration": ("change",),
            "block": ("ban",),
            "unblock": ("ban",),
            "read": ("list",),
        }
    ),
    rates=MappingProxyType({"": 50.0}),
    batch=MappingProxyType({"read": 50, "create": 1}),
    credentials=("app_key", "app_secret"),
    entry="""\
  mini:
    type: minichat  # Minichat, an example that does not exist
    endpoint: http://127.0.0.1:8900  # the emulator
    credentials: {app_key: env:MINICHAT_APP_KEY, app_secret: env:MINICHAT_APP_SECRET}
""",
    penalty=1.0,
    sources=MappingProxyType(dict.fromkeys(("id", "regions", "rates", "batch"), _PAGE)),
)

_WHY: Final = {
    401: Why.AUTH,
    404: Why.MISSING,
    409: Why.EXISTS,
    422: Why.OTHER,
    429: Why.THROTTLED,
}
"""Codes that are answered before anything is done; after any other one nobody knows."""


class Minichat:
    """The conversations of Minichat; paths follow `https://api.minichat.example`."""

    capabilities = CAPABILITIES

    def app(self, credentials: Mapping[str, str]) -> str:
        """Return the identity of the app: its key, which is no secret."""
        return f"minichat:{credentials['app_key']}"

    def sign(self, request: Request, credentials: Credentials, now: float, nonce: str) -> Signed:
        """Return the header that signs an attempt: HMAC-SHA-256 of time and nonce."""
        text = f"{int(now)}.{nonce}"
        key = credentials.values["app_secret"].encode()
        signed = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        return Signed(headers={"Mini-Sign": f"{credentials.values['app_key']}.{text}.{signed}"})

    def verdict(self, request: Request, status: int, body: Mapping[str, Any]) -> Verdict:
        """Judge the envelope `{code, message}`; 0 is done."""
        code, message = body.get("code"), str(body.get("message", ""))
        if isinstance(code, bool) or not isinstance(code, int):
            return Verdict(Result.AMBIGUOUS, str(status), "the answer carries no code")
        if (status, code) == (200, 0):
            return Verdict(Result.CONFIRMED, "0", message)
        if code in _WHY:
            return Verdict(Result.REJECTED, str(code), message, _WHY[code])
        return Verdict(Result.AMBIGUOUS, str(code), message)

    def read(self, ids: Sequence[str]) -> Call[Mapping[str, Observed]]:
        """Read many with one call; whom a whole list does not name does not exist."""
        answer = yield Request(
            "list",
            "GET",
            "/minichat/users",
            query={"ids": ",".join(ids)},
            mutates=False,
            account_ids=tuple(ids),
        )
        if answer.verdict.result is not Result.CONFIRMED:
            raise ReadFailed(_outcome(answer))
        users = answer.data.get("users")
        if not isinstance(users, list) or any(user.get("id") not in ids for user in users):
            return {}  # an answer about somebody else proves nothing
        return {**dict.fromkeys(ids, MISSING), **{user["id"]: _seen(user) for user in users}}

    def create(self, accounts: Mapping[str, Document]) -> Call[Mapping[str, Outcome]]:
        """Register one account; an existing one answers 409 and is left as it is."""
        outcomes = {}
        for id, document in accounts.items():
            body = {"id": id}
            for path, name in _NAMES.items():
                section, _, field = path.partition(".")
                if field in document.get(section, {}):
                    body[name] = document[section][field]
            outcomes[id] = _outcome((yield _post("create", "/minichat/users", id, body)))
        return outcomes

    def update(
        self, account_id: str, fields: Mapping[str, Any], token: Token | None
    ) -> Call[Outcome]:
        """Set all fields with one call. There are no tokens here: validate refuses them."""
        body = {_NAMES[path]: value for path, value in fields.items()}
        path = f"/minichat/users/{account_id}"
        return _outcome((yield _post("change", path, account_id, body)))

    def block(self, account_id: str, ban: Mapping[str, Any]) -> Call[Outcome]:
        """Ban an account, and end its sessions unless `kick` is false."""
        body = {"banned": True, "kick": bool(ban.get("kick", True))}
        return _outcome((yield _post("ban", _ban(account_id), account_id, body)))

    def unblock(self, account_id: str, document: Document) -> Call[Outcome]:
        """Lift the ban."""
        return _outcome((yield _post("ban", _ban(account_id), account_id, {"banned": False})))


def _ban(account_id: str) -> str:
    return f"/minichat/users/{account_id}/ban"


def _post(api: str, path: str, account_id: str, body: Mapping[str, Any]) -> Request:
    return Request(api, "POST", path, body=body, account_ids=(account_id,))


def _outcome(answer: Answer) -> Outcome:
    told = answer.verdict
    return Outcome(told.result, told.code, told.message, told.why)


def _seen(user: Mapping[str, Any]) -> Observed:
    return Observed(
        exists=True,
        profile={name: user[name] for name in _PROFILE},
        configuration={name: user[key] for name, key in _MUTES.items()},
        banned=user["banned"],
    )


def make(_options: Mapping[str, Any]) -> Minichat:
    """Return the provider; this vendor has no settings of its own."""
    return Minichat()
