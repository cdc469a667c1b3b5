"""force-unlock: break a lock whose holder is gone; the fence keeps a late holder out."""

from __future__ import annotations

from argparse import Namespace

from reconciler.cli.console import Console
from reconciler.cli.opened import opened
from reconciler.exits import Exit
from reconciler.views import text


def run(arguments: Namespace, console: Console) -> int:
    """Break the lock with this exact id."""
    with opened(arguments, console) as session:
        session.refuse_ephemeral()
        held = next((one for one in session.store.locks() if one.id == arguments.id), None)
        if held is not None and not arguments.auto_approve:
            console.say(text.lock(held))
            if not console.confirm("Break this lock?"):
                console.print("Nothing was done.")
                return Exit.ERROR
        session.store.force_unlock(arguments.id, session.run("force-unlock"))
    console.print(f"The lock {arguments.id} is broken.")
    return Exit.DONE
