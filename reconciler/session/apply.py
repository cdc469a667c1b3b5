"""Apply: an opened workspace's plan carried out under its lock, fresh, judged and backed up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace

from reconciler.accounts import apps_of, split
from reconciler.applying import apply
from reconciler.carry import Link
from reconciler.changes import Override, Plan, calls_vendor
from reconciler.diagnostics import warning
from reconciler.errors import Stale
from reconciler.events import Event, Noted, Summary, Waiting
from reconciler.guard import Judgement
from reconciler.lanes import Effects
from reconciler.planfile import check
from reconciler.session import Session, monotonic, new_id, now
from reconciler.session.plan import judge, refuse
from reconciler.session.runner import refuse_unmerged
from reconciler.settle import settle
from reconciler.state import Run, Writer, doubts, overlap
from reconciler.values import to_text

SKEW = 60.0
"""Seconds that a vendor's clock may be apart from ours before it is said."""


@contextmanager
def locked(
    session: Session,
    report: Callable[[Event], None],
    targets: Collection[str] = (),
    patience: float = 0.0,
    stop: threading.Event | None = None,
) -> Iterator[Applying]:
    """Take the lock for an apply, of the apps alone that its targets name, if it has some.

    `patience` is for how many seconds another holder is waited for.

    Raises ConfigError in the run of a pull request, StateError where the state would be lost with
    the machine, Locked where somebody holds the lock.
    """
    refuse_unmerged(session.environ)
    session.refuse_ephemeral()
    apps = apps_of(targets) or None
    for held in session.store.locks() if patience else ():
        if overlap(held.apps, apps):
            report(Waiting(held))
    with session.lock("apply", patience, apps=apps) as writer:
        yield Applying(session, writer, report, stop)


def asked(
    session: Session, planned: Plan, about: str = "", hint: str = "plan again"
) -> dict[str, str]:
    """Return the identities of the apps that a plan asks anything.

    Raises Stale for a provider that the workspace no longer has, `about` saying what asks for it,
    or that is another app now.
    """
    asking = {
        split(action.address)[0]
        for action in planned.actions
        if calls_vendor(action) or action.kind == "adopt"
    }
    if unknown := sorted(asking - session.workspace.apps.keys()):
        summary = f"reconciler.yaml has no provider {unknown[0]}{about}"
        raise Stale.of("unknown-provider", summary, hint=hint)
    return session.same_apps(session.store, asking)


class Applying:
    """One apply under the lock; whatever happens is told to `report` on the calling thread.

    Throttling is told on whichever thread meets it. `stop`, once set, lets what is in flight
    finish.
    """

    def __init__(
        self,
        session: Session,
        writer: Writer,
        report: Callable[[Event], None],
        stop: threading.Event | None = None,
    ) -> None:
        self.session, self.writer, self.report = session, writer, report
        self.stop = stop or threading.Event()
        self.kept = False

    def ready(
        self,
        wanted: Plan | Callable[[], Plan],
        *,
        allow: Mapping[str, int] = {},
        overrides: tuple[Override, ...] = (),
        expected: str = "",
        show: Callable[[Plan, Judgement], None] | None = None,
    ) -> Plan:
        """Return the plan that may be carried out: one that was made before, or is made now.

        What earlier runs left in doubt is settled before one is made. `show` sees the plan and what
        the guard says, also of one that is refused. Raises Stale for a plan that no longer fits or
        is not the `expected` one, Refused for one that a limit or a rule forbids.
        """
        if isinstance(wanted, Plan):
            check(wanted, self.session.store, self.session.workspace.name, to_text(now()))
        self._settle()
        planned = wanted if isinstance(wanted, Plan) else wanted()
        given = {one.rule: one for one in (*planned.overrides, *overrides)}
        planned = replace(
            planned, allow={**planned.allow, **allow}, overrides=tuple(given.values())
        )
        if expected and expected != planned.fingerprint:
            raise Stale.of(
                "unexpected",
                "the plan is not the expected one",
                detail=f"Its fingerprint is {planned.fingerprint}, expected was {expected}.",
                hint="review the new plan: reconciler plan",
            )
        planned, judged = judge(self.session, planned, self.session.store)
        if show:
            show(planned, judged)
        refuse(planned, judged)
        return planned

    def _settle(self) -> None:
        """Settle what earlier runs left in doubt."""
        found = doubts(self.session.store, self.writer.scope)
        if not found:
            return
        names = {split(intent.address)[0] for intent in found} & self.session.workspace.apps.keys()
        self.session.same_apps(self.session.store, names)
        self._keep()
        self.writer.begin(self.session.run("settle"))
        fields = (
            (intent.address, [change["path"] for change in intent.action["changes"]])
            for intent in found
        )
        links = self.session.links(names, fields=fields, check=self.writer.check)
        for event in settle(self.session.store, self.writer, links, to_text(now())):
            self.report(event)

    def begin(self, planned: Plan) -> Run:
        """Begin the run of what `ready` returned, its state backed up and its apps bound.

        Raises Stale for a provider that the workspace no longer has, or that is another app now.
        """
        apps = asked(self.session, planned)
        self._keep()
        run = self.session.run("apply", planned.fingerprint)
        run = replace(run, overrides=planned.overrides)
        self.writer.begin(run)
        if apps:
            self.writer.bind(apps)
        return run

    def carry_out(
        self, planned: Plan, during: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> Summary:
        """Carry out what `ready` returned; `during` is entered while calls are under way.

        Raises what `begin` does.
        """
        if not planned.actions:
            return Summary(in_doubt=len(doubts(self.session.store, self.writer.scope)))
        run = self.begin(planned)
        names = {split(action.address)[0] for action in planned.actions}
        fields = (
            (action.address, (change.path for change in action.changes))
            for action in planned.actions
        )
        links = self.session.links(
            names, fields=fields, check=self.writer.check, report=self.report
        )
        summary = Summary()
        with during():
            for event in self._events(planned, run, links):
                if isinstance(event, Summary):
                    summary = event
                else:
                    self.report(event)
        self._warn_skew()
        return summary

    def _keep(self) -> None:
        """Back the state up, once, before anything is changed. Raises StateError if that fails."""
        if not self.kept:
            self.session.keep()
        self.kept = True

    def _events(self, planned: Plan, run: Run, links: Mapping[str, Link]) -> Iterator[Event]:
        store = self.session.store
        return apply(planned, store, self.writer, links, run, Effects(monotonic, new_id, self.stop))

    def _warn_skew(self) -> None:
        worst = max((transport.skew for transport in self.session.transports), default=0.0)
        if worst > SKEW:
            self.report(
                Noted(
                    warning(
                        "clock-skew",
                        f"this machine's clock is about {worst:.0f} s off the vendor's; beyond "
                        "300 s every call is refused",
                    )
                )
            )
