"""API: load, plan and apply for programs that embed the reconciler; what it promises is said here.

Nothing is printed, no signal handler is set and no argument is read. Guards are those of the
command line. Promised stable are the names in `reconciler.__all__` with the parameters and
attributes that their docstrings name; every other name may change in any version.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from reconciler import __version__
from reconciler.changes import Action, Plan, fingerprint
from reconciler.diagnostics import Diagnostic
from reconciler.errors import ReconcilerError, Stale, UsageError
from reconciler.events import Errored, Event, Noted, Skipped, Summary
from reconciler.guard import LIMITED, Judgement
from reconciler.planfile import decode, encode, shown
from reconciler.session import Session, now
from reconciler.session import plan as planning

if TYPE_CHECKING:
    from reconciler.redaction import Redactor

P = ParamSpec("P")
T = TypeVar("T")

_TICK = 0.1
"""Seconds after which a wish to stop is noticed."""


class Workspace:
    """A workspace opened for one run by `load`; leave its `with`, or `close` it, when that is done.

    `name` is what `reconciler.yaml` calls it, `root` the absolute path of its folder. Vendors and
    state are not touched before something needs them. One thread at a time may use it; each thread
    may have its own.
    """

    def __init__(self, place: str | Path, environ: Mapping[str, str]) -> None:
        self._redactor: Redactor | None = None
        self._session = Session(place, environ, self._guard)

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Workspace({self.name!r}, {str(self.root)!r})"

    @property
    def name(self) -> str:
        """What `reconciler.yaml` calls it."""
        return self._session.workspace.name

    @property
    def root(self) -> Path:
        """The folder that holds `reconciler.yaml`."""
        return self._session.root

    def close(self) -> None:
        """Close connections and state; safe to call again."""
        self._session.close()

    def _guard(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def _clean(self, text: str) -> str:
        return self._redactor.redact(text) if self._redactor else text

    def _cleaned(self, one: Diagnostic) -> Diagnostic:
        clean = self._clean
        return one._replace(
            summary=clean(one.summary), detail=clean(one.detail), hint=clean(one.hint)
        )


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and what the limits and rules of its workspace say to it.

    `actions`, `fingerprint`, `findings` and `refused` are what to look at; `to_json` and `to_bytes`
    keep it. It holds references to secrets and never a value.
    """

    plan: Plan
    judgement: Judgement
    warnings: tuple[Diagnostic, ...] = ()

    @property
    def actions(self) -> tuple[Action, ...]:
        """What would be done, sorted by address and then in running order.

        Each has `address`, `kind` (create, update, block, unblock, adopt, forget), `reason`, and
        `changes` with `path`, `before` and `after`.
        """
        return self.plan.actions

    @property
    def fingerprint(self) -> str:
        """The digest, as `sha256:…`, of what would be done and of nothing else."""
        return self.plan.fingerprint

    @property
    def findings(self) -> tuple[Diagnostic, ...]:
        """All that is said about the plan, each once; of severity error where it refuses it.

        Each has `severity`, `id`, `summary`, `detail`, `hint`, `address` and `source`.
        """
        said = (*self.warnings, *self.judgement.findings, *self.plan.diagnostics)
        return tuple(dict.fromkeys(said))

    @property
    def refused(self) -> bool:
        """Whether a limit, a rule or a protected account forbids it: `apply` would raise."""
        return planning.refused(self.plan, self.judgement)

    def to_json(self) -> dict[str, Any]:
        """Return the object that `reconciler plan --json` prints; `reconciler schema plan`."""
        return shown(self.plan, __version__, self.judgement)

    def to_bytes(self) -> bytes:
        """Return the bytes of a plan file, which `apply` and `reconciler apply FILE` take."""
        return encode(self.plan, __version__, self.judgement.approvals)


def _redacted(
    work: Callable[Concatenate[Workspace, P], T],
) -> Callable[Concatenate[Workspace, P], T]:
    """Keep every secret that was resolved out of what is raised."""

    @wraps(work)
    def told(workspace: Workspace, /, *given: P.args, **named: P.kwargs) -> T:
        try:
            return work(workspace, *given, **named)
        except ReconcilerError as problem:
            clean = type(problem)(map(workspace._cleaned, problem.diagnostics))
        except Exception as problem:  # a full disk, or a defect, whose text is nobody's yet
            for one in _chain(problem):
                texts = (workspace._clean(a) if isinstance(a, str) else a for a in one.args)
                one.args = tuple(texts)
            raise
        # Outside of the handler: what led to it is no context that could be printed with it.
        raise clean

    return told


def _chain(problem: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting = [problem]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__cause__, one.__context__]


def load(path: str | Path = ".", environ: Mapping[str, str] | None = None) -> Workspace:
    """Open the workspace in a folder, for use in `with`; its `reconciler.yaml` is read now.

    References and CI services are looked up in `environ`, the process's own environment if None.
    Raises `errors.UsageError` where there is no such folder, `errors.ConfigError` with every
    finding for a `reconciler.yaml` that is missing or wrong.
    """
    workspace = Workspace(path, os.environ if environ is None else environ)
    _ = workspace.name
    return workspace


