"""JSON: drift, events, locks and history in the shapes that programs read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

from reconciler.diagnostics import Source, warning
from reconciler.drift import Drift
from reconciler.events import (
    Completed,
    Errored,
    Event,
    Noted,
    Settled,
    Skipped,
    Split,
    Started,
    Summary,
    Throttled,
    Waiting,
)
from reconciler.state import Entry, Lock
from reconciler.views.heartbeat import Heartbeat
from reconciler.views.heartbeat import json as heartbeat
from reconciler.views.history import ban_facts
from reconciler.views.words import split_line

UI = "1.0"
"""Version of the event stream: the minor part grows with additions, which readers ignore."""


def version(tool_version: str) -> dict[str, Any]:
    """Return the first line of every stream."""
    return {"type": "version", "tool_version": tool_version, "ui": UI}


def planned(action: Any) -> dict[str, Any]:
    """Return the line that announces one planned action."""
    return {
        "type": "planned_change",
        "address": action.address,
        "action": str(action.kind),
        "reason": str(action.reason),
    }


def chunk(app: str, chunk: int, fingerprint: str, actions: int) -> dict[str, Any]:
    """Return the line that announces a chunk that a worker begins to carry out."""
    return {
        "type": "chunk",
        "app": app,
        "chunk": chunk,
        "fingerprint": fingerprint,
        "actions": actions,
    }


def event(happened: Event) -> dict[str, Any]:
    """Return one line of the stream, without time and message."""
    match happened:
        case Started(action):
            return {"type": "apply_start", "address": action.address, "action": str(action.kind)}
        case Completed(action, seconds, waiting):
            return {
                "type": "apply_complete",
                "address": action.address,
                "action": str(action.kind),
                "elapsed": round(seconds, 3),
                **({"waiting": list(waiting)} if waiting else {}),
            }
        case Errored(action, code, _, in_doubt):
            return {
                "type": "apply_errored",
                "address": action.address,
                "action": str(action.kind),
                "code": code,
                "result": "in_doubt" if in_doubt else "failed",
            }
        case Skipped(action, because):
            return {
                "type": "apply_skipped",
                "address": action.address,
                "action": str(action.kind),
                "because": because,
            }
        case Throttled(provider, api, seconds):
            return {"type": "throttled", "provider": provider, "api": api, "seconds": seconds}
        case Settled(address, kind, held):
            return {
                "type": "settled",
                "address": address,
                "action": str(kind),
                "result": "confirmed" if held else "not_done",
            }
        case Waiting(held):
            apps = {} if held.apps is None else {"apps": list(held.apps)}
            return {"type": "lock_wait", **lock(held), **apps}
        case Noted(diagnostic):
            return {"type": "diagnostic", "diagnostic": diagnostic.to_json()}
        case Split():
            return _split(happened)
        case Summary(applied, failed, skipped, in_doubt, interrupted):
            return {
                "type": "summary",
                "applied": {str(k): n for k, n in applied.items() if n},
                "failed": failed,
                "skipped": skipped,
                "in_doubt": in_doubt,
                "interrupted": interrupted,
            }
        case _:
            assert_never(happened)


def _split(happened: Split) -> dict[str, Any]:
    entry = happened.entry
    told = warning(
        "split",
        split_line(happened),
        hint="run apply again, it goes first",
        source=Source(entry.file, entry.line),
        address=next(iter(happened.left)),
    )
    return {
        "type": "diagnostic",
        "diagnostic": told.to_json(),
        "done": list(happened.done),
        "left": [
            {"address": where, "result": how.replace(" ", "_")}
            for where, how in happened.left.items()
        ],
    }


def drift(found: Drift, beat: Heartbeat | None = None) -> dict[str, Any]:
    """Return the shape of `drift --json`; a difference whose cause nobody asked for has none."""
    return {
        **(heartbeat(found, beat) if beat else {}),
        "summary": found.summary(),
        "coverage": {"checked": found.checked, "recorded_only": found.recorded_only},
        "unread": list(found.unread),
        "drift": [
            {
                "address": one.address,
                "kind": one.kind,
                "changes": [
                    {
                        "path": c.path,
                        "recorded": c.recorded,
                        "observed": c.observed,
                        **({"cause": str(c.cause)} if c.cause else {}),
                    }
                    for c in one.changes
                ],
                **({"cause": str(one.cause)} if one.cause else {}),
            }
            for one in found.drifted
        ],
    }


def locks(found: Sequence[Lock]) -> dict[str, Any]:
    """Return the shape of `lock status --json`: the oldest lock, and a list of all.

    `apps` is null for the lock of the whole workspace.
    """
    listed = [{**lock(one), "apps": one.apps and list(one.apps)} for one in found]
    return {**lock(next(iter(found), None)), "locks": listed}


def lock(held: Lock | None) -> dict[str, Any]:
    """Return the shape of one lock, or of none."""
    if held is None:
        return {
            "held": False,
            "id": None,
            "holder": None,
            "host": None,
            "pid": None,
            "operation": None,
            "acquired_at": None,
            "expires_at": None,
            "fence": None,
        }
    who = held.holder
    return {
        "held": True,
        "id": held.id,
        "holder": who.name,
        "host": who.host,
        "pid": who.pid,
        "operation": who.operation,
        "acquired_at": held.acquired_at,
        "expires_at": held.expires_at,
        "fence": held.fence,
    }


def entry(one: Entry) -> dict[str, Any]:
    """Return one line of `state history --json`."""
    run = one.run
    ban = ban_facts(one.action)
    return {
        "at": one.at,
        "address": one.address,
        "kind": one.action.get("action", run.operation),
        "reason": one.action.get("reason"),
        "ban_reason": ban.get("reason"),
        "ticket": ban.get("ticket"),
        "action": dict(one.action),
        "status": str(one.status),
        "code": one.code,
        "message": one.message,
        "run": run.to_json(),
    }
