"""The emulated vendors without sockets: one app with a memory of its own, and a way to it."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from simulator_store import Killed

from reconciler.conversation import Answer, Result, Verdict
from reconciler.emulator import memory
from reconciler.emulator.context import Context
from reconciler.emulator.exchange import Call, encoded
from reconciler.emulator.limits import Repeats, Throttle
from reconciler.emulator.settings import Clock, Settings
from reconciler.emulator.store import Account, Store
from reconciler.transport.answers import Facts, judge
from reconciler.transport.encode import encode

VENDORS = ("yunxin", "commsease", "tencent")
STORED = {"yunxin": "yunxin", "commsease": "yunxin", "tencent": "tencent"}
PREFIX = {"yunxin": "", "commsease": "/nimserver", "tencent": ""}
MARKER = "Tag_Profile_Custom_Blocked"
PUSH = "push_enabled_when_desktop_online"
FLAGS = ("p2p_chat_banned", "team_chat_banned")
TEXTS = ("name", "avatar", "sign")
REFUSALS = {
    "yunxin": {"throttled": 416, "retry": 449, "refused": 102434},
    "commsease": {"throttled": 416, "retry": 449, "refused": 419},
    "tencent": {"throttled": 60007, "retry": 70169, "refused": 70398},
}
LATEST = 300.0
"""Seconds after which no vendor here executes a request that was signed before."""


@dataclass(slots=True)
class Time:
    """Seconds since 1970 that pass only when somebody lets them."""

    now: float = 0.0

    def sleep(self, seconds):
        self.now += seconds


class App:
    """One vendor app: the emulator's own rules, and what its accounts have been through.

    The memory outlives every process that talks to it. `held_ever` has every value that a field
    of an account ever had, `births` how often an account came to be by a call of ours.
    """

    def __init__(self, kind, time):
        self.kind, self.time = kind, time
        self.clock = Clock(wall=lambda: time.now, monotonic=lambda: time.now)
        self.context = Context(Settings(rate=0), self.clock, Store(), Throttle(0), mint=self._mint)
        self.name = self.context.settings.sdk_app_id
        if kind != "tencent":
            self.name = self.context.settings.app_key
        self.routes = [
            (memory.compiled(path), exchange)
            for path, exchange in memory.VENDORS[kind].routes(self.context)
        ]
        self.found = {}
        self.forget()

    def forget(self):
        """Begin anew, as if nobody had ever used the app."""
        self.context.store = Store()
        self.context.log.clear()
        self.context.repeats = Repeats()
        self.minted = 0
        self.watch = lambda *_: None
        self.births, self.kicks = Counter(), Counter()
        self.held_ever, self.late, self.dropped, self.sinks = {}, [], set(), {}

    def _mint(self):
        self.minted += 1
        return f"minted-{self.minted:04}"

    @property
    def ids(self):
        return [account.id for account in self.context.store.all()]

    def account(self, id):
        return self.context.store.get(STORED[self.kind], self.name, id)

    def view(self, id):
        """Return what an account holds by our paths; None if there is none."""
        account = self.account(id)
        return None if account is None else seen(self.kind, account)

    def console(self, id, **changes):
        """Change or make an account behind the reconciler's back."""
        now = self.time.now
        account = self.account(id) or Account(
            STORED[self.kind], self.name, id, None, created_at=now, updated_at=now
        )
        for key in ("profile", "configuration", "extra"):
            changes[key] = {**getattr(account, key), **changes.get(key, {})}
        self.context.store.put(replace(account, **changes))
        self.note(id)

    def ban(self, id, banned):
        """Ban an account or let it in again, at the console."""
        if self.kind == "tencent":
            flags = dict.fromkeys(FLAGS, banned)
            self.console(id, configuration=flags, extra={MARKER: "1" if banned else ""})
        else:
            self.console(id, enabled=not banned)

    def drop(self, id):
        """Delete an account for good."""
        self.context.store.delete(STORED[self.kind], self.name, id)
        self.dropped.add(id)

    def note(self, id):
        """Remember what an account holds at this moment."""
        ever = self.held_ever.setdefault(id, {})
        view = self.view(id) or {}
        # Beneath a ban that is made of mutes the flags are hidden, and held all the same.
        flags = self.account(id).configuration if view else {}
        view |= {f"configuration.{name}": flags.get(name, False) for name in FLAGS}
        for path, value in view.items():
            ever.setdefault(path, set()).add(value)

    def operation(self, method, path):
        """Return the vendor, the operation and the id in the path of a request."""
        key = method, path
        if (hit := self.found.get(key)) is None:
            for pattern, exchange in self.routes:
                if match := pattern.fullmatch(path):
                    operation = exchange._operations.get(method, exchange._otherwise)
                    id = match.groupdict().get("account_id", "")
                    hit = self.found[key] = exchange._vendor, operation, id
                    break
        return hit

    def serve(self, method, path, query, raw, headers=None):
        """Carry out a request and return the envelope; without headers nobody asks who signed."""
        vendor, operation, id = self.operation(method, path)
        try:
            body = vendor.parse(raw) if raw else {}
        except ValueError:
            body = None
        now = self.time.now
        call = Call(operation.api, method, path, id, query, headers or {}, body, now, now)
        answer = vendor.admit(call) if headers is not None else None
        if answer is None:
            earlier = {one: self.account(one) for one in operation.ids(call)}
            answer = operation.perform(call)
            self._changed(earlier)
        return answer.payload

    def _changed(self, earlier):
        for id, old in earlier.items():
            new = self.account(id)
            if new is old or new is None:
                continue
            kicks = new.kicks - (old.kicks if old else 0)
            self.births[id] += old is None
            self.kicks[id] += kicks
            self.note(id)
            before = None if old is None else seen(self.kind, old)
            self.watch(id, before, seen(self.kind, new), kicks)


