"""expire: bans that end soon, or have ended and wait to be lifted; offline, and changes nothing."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable

from reconciler.accounts import Address
from reconciler.cli.console import Console
from reconciler.cli.flags import ahead, moment
from reconciler.cli.opened import opened
from reconciler.exits import Exit
from reconciler.expire import Lapse, expire
from reconciler.session import Session
from reconciler.views import lapses
from reconciler.views.history import Origin, origins


def run(arguments: Namespace, console: Console) -> int:
    """List the bans; always 0, as nothing is wrong and nothing has changed."""
    as_of = moment(arguments.as_of)
    before = ahead(arguments.before, as_of)
    with opened(arguments, console) as session:
        targets = session.targets(arguments.target)
        found = expire(session.desired(), session.store, as_of, before, targets)
        told = lapses.Lapses(session.workspace.name, as_of, before, found, _set_by(session, found))
        match arguments.format:
            case "json":
                console.json(lapses.shape(told))
            case "markdown":
                console.lines(lapses.markdown(told))
            case _:
                console.lines(lapses.text(told))
        console.findings(session.warnings)
    return Exit.DONE


def _set_by(session: Session, found: Iterable[Lapse]) -> dict[Address, Origin]:
    """Return who last set each ban or its end."""
    told = {}
    for record in session.store.records(one.address for one in found):
        known = origins(record, session.store.history(record.address))
        if own := [known[path] for path in ("banned", "banned.until") if path in known]:
            told[record.address] = max(own)
    return told
