"""One process of the tool in the simulator: the real `apply`, its threads taken in turns."""

from __future__ import annotations

from argparse import Namespace
from collections import deque
from contextlib import contextmanager, nullcontext
from functools import partial
from queue import Empty
from types import SimpleNamespace

import pytest
from simulator_store import Keeper
from simulator_vendor import PREFIX, Short, faulted

from reconciler.carry import Link
from reconciler.cli.apply import _Told
from reconciler.conversation import Sink
from reconciler.guard import limited
from reconciler.lanes import Effects
from reconciler.refresh import accept, read
from reconciler.session import Session
from reconciler.session.apply import Applying
from reconciler.session.plan import judge, make
from reconciler.state import Holder, Run
from reconciler.transport import Clock, Transport
from reconciler.transport.answers import Facts
from reconciler.values import Reference, to_text
from reconciler.workspace import DEFAULT_LIMITS, App, Workspace

NAME = "v"
CREDENTIALS = {
    "yunxin": {"app_key": "demo-app-key", "app_secret": Reference("env:SECRET")},
    "commsease": {"app_key": "demo-app-key", "app_secret": Reference("env:SECRET")},
    "tencent": {
        "sdk_app_id": "1400000000",
        "admin": "administrator",
        "secret_key": Reference("env:SECRET"),
    },
}
SECRETS = {"yunxin": "demo-app-secret", "commsease": "demo-app-secret"}
CHECKS = True
"""Whether the transport is told how to check the lock; a mutant says no."""

ARGUMENTS = Namespace(
    as_of=None,
    target=[],
    cache=False,
    auto_approve=True,
    expect=None,
    format="json",
    enqueue=False,
)


class Stop:
    """A wish to stop that never waits in real time."""

    def __init__(self):
        self.wish = False

    def is_set(self):
        return self.wish

    def set(self):
        self.wish = True

    def wait(self, timeout):
        return self.wish


class Turns:
    """A pool whose jobs are done in turns, when the main thread waits for one."""

    world = None

    def __init__(self, size, name):
        self.jobs = []
        self.world.process.pools.append(self)

    def submit(self, job):
        self.jobs.append(job)

    def close(self):
        self.jobs.clear()


class Inbox:
    """The queue that the main thread waits at: who waits lets a job be done, by chance."""

    def __init__(self):
        self.items = deque()
        self.process = Turns.world.process

    def put(self, item):
        self.items.append(item)

    def get(self, timeout):
        while not self.items:
            pools = [pool for pool in self.process.pools if pool.jobs]
            if not pools:
                raise Empty
            jobs = Turns.world.rng.choice(pools).jobs
            jobs.pop(Turns.world.rng.randrange(len(jobs)))()
        return self.items.popleft()

    def get_nowait(self):
        if not self.items:
            raise Empty
        return self.items.popleft()


class AtOnce:
    """An executor that does its work in place."""

    def __init__(self, size, name):
        """Nothing to start."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Nothing to wait for."""

    def submit(self, work, *given):
        return _Done(work, given)


class _Done:
    def __init__(self, work, given):
        self.work, self.given = work, given

    def result(self):
        return self.work(*self.given)

    def cancel(self):
        """Nobody began."""


class Heard:
    """A reporter that keeps what it is told."""

    json = True

    def __init__(self, judge):
        self.judge = judge
        self.events, self.planned, self.approved, self.summary = [], None, None, None

    def begin(self, planned):
        self.planned = planned

    def start(self, planned):
        self.judge(planned)
        self.approved = planned

    def tell(self, event):
        self.events.append(event)

    def end(self, summary, *, quiet=False):
        self.summary = summary


class Silent:
    """A console that nobody reads."""

    def findings(self, findings):
        """Say nothing."""

    say = print = findings


class Tokens:
    """Tokens by reference only."""

    def ready(self, address, token):
        if token.get("generate") == "vendor":
            return Sink(Reference(token["sink"]))
        return Reference(token["from"])

    reference = ready

    def key(self, address, token):
        return ""


