"""refresh: accept what the vendors hold now into recorded state."""

from __future__ import annotations

from argparse import Namespace

from reconciler.accounts import named
from reconciler.cli.console import Console
from reconciler.cli.session import Session, seconds
from reconciler.cli.targets import check
from reconciler.exits import Exit
from reconciler.refresh import accept, read
from reconciler.views.words import number


def run(arguments: Namespace, console: Console) -> int:
    """Read every recorded account and record what was seen."""
    with Session(arguments, console) as session:
        targets = session.targets(arguments.target)
        check(targets, session.store)
        patience = seconds(arguments.lock_timeout)
        with session.lock("refresh", patience, apps=named(targets) or None) as writer:
            links = session.readers(targets)
            # Listed first: what is read is written while the reading goes on.
            records = list(session.recorded(targets))
            writer.begin(session.run("refresh"))
            total, changed = accept(read(records, links), writer)
    console.print(
        f"Refreshed: {number(total, 'account')} read, {number(changed, 'record')} changed."
    )
    return Exit.DONE