def seen(kind, account):
    """Return an account's fields by our paths, with `banned` and `token`."""
    held, flags = account.profile, account.configuration
    view = {f"profile.{name}": held.get(name, "") for name in TEXTS}
    if kind == "tencent":
        view["profile.level"] = held.get("level", 0)
        banned = account.extra.get(MARKER) == "1"
    else:
        view["profile.extension"] = held.get("extension", "")
        view[f"configuration.{PUSH}"] = flags.get(PUSH, True)
        banned = not account.enabled
        view["token"] = account.token
    if kind != "tencent" or not banned:
        view |= {f"configuration.{name}": flags.get(name, False) for name in FLAGS}
    return view | {"banned": banned}


class Short:
    """Drives conversations against an app: encoded, judged, but neither signed nor repeated.

    `meet(request)` says what happens to a request, or nothing; `step` is called around it and
    `check` before each that mutates, as the transport does.
    """

    def __init__(self, app, provider, reveal, meet, step, check):
        self.app, self.provider, self.reveal = app, provider, reveal
        self.meet, self.step, self.check = meet, step, check

    def send(self, call):
        answer = None
        with closing(call):
            while True:
                try:
                    request = next(call) if answer is None else call.send(answer)
                except StopIteration as end:
                    return end.value
                answer = self.ask(request)

    def ask(self, request):
        app = self.app
        raw = encode(request, self.reveal)
        if request.mutates:
            self.check()
        path, query = PREFIX[app.kind] + request.path, urlencode(request.query)
        self.step("send", request)

        def perform():
            return app.serve(request.method, path, query, raw)

        if (fault := self.meet(request)) is None:
            told = perform()
            answer = Answer(self.provider.verdict(request, 200, told), told)
            if request.minted and answer.verdict.result is Result.CONFIRMED:
                for key in request.minted.at:
                    told = told[key]
                app.sinks[request.account_ids[0]] = told
        elif (facts := faulted(app, fault, request, perform)) is None:
            answer = Answer(Verdict(Result.NOT_SENT, "unreachable", "connection refused"))
        else:
            answer = judge(self.provider, request, facts, ())
        self.step("parsed", request)
        return answer


def faulted(app, fault, request, perform):
    """Return the facts of one exchange that meets a fault, or None if nothing was sent."""
    match fault:
        case None:
            return Facts(True, 200, encoded(perform()))
        case "unsent":
            return None
        case "lost":
            return Facts(True, error="ReadTimeout")
        case "done":
            perform()
            return Facts(True, error="RemoteProtocolError")
        case "500":
            return Facts(True, 502)
        case "500 done":
            perform()
            return Facts(True, 502)
        case "429":
            return Facts(True, 429)
        case ("late", delay, sender):
            app.late.append((app.time.now + delay, request, perform, sender))
            return Facts(True, error="ReadTimeout")
        case "crash":
            raise Killed("the request left and was not executed")
        case "crash done":
            perform()
            raise Killed("the request was executed and the answer not read")
        case "garbled":
            return Facts(True, 200, b'{"code":200,"code":500}')
        case "partial":
            return Facts(True, 200, encoded(partly(app, request, perform)))
        case _:
            vendor, *_ = app.operation(request.method, PREFIX[app.kind] + request.path)
            refusal = vendor.fail(REFUSALS[app.kind][fault]).payload
            return Facts(True, 200, encoded(refusal))


def partly(app, request, perform):
    """Leave the last account of a batch out: nothing is told of it, or it is told as failed."""
    told = perform()
    last = request.account_ids[-1]
    if request.api == "multiaccount_import":
        app.drop(last)
        app.births[last] -= 1
        return {**told, "FailAccounts": [*told["FailAccounts"], last]}
    return _without(told, last)


def _without(value, id):
    if isinstance(value, dict):
        return {key: _without(inner, id) for key, inner in value.items()}
    if isinstance(value, list):
        return [
            _without(one, id) for one in value if not (isinstance(one, dict) and id in one.values())
        ]
    return value
