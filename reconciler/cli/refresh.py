"""refresh: accept what the vendors hold now into recorded state."""

from __future__ import annotations

from argparse import Namespace

from reconciler.accounts import split
from reconciler.cli.console import Console
from reconciler.cli.session import Session, seconds
from reconciler.exits import Exit
from reconciler.refresh import accept, read
from reconciler.views.words import number


def run(arguments: Namespace, console: Console) -> int:
    """Read every recorded account and record what was seen."""
    with Session(arguments, console) as session:
        store = session.store
        targets = session.targets(arguments.target)
        with store.lock(session.holder("refresh"), seconds(arguments.lock_timeout)) as writer:
            names = session.workspace.apps.keys() & {split(a)[0] for a, _ in store.index()}
            session.same_apps(store, names)
            links = session.links(names, read_only=True)
            # Listed first: what is read is written while the reading goes on.
            records = [
                record
                for record in store.everything()
                if not targets or record.address in targets or split(record.address)[0] in targets
            ]
            writer.begin(session.run("refresh"))
            total, changed = accept(read(records, links), writer)
    console.print(
        f"Refreshed: {number(total, 'account')} read, {number(changed, 'record')} changed."
    )
    return Exit.DONE
