"""apply: lock, settle what is in doubt, plan or read the plan, judge, ask, carry out."""

from __future__ import annotations

import threading
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import replace

from reconciler.accounts import apps_of, split
from reconciler.apply import apply
from reconciler.carry import Link
from reconciler.changes import Override, Plan, calls_vendor
from reconciler.cli import enqueue
from reconciler.cli.console import Console
from reconciler.cli.formats import show_plan
from reconciler.cli.interrupt import interruptible
from reconciler.cli.overrides import overrides
from reconciler.cli.plan import judge, make, refused
from reconciler.cli.progress import Reporter
from reconciler.cli.session import Session, allowed, monotonic, new_id, now, seconds
from reconciler.cli.show import load
from reconciler.diagnostics import Diagnostic
from reconciler.errors import ConfigError, Refused, Stale, UsageError
from reconciler.events import Event, Noted, Summary, Waiting
from reconciler.exits import Exit
from reconciler.lanes import Effects
from reconciler.planfile import check
from reconciler.settle import settle
from reconciler.state import Run, Writer, doubts, overlap
from reconciler.values import to_text

_UNMERGED = (
    ("GITHUB_EVENT_NAME", ("pull_request", "pull_request_target")),
    ("CI_PIPELINE_SOURCE", ("merge_request_event", "external_pull_request_event")),
)
"""What CI services call a run for changes that nobody has merged."""


def run(arguments: Namespace, console: Console) -> int:
    """Apply a plan file, or plan and apply."""
    refuse_unmerged(console.environ)
    # `--allow block=3 plan.json`: the file is not one of the counts.
    if arguments.planfile is None and arguments.allow and "=" not in arguments.allow[-1]:
        arguments.planfile = arguments.allow.pop()
    allow = allowed(arguments.allow)
    saved = load(arguments.planfile) if arguments.planfile else None
    if saved is not None and (arguments.target or arguments.as_of):
        raise UsageError.of(
            "usage",
            "a saved plan is applied as it is",
            hint="--target and --as-of belong to: reconciler plan",
        )
    if (
        saved is None
        and not arguments.auto_approve
        and (arguments.format == "json" or not console.interactive)
    ):
        raise UsageError.of(
            "no-terminal",
            "apply asks before it changes anything, and there is no terminal to ask at",
            hint="pass --auto-approve, or a saved plan",
        )
    if arguments.override and saved is None and not arguments.expect:
        raise UsageError.of(
            "blank-override",
            "without a saved plan --override would be a blank cheque for whatever is planned now",
            hint="give it to the plan that you review (plan --out FILE --override RULE=REASON), "
            "or name that plan: --expect FINGERPRINT",
        )
    reporter = Reporter(console, json=arguments.format == "json")
    with Session(arguments, console) as session:
        if arguments.enqueue:
            enqueue.require(session, "--enqueue")
        given = overrides(arguments.override, session)
        patience = seconds(arguments.lock_timeout)
        session.refuse_ephemeral()
        targets = session.targets(arguments.target) if saved is None else saved.targets
        apps = apps_of(targets) or None
        for held in session.store.locks() if patience else ():
            if overlap(held.apps, apps):
                reporter.tell(Waiting(held))
        with session.lock("apply", patience, apps=apps) as writer:
            applying = _Applying(session, arguments, console, reporter, writer, allow, given)
            return applying.run(saved)


def refuse_unmerged(environ: Mapping[str, str]) -> None:
    """Raise for a pull request: whoever opens one would hold the vendor's credentials."""
    for name, events in _UNMERGED:
        if environ.get(name) in events:
            raise ConfigError.of(
                "unmerged",
                "apply does not run for changes that are not merged",
                detail=f"{name} is {environ[name]}, so this is the run of a pull request.",
                hint="plan here; apply in a run for a push to the protected branch",
            )


