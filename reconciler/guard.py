"""Guard: limits, rules and protected accounts, judged over a plan before anything is done."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Any

from reconciler.accounts import Address, flatten, split
from reconciler.changes import (
    Action,
    Adopt,
    Create,
    Kind,
    Override,
    Plan,
    calls_vendor,
    carried_out,
)
from reconciler.diagnostics import Diagnostic, Severity, Source, error, warning
from reconciler.state import Reader, Record
from reconciler.workspace import Limit, Rule

NAMED = 5
"""Actions that the finding of a rule's limit names."""

LIMITED = (Kind.BLOCK, Kind.UNBLOCK, Kind.FORGET, Kind.UPDATE)


@dataclass(frozen=True, slots=True)
class Approval:
    """A rule that wants these groups to approve these addresses."""

    rule: str
    groups: tuple[str, ...]
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the guard says: findings (an error refuses the plan) and the approvals it asks for.

    `overridden` are findings that would refuse the plan, as warnings that say who overrode them.
    """

    findings: tuple[Diagnostic, ...]
    approvals: tuple[Approval, ...] = ()
    overridden: tuple[Diagnostic, ...] = ()


def guard(
    plan: Plan,
    recorded: Reader,
    limits: Mapping[str, Limit],
    rules: Iterable[Rule],
    allow: Mapping[str, int],
) -> Judgement:
    """Judge a plan; the same at plan and again at apply.

    `allow` maps a kind to the exact number of its limited actions; another number opens nothing.
    An override of the plan takes what its rule says for a warning; one that is not needed, or whose
    rule is not the one that was overridden, refuses the plan itself.
    Only the records of touched accounts are read, and only where a rule or a destructive action
    needs them.
    """
    rules = tuple(rules)
    groups = {
        where: tuple(actions)
        for where, actions in groupby(plan.actions, key=lambda action: action.address)
    }
    asked = (
        groups
        if rules
        else [
            where
            for where, actions in groups.items()
            if any(a.kind in (Kind.BLOCK, Kind.FORGET) for a in actions)
        ]
    )
    records = {record.address: record for record in recorded.records(asked)}
    findings = [
        *_empty(plan, allow),
        *_limits(plan, groups, records, limits, allow),
        *_protected(groups, records),
    ]
    judged, approvals = _rules(plan, groups, records, rules)
    stands, overridden = _overridden(judged, plan.overrides, {rule.id: rule for rule in rules})
    return Judgement((*findings, *stands), approvals, overridden)


def _overridden(
    judged: Iterable[Diagnostic], overrides: Iterable[Override], rules: Mapping[str, Rule]
) -> tuple[tuple[Diagnostic, ...], tuple[Diagnostic, ...]]:
    """Return the findings that stand, and as warnings those that are overridden."""
    given = {f"rule-{one.rule}": one for one in overrides}
    changed = {
        id
        for id, one in given.items()
        if one.rule in rules and rules[one.rule].digest != one.digest
    }
    idle = dict(given)
    stands: list[Diagnostic] = []
    overridden: list[Diagnostic] = []
    for finding in judged:
        one = given.get(finding.id)
        if one is None or finding.severity is not Severity.ERROR:
            stands.append(finding)
            continue
        idle.pop(finding.id, None)
        if not rules[one.rule].override:
            stands.append(finding)
        elif finding.id in changed:
            stands.append(_more(finding, f"{one.by} overrode it before the rule was changed."))
        else:
            told = _more(finding, f"Overridden by {one.by}: {one.reason}")
            overridden.append(told._replace(severity=Severity.WARNING, hint=""))
    stands.extend(
        error(
            "idle-override",
            f"rule {one.rule} refuses nothing here, so there is nothing to override",
            hint=f"plan again without --override {one.rule}",
        )
        for one in idle.values()
    )
    return tuple(stands), tuple(overridden)


def _more(finding: Diagnostic, told: str) -> Diagnostic:
    return finding._replace(detail=f"{finding.detail} {told}".lstrip())


def limited(
    groups: Mapping[Address, tuple[Action, ...]], records: Mapping[Address, Record]
) -> Counter[Kind]:
    """Count the actions that limits speak of: those on accounts recorded or adopted.

    A create with its own block is no outage, also where a run ended between the two, and an
    update that calls no vendor hurts nobody.
    """
    counts: Counter[Kind] = Counter()
    for where, actions in groups.items():
        record = records.get(where)
        if isinstance(actions[0], Create) or (record and "banned" in record.waiting):
            continue
        counts.update(
            action.kind
            for action in actions
            if action.kind in LIMITED and (action.kind is not Kind.UPDATE or calls_vendor(action))
        )
    return counts


def allowed(kind: Kind, limit: Limit, recorded: int) -> int | None:
    """Return how many actions of a kind a plan may hold, None for any number."""
    share = int(recorded * limit.percent // 100)
    if kind is Kind.UPDATE:
        return share if recorded > limit.above else None
    return max(3, share if limit.count is None else min(limit.count, share))


def _limits(
    plan: Plan,
    groups: Mapping[Address, tuple[Action, ...]],
    records: Mapping[Address, Record],
    limits: Mapping[str, Limit],
    allow: Mapping[str, int],
) -> Iterator[Diagnostic]:
    for kind, count in sorted(limited(groups, records).items()):
        bound = allowed(kind, limits[kind], plan.recorded) if kind in limits else None
        if bound is None or count <= bound or allow.get(kind) == count:
            continue
        given = f"; --allow {kind}={allow[kind]} is another number" if kind in allow else ""
        yield error(
            "over-limit",
            f"the plan would {kind} {count} accounts, the limit is {bound}",
            detail=f"{plan.recorded} accounts are recorded{given}.",
            hint=f"if every one of them is meant: --allow {kind}={count}",
        )


def _empty(plan: Plan, allow: Mapping[str, int]) -> Iterator[Diagnostic]:
    if plan.desired or not plan.recorded:
        return
    kinds = Counter(action.kind for action in plan.actions)
    if kinds and all(allow.get(kind) == count for kind, count in kinds.items()):
        return
    override = " ".join(f"--allow {kind}={count}" for kind, count in sorted(kinds.items()))
    yield error(
        "empty",
        f"no account is desired and {plan.recorded} are recorded",
        detail="An empty set is far more often a wrong path or a failed checkout than a wish.",
        hint=f"if it is meant: {override}" if override else "check `accounts` in reconciler.yaml",
    )


def _protected(
    groups: Mapping[Address, tuple[Action, ...]], records: Mapping[Address, Record]
) -> Iterator[Diagnostic]:
    for where, actions in groups.items():
        harmful = [action for action in actions if action.kind in (Kind.BLOCK, Kind.FORGET)]
        if not harmful:
            continue
        record = records.get(where)
        held = record is not None and bool(record.document.get("protected"))
        asked = any(
            change.path == "protected" and change.after is True
            for action in actions
            for change in action.changes
        )
        for action in harmful if held or asked else ():
            yield error(
                "protected",
                f"{where} is protected, so the plan may not {action.kind} it",
                source=_source(action),
                address=where,
                hint="set `protected: false`, apply that change alone, then plan again",
            )


def _source(action: Action) -> Source | None:
    return Source(action.file, action.line) if action.file else None


def _rules(
    plan: Plan,
    groups: Mapping[Address, tuple[Action, ...]],
    records: Mapping[Address, Record],
    rules: tuple[Rule, ...],
) -> tuple[tuple[Diagnostic, ...], tuple[Approval, ...]]:
    """Judge every action by every rule, account by account; findings come rule by rule."""
    findings: list[list[Diagnostic]] = [[] for _ in rules]
    hits: list[list[Action]] = [[] for _ in rules]
    for where, actions in groups.items() if rules else ():
        record = records.get(where)
        for action, fields in _after(actions, record):
            for rule, found, hit in zip(rules, findings, hits, strict=True):
                if not _matches(rule, action, fields, record):
                    continue
                if rule.effect in ("limit", "approval"):
                    hit.append(action)
                else:
                    found.extend(_judge(rule, action, fields))
    approvals: list[Approval] = []
    for rule, found, hit in zip(rules, findings, hits, strict=True):
        if rule.effect == "limit":
            found.extend(_rule_limit(rule, hit, plan.recorded))
        elif hit:
            addresses = tuple(sorted({action.address for action in hit}))
            approvals.append(Approval(rule.id, tuple(rule.value), addresses))
    return tuple(one for found in findings for one in found), tuple(approvals)


def _after(
    actions: tuple[Action, ...], record: Record | None
) -> Iterator[tuple[Action, Mapping[str, Any]]]:
    """Yield each action with the account's fields after all of them."""
    document: Mapping[str, Any] = record.document if record else {}
    banned = record is not None and record.is_banned
    for action in actions:
        document = carried_out(document, action)
        banned = {Kind.BLOCK: True, Kind.UNBLOCK: False}.get(action.kind, banned)
    # The record of a ban that has ended stays in the document, and says nothing any more.
    ban = document.get("ban", {}) if banned else {}
    fields = {
        **flatten(document),
        "banned": banned,
        **{f"banned.{name}": value for name, value in ban.items()},
    }
    for action in actions:
        yield action, fields


