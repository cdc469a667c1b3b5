"""The simulator's world: vendor, store, clock and chance, and what must hold at every moment."""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import UTC, datetime
from typing import ClassVar

from simulator_process import NAME, Process, Turns, transport_clock, workspace
from simulator_store import Book, Killed
from simulator_vendor import FLAGS, LATEST, MARKER, App, Time

from reconciler.accounts import Account, Address, encode, flatten, is_banned
from reconciler.changes import Block, Create, Unblock, Update, from_json
from reconciler.diagnostics import has_errors
from reconciler.errors import ReconcilerError
from reconciler.events import Completed, Errored, Skipped, Started
from reconciler.exits import Exit
from reconciler.guard import guard
from reconciler.providers import provider
from reconciler.state import IN_DOUBT
from reconciler.values import digest

START = datetime(2027, 1, 15, 8, 0, 0, tzinfo=UTC).timestamp()
CRASHED = "crashed"
SILENT = ("get_uinfos",)
"""Readings by which an account that is not told of does not exist: half an answer would lie."""
UNSEEN = {"commsease": ("block", "unblock", "refresh_token"), "yunxin": ("refresh_token",)}
"""What no reading tells of: a ban of version 1, or another token, that arrives late and last."""


class Violation(BaseException):
    """What must always hold does not: the first word says which law was broken."""