class _Applying:
    """One apply under the lock."""

    def __init__(
        self,
        session: Session,
        arguments: Namespace,
        console: Console,
        reporter: Reporter,
        writer: Writer,
        allow: dict[str, int],
        overrides: tuple[Override, ...] = (),
    ) -> None:
        self.session, self.arguments, self.console = session, arguments, console
        self.reporter, self.writer = reporter, writer
        self.allow, self.overrides = allow, overrides
        self.stop = threading.Event()
        self.kept = False

    def run(self, saved: Plan | None) -> int:
        """Settle, plan, judge, ask, apply."""
        if saved is not None:
            check(saved, self.session.store, self.session.workspace.name, to_text(now()))
        settled = self._settle()
        planned = saved or make(self.session, self.arguments, self.session.store)
        given = {one.rule: one for one in (*planned.overrides, *self.overrides)}
        planned = replace(
            planned, allow={**planned.allow, **self.allow}, overrides=tuple(given.values())
        )
        expected = self.arguments.expect
        if expected and expected != planned.fingerprint:
            raise Stale.of(
                "unexpected",
                "the plan is not the expected one",
                detail=f"Its fingerprint is {planned.fingerprint}, expected was {expected}.",
                hint="review the new plan: reconciler plan",
            )
        self._judge(planned, told=saved is None)
        if not planned.actions:
            left = len(doubts(self.session.store, self.writer.scope))
            self._finish(Summary(in_doubt=left), quiet=not (settled or left))
            return Exit.PARTIAL if left else Exit.DONE
        if (
            saved is None
            and not self.arguments.auto_approve
            and not self.console.confirm("Do these things at the vendors?")
        ):
            self.console.print("Nothing was done.")
            return Exit.ERROR
        return self._carry_out(planned)

    def _judge(self, planned: Plan, *, told: bool) -> None:
        planned, judged = judge(self.session, planned, self.session.store)
        findings: tuple[Diagnostic, ...] = (*self.session.warnings, *judged.findings)
        if self.reporter.json or not told:
            findings += judged.overridden
        if self.reporter.json:
            self.reporter.begin(planned)
            for finding in findings:
                self.reporter.tell(Noted(finding))
        elif told:
            show_plan(planned, judged, "text", self.console)
        if refused(planned, judged):
            if not self.reporter.json:
                self.console.findings(self.session.warnings)
            raise Refused(
                [one for one in (*judged.findings, *planned.diagnostics) if one.severity == "error"]
            )
        if not self.reporter.json:
            self.console.findings(findings)

    def _settle(self) -> bool:
        """Settle what earlier runs left in doubt; tell whether there was anything."""
        found = doubts(self.session.store, self.writer.scope)
        if not found:
            return False
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
            self.reporter.tell(event)
        return True

    def _carry_out(self, planned: Plan) -> int:
        names = {split(action.address)[0] for action in planned.actions}
        asking = {
            split(action.address)[0]
            for action in planned.actions
            if calls_vendor(action) or action.kind == "adopt"
        }
        unknown = sorted(asking - self.session.workspace.apps.keys())
        if unknown:
            raise Stale.of(
                "unknown-provider",
                f"reconciler.yaml has no provider {unknown[0]}",
                hint="plan again",
            )
        apps = self.session.same_apps(self.session.store, asking)
        self._keep()
        run = self.session.run("apply", planned.fingerprint)
        run = replace(run, overrides=planned.overrides)
        self.writer.begin(run)
        if apps:
            self.writer.bind(apps)
        if self.arguments.enqueue:
            told = enqueue.enqueue(self.session, planned, run)
            self.reporter.last(told, enqueue.line(told))
            return Exit.DONE
        fields = (
            (action.address, (change.path for change in action.changes))
            for action in planned.actions
        )
        links = self.session.links(
            names, fields=fields, check=self.writer.check, report=self.reporter.tell
        )
        summary = Summary()
        with interruptible(self.stop, self.session.transports, self.console):
            for event in self._events(planned, run, links):
                if isinstance(event, Summary):
                    summary = event
                else:
                    self.reporter.tell(event)
        self._warn_skew()
        self._finish(summary)
        if summary.interrupted:
            return Exit.INTERRUPTED
        return Exit.DONE if summary.complete else Exit.PARTIAL

    def _keep(self) -> None:
        """Back the state up, once, before anything is changed. Raises StateError if that fails."""
        if not self.kept:
            self.session.keep()
        self.kept = True

    def _events(self, planned: Plan, run: Run, links: Mapping[str, Link]) -> Iterator[Event]:
        self.reporter.start(planned)
        store = self.session.store
        return apply(planned, store, self.writer, links, run, Effects(monotonic, new_id, self.stop))

    def _warn_skew(self) -> None:
        worst = max((transport.skew for transport in self.session.transports), default=0.0)
        if worst > 60:
            self.console.say(
                f"warning: this machine's clock is about {worst:.0f} s off the "
                "vendor's; beyond 300 s every call is refused"
            )

    def _finish(self, summary: Summary, *, quiet: bool = False) -> None:
        self.reporter.end(summary, quiet=quiet)
