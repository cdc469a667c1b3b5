"""Console: everything that is printed, and how it looks on a terminal or in a log."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping

from reconciler.exits import Exit

TYPE_CHECKING = False  # as in `typing`, which is not worth its import time here
if TYPE_CHECKING:
    from logging import LogRecord
    from typing import TextIO

    from reconciler.diagnostics import Diagnostic
    from reconciler.redaction import Redactor
    from reconciler.views.text import Painter


LOG_LEVELS = {"trace": "DEBUG", "off": "CRITICAL", "warn": "WARNING"}
"""What RECONCILER_LOG may say besides the levels of `--log-level`, as Terraform's variable does."""


class Console:
    """Results go to stdout, messages and progress to stderr; secrets to neither.

    Whatever is printed or logged passes `clean`, so that neither a secret nor a text that
    commands a terminal or a CI runner gets by where somebody forgot about it.
    """

    def __init__(
        self, environ: Mapping[str, str], out: TextIO | None = None, err: TextIO | None = None
    ) -> None:
        self.environ = environ
        self.out = out or sys.stdout
        self.err = err or sys.stderr
        self.redactor: Redactor | None = None
        self.color = False
        for stream in (self.out, self.err):
            if hasattr(stream, "reconfigure"):
                # A terminal without UTF-8 gets escapes, never a crash in the middle of a run.
                stream.reconfigure(errors="backslashreplace")

    def configure(self, *, color: bool, log_level: str) -> None:
        """Take what the command line says; NO_COLOR, CI and a pipe turn colours off."""
        quiet = any(self.environ.get(name) for name in ("NO_COLOR", "CI"))
        self.color = color and not quiet and self.out.isatty()
        if log_level != "warning":
            self._log(LOG_LEVELS.get(log_level, log_level.upper()))

    def guard(self, redactor: Redactor) -> None:
        """Keep every secret value that was resolved out of messages and logs."""
        self.redactor = redactor
        # Also where nobody asked for a log: a library's warning would go to stderr as it is.
        self._log("")

    def _log(self, level: str) -> None:
        """Have everything that is logged go to stderr by way of `clean`."""
        import logging

        console = self

        class Clean(logging.Formatter):
            def formatMessage(self, record: LogRecord) -> str:  # noqa: N802 (logging's name)
                from reconciler.views.words import visible

                record.message = visible(console.clean(record.message), 2000)
                return super().formatMessage(record)

            def format(self, record: LogRecord) -> str:
                return console.clean(super().format(record))

        root = logging.getLogger()
        if not root.handlers:
            handler = logging.StreamHandler(self.err)
            handler.setFormatter(Clean("%(asctime)s %(levelname)s %(name)s: %(message)s"))
            root.addHandler(handler)
        if level in logging.getLevelNamesMapping():
            root.setLevel(level)
        elif level:
            self.say(
                f"warning: {level.lower()} is no log level; debug, info, warning and error are"
            )

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked."""
        return sys.stdin is not None and sys.stdin.isatty() and self.err.isatty()

    @property
    def advises(self) -> bool:
        """Whether to say what a person may run next; RECONCILER_IN_AUTOMATION, set, says no.

        It is Terraform's TF_IN_AUTOMATION: any value counts, and nothing but such advice is left
        out. What is wrong, and how to mend it, is always said.
        """
        return not self.environ.get("RECONCILER_IN_AUTOMATION")

    @property
    def paint(self) -> Painter:
        """How to colour what goes to stdout."""
        from reconciler.views.text import Painter

        return Painter(on=self.color)

    def print(self, text: str) -> None:
        """Print a line of the result."""
        self.out.write(self.clean(text) + "\n")

    def lines(self, lines: Iterable[str]) -> None:
        """Print many lines of the result."""
        for line in lines:
            self.print(line)

    def write(self, data: bytes) -> None:
        """Write a piece of JSON, which is ASCII.

        A CI runner looks for `##[` anywhere in a line, so no two of them stand together.
        """
        self.out.write(data.decode("ascii").replace("##", "#\\u0023"))

    def json(self, value: object) -> None:
        """Print one JSON value on one line."""
        from reconciler.values import canonical

        self.write(canonical(value) + b"\n")

    def commands(self, lines: Iterable[str]) -> None:
        """Print commands for a CI runner; only here does a line begin as they do."""
        for line in lines:
            self.out.write(f"::{self.clean(line)}\n")

    def say(self, text: str) -> None:
        """Say something that is no result."""
        self.err.write(self.clean(text) + "\n")
        self.err.flush()

    def findings(self, findings: Iterable[Diagnostic]) -> None:
        """Say what is wrong."""
        from reconciler.views.text import Painter, finding

        paint = Painter(on=self.color and self.err.isatty())
        for one in findings:
            self.say(finding(one, paint))

    def confirm(self, question: str, flag: str = "--auto-approve") -> bool:
        """Ask for `yes`, and take nothing else; without a terminal say which flag is missing."""
        from reconciler.errors import UsageError

        if not self.interactive:
            raise UsageError.of(
                "no-terminal",
                "this needs a confirmation and there is no terminal",
                hint=f"pass {flag} if you mean it",
            )
        self.out.flush()
        self.err.write(f"{self.clean(question)}\n  Only 'yes' is accepted: ")
        self.err.flush()
        return sys.stdin.readline().strip() == "yes"

    def ask(self, question: str, *, agreed: bool) -> None:
        """Raise UsageError unless somebody agrees, or did by a flag."""
        if not agreed and not self.confirm(question):
            from reconciler.errors import UsageError

            raise UsageError.of("declined", "nothing was done")

    def flush(self) -> None:
        """Hand everything to the system, so that a full disk or a closed pipe is noticed."""
        self.out.flush()

    def failed(self, problem: BaseException) -> int:
        """Say what ended a command and return its exit code."""
        from reconciler.errors import ReconcilerError

        if isinstance(problem, ReconcilerError):
            self.findings(problem.diagnostics)
            return problem.exit
        if isinstance(problem, KeyboardInterrupt):
            self.say("Interrupted.")
            return Exit.INTERRUPTED
        if isinstance(problem, OSError):
            self._abandon()
        if isinstance(problem, BrokenPipeError):
            return Exit.ERROR
        import logging

        logging.getLogger("reconciler").debug("internal error", exc_info=problem)
        if isinstance(problem, OSError):
            place = f"{problem.filename}: " if problem.filename else ""
            self.say(
                f"error: {self._line(f'{place}{problem.strerror or problem}')}\n"
                "    hint: repair the cause and run it again; what was recorded is safe"
            )
            return Exit.ERROR
        self.say(
            f"error: internal error: {type(problem).__name__}: {self._line(str(problem))}\n"
            "    hint: this is a bug in reconciler; --log-level debug shows where. Nothing "
            "is lost: the next apply settles what was under way"
        )
        return Exit.ERROR

    def _abandon(self) -> None:
        """Give up what waits to be written where writing fails, lest it fail again at exit."""
        try:
            self.out.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.out.fileno())

    def clean(self, text: str) -> str:
        """Return the text without any secret that was resolved, and as harmless lines."""
        if self.redactor:
            text = self.redactor.redact(text)
        if text.isprintable() and "::" not in text and "##" not in text:
            return text
        from reconciler.views.words import harmless

        return harmless(text, colours=self.color)

    def _line(self, text: str) -> str:
        """Return a text that nobody has looked at yet as one line, cleaned before it is cut."""
        from reconciler.views.words import visible

        return visible(self.clean(text), 2000)
