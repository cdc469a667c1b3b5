"""worker: one of many machines that carry out what `apply --enqueue` put on the queue."""

from __future__ import annotations

import socket
import threading
from argparse import Namespace
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from reconciler.cli.console import Console
from reconciler.cli.enqueue import require
from reconciler.cli.interrupt import interruptible
from reconciler.cli.opened import opened
from reconciler.cli.progress import Reporter
from reconciler.cluster.queue import queue_of
from reconciler.errors import Stale, VendorError
from reconciler.events import Completed, Noted, Summary, Waiting
from reconciler.exits import Exit
from reconciler.lanes import Effects
from reconciler.session import Session, monotonic, new_id, now
from reconciler.session.runner import refuse_unmerged
from reconciler.state import overlap
from reconciler.values import to_text
from reconciler.views.words import apply_line, number, visible

if TYPE_CHECKING:
    from reconciler.cluster.chunks import Chunk
    from reconciler.cluster.engine import Claim, Engine
    from reconciler.cluster.tables import Tables
    from reconciler.state import Run, Writer

_FOREVER: Final = 1e9
_IDLE: Final = 1.0


def run(arguments: Namespace, console: Console) -> int:
    """Carry out chunks until told to stop, or with --drain until none is left; or show them."""
    refuse_unmerged(console.environ)
    with opened(arguments, console) as session:
        require(session, "worker")
        with closing(queue_of(session)) as tables:
            if arguments.status:
                return _status(tables, arguments, console)
            return _working(tables, arguments, console)


def _working(tables: Tables, arguments: Namespace, console: Console) -> int:
    from reconciler.cluster.engine import POLL, running

    reporter = Reporter(console, json=arguments.format == "json")
    reporter.version()
    with running(tables, takes=True) as engine:
        if not arguments.drain:
            console.say(f"Waiting for chunks of {tables.workspace}; Ctrl-C ends it.")
        code = Exit.DONE
        while not arguments.drain or tables.open():
            claim = engine.next(POLL if arguments.drain else _IDLE)
            if claim is None:
                continue
            carrying = _Carrying(tables, engine, arguments, console)
            summary = carrying.run(claim)
            # Once the last call is over a wish to stop interrupts nothing, and is one all the same.
            if summary.interrupted or carrying.stop.is_set():
                return Exit.INTERRUPTED
            if not summary.complete:
                code = Exit.PARTIAL
        if arguments.drain:
            console.say(f"Nothing is left on the queue of {tables.workspace}.")
        return code