class World:
    """One workspace, one vendor app and everything that happens to them, from one seed.

    Apps are expensive to make and are made once per process: `apps` keeps them by kind.
    """

    apps: ClassVar = {}
    time = Time()

    def __init__(self, seed, kind, trace=None):
        self.seed, self.kind = seed, kind
        self.rng = random.Random(seed)
        self.trace = trace
        self.time.now = START
        if kind not in self.apps:
            options = {"blocked_tag": MARKER} if kind == "tencent" else {}
            self.apps[kind] = App(kind, self.time), provider(kind, options), workspace(kind)
        self.app, self.provider, self.workspace = self.apps[kind]
        self.app.forget()
        self.app.watch = self.watch
        self.clock = transport_clock(self)
        self.book, self.files, self.counts = Book(), {}, Counter()
        self.stack, self.dead, self.released = [], set(), set()
        self.sender, self.written, self.kicked = None, {}, Counter()
        self.rates, self.hooks, self.sent = {}, [], 0
        Turns.world = self

    # What the product is handed.

    def count(self, name):
        self.counts[name] += 1
        return self.counts[name]

    def fresh(self, what):
        return f"{what}-{self.count(what)}"

    def moment(self):
        return datetime.fromtimestamp(self.time.now, UTC)

    @property
    def process(self):
        return self.stack[-1]

    def say(self, *words):
        if self.trace is not None:
            who = self.stack[-1].name if self.stack else "--"
            self.trace(f"{self.time.now - START:9.2f}s {who:>4}  " + " ".join(map(str, words)))

    def broken(self, law, *words):
        raise Violation(f"{law}: {' '.join(map(str, words))} (seed {self.seed}, {self.kind})")

    def step(self, name, request=None):
        """Be told of every moment at which a process may die, lose its turn, or its disk."""
        self.counts["moments"] += 1
        if request is not None:
            if name == "send":
                self.time.now += 0.01
                self.arrive()
                if request.mutates:
                    self.intended(request)
            self.say(name, request.api, ",".join(request.account_ids))
        else:
            self.say(name)
        sender = self.sender
        for hook in self.hooks:
            hook(name, request)
        # A hook may have let another process run.
        self.sender = sender

    def meet(self, request):
        """Choose what happens to a request, by chance."""
        for fault, rate in self.rates.items():
            if self.rng.random() < rate:
                if fault == "partial" and (len(request.account_ids) < 2 or request.api in SILENT):
                    continue
                self.counts["faults"] += 1
                self.say("  fault", fault, "at", request.api)
                if fault == "late":
                    if not request.mutates or request.api in UNSEEN.get(self.kind, ()):
                        return "lost"
                    sender = self.sender
                    delay = self.rng.choice((0.001, 0.05, 5.0, 100.0, LATEST - 1))
                    return "late", delay, sender
                return fault
        return None

    def arrive(self, everything=False):
        """Let the vendor execute what was on its way for too long."""
        due = [one for one in self.app.late if everything or one[0] <= self.time.now]
        for one in due:
            self.app.late.remove(one)
            _, request, perform, sender = one
            self.say("  arrives late:", request.api, ",".join(request.account_ids))
            mine, self.sender = self.sender, (*sender[:2], True)
            perform()
            self.sender = mine

    # What must hold whenever a request leaves, and whenever the vendor changes an account.

    def intended(self, request):
        """Every mutation has a durable intent of its own run, and belongs to the approved plan."""
        process = self.process
        self.sent += 1
        process.sent += 1
        self.counts["mutations"] += 1
        approved = process.heard.approved
        actions = {}
        for id in request.account_ids:
            where = Address(f"{NAME}/{id}")
            mine = [
                line.intent
                for line in self.book.journal.values()
                if line.intent.address == where and line.run == process.run_id
            ]
            if not mine:
                self.broken("intent", f"{request.api} of {id} left without an intent")
            actions[id] = [(one.id, from_json(one.action)) for one in mine]
            planned = [a for a in approved.actions if a.address == where] if approved else []
            for _, action in actions[id]:
                if action not in planned:
                    self.broken("approved", f"{action.kind} of {id} is not in the plan")
        self.sender = process, actions, False

    def watch(self, id, before, after, kicks):
        """An executed mutation does what its intents say, and nothing else."""
        process, actions, late = self.sender
        mine = [action for _, action in actions.get(id, ())]
        if before is None:
            create = [a for a in mine if isinstance(a, Create)]
            if not create:
                self.broken("approved", f"{id} came to be without a create")
            if self.app.births[id] > 1:
                self.broken("create", f"{id} was made twice")
            self.released.discard(id)
            self.written = {key: own for key, own in self.written.items() if key[1] != id}
        elif not (late or self.app.births[id]) and all(isinstance(a, Create) for a in mine):
            self.broken("overwrites", f"{id} is another's and a create changes it")
        old = before or {}
        for path, value in after.items():
            if path in old and old[path] == value:
                continue
            self.say("    vendor:", id, path, "=", repr(value))
            if not any(self.permitted(a, path, value, before) for a in mine):
                self.broken("approved", f"{path} of {id} became {value!r} against its intents")
            if not late:
                seen = self.written.setdefault((process.name, id, path), [])
                if value in seen:
                    self.broken("flap", f"{path} of {id} went {seen} and back to {value!r}")
                seen.append(value)
        if kicks:
            intents = [n for n, action in actions.get(id, ()) if isinstance(action, Block)]
            if not intents:
                self.broken("kick", f"{id} is kicked and nobody intends a block")
            self.kicked[intents[-1]] += kicks
            if self.kicked[intents[-1]] > 1:
                self.broken("kick", f"{id} is kicked twice under one intent")

    def permitted(self, action, path, value, before):
        """Tell whether an action may bring a field of the vendor to a value."""
        emulated = self.kind == "tencent" and path in {f"configuration.{name}" for name in FLAGS}
        match action:
            case Create():
                document = action_document(action)
                if path == "token":
                    token = document.get("token", {})
                    return "from" not in token or value == token_text(token)
                default = self.provider.capabilities.field(path).default
                return value in (flatten(document).get(path, default), default)
            case Update() if path == "token":
                tokens = [c.token for c in action.changes if c.token]
                return any("from" not in one or value == token_text(one) for one in tokens)
            case Update():
                return any(c.path == path and c.after == value for c in action.changes)
            case Block():
                return (path == "banned" and value is True) or (emulated and value is True)
            case Unblock():
                return (path == "banned" and value is False) or emulated
            case _:
                return False

    # What people and CI do.

    def spawn(self, work, way="short"):
        """Run one process to its end; returns its exit code, or `crashed`."""
        process = Process(self, way)
        self.stack.append(process)
        self.counts["runs"] += 1
        try:
            code = work(process)
        except Killed as death:
            self.say("killed:", death)
            self.counts["crashes"] += 1
            self.dead.add(process.name)
            code = CRASHED
        except ReconcilerError as problem:
            self.say("ends:", problem)
            code = problem.exit
        finally:
            for transport in process.transports:
                transport.close()
            self.stack.pop()
        unresolved = [line for line in self.book.journal.values() if line.status in IN_DOUBT]
        self.say("exit", code, f"{len(unresolved)} in doubt")
        self.audit(process, code, process.sent, unresolved)
        return code

    def apply(self, *, way="short", allowed=True, saved=None):
        """Run `apply`; where limits refuse the plan, somebody allows exactly what it holds."""
        code = self.spawn(lambda process: process.apply(saved), way)
        if code == Exit.REFUSED and allowed and saved is None:
            allow = self.plan()[2]
            code = self.spawn(lambda process: process.apply(None, allow), way)
        return code

    def plan(self):
        """Return the plan as it is now, and whether the guard refuses it."""
        process = Process(self)
        self.stack.append(process)
        try:
            planned, judged = process.plan()
            allow = process.allowance(planned)
        finally:
            self.stack.pop()
        refused = has_errors(judged.findings) or has_errors(planned.diagnostics)
        return planned, refused, allow

    def refresh(self, way="short"):
        return self.spawn(lambda process: process.refresh() or Exit.DONE, way)

    @property
    def desired(self):
        return [
            made(id, document, adopt=adopt) for id, (document, adopt) in sorted(self.files.items())
        ]

    def doubts(self):
        """Return the intents in doubt, by account and kind."""
        lines = [line for line in self.book.journal.values() if line.status in IN_DOUBT]
        return [(line.intent.address, line.intent.action["action"]) for line in lines]

    def started(self, process, planned):
        """What is carried out is within its limits, whoever has judged it before."""
        workspace = self.workspace
        judged = guard(planned, process.store, workspace.limits, workspace.rules, planned.allow)
        if has_errors(judged.findings):
            self.broken("limits", "; ".join(one.summary for one in judged.findings))

    def conflicts(self):
        """Return the ids that must fail: strangers that are to be made, missing ones to adopt."""
        return {
            id
            for id, (_, adopt) in self.files.items()
            if (adopt and self.app.view(id) is None)
            or (not adopt and f"{NAME}/{id}" not in self.book.rows and self.app.view(id))
        }

    # What must hold after every run.

    def audit(self, process, code, sent, unresolved):
        if self.book.zombies:
            self.broken("fence", "a write was accepted under an old fence")
        self._claims()
        self._orphans(unresolved)
        heard = process.heard
        if code in (Exit.REFUSED, Exit.STALE) and sent:
            self.broken("refused", f"{sent} mutations were sent and the exit code is {code}")
        if heard.planned and not heard.planned.actions and sent:
            self.broken("empty", f"{sent} mutations were sent for an empty plan")
        for event in heard.events:
            if isinstance(event, Errored) and "in reconciler itself" in event.message:
                self.broken("bug", event.message, event.action.address)
        if code in (Exit.DONE, Exit.PARTIAL) and heard.summary is not None:
            self._counts(heard, code, unresolved)

    def _claims(self):
        """Nothing is recorded that the vendor was never seen to hold."""
        for where, (record, *_) in self.book.rows.items():
            id = where.partition("/")[2]
            if self.app.view(id) is None:
                continue  # deleted at the console: one vendor takes calls about what is not there
            ever = self.app.held_ever.get(id, {})
            for path, value in flatten(record.document).items():
                known = ever.get(path)
                if path.startswith(("profile.", "configuration.")) and (
                    known is None or value not in known
                ):
                    self.broken("claims", f"{path} of {id} is recorded as {value!r}, never held")
            if record.banned and True not in ever.get("banned", ()):
                self.broken("claims", f"{id} is recorded as banned and never was")
            token = record.document.get("token")
            if token and "from" in token and token_text(token) not in ever.get("token", ()):
                self.broken("claims", f"the token {token} of {id} was never held")

    def _orphans(self, unresolved):
        """What we made is recorded, in doubt, or was let go of."""
        known = {line.intent.address.partition("/")[2] for line in unresolved}
        for line in self.book.journal.values():
            if line.intent.action["action"] == "forget" and line.status == "confirmed":
                self.released.add(line.intent.address.partition("/")[2])
        for id, births in self.app.births.items():
            if (
                births > 0
                and self.app.view(id) is not None
                and f"{NAME}/{id}" not in self.book.rows
                and id not in known | self.released
            ):
                self.broken("orphan", f"{id} was made by us and nobody knows of it")

    def _counts(self, heard, code, unresolved):
        """Exit code, summary and events agree."""
        summary = heard.summary
        if (code == Exit.DONE) != summary.complete:
            self.broken("exit", f"exit code {code} with {summary}")
        if code == Exit.DONE and unresolved:
            self.broken("exit", f"exit code 0 and {len(unresolved)} in doubt")
        if heard.approved is None:
            return
        started, ended = Counter(), Counter()
        for event in heard.events:
            if isinstance(event, Started):
                started[event.action.address, event.action.kind] += 1
            elif isinstance(event, Completed | Errored | Skipped):
                ended[event.action.address, event.action.kind] += 1
        for action in heard.approved.actions:
            key = action.address, action.kind
            if ended[key] != 1 or started[key] > 1:
                self.broken("counts", f"{action.kind} of {action.address} ended {ended[key]}x")
        if code == Exit.DONE and sum(summary.applied.values()) != len(heard.approved.actions):
            self.broken("counts", f"{summary} of {len(heard.approved.actions)} actions")

    def wrong(self):
        """Return what the vendor does not hold as it is written, of all that need not wait."""
        skip = self.conflicts()
        return [
            (id, *fact)
            for id, (document, _) in self.files.items()
            if id not in skip
            for fact in self._compare(id, document)
        ]

    def _compare(self, id, document):
        held, record = self.app.view(id), self.book.rows[f"{NAME}/{id}"][0]
        banned = is_banned(document, self.moment())
        if held is None:
            yield "missing", True
            return
        if held["banned"] != banned:
            yield "banned", banned
        waits = self.provider.capabilities.waits_while_banned
        for path, value in flatten(document).items():
            if path not in held or path in record.waiting or (banned and waits(path)):
                continue
            if held[path] != value:
                yield path, value, held[path]
        token = document.get("token")
        wanted = token_text(token) if token and "from" in token else self.app.sinks.get(id)
        if token and not (banned and waits("token")) and held["token"] != wanted:
            yield "token", token["version"], held["token"]


def token_text(token):
    return f"token-{token['version']}" if token else None


def action_document(action):
    return json.loads(action.document)


def made(id, document, *, adopt=False):
    """Return a desired account."""
    data = encode(document)
    until = document.get("ban", {}).get("until", "")
    where = Address(f"{NAME}/{id}")
    return Account(where, data, digest(data), "accounts.yaml", 1, adopt, until=until)
