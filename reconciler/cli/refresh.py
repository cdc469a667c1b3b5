"""refresh: accept what the vendors hold now into recorded state."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from operator import attrgetter

from reconciler.accounts import Address, apps_of, targeted
from reconciler.cli.console import Console
from reconciler.cli.flags import seconds
from reconciler.cli.opened import opened
from reconciler.exits import Exit
from reconciler.refresh import GROUP, accept, read
from reconciler.session.targets import check
from reconciler.state import Reader, Record
from reconciler.views.words import number


def run(arguments: Namespace, console: Console) -> int:
    """Read every recorded account and record what was seen."""
    with opened(arguments, console) as session:
        targets = session.targets(arguments.target)
        check(targets, session.store)
        patience = seconds(arguments.lock_timeout)
        with session.lock("refresh", patience, apps=apps_of(targets) or None) as writer:
            links = session.readers(targets)
            # Their names first: what is read is written while the reading goes on.
            named = [one for one, _ in session.store.index() if targeted(one, targets)]
            writer.begin(session.run("refresh"))
            total, changed = accept(read(_records(session.store, named), links), writer)
    console.print(
        f"Refreshed: {number(total, 'account')} read, {number(changed, 'record')} changed."
    )
    return Exit.DONE


def _records(store: Reader, named: Sequence[Address]) -> Iterator[Record]:
    """Yield records by address, of which few are in memory."""
    for start in range(0, len(named), GROUP):
        yield from sorted(store.records(named[start : start + GROUP]), key=attrgetter("address"))