def _matches(rule: Rule, action: Action, fields: Mapping[str, Any], record: Record | None) -> bool:
    if rule.actions and action.kind not in rule.actions:
        return False
    return all(
        any(fnmatchcase(_shown(value), pattern) for value in _told(key, action, fields, record))
        for key, pattern in rule.match.items()
    )


def _told(
    key: str, action: Action, fields: Mapping[str, Any], record: Record | None
) -> Iterator[Any]:
    """Yield what a key of a match stands for: each value is tried.

    What an account is (its labels, its protection) counts as recorded and as it will be, so that
    no plan takes a label off and does at once what the label forbids. All else is as it will be.
    """
    provider, account_id = split(action.address)
    match key:
        case "path":
            yield from (change.path for change in action.changes)
        case "account_id":
            yield account_id
        case "provider":
            yield provider
        case "address":
            yield action.address
        case "reason":
            yield str(action.reason)
        case _:
            if (value := fields.get(key)) is not None:
                yield value
            if record and key.startswith(("labels.", "protected", "on_absent")):
                held = flatten(record.document).get(key)
                if held is not None:
                    yield held


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _judge(rule: Rule, action: Action, fields: Mapping[str, Any]) -> Iterator[Diagnostic]:
    where = f"{action.kind} of {action.address}"
    source = _source(action)
    if rule.effect == "warn":
        yield warning(
            f"rule-{rule.id}", f"{where}: {rule.value}", source=source, address=action.address
        )
    elif rule.effect == "deny":
        yield error(
            f"rule-{rule.id}",
            f"{where} is denied by rule {rule.id}: {rule.value}",
            source=source,
            address=action.address,
            hint=_way_out("change the account", rule),
        )
    elif not isinstance(action, Adopt):
        for path, wish in rule.value.items():
            held = fields.get(path)
            if held is None or not re.search(wish["pattern"], _shown(held)):
                yield error(
                    f"rule-{rule.id}",
                    f"{where}: rule {rule.id} requires {path} to match {wish['pattern']}",
                    source=source,
                    address=action.address,
                    detail="It is not written." if held is None else "It is written otherwise.",
                    hint=_way_out("change the account", rule),
                )


def _way_out(first: str, rule: Rule) -> str:
    """Return what to do about a rule that refuses."""
    if not rule.override:
        return f"{first}, or the rule in a reviewed change of its own; it cannot be overridden"
    return (
        f"{first}, or the rule in a reviewed change of its own; "
        f"for this plan alone: --override '{rule.id}=WHY'"
    )


def _rule_limit(rule: Rule, hits: list[Action], recorded: int) -> Iterator[Diagnostic]:
    """Judge how many actions of the plan match; a share of nothing recorded bounds nothing."""
    bounds = []
    if "count" in rule.value:
        bounds.append(int(rule.value["count"]))
    if "percent" in rule.value and recorded:
        bounds.append(int(recorded * rule.value["percent"] // 100))
    if bounds and len(hits) > min(bounds):
        first = ", ".join(
            f"{action.kind} of {action.address}" + (f" ({_source(action)})" if action.file else "")
            for action in hits[:NAMED]
        )
        yield error(
            f"rule-{rule.id}",
            f"rule {rule.id} allows {min(bounds)} such actions, the plan holds {len(hits)}",
            detail=f"{'The first are ' if len(hits) > NAMED else ''}{first}.",
            source=rule.source,
            hint=_way_out("split the change", rule),
        )