class _Carrying:
    """One chunk in the hands of this worker; what is not finished is taken by another."""

    def __init__(
        self, tables: Tables, engine: Engine, arguments: Namespace, console: Console
    ) -> None:
        self.tables, self.engine = tables, engine
        self.arguments, self.console = arguments, console
        self.reporter = Reporter(console, json=arguments.format == "json")
        self.stop = threading.Event()
        self.heard = False  # whether the vendor has done anything that it was asked for

    def run(self, claim: Claim) -> Summary:
        """Carry it out, unless that is done already; return how it ended."""
        summary = Summary()
        if app := self.tables.app(claim.id):
            # As new for every chunk: what the workspace says and what is recorded may have changed.
            with opened(self.arguments, self.console) as session:
                summary = self._locked(session, claim.id, app)
        if summary.blocked:
            raise VendorError.of(
                "blocked",
                f"no call to {app} gets through from here: {summary.blocked}",
                hint="mend that and start this worker again; the chunk is left to the others",
            )
        if not summary.interrupted:
            claim.done()
        return summary

    def _locked(self, session: Session, workflow: str, app: str) -> Summary:
        store, holder = session.store, session.holder("worker")
        for held in store.locks():
            if overlap(held.apps, {app}):
                self.reporter.tell(Waiting(held))
        with store.lock(holder, _FOREVER, apps={app}) as writer:
            this, who = new_id(), store.identity()
            chunk = self.tables.begin(workflow, this, self.engine.id, session.keys, who)
            if chunk is None:
                return Summary()
            run = replace(
                chunk.run,
                id=this,
                started_at=to_text(now()),
                context={**chunk.run.context, "worker": socket.gethostname()},
            )
            summary = self._begun(session, writer, chunk, run)
            if summary.blocked and not self.heard:
                # What was refused was refused to this worker: others may ask for it.
                self.tables.forget(workflow, this)
            elif not (summary.blocked or summary.interrupted):
                self.tables.finish(workflow, _counts(summary))
            about = f"{app}, chunk {chunk.number}: "
            self.reporter.end(summary, about=about, more={"app": app, "chunk": chunk.number})
            return summary

    def _begun(self, session: Session, writer: Writer, chunk: Chunk, run: Run) -> Summary:
        from reconciler.cluster.work import check, fields, work
        from reconciler.session.apply import asked

        self.reporter.chunk(chunk.app, chunk.number, chunk.fingerprint, chunk.plan)
        try:
            check(chunk.plan, session.store, session.workspace.name)
        except Stale as gone:
            self.reporter.tell(Noted(gone.diagnostics[0]))
            return Summary(skipped=len(chunk.plan.actions))
        apps = asked(
            session,
            chunk.plan,
            ", and a chunk of it is queued",
            "give the workers the workspace that the plan was made from",
        )
        writer.begin(run)
        if apps:
            writer.bind(apps)
        links = session.links(
            [chunk.app],
            fields=fields(chunk, session.store),
            check=writer.check,
            report=self.reporter.tell,
        )
        for transport in session.transports:
            transport.pacer.resume(*self.tables.pace(chunk.app))
        summary = Summary()
        effects = Effects(monotonic, new_id, self.stop)
        with interruptible(self.stop, session.transports, self.console):
            for event in work(chunk, session.store, writer, links, run, effects):
                if isinstance(event, Summary):
                    summary = event
                else:
                    self.heard = self.heard or isinstance(event, Completed)
                    self.reporter.tell(event)
        for transport in session.transports:
            self.tables.rest(chunk.app, transport.pacer.told())
        return summary


def _counts(summary: Summary) -> dict[str, Any]:
    return {
        "applied": {str(kind): count for kind, count in summary.applied.items() if count},
        "failed": summary.failed,
        "skipped": summary.skipped,
        "in_doubt": summary.in_doubt,
    }


def _status(tables: Tables, arguments: Namespace, console: Console) -> int:
    """Show the plans of the last month and the workers that live."""
    made = tables.made
    progress = list(tables.progress()) if made else []
    workers = list(tables.workers()) if made else []
    if arguments.format == "json":
        console.json(
            {
                "queue": [
                    {
                        "fingerprint": one.plan,
                        "app": one.app,
                        "chunks": one.chunks,
                        "done": one.done,
                        "actions": one.actions,
                        "queued_at": one.queued_at,
                        "worker": one.worker or None,
                        **one.result,
                    }
                    for one in progress
                ],
                "workers": [
                    {"id": one.id, "host": one.host, "pid": one.pid, "silent": round(one.silent, 1)}
                    for one in workers
                ],
            }
        )
        return Exit.DONE
    for one in progress:
        console.print(
            f"  {visible(one.app)}, plan {one.plan[:19]} of {one.queued_at}: "
            f"{one.done} of {number(one.chunks, 'chunk')} done"
            + (f", {_ended(one.result)}" if one.done else "")
        )
    for worker in workers:
        console.print(
            f"  worker {worker.id[:8]} on {visible(worker.host)} (pid {worker.pid}), heard "
            f"{worker.silent:.0f} s ago"
        )
    left = sum(one.chunks - one.done for one in progress)
    console.print(f"{number(left, 'chunk')} to do, {number(len(workers), 'worker')}.")
    return Exit.DONE


def _ended(result: dict[str, Any] | Any) -> str:
    bad = {key: result[key] for key in ("failed", "skipped", "in_doubt")}
    return apply_line(result["applied"], **bad, complete=not any(bad.values()))
