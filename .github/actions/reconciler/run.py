"""The action's one step: run a reconciler command, and say what came of it where it is read.

The log gets what the command printed, with workflow commands stopped meanwhile: names of accounts
are other people's text. Annotations, the summary, comments and issues are made of the formats
that escape it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import github
from github import Failure

CHANGES: Final = 2
REFUSED: Final = 4
STALE: Final = 6
"""Exit codes of the reconciler that are looked at here; all others are passed on."""

_FINGERPRINT: Final = re.compile(r"sha256:[0-9a-f]{64}")
_PRIVATE: Final = ("GH_TOKEN", "GITHUB_TOKEN")
"""What the reconciler, and a command that a workspace names, has no use for."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended and what it printed as its result."""

    code: int
    out: str

    @property
    def last(self) -> str:
        """The last line of the result."""
        return self.out.rstrip("\n").rpartition("\n")[2]


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan file: what of it is looked at here."""

    file: Path
    as_of: str
    fingerprint: str

    @classmethod
    def read(cls, file: Path) -> Planned:
        """Read what the reconciler wrote; the fingerprint of a plan of nothing is empty."""
        told = json.loads(file.read_bytes())
        return cls(file, told["as_of"], told["fingerprint"] if told["actions"] else "")


def main() -> int:
    """Run the command that the step asks for, and return the step's exit code."""
    commands = {
        "validate": validate,
        "test": test,
        "plan": plan,
        "apply": apply,
        "drift": drift,
        "snapshot": snapshot,
        "comment": comment,
    }
    try:
        if asked("COMMAND") not in commands:
            raise Failure(f"the input `command` is one of {', '.join(commands)}", 64)
        return commands[asked("COMMAND")]()
    except Failure as problem:
        failed(str(problem))
        return problem.code


def validate() -> int:
    """Annotate every finding in its file."""
    return told(reconciler("validate", "--format", "github", commands=True))


def test() -> int:
    """Play the scenario files, and annotate what is not as expected in them."""
    return told(reconciler("test", "--format", "github", commands=True))


def plan() -> int:
    """Plan, show it in the summary and the pull request, and prove that it was reviewed."""
    file, against = out("plan.json"), _against()
    words = ["plan", *against, *_allowed(), *_overridden()]
    ended = reconciler(*words, "--format", "markdown", "--out", str(file))
    told(ended)
    if not file.exists():
        failed(f"there is no plan: exit code {ended.code}")
        return ended.code
    planned = Planned.read(file)
    # The same moment again, so that the annotations are of this plan.
    reconciler(*words, "--format", "github", "--as-of", planned.as_of, commands=True)
    output("plan", file)
    output("fingerprint", planned.fingerprint)
    output("changes", "true" if planned.fingerprint else "false")
    _publish(ended.out)
    if asked("COMMENT") == "true":
        asking = github.event().get("pull_request")
        if not asking:
            raise Failure("the input `comment` is for the run of a pull request", 64)
        github.comment(int(asking["number"]), ended.out)
    if planned.fingerprint and asked("REVIEWED") == "true":
        _prove(planned, ended.out)
    return ended.code


def apply() -> int:
    """Apply the plan with just this fingerprint: it is made again, under the lock."""
    expect = asked("EXPECT")
    if not _FINGERPRINT.fullmatch(expect):
        raise Failure("apply needs the input `expect`, the fingerprint of a plan", 64)
    words = ["--auto-approve", "--expect", expect, "--lock-timeout", "10m"]
    words += [*_allowed(), *_overridden()]
    ended = reconciler("apply", *words)
    told(ended)
    summary(f"```\n{ended.last.replace('`', '')}\n```\n")
    if ended.code:
        failed(f"apply ended with exit code {ended.code}; the log says why")
    return ended.code


