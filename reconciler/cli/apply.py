"""apply: plan or read the plan, ask, carry out, and tell how it goes."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial

from reconciler.changes import Override, Plan
from reconciler.cli import enqueue
from reconciler.cli.console import Console
from reconciler.cli.flags import allowed, moment, reasons, seconds
from reconciler.cli.formats import show_plan
from reconciler.cli.interrupt import interruptible
from reconciler.cli.opened import opened
from reconciler.cli.progress import Reporter
from reconciler.cli.show import load
from reconciler.cluster.queue import withdraw
from reconciler.diagnostics import Diagnostic
from reconciler.errors import UsageError
from reconciler.events import Noted
from reconciler.exits import Exit
from reconciler.guard import Judgement
from reconciler.session import Session
from reconciler.session.apply import Applying, locked
from reconciler.session.plan import make, refused
from reconciler.session.runner import refuse_unmerged


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
    with opened(arguments, console) as session:
        if arguments.enqueue:
            enqueue.require(session, "--enqueue")
        given = session.overrides(reasons(arguments.override))
        patience = seconds(arguments.lock_timeout)
        targets = session.targets(arguments.target) if saved is None else saved.targets
        reporter.version()
        with locked(session, reporter.tell, targets, patience) as applying:
            told = _Told(session, arguments, console, reporter, applying)
            return told.run(saved, allow, given)


class _Told:
    """One apply as a person or a program is told of it, and asked."""

    def __init__(
        self,
        session: Session,
        arguments: Namespace,
        console: Console,
        reporter: Reporter,
        applying: Applying,
    ) -> None:
        self.session, self.arguments, self.console = session, arguments, console
        self.reporter, self.applying = reporter, applying
        self.saved = False

    def run(
        self, saved: Plan | None, allow: Mapping[str, int], overrides: tuple[Override, ...] = ()
    ) -> int:
        """Settle, plan, judge, ask, apply."""
        self.saved = saved is not None
        planned = self.applying.ready(
            saved or self._make,
            allow=allow,
            overrides=overrides,
            expected=self.arguments.expect or "",
            show=self._show,
        )
        if (
            planned.actions
            and not self.saved
            and not self.arguments.auto_approve
            and not self.console.confirm("Do these things at the vendors?")
        ):
            self.console.print("Nothing was done.")
            return Exit.ERROR
        if told := withdraw(self.session, planned, saved=self.saved, queued=self.arguments.enqueue):
            self.reporter.tell(Noted(told))
        return self._carry_out(planned)

    def _make(self) -> Plan:
        return make(
            self.session,
            self.session.store,
            as_of=moment(self.arguments.as_of),
            targets=self.session.targets(self.arguments.target),
            cache=self.arguments.cache,
        )

    def _show(self, planned: Plan, judged: Judgement) -> None:
        """Tell the plan, unless a file of it was shown before, and what is found about it."""
        findings: tuple[Diagnostic, ...] = (*self.session.warnings, *judged.findings)
        if self.reporter.json or self.saved:
            findings += judged.overridden
        if self.reporter.json:
            self.reporter.begin(planned)
            for finding in findings:
                self.reporter.tell(Noted(finding))
            return
        if not self.saved:
            show_plan(planned, judged, "text", self.console)
        # What refuses a plan is said by the error that ends the command.
        self.console.findings(self.session.warnings if refused(planned, judged) else findings)

    def _carry_out(self, planned: Plan) -> int:
        if planned.actions and self.arguments.enqueue:
            queued = enqueue.enqueue(self.session, planned, self.applying.begin(planned))
            self.reporter.last(queued, enqueue.line(queued))
            return Exit.DONE
        summary = self.applying.carry_out(planned, partial(self._interruptible, planned))
        self.reporter.end(summary)
        if summary.interrupted:
            return Exit.INTERRUPTED
        return Exit.DONE if summary.complete else Exit.PARTIAL

    def _interruptible(self, planned: Plan) -> AbstractContextManager[None]:
        self.reporter.start(planned)
        return interruptible(self.applying.stop, self.session.transports, self.console)