class Process(Session):
    """One run of the tool against the world's store and vendor, real from `cli.apply` downwards."""

    def __init__(self, world, way="short"):
        self.world, self.way = world, way
        self.name = f"p{world.count('processes')}"
        self.run_id, self.pools, self.heard, self.told = "", [], None, {}
        self.heard = Heard(lambda planned: world.started(self, planned))
        self.store = Keeper(world.book, world.time, world.step, self.name)
        self.store.gone = lambda name: name in world.dead
        self.console, self.warnings, self.transports = Silent(), [], []
        self.workspace = world.workspace
        self.capabilities = {NAME: world.provider.capabilities}
        self.request, self.stop, self.sent = None, Stop(), 0

    def desired(self, *, cache):
        return SimpleNamespace(
            batches=lambda: iter(self.world.desired),
            again=tuple,
            alike=lambda chain: None,
            keep_alike=lambda chain, moment: None,
        )

    def targets(self, texts):
        return ()

    def same_apps(self, recorded, names):
        return dict.fromkeys(names, "the-app")

    def holder(self, operation):
        return Holder(self.name, "sim", 1, operation)

    def keep(self):
        """The world's store keeps no backups; those are tested on the real ones."""

    def run(self, operation, fingerprint=""):
        self.run_id = self.world.fresh("run")
        return Run(self.run_id, operation, to_text(self.world.moment()), "sim", fingerprint)

    def links(self, names, *, read_only=False, check=lambda: None, report=None, **_):
        world = self.world
        if self.way == "short":
            send = Short(world.app, world.provider, reveal, world.meet, world.step, check).send
        else:
            transport = Transport(
                world.provider,
                self.workspace.apps[NAME],
                reveal,
                clock=world.clock,
                read_only=read_only,
                report=report,
                check=check if CHECKS else lambda: None,
                deliver=self._deliver,
            )
            self.transports.append(transport)
            send = self._noting(transport.run)
        return {NAME: Link(world.provider, send, Tokens(), 2, check)} if NAME in names else {}

    def _deliver(self, reference, value):
        self.world.app.sinks[self.request.account_ids[0]] = value

    def _noting(self, run):
        def send(call):
            return run(self._noted(call))

        return send

    def _noted(self, call):
        answer = None
        while True:
            try:
                request = next(call) if answer is None else call.send(answer)
            except StopIteration as end:
                return end.value
            self.request = request
            answer = yield request
            self.world.step("parsed", request)

    def apply(self, saved=None, allow=None):
        """Do what `reconciler apply` does under its lock; returns its exit code."""
        with self.store.lock(self.holder("apply")) as writer:
            applying = Applying(self, writer, self.heard.tell, self.stop)
            told = _Told(self, ARGUMENTS, self.console, self.heard, applying)
            return told.run(saved, allow or {})

    def plan(self):
        """Return what `reconciler plan` would print, and the counts that a person would allow."""
        planned = make(self, self.store, as_of=self.world.moment())
        planned, judged = judge(self, planned, self.store)
        return planned, judged

    def refresh(self):
        """Do what `reconciler refresh` does."""
        with self.store.lock(self.holder("refresh")) as writer:
            links = self.links([NAME], read_only=True)
            writer.begin(self.run("refresh"))
            accept(read(list(self.store.everything()), links), writer)

    def allowance(self, planned):
        """Return the exact counts under which the plan is within its limits."""
        groups = {}
        for action in planned.actions:
            groups.setdefault(action.address, []).append(action)
        records = {r.address: r for r in self.store.records(groups)}
        counts = {str(kind): n for kind, n in limited(groups, records).items()}
        if not planned.desired:
            for action in planned.actions:
                counts[str(action.kind)] = sum(a.kind is action.kind for a in planned.actions)
        return counts


class Plug:
    """What stands in the place of the HTTP client: the same facts, from the vendor in memory."""

    def __init__(self, app, proxy, clock, limit, redactor):
        self.world = Turns.world
        self.process = self.world.process

    def exchange(self, method, target, headers, content, **_):
        app, request = self.world.app, self.process.request
        path, _, query = target.decode().partition("?")
        told = {name.decode().lower(): value.decode() for name, value in headers}
        self.world.step("send", request)

        def perform():
            return app.serve(method, path, query, content, told)

        facts = faulted(app, self.world.meet(request), request, perform)
        return Facts(False, error="ConnectError") if facts is None else facts

    def close(self):
        """Nothing is open."""


def reveal(reference):
    """Return the clear text of a reference, where requests are encoded."""
    if reference.text == "env:SECRET":
        return SECRETS.get(Turns.world.app.kind, "demo-secret-key")
    return f"token-{reference.text.removeprefix('env:T')}"


def workspace(kind):
    """Return the workspace of every schedule: one app, the limits that everybody has."""
    app = App(NAME, kind, f"https://vendor.test{PREFIX[kind]}", CREDENTIALS[kind])
    return Workspace("prod-im", "/nowhere", {NAME: app}, limits=DEFAULT_LIMITS)


@contextmanager
def installed():
    """Put clock, names, threads and network of the product into the simulator's hands."""
    with pytest.MonkeyPatch.context() as patch:
        for room in ("session", "session.apply"):
            patch.setattr(f"reconciler.{room}.now", lambda: Turns.world.moment())
            patch.setattr(f"reconciler.{room}.new_id", lambda: Turns.world.fresh("id"))
        patch.setattr("reconciler.cli.flags.now", lambda: Turns.world.moment())
        patch.setattr("reconciler.session.apply.monotonic", lambda: Turns.world.time.now)
        patch.setattr("reconciler.cli.apply.interruptible", lambda *_: nullcontext())
        patch.setattr("reconciler.applying.Pool", Turns)
        patch.setattr("reconciler.applying.SimpleQueue", Inbox)
        patch.setattr("reconciler.refresh.ThreadPoolExecutor", AtOnce)
        patch.setattr("reconciler.session.apply.Effects", partial(Effects, gather=0.0))
        patch.setattr("reconciler.transport.wire.Wire", Plug)
        yield patch


def transport_clock(world):
    """Return the clock of a transport: sleeping lets the world's time pass."""
    return Clock(
        now=lambda: world.time.now,
        monotonic=lambda: world.time.now,
        sleep=world.time.sleep,
        random=world.rng.random,
        nonce=lambda: world.fresh("nonce"),
    )
