"""Plan file: a plan as canonical JSON, and back without trusting the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from reconciler.accounts import Address
from reconciler.changes import (
    Cost,
    Kind,
    Override,
    Plan,
    Reason,
    Siblings,
    fingerprint,
    from_json,
    to_json,
)
from reconciler.diagnostics import Diagnostic, Severity, Source, error
from reconciler.errors import ReconcilerError, Stale
from reconciler.guard import Approval, Judgement
from reconciler.state import Identity, Reader
from reconciler.values import canonical, digest, loads, to_moment

FORMAT: Final = "1.0"
_WRONG: Final = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


def shown(plan: Plan, tool_version: str, judged: Judgement) -> dict[str, Any]:
    """Return the JSON of `plan --json`: its file's, with what limits and rules found.

    A file leaves that out, as it is judged anew by whoever applies it.
    """
    told = dict.fromkeys((*plan.diagnostics, *judged.findings))
    return shape(replace(plan, diagnostics=tuple(told)), tool_version, judged.approvals)


def shape(plan: Plan, tool_version: str, approvals: tuple[Approval, ...] = ()) -> dict[str, Any]:
    """Return the JSON of a plan file, with the digest that shows an edit by hand."""
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
        "siblings": [
            {
                "accounts": list(one.accounts),
                "behind": list(one.behind),
                "source": {"file": one.file, "line": one.line},
            }
            for one in plan.siblings
        ],
        "desired": plan.desired,
        "recorded": plan.recorded,
        "allow": dict(plan.allow),
        "overrides": [one.to_json() for one in plan.overrides],
        "boundary": plan.boundary,
        **({"targets": list(plan.targets)} if plan.targets else {}),
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
        # What `plan --json` printed is a plan too: there a CI runner's `##` is written so.
        if data.replace(b"#\\u0023", b"##") != canonical({**told, "digest": sealed}) + b"\n":
            raise ValueError("it is not laid out as it was written: it was edited")
        plan = _plan(told)
    except _WRONG as problem:
        raise _unusable(name, problem) from None
    return plan


def approvals(data: bytes, name: str) -> tuple[Approval, ...]:
    """Return the approvals that a plan file asks for, one that `decode` has taken."""
    try:
        told: Any = loads(data)
        return tuple(
            Approval(
                _text(one["rule"]),
                tuple(_text(group) for group in one["groups"]),
                tuple(Address(_text(where)) for where in one["addresses"]),
            )
            for one in told["approvals"]
        )
    except _WRONG as problem:
        raise _unusable(name, problem) from None


def _unusable(name: str, problem: Exception) -> ReconcilerError:
    return Stale.of(
        "bad-plan",
        f"{name} is not a usable plan file",
        detail=f"{problem}.",
        hint="make it anew with: reconciler plan --out FILE",
    )


def _plan(told: Mapping[str, Any]) -> Plan:
    actions = tuple(from_json(action) for action in told["actions"])
    if fingerprint(actions) != told["fingerprint"]:
        raise ValueError("its fingerprint does not fit its actions")
    plan = Plan(
        workspace=_text(told["workspace"]),
        lineage=_text(told["lineage"]),
        serial=_count(told["serial"]),
        created_at=_text(told["created_at"]),
        as_of=_text(told["as_of"]),
        actions=actions,
        fingerprint=told["fingerprint"],
        unchanged=_count(told["summary"]["unchanged"]),
        desired=_count(told["desired"]),
        recorded=_count(told["recorded"]),
        refreshed=bool(told["refreshed"]),
        diagnostics=tuple(_diagnostic(finding) for finding in told["diagnostics"]),
        cost={name: _cost(cost) for name, cost in told["cost"].items()},
        allow={str(Kind(kind)): _count(count) for kind, count in told["allow"].items()},
        boundary=_text(told["boundary"]),
        siblings=tuple(_siblings(one) for one in told["siblings"]),
        overrides=tuple(map(Override.from_json, told.get("overrides", ()))),
        targets=tuple(map(_text, told.get("targets", ()))),
    )
    if plan.boundary:
        to_moment(plan.boundary)
    if plan.summary() != told["summary"]:
        raise ValueError("its summary does not fit its actions")
    return plan


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is missing in it")
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("a number is missing in it")
    return value


def _cost(told: Mapping[str, Any]) -> Cost:
    seconds = told["seconds"]
    return Cost(_count(told["calls"]), seconds if isinstance(seconds, float) else _count(seconds))


def _siblings(told: Mapping[str, Any]) -> Siblings:
    return Siblings(
        tuple(Address(_text(where)) for where in told["accounts"]),
        tuple(Address(_text(where)) for where in told["behind"]),
        _text(told["source"]["file"]),
        _count(told["source"]["line"]),
    )


def _diagnostic(told: Mapping[str, Any]) -> Diagnostic:
    place = None
    if told["file"]:
        place = Source(_text(told["file"]), _count(told["line"] or 0), _count(told["column"] or 0))
    return Diagnostic(
        Severity(told["severity"]),
        _text(told["id"]),
        _text(told["summary"]),
        _text(told["detail"]),
        _text(told["hint"]),
        place,
        _text(told.get("address", "")),
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
