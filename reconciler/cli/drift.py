"""drift: what the vendors hold against what is recorded; it cannot write to a vendor."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from reconciler.accounts import Address, targeted
from reconciler.cli.console import Console
from reconciler.cli.flags import ahead
from reconciler.cli.formats import require, show_drift
from reconciler.cli.heartbeat import tell, tell_failure, webhooks, write_metrics
from reconciler.cli.opened import opened
from reconciler.drift import MISSING, Accepted, Clues, Drift, drift, mute
from reconciler.errors import ConfigError, ReconcilerError, UsageError
from reconciler.exits import Exit
from reconciler.files import write_private
from reconciler.refresh import read
from reconciler.session import Session, monotonic, now
from reconciler.session.targets import check
from reconciler.state import Entry
from reconciler.values import to_text
from reconciler.views.heartbeat import Heartbeat

EXPLAINED: Final = 1000
"""Drifted accounts whose history is looked into for a cause."""


def run(arguments: Namespace, console: Console) -> int:
    """Report drift: 2 where there is any, 1 where an account could not be read, else 0."""
    _check(arguments)
    require(arguments.format)
    with opened(arguments, console) as session:
        targets = session.targets(arguments.target)
        check(targets, session.store)
        hooks = webhooks(session, arguments)
        baseline = _baseline(arguments.baseline)
        began = monotonic()
        try:
            pairs = read(session.recorded(targets), session.readers(targets))
            whole = drift(pairs, _clues(session))
        except ReconcilerError as problem:
            tell_failure(session, hooks, problem, _beat(session, began), console)
            raise
        found, findings = mute(whole, baseline, now())
        beat = _beat(session, began)
        if targets:
            # What the rest of the baseline is about was not looked at.
            findings = tuple(one for one in findings if one.id != "baseline-unused")
        show_drift(found, beat, session.workspace, arguments, console)
        console.findings(findings)
        if arguments.write_baseline:
            unseen = [
                one
                for one in baseline
                if one.address in found.unread or not targeted(one.address, targets)
            ]
            _write(found, unseen, arguments, console)
        write_metrics(found, beat, arguments.metrics_file, console)
        tell(session, hooks, found, beat, console)
    if found.drifted:
        return Exit.CHANGES
    return Exit.ERROR if found.unread else Exit.DONE


def _beat(session: Session, began: float) -> Heartbeat:
    moment = now()
    return Heartbeat(
        session.workspace.name, to_text(moment), moment.timestamp(), monotonic() - began
    )


def _clues(session: Session) -> Clues:
    """Return the recorded facts that may explain what is found."""
    left = EXPLAINED

    def history(address: Address) -> Iterable[Entry]:
        nonlocal left
        left -= 1
        return session.store.history(address) if left >= 0 else ()

    return Clues(
        now(),
        session.store.unresolved(),
        history,
        {name: table.lapses for name, table in session.capabilities.items()},
    )


# The baseline


def _check(arguments: Namespace) -> None:
    """Refuse options that say nothing without each other. Raises UsageError."""
    given = [name for name in ("owner", "expires", "reason") if getattr(arguments, name)]
    if not arguments.write_baseline and given:
        raise UsageError.of(
            "usage", f"--{given[0]} goes with --write-baseline", hint="name the file to write"
        )
    if arguments.write_baseline:
        if not (arguments.owner and arguments.expires):
            raise UsageError.of(
                "usage",
                "--write-baseline needs --owner and --expires",
                hint="say who answers for it and until when: --owner ann --expires 30d",
            )
        for name, most in (("owner", 100), ("reason", 500)):
            text = getattr(arguments, name) or ""
            if len(text) > most or not text.isprintable():
                raise UsageError.of("usage", f"--{name} takes one line of at most {most} letters")
        from reconciler.config.baseline import LONGEST

        if ahead(arguments.expires) > now() + LONGEST:
            raise UsageError.of("usage", f"--expires is at most {LONGEST.days} days ahead")


def _baseline(file: str | None) -> tuple[Accepted, ...]:
    if file is None:
        return ()
    from reconciler.config.baseline import read as entries

    return entries(Path(file), file, now())


def _write(
    found: Drift, unseen: Iterable[Accepted], arguments: Namespace, console: Console
) -> None:
    """Write a baseline of what is muted already, or was not looked at, and of what was found."""
    from reconciler.config.baseline import LONGEST, MOST, written

    file = Path(arguments.write_baseline)
    # What is `90d` on the command line shall not be found too far ahead a moment later.
    expires = min(ahead(arguments.expires), now() + LONGEST)
    same = arguments.baseline is not None and Path(arguments.baseline) == file
    if file.exists() and not same:
        raise ConfigError.of(
            "exists",
            f"{file} exists",
            hint="read it too, then its entries are kept: --baseline with the same file",
        )
    reason = arguments.reason or f"as found on {to_text(now())}"
    fresh = [
        Accepted(one.address, path, arguments.owner, reason, expires)
        for one in found.drifted
        for path in ([change.path for change in one.changes] or [MISSING])
    ]
    stands = [one for one in unseen if one.expires > now()]
    entries = [*stands, *found.muted, *fresh]
    if len(entries) > MOST:
        raise ConfigError.of(
            "too-many",
            f"{len(entries)} differences are too many to accept one by one; {MOST} is the most",
            hint="if the vendors are right: reconciler refresh",
        )
    write_private(file, [f"{line}\n".encode() for line in written(entries)])
    console.say(f"{file}: {len(fresh)} accepted until {to_text(expires)}.")
