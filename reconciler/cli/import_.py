"""import: record accounts that exist at a vendor already; nothing is changed there."""

from __future__ import annotations

from argparse import Namespace

from reconciler.accounts import split
from reconciler.carry import look
from reconciler.cli.console import Console
from reconciler.cli.session import Session, seconds
from reconciler.cli.targets import nearest
from reconciler.conversation import ReadFailed
from reconciler.errors import UsageError, VendorError
from reconciler.exits import Exit
from reconciler.state import Record


def run(arguments: Namespace, console: Console) -> int:
    """Read the accounts and record what was seen; name every one that does not exist."""
    with Session(arguments, console) as session:
        addresses = list(dict.fromkeys(session.address(text) for text in arguments.addresses))
        names = {split(where)[0] for where in addresses}
        if unknown := sorted(names - session.workspace.apps.keys()):
            raise UsageError.of("bad-address", f"reconciler.yaml has no provider {unknown[0]}")
        store = session.store
        failed = 0
        with session.lock("import", seconds(arguments.lock_timeout)) as writer:
            apps = session.same_apps(store, names)
            links = session.links(names, read_only=True)
            known = {record.address for record in store.records(addresses)}
            records = []
            for name in sorted(names):
                own = [where for where in addresses if split(where)[0] == name]
                try:
                    seen = look(links[name], own)
                except ReadFailed as problem:
                    raise VendorError.of(
                        "unreadable",
                        f"provider {name} could not be read",
                        detail=problem.outcome.message,
                    ) from None
                for where in own:
                    sight = seen.get(where)
                    if where in known:
                        console.print(f"  {where} is recorded already")
                    elif sight is None or not sight.exists:
                        failed += 1
                        told = "could not be read" if sight is None else "does not exist"
                        near = nearest(where, (one for one, _ in store.index()))
                        hint = f"\n    hint: did you mean {near}?" if near else ""
                        console.say(f"error: {where} {told} at the vendor{hint}")
                    else:
                        records.append(Record(where, {}, banned=bool(sight.banned), observed=sight))
            if records:
                writer.begin(session.run("import"))
                writer.bind(apps)
                writer.save(records, (), "import")
        for record in records:
            console.print(f"  imported {record.address}")
        console.print(
            f"Import: {len(records)} recorded, {failed} failed. Declare them in the "
            "YAML, or the next plan forgets them."
        )
    return Exit.PARTIAL if failed and records else Exit.ERROR if failed else Exit.DONE
