"""drift: what the vendors hold against what is recorded; it cannot write to a vendor."""

from __future__ import annotations

from argparse import Namespace

from reconciler.accounts import split
from reconciler.cli.console import Console
from reconciler.cli.session import Session
from reconciler.drift import drift
from reconciler.exits import Exit
from reconciler.refresh import read


def run(arguments: Namespace, console: Console) -> int:
    """Report drift: 2 where there is any, 1 where an account could not be read, else 0."""
    with Session(arguments, console) as session:
        store = session.store
        targets = session.targets(arguments.target)
        names = session.workspace.apps.keys() & {split(a)[0] for a, _ in store.index()}
        session.same_apps(store, names)
        links = session.links(names, read_only=True)
        records = (
            record
            for record in store.everything()
            if not targets or record.address in targets or split(record.address)[0] in targets
        )
        found = drift(read(records, links))
    if arguments.format == "json":
        from reconciler.views.json import drift as shape

        console.json(shape(found))
    else:
        from reconciler.views.text import drift as lines

        console.lines(lines(found, console.paint))
    if found.drifted:
        return Exit.CHANGES
    return Exit.ERROR if found.unread else Exit.DONE
