"""Heartbeat: a drift run told to a metrics file and to webhooks; what fails here only warns."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from reconciler.cli.console import Console
from reconciler.diagnostics import Severity, warning
from reconciler.drift import Drift
from reconciler.errors import ReconcilerError, UsageError
from reconciler.files import read_regular, write_private
from reconciler.session import Session
from reconciler.values import canonical
from reconciler.views.heartbeat import (
    Heartbeat,
    body,
    failure,
    last_success,
    message,
    metrics,
    well,
)
from reconciler.workspace import Webhook

LARGEST: Final = 1 << 20
"""Bytes of a metrics file that are read."""


def write_metrics(found: Drift, beat: Heartbeat, file: str | None, console: Console) -> None:
    """Write the metrics whole, for everyone to read: they hold counts and names of owners.

    A run that could not read every account keeps the time of the last one that could.
    """
    if file is None:
        return
    path = Path(file)
    success = beat.stamp
    if found.unread:
        try:
            success = last_success(read_regular(path, LARGEST).decode("utf-8", "replace"))
        except OSError:
            success = 0.0
    try:
        write_private(path, [metrics(found, beat, success).encode()], mode=0o644)
    except ReconcilerError as problem:
        console.findings(one._replace(severity=Severity.WARNING) for one in problem.diagnostics)


def tell(
    session: Session, hooks: Iterable[Webhook], found: Drift, beat: Heartbeat, console: Console
) -> None:
    """Tell the run to every webhook that wants to hear of it."""
    text = message(found, beat)
    quiet = well(found)
    for hook in hooks:
        if not quiet or hook.always:
            _send(session, hook, text, beat, found, console)


def tell_failure(
    session: Session,
    hooks: Iterable[Webhook],
    problem: ReconcilerError,
    beat: Heartbeat,
    console: Console,
) -> None:
    """Tell every webhook that the vendors could not be compared: silence would look like peace."""
    text = failure(console.clean(problem.told), beat)
    for hook in hooks:
        _send(session, hook, text, beat, None, console)


def webhooks(session: Session, arguments: Namespace) -> tuple[Webhook, ...]:
    """Return the webhooks of the workspace and of the command line, each address once.

    Raises UsageError for what is no reference.
    """
    found = {hook.url: hook for hook in session.workspace.notify}
    for text in arguments.notify:
        from reconciler.config.references import reference
        from reconciler.config.scalars import Wrong

        try:
            url = reference(text)
        except Wrong:
            raise UsageError.of(
                "usage",
                "--notify takes references, as the address of a webhook is a secret",
                hint="write env:NAME, or file:PATH",
            ) from None
        found.setdefault(url, Webhook(url))
    return tuple(
        replace(hook, always=hook.always or arguments.heartbeat) for hook in found.values()
    )


def _send(
    session: Session,
    hook: Webhook,
    text: str,
    beat: Heartbeat,
    found: Drift | None,
    console: Console,
) -> None:
    from reconciler.transport.notify import notify, signed

    try:
        url = session.resolver.resolve(hook.url)
        told = body(text, beat, hook.format, url, found)
        if hook.secret:
            secret = session.resolver.resolve(hook.secret)
            url, told = signed(url, told, hook.format, secret, beat.stamp)
        wrong = notify(url, canonical(told), session.resolver.redactor)
    except ReconcilerError as problem:
        wrong = problem.told
    if wrong:
        console.findings(
            [
                warning(
                    "not-notified",
                    f"the webhook {hook.url} was not told: {wrong}",
                    hint="drift itself was compared; check the webhook",
                )
            ]
        )