def drift() -> int:
    """Compare the vendors with what is recorded, and see whether something merged still waits."""
    found = reconciler("drift", "--format", "markdown")
    told(found)
    waits = reconciler("plan", "--detailed-exitcode", "--format", "markdown", *_allowed())
    for ended, what in ((found, "drift"), (waits, "plan")):
        if ended.code not in (0, CHANGES, REFUSED):
            failed(f"{what} ended with exit code {ended.code}")
            return ended.code
    _publish(found.out)
    if waits.code:
        summary(waits.out)
    if asked("COMMENT") == "true":
        link = f"\n[Run]({github.run_url()})\n"
        name = _workspace(found.out)
        github.issue(f"Drift in {name}", found.out + link, wanted=found.code == CHANGES)
        github.issue(f"Not applied in {name}", waits.out + link, wanted=waits.code != 0)
    return 0


def snapshot() -> int:
    """Write what is recorded to a file, without personal fields, for runs without secrets."""
    redact = [] if asked("REDACT") == "false" else ["--redact"]
    ended = reconciler("state", "pull", *redact, silent=True)
    output("exit-code", ended.code)
    if ended.code == 0:
        file = out("snapshot.json")
        file.write_text(ended.out, encoding="utf-8")
        output("snapshot", file)
    return ended.code


def comment() -> int:
    """Post the plan of a pull request's run, which was without secrets and may be a fork's.

    Its plan file is rendered again here, so the comment says what its fingerprint stands for,
    whatever that run was made to say; and what is merged has to have that fingerprint.
    """
    run = github.event()["workflow_run"]
    number = github.pull_request(run)
    if number is None:
        say("The pull request is closed or has newer commits; there is nothing to post.")
        return 0
    where = f"Commit {run['head_sha'][:12]}, [run]({github.run_url(str(int(run['id'])))})"
    data = github.artifact(int(run["id"]), "reconciler-plan", "plan.json")
    if data is None:
        github.outdate(number, f"**There is no plan of the newest commit.** {where}.")
        return 0
    file = out("plan.json")
    file.write_bytes(data)
    ended = reconciler("show", str(file), "--format", "markdown")
    told(ended)
    if ended.code:
        github.outdate(number, f"**The plan of the newest commit cannot be read.** {where}.")
        return ended.code
    warn = "" if run["conclusion"] == "success" else " **The run failed: see its findings.**"
    *lines, last = ended.out.rstrip("\n").split("\n")
    github.comment(number, "\n".join([*lines, f"{where}.{warn}", "", last]))
    return 0


def _against() -> list[str]:
    """Return what to plan against: the recorded state, or a snapshot of it."""
    state = asked("STATE")
    if state != "published":
        return ["--state", str(Path(state).resolve())] if state else []
    data = github.published("reconciler-snapshot", "snapshot.json")
    if data is None:
        raise Failure(
            "the default branch has not published a snapshot: run its drift workflow once by hand"
        )
    file = out("published.json")
    file.write_bytes(data)
    return ["--state", str(file)]


def _prove(planned: Planned, review: str) -> None:
    """Raise unless the plan, or what a redacted snapshot shows of it, is the reviewed one.

    A pull request is planned against the redacted snapshot, so that is what is compared; the
    whole plan goes on to the approval of the environment and to `apply --expect`.
    """
    expect = asked("EXPECT") or github.reviewed(review.partition("\n")[0])
    if expect is None:
        raise Failure(
            "this commit is not of a pull request with a plan: review the plan in the summary, "
            "then run this workflow by hand with its fingerprint",
            STALE,
        )
    pulled = reconciler("state", "pull", "--redact", silent=True)
    file = out("redacted.json")
    file.write_text(pulled.out, encoding="utf-8")
    seen = out("redacted-plan.json")
    words = ["--state", str(file), "--as-of", planned.as_of, "--out", str(seen), *_allowed()]
    reconciler("plan", *words, silent=True)
    if not seen.exists():
        raise Failure("what is recorded cannot be planned against as the pull request did", STALE)
    if expect not in (planned.fingerprint, Planned.read(seen).fingerprint):
        raise Failure(
            "this is not the plan that was reviewed: review the one in the summary, then run "
            "this workflow by hand with its fingerprint",
            STALE,
        )


