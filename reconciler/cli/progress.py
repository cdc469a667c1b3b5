"""Progress: what an apply tells while it runs, as a bar, as lines, or as a stream of JSON."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from reconciler import __version__
from reconciler.changes import Plan
from reconciler.events import Completed, Errored, Event, Skipped, Split, Started, Summary
from reconciler.session import now
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


class Pace:
    """How far a long piece of work is: a bar on a terminal, else a line every few seconds."""

    def __init__(self, console: Console, title: str, total: int, noun: str) -> None:
        self.console, self.total, self.noun = console, total, noun
        self._began = self._said = time.monotonic()
        self._bar: Any = None
        if total > SPOKEN and console.err.isatty() and not console.environ.get("CI"):
            self._bar = _bar()
            self._bar.start()
            self._task = self._bar.add_task(title, total=total, failed=0, rate="")

    def tell(self, done: int, failed: int, *, line: bool = True) -> None:
        """Show how much is done, and how much failed; `line` False where one was just said."""
        moment = time.monotonic()
        rate = done / max(moment - self._began, 1e-9)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, failed=failed, rate=f"{rate:.0f}/s")
            return
        if not line or moment - self._said < EVERY:
            return
        self._said = moment
        left = (self.total - done) / max(rate, 1e-9)
        self.console.say(
            f"  {done:,} of {number(self.total, self.noun)}, {rate:.0f}/s, {left:.0f} s left, "
            f"{failed:,} failed"
        )

    def say(self, line: str) -> None:
        """Say a line without breaking the bar."""
        if self._bar is not None:
            self._bar.console.print(self.console.clean(line))
        else:
            self.console.say(line)

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()


class Reporter:
    """Tells events as they come; the last line is for the summary."""

    def __init__(self, console: Console, *, json: bool) -> None:
        self.console = console
        self.json = json
        self._total = self._ended = self._failed = 0
        self._skipped: Counter[str] = Counter()
        self._splits: list[Split] = []
        self._pace: Pace | None = None

    def begin(self, planned: Plan) -> None:
        """Announce the plan on the stream."""
        for action in planned.actions:
            self._line(shapes.planned(action), f"{action.address}: {action.kind} planned")

    def version(self) -> None:
        """Begin the stream."""
        if self.json:
            self._line(shapes.version(__version__), f"reconciler {__version__}")

    def chunk(self, app: str, chunk: int, fingerprint: str, planned: Plan) -> None:
        """Announce a chunk of a plan, and begin to count."""
        shape = shapes.chunk(app, chunk, fingerprint, len(planned.actions))
        said = f"{app}, chunk {chunk} of plan {fingerprint[:19]}"
        said = f"{visible(said)}: {number(len(planned.actions), 'action')}"
        if self.json:
            self._line(shape, said)
        else:
            self.console.say(said)
        self.start(planned)

    def last(self, shape: dict[str, Any], line: str) -> None:
        """Say how it ended where that is told by no `Summary`."""
        if self.json:
            self._line(shape, line)
        else:
            self.console.print(line)

    def start(self, planned: Plan) -> None:
        """Begin to count."""
        self._total = len(planned.actions)
        if not self.json:
            self._pace = Pace(self.console, "apply", self._total, "action")

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
        quiet = self._total > SPOKEN and (
            isinstance(happened, Skipped)
            or (isinstance(happened, Completed) and not happened.waiting)
        )
        if quiet and isinstance(happened, Skipped):
            self._skipped[happened.because] += 1
        silent = isinstance(happened, Summary) or quiet
        if self._pace:
            self._pace.tell(self._ended, self._failed, line=silent)
        if silent or (line := text.event(happened, self.console.paint)) is None:
            return
        say = self._pace.say if self._pace else self.console.say
        say(line)

    def end(
        self,
        summary: Summary,
        *,
        about: str = "",
        more: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Say how it ended.

        `about` and `more` tell which part of a plan it is about, in text and in JSON.
        """
        if self._pace:
            self._pace.end()
        for because, count in self._skipped.items():
            self.console.say(f"  {number(count, 'action')} skipped: {visible(because)}")
        for one in self._splits[:SPOKEN]:
            self.console.print(text.event(one) or "")
        if len(self._splits) > SPOKEN:
            others = f"{len(self._splits) - SPOKEN:,} more are done in some of their apps only"
            self.console.print(f"{others}; run apply again, they go first")
        line = text.event(summary) or ""
        if self.json:
            self._line({**shapes.event(summary), **more}, f"{visible(about)}{line}")
        else:
            self.console.print(f"{visible(about)}{line}")

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
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]} failed"),
        console=RichConsole(stderr=True, markup=False, highlight=False, emoji=False),
        transient=True,
    )
