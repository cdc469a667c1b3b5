"""A vendor in a dict: Yunxin's conversations are driven against it, with faults on order."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import closing
from urllib.parse import unquote

from core_accounts import PUSH

from reconciler.applying import apply
from reconciler.carry import Link
from reconciler.conversation import Answer, Result, Verdict
from reconciler.errors import SecretError, VendorError
from reconciler.lanes import Effects
from reconciler.providers.yunxin import PROVIDER
from reconciler.values import Reference

LOST = Answer(Verdict(Result.AMBIGUOUS, "", "no answer came"))
UNSENT = Answer(Verdict(Result.NOT_SENT, "unreachable", "connection refused"))
UNSET = {
    "name": "",
    "avatar": "",
    "sign": "",
    "email": "",
    "birthday": "",
    "mobile": "",
    "gender": 0,
    "extension": "",
}
FLAGS = {
    "p2p_chat_banned": False,
    "team_chat_banned": False,
    "chatroom_chat_banned": False,
    "qchat_chat_banned": False,
    PUSH: True,
}


class Vendor:
    """Holds accounts and answers requests.

    `fault(request)` may return `before` or `after` (the reply is lost before or after the call
    was executed), `unsent`, or a vendor code to refuse with. `watch(request)` sees every request
    before anything happens to it.
    """

    def __init__(self):
        self.accounts, self.secrets = {}, {}
        self.log, self.creates = [], Counter()
        self.fault = lambda request: None
        self.watch = lambda request: None
        self.lock = threading.RLock()

    def put(self, id, *, banned=False, login=False, token="", profile=(), flags=()):
        """Register an account behind the reconciler's back."""
        self.accounts[id] = {
            "profile": UNSET | dict(profile),
            "flags": FLAGS | dict(flags),
            "enabled": not banned,
            "token": token,
            "login": login,
            "kicks": [],
        }
        return self.accounts[id]

    @property
    def mutations(self):
        """The mutating requests so far, as (api, account id)."""
        return [(r.api, *r.account_ids) for r in self.log if r.mutates]

    def send(self, call):
        """Drive a conversation to its end."""
        answer = None
        with closing(call):
            while True:
                try:
                    request = next(call) if answer is None else call.send(answer)
                except StopIteration as end:
                    return end.value
                with self.lock:
                    answer = self.ask(request)

    def ask(self, request):
        body = {key: self._clear(value) for key, value in (request.body or {}).items()}
        self.watch(request)
        self.log.append(request)
        match self.fault(request):
            case "before":
                return LOST
            case "after":
                self.perform(request, body)
                return LOST
            case "unsent":
                return UNSENT
            case "broken":
                raise VendorError.of("unreachable", "the vendor cannot be reached")
            case int() as code:
                told = {"code": code, "msg": f"refused {code}"}
            case _:
                told = self.perform(request, body)
        return Answer(PROVIDER.verdict(request, 200, told), told)

    def _clear(self, value):
        if not isinstance(value, Reference):
            return value
        if value.text not in self.secrets:
            raise SecretError.of("secret-unset", f"{value} is not set")
        return self.secrets[value.text]

    def perform(self, request, body):
        """Carry a request out and return the vendor's envelope."""
        if request.method == "GET":
            return self._batch(request)
        id = body["account_id"] if request.api == "create" else unquote(request.path.split("/")[4])
        held = self.accounts.get(id)
        if request.api == "create":
            if held:
                return {"code": 102405, "msg": "exists"}
            held = self.put(
                id,
                token=body.get("token", "minted"),
                profile=body.get("user_information", {}),
                flags=body.get("configuration", {}),
            )
            self.creates[id] += 1
        elif held is None:
            return {"code": 102404, "msg": "no such account"}
        elif request.api != "disable" and not held["enabled"]:
            return {"code": 102422, "msg": "account is disabled"}
        elif request.api == "push_config" and not held["login"]:
            return {"code": 414, "msg": "no login yet"}
        else:
            self._change(request, body, held)
        return {
            "code": 200,
            "msg": "success",
            "data": {
                "account_id": id,
                "configuration": {**held["flags"], "enabled": held["enabled"]},
            },
        }

    def _change(self, request, body, held):
        match request.api:
            case "update_account":
                held["flags"] |= body.get("configuration", {})
                held["token"] = body.get("token", held["token"])
            case "update_user":
                held["profile"] |= body
            case "push_config":
                held["flags"][PUSH] = body[PUSH]
            case "disable":
                held["enabled"] = body["enabled"]
                if body.get("need_kick"):
                    held["kicks"].append(body.get("kick_notify_extension"))

    def _batch(self, request):
        found, failed = [], []
        for id in request.query["account_ids"].split(","):
            held = self.accounts.get(id)
            if held is None:
                failed.append({"account_id": id, "error_code": 102404})
            elif request.api == "get_accounts":
                found.append(
                    {
                        "account_id": id,
                        "configuration": {**held["flags"], "enabled": held["enabled"]},
                    }
                )
            else:
                found.append({"account_id": id, **held["profile"]})
        return {
            "code": 200,
            "msg": "success",
            "data": {"success_list": found, "failed_list": failed},
        }


class Tokens:
    """Tokens by reference; the keyed fingerprint is the version of what `vendor` would resolve."""

    def __init__(self, secrets):
        self.secrets = secrets

    def ready(self, address, token):
        return Reference(token["from"])

    def key(self, address, token):
        return f"key-of-{self.secrets[token['from']]}"


class Names:
    """Ids in a row, unlike any given before."""

    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1
        return f"i-{self.count}"


class Shop:
    """One vendor app with a store: what an apply needs, in one place."""

    def __init__(self, store, vendor=None, *, concurrency=4, provider=PROVIDER):
        self.store, self.vendor = store, vendor or Vendor()
        self.names, self.stop = Names(), threading.Event()
        self.links = {
            "cn": Link(
                provider, self.vendor.send, Tokens(self.vendor.secrets), concurrency, store.check
            )
        }

    def apply(self, plan):
        """Apply a plan and return its events; time stands still."""
        effects = Effects(lambda: 0.0, self.names, self.stop, gather=0.0)
        return list(apply(plan, self.store, self.store, self.links, self.store.run, effects))