@_redacted
def plan(
    workspace: Workspace,
    targets: Iterable[str] = (),
    *,
    as_of: datetime | None = None,
    refresh: bool = False,
    allow: Mapping[str, int] | None = None,
    overrides: Mapping[str, str] | None = None,
) -> Planned:
    """Compare what the files say with what is recorded; nothing is changed, and no lock is taken.

    `targets` are addresses or names of providers, all accounts if there are none. `as_of` is the
    moment at which bans are judged, with a time zone, now if None. `refresh` reads the vendors
    first; without it no vendor is asked. `allow` maps a kind (block, unblock, forget, update) to
    the exact number of such actions that may go over its limit; `overrides` maps the id of a rule
    to why it shall not refuse this plan, 8 to 500 characters. A plan that is refused is returned
    all the same. In a process of one thread, several processes read what is large (README).

    Raises `errors.ConfigError` with every finding of the files, `errors.StateError` for recorded
    state that cannot be trusted or read, `errors.UsageError` for a target, a kind or a rule that
    is none, `errors.SecretError` and `errors.VendorError` where vendors are read.
    """
    session = workspace._session
    session.warnings.clear()
    if as_of is not None and as_of.tzinfo is None:
        raise UsageError.of("bad-time", "as_of has no time zone", hint="give datetime.now(UTC)")
    for kind in (allow or {}).keys() - set(LIMITED):
        kinds = ", ".join(LIMITED)
        raise UsageError.of("bad-allow", f"{kind!r} has no limit", hint=f"those that have: {kinds}")
    given = session.overrides(overrides or {})
    wanted = session.targets(targets)
    observed = planning.observe(session, wanted) if refresh else None
    made = planning.make(
        session, session.store, as_of=as_of or now(), targets=wanted, observed=observed
    )
    made = replace(made, allow=dict(allow or {}), overrides=given)
    made, judged = planning.judge(session, made, session.store)
    cleaned = tuple(map(workspace._cleaned, judged.findings))
    made = replace(made, diagnostics=tuple(map(workspace._cleaned, made.diagnostics)))
    warnings = tuple(map(workspace._cleaned, session.warnings))
    return Planned(made, replace(judged, findings=cleaned), warnings)


@_redacted
def apply(
    workspace: Workspace,
    planned: Planned | bytes,
    *,
    report: Callable[[Event], None] | None = None,
    stop: threading.Event | None = None,
    lock_timeout: float = 0.0,
) -> Summary:
    """Carry out a plan as `reconciler apply FILE` does, and return how it ended.

    Takes the lock, settles what earlier runs left in doubt, checks that the plan is fresh, judges
    it again, takes off the workers' queue what it replaces, backs the state up, and calls the
    vendors, each call with an intent that is durable before its first byte. `planned` comes from
    `plan`, or is the bytes of a plan file. `report` hears of each event (`reconciler.events`), one
    at a time, though not always on this thread; if it raises, nothing more is begun, what is in
    flight is recorded, and then its error is raised.
    `stop`, once set, likewise lets what is in flight finish; the summary is then `interrupted`.
    `lock_timeout` is for how many seconds somebody else's lock is waited for.

    One account failing raises nothing: see `failed`, `skipped`, `in_doubt` and `complete` of the
    summary. Raises `errors.Refused` for what a limit or a rule forbids, `errors.Stale` for a plan
    that no longer fits, `errors.Locked` where somebody else holds the lock, `errors.ConfigError` in
    the run of a pull request, `errors.StateError` where the state would be lost with this machine
    or cannot be written, and `errors.SecretError`.
    """
    from reconciler.cluster.queue import withdraw
    from reconciler.session.apply import locked

    session = workspace._session
    saved = decode(planned, "the plan") if isinstance(planned, bytes) else _unedited(planned.plan)
    reports = _Reports(workspace, report)
    with (
        _stopping(session, reports.stop, stop),
        locked(session, reports.tell, saved.targets, lock_timeout, reports.stop) as applying,
    ):
        ready = applying.ready(saved)
        if told := withdraw(session, ready, saved=True):
            reports.tell(Noted(told))
        summary = applying.carry_out(ready)
    if reports.problem:
        raise reports.problem
    return summary


def _unedited(plan: Plan) -> Plan:
    """Return a plan that is as `plan` made it; its fingerprint is what reviews and history name."""
    if fingerprint(plan.actions) != plan.fingerprint:
        raise Stale.of(
            "bad-plan",
            "the plan is not as it was made: its fingerprint does not fit its actions",
            hint="change the files of the workspace, and plan again",
        )
    return plan


class _Reports:
    """Tells events to a program, one at a time; its failing stops the run and is kept."""

    def __init__(self, workspace: Workspace, report: Callable[[Event], None] | None) -> None:
        self._workspace, self._report = workspace, report
        self._lock = threading.Lock()
        self.stop = threading.Event()
        self.problem: Exception | None = None

    def tell(self, event: Event) -> None:
        """Tell one event without the secrets that are known by now."""
        if self._report is None:
            return
        with self._lock:
            if self.problem is not None:
                return
            try:
                self._report(self._cleaned(event))
            except Exception as problem:  # a call under way must not pay for what is not its fault
                self.problem = problem
                self.stop.set()

    def _cleaned(self, event: Event) -> Event:
        clean = self._workspace._clean
        match event:
            case Errored():
                return replace(event, code=clean(event.code), message=clean(event.message))
            case Skipped():
                return replace(event, because=clean(event.because))
            case Noted(diagnostic):
                return Noted(self._workspace._cleaned(diagnostic))
            case _:
                return event


@contextmanager
def _stopping(
    session: Session, stop: threading.Event, wish: threading.Event | None
) -> Iterator[None]:
    """Have a wish to stop end every wait of the vendors' calls, too."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_TICK):
            if wish is not None and wish.is_set():
                stop.set()
            if stop.is_set():
                for transport in tuple(session.transports):
                    transport.stop()

    watcher = threading.Thread(target=watch, name="apply-stop", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