def _publish(review: str) -> None:
    file = out("review.md")
    file.write_text(review, encoding="utf-8")
    output("review", file)
    summary(review)


def _workspace(review: str) -> str:
    """Return the workspace that a review is of, from its mark."""
    found = re.match(r"<!-- reconciler:[a-z]+:([a-z0-9_-]+) -->", review)
    return found[1] if found else "workspace"


def _allowed() -> list[str]:
    words = asked("ALLOW").split()
    return ["--allow", *words] if words else []


def _overridden() -> list[str]:
    lines = (line.strip() for line in asked("OVERRIDE").splitlines())
    return [f"--override={line}" for line in lines if line]


def reconciler(*words: str, commands: bool = False, silent: bool = False) -> Ended:
    """Run a command to its end and print its result; only `commands` may command the runner.

    What would end this step is passed on to the command, which then ends in good order.
    """
    tool = Path(os.environ["RUNNER_TEMP"], "reconciler", "bin", "reconciler")
    environ = {
        name: value
        for name, value in os.environ.items()
        if name not in _PRIVATE and not name.startswith("INPUT_")
    } | {"RECONCILER_IN_AUTOMATION": "1"}
    made = []
    with _stopped():
        process = subprocess.Popen(  # noqa: S603 (no shell, and words of our own)
            [tool, "--chdir", asked("FOLDER") or ".", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=sys.stdout.fileno(),
            env=environ,
            text=True,
            encoding="utf-8",
        )
        with process, _passed_on(process):
            for line in process.stdout or ():
                made.append(line)
                if not (commands or silent):
                    write(line)
    ended = Ended(process.returncode, "".join(made))
    if commands:
        write(ended.out)
    return ended


@contextmanager
def _stopped() -> Iterator[None]:
    """Have the runner take no commands from the log for a while."""
    token = secrets.token_hex(16)
    write(f"::stop-commands::{token}\n")
    try:
        yield
    finally:
        write(f"::{token}::\n")


@contextmanager
def _passed_on(process: subprocess.Popen[str]) -> Iterator[None]:
    def pass_on(number: int, _frame: Any) -> None:
        process.send_signal(number)

    before = {one: signal.signal(one, pass_on) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def told(ended: Ended) -> int:
    """Put the exit code into the outputs, and return it."""
    output("exit-code", ended.code)
    return ended.code


def asked(name: str) -> str:
    """Return an input."""
    return os.environ.get(f"INPUT_{name}", "").strip()


def out(name: str) -> Path:
    """Return where a file that the step makes lies, outside the checkout."""
    folder = Path(os.environ["RUNNER_TEMP"], "reconciler-out")
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / name
    file.unlink(missing_ok=True)  # what an earlier step made is not what this one makes
    return file


def output(name: str, value: object) -> None:
    """Set an output; every value is one line of our own making."""
    with open(os.environ["GITHUB_OUTPUT"], "a", encoding="utf-8") as file:
        file.write(f"{name}={value}\n")


def summary(text: str) -> None:
    """Add to the summary of the run."""
    with open(os.environ["GITHUB_STEP_SUMMARY"], "a", encoding="utf-8") as file:
        room = github.SUMMARY - file.tell()
        if room < 2000:
            return  # what stands there already would be dropped with it
        file.write(github.fit(text + "\n", room, lambda part: len(part.encode())))


def failed(told: str) -> None:
    """Say in an annotation what is wrong."""
    line = told.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    write(f"::error title=reconciler::{line}\n")


def say(told: str) -> None:
    """Say something in the log and the summary."""
    write(f"{told}\n")
    summary(told)


def write(text: str) -> None:
    """Write to the log at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
