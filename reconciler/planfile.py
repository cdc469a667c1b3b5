"""Plan file: a plan as canonical JSON, and back without trusting the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from reconciler.changes import Cost, Kind, Plan, Reason, fingerprint, from_json, to_json
from reconciler.diagnostics import Diagnostic, Severity, Source, error
from reconciler.errors import Stale
from reconciler.guard import Approval
from reconciler.state import Identity, Reader
from reconciler.values import canonical, digest, loads, to_moment

FORMAT: Final = "1.0"


def shape(plan: Plan, tool_version: str, approvals: tuple[Approval, ...] = ()) -> dict[str, Any]:
    """Return the JSON of `plan --json`, with the digest that shows an edit by hand."""
    told: dict[str, Any] = {
        "format_version": FORMAT,
        "tool_version": tool_version,
        "workspace": plan.workspace,
        "lineage": plan.lineage,
        "serial": plan.serial,
        "created_at": plan.created_at,
        "as_of": plan.as_of,
        "refreshed": plan.refreshed,
        "fingerprint": plan.fingerprint,
        "summary": plan.summary(),
        "actions": [to_json(action) for action in plan.actions],
        "cost": {
            name: {"calls": cost.calls, "seconds": cost.seconds} for name, cost in plan.cost.items()
        },
        "diagnostics": [{**finding.to_json(), "kind": finding.id} for finding in plan.diagnostics],
        "approvals": [
            {"rule": one.rule, "groups": list(one.groups), "addresses": list(one.addresses)}
            for one in approvals
        ],
        "desired": plan.desired,
        "recorded": plan.recorded,
        "allow": dict(plan.allow),
        "boundary": plan.boundary,
    }
    return {**told, "digest": f"sha256:{digest(canonical(told)).hex()}"}


def encode(plan: Plan, tool_version: str, approvals: tuple[Approval, ...] = ()) -> bytes:
    """Return the bytes of a plan file."""
    return canonical(shape(plan, tool_version, approvals)) + b"\n"


def decode(data: bytes, name: str) -> Plan:
    """Read a plan file. Raises `Stale` for anything that this tool did not write as it stands."""
    try:
        told = loads(data)
        if not isinstance(told, dict):
            raise TypeError("it is no JSON object")
        if told.get("format_version", "").partition(".")[0] != FORMAT.partition(".")[0]:
            raise ValueError(f"its format_version is {told.get('format_version')!r}, not {FORMAT}")
        sealed = told.pop("digest", None)
        if sealed != f"sha256:{digest(canonical(told)).hex()}":
            raise ValueError("its digest does not fit: it was edited or cut")
        if data != canonical({**told, "digest": sealed}) + b"\n":
            raise ValueError("it is not laid out as it was written: it was edited")
        plan = _plan(told)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as problem:
        raise Stale.of(
            "bad-plan",
            f"{name} is not a usable plan file",
            detail=f"{problem}.",
            hint="make it anew with: reconciler plan --out FILE",
        ) from None
    return plan


def _plan(told: Mapping[str, Any]) -> Plan:
    actions = tuple(from_json(action) for action in told["actions"])
    if fingerprint(actions) != told["fingerprint"]:
        raise ValueError("its fingerprint does not fit its actions")
    plan = Plan(
        workspace=told["workspace"],
        lineage=told["lineage"],
        serial=int(told["serial"]),
        created_at=told["created_at"],
        as_of=told["as_of"],
        actions=actions,
        fingerprint=told["fingerprint"],
        unchanged=int(told["summary"]["unchanged"]),
        desired=int(told["desired"]),
        recorded=int(told["recorded"]),
        refreshed=bool(told["refreshed"]),
        diagnostics=tuple(_diagnostic(finding) for finding in told["diagnostics"]),
        cost={
            name: Cost(int(cost["calls"]), cost["seconds"]) for name, cost in told["cost"].items()
        },
        allow={str(Kind(kind)): int(count) for kind, count in told["allow"].items()},
        boundary=told["boundary"],
    )
    if plan.summary() != told["summary"]:
        raise ValueError("its summary does not fit its actions")
    return plan


def _diagnostic(told: Mapping[str, Any]) -> Diagnostic:
    place = Source(told["file"], told["line"] or 0, told["column"] or 0) if told["file"] else None
    return Diagnostic(
        Severity(told["severity"]),
        told["id"],
        told["summary"],
        told["detail"],
        told["hint"],
        place,
        told.get("address", ""),
    )


def check(plan: Plan, recorded: Reader, workspace: str, now: str) -> None:
    """Refuse a saved plan that no longer fits: raises `Stale` naming every reason.

    Other accounts may have changed since; a touched one may not, nor may a ban that the plan
    relies on have ended, nor an action on a touched account have been left in doubt since.
    """
    who = recorded.identity()
    reasons = list(_elsewhere(plan, who, workspace))
    if not reasons:
        touched = {action.address: action.version for action in plan.actions}
        told = {action.address for action in plan.actions if action.reason is Reason.IN_DOUBT}
        versions = {r.address: r.version for r in recorded.records(touched)}
        for where, version in touched.items():
            if versions.get(where, 0) != version:
                reasons.append(f"{where} was changed by another run")
        reasons += [
            f"{intent.address} was left in doubt by another run"
            for intent in recorded.unresolved()
            if intent.address in touched and intent.address not in told
        ]
        if plan.boundary and to_moment(now) >= to_moment(plan.boundary):
            reasons.append(f"a ban that it relies on ended at {plan.boundary}")
    if reasons:
        raise Stale(
            error(
                "stale", f"the plan is stale: {reason}", hint="plan again, then apply the new plan"
            )
            for reason in reasons[:20]
        )


def _elsewhere(plan: Plan, who: Identity, workspace: str) -> Iterator[str]:
    if plan.workspace not in (workspace, ""):
        yield f"it was made for workspace {plan.workspace}, this is {workspace}"
    elif plan.lineage and plan.lineage != who.lineage:
        yield "it was made against another state (another lineage)"
