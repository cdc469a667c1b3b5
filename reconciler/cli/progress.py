"""Progress: what an apply tells while it runs, as a bar, as lines, or as a stream of JSON."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from reconciler import __version__
from reconciler.changes import Plan
from reconciler.cli.session import now
from reconciler.events import Completed, Errored, Event, Skipped, Split, Started, Summary
from reconciler.values import to_text
from reconciler.views import json as shapes
from reconciler.views import text
from reconciler.views.words import number, visible

if TYPE_CHECKING:
    from reconciler.cli.console import Console

EVERY = 5.0
"""Seconds between two lines of progress where there is no terminal."""

SPOKEN = 50
"""Actions up to which each one is told; beyond it only those that went wrong."""


class Reporter:
    """Tells events as they come; the last line is for the summary."""

    def __init__(self, console: Console, *, json: bool) -> None:
        self.console = console
        self.json = json
        self._total = self._ended = self._failed = 0
        self._skipped: Counter[str] = Counter()
        self._splits: list[Split] = []
        self._began = self._said = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def begin(self, planned: Plan) -> None:
        """Announce version and plan on the stream."""
        self._line(shapes.version(__version__), f"reconciler {__version__}")
        for action in planned.actions:
            self._line(shapes.planned(action), f"{action.address}: {action.kind} planned")

    def start(self, planned: Plan) -> None:
        """Begin to count."""
        self._total = len(planned.actions)
        self._began = self._said = time.monotonic()
        if not self.json and self._total > SPOKEN and self._terminal:
            self._bar = _bar()
            self._bar.start()
            self._task = self._bar.add_task("apply", total=self._total, failed=0)

    def tell(self, happened: Event) -> None:
        """Tell one event."""
        self._ended += isinstance(happened, Completed | Errored | Skipped)
        self._failed += isinstance(happened, Errored)
        if self.json:
            said = text.event(happened)
            if said is None and isinstance(happened, Started):
                said = f"{happened.action.address}: {happened.action.kind} started"
            self._line(shapes.event(happened), (said or "").strip())
            return
        if isinstance(happened, Started):
            return
        if isinstance(happened, Split):
            self._splits.append(happened)
            return
        if self._bar is not None:
            self._bar.update(self._task, completed=self._ended, failed=self._failed)
        quiet = self._total > SPOKEN and (
            isinstance(happened, Skipped)
            or (isinstance(happened, Completed) and not happened.waiting)
        )
        if quiet and isinstance(happened, Skipped):
            self._skipped[happened.because] += 1
        if isinstance(happened, Summary) or quiet:
            self._pulse()
            return
        line = text.event(happened, self.console.paint)
        if line is None:
            return
        if self._bar is not None:
            self._bar.console.print(self.console.clean(line))
        else:
            self.console.say(line)

    def end(self, summary: Summary, *, quiet: bool = False) -> None:
        """Say how it ended; `quiet` where the plan has said already that there is nothing."""
        if self._bar is not None:
            self._bar.stop()
        for because, count in self._skipped.items():
            self.console.say(f"  {number(count, 'action')} skipped: {visible(because)}")
        for one in self._splits[:SPOKEN]:
            self.console.print(text.event(one) or "")
        if len(self._splits) > SPOKEN:
            more = f"{len(self._splits) - SPOKEN:,} more are done in some of their apps only"
            self.console.print(f"{more}; run apply again, they go first")
        line = text.event(summary) or ""
        if self.json:
            self._line(shapes.event(summary), line)
        elif not quiet:
            self.console.print(line)

    @property
    def _terminal(self) -> bool:
        return self.console.err.isatty() and not self.console.environ.get("CI")

    def _pulse(self) -> None:
        """Say every few seconds how far it is, where nobody sees a bar."""
        moment = time.monotonic()
        if self._bar is not None or moment - self._said < EVERY:
            return
        self._said = moment
        rate = self._ended / max(moment - self._began, 1e-9)
        left = (self._total - self._ended) / max(rate, 1e-9)
        self.console.say(
            f"  {self._ended:,} of {self._total:,} actions, {rate:.0f}/s, "
            f"{left:.0f} s left, {self._failed} failed"
        )

    def _line(self, shape: dict[str, Any], message: str) -> None:
        self.console.json({**shape, "at": to_text(now()), "message": message})
        self.console.flush()


def _bar() -> Any:
    from rich.console import Console as RichConsole
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]} failed"),
        console=RichConsole(stderr=True, markup=False, highlight=False, emoji=False),
        transient=True,
    )
