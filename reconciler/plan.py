"""Plan: desired accounts against recorded ones, as the actions that would make them agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import Final

from reconciler.accounts import Account, Address, split, targeted
from reconciler.capabilities import Capabilities, Support
from reconciler.changes import (
    Action,
    Block,
    Cost,
    Create,
    Kind,
    Plan,
    Unblock,
    Update,
    at_vendor,
    fingerprint,
    in_order,
)
from reconciler.decide import Decisions, Question
from reconciler.diagnostics import Diagnostic, info
from reconciler.state import Reader, Record
from reconciler.values import to_text


def plan(desired: Iterable[Account], recorded: Reader, question: Question) -> Plan:
    """Return the plan that brings what is recorded to what is desired.

    Reads digests first and looks closer only where they differ, so cost follows the number of
    changes. An empty desired set is planned like any other; `guard` judges it.
    """
    identity = recorded.identity()
    doubtful: dict[Address, frozenset[str]] = {}
    for intent in recorded.unresolved():
        kinds = doubtful.get(intent.address, frozenset())
        doubtful[intent.address] = kinds | {intent.action["action"]}
    index: dict[Address, bytes | None] = dict(recorded.index())
    known = len(index)
    wanted, total, passed = _sift(desired, index, doubtful, question)
    unchanged = known - len(index) - passed - sum(1 for _, old in wanted if old)
    builder = Decisions(question, doubtful)
    if question.uncompared:
        builder.findings.append(
            info(
                "uncompared",
                f"not compared: {', '.join(p.rstrip('.') for p in question.uncompared)}",
                detail="The snapshot this plan is made against was redacted.",
            )
        )
    for account, old in wanted:
        if not old:
            builder.new(account)
    changed = {account.address: account for account, old in wanted if old}
    for record in recorded.records(changed):
        builder.recorded(changed[record.address], _seen(record, question))
    leavers = (where for where in index if targeted(where, question.targets))
    for record in recorded.records(leavers):
        builder.absent(_seen(record, question))
    unchanged += builder.unchanged
    actions = tuple(sorted(builder.actions, key=in_order))
    return Plan(
        workspace=identity.workspace,
        lineage=identity.lineage,
        serial=identity.serial,
        created_at=to_text(question.now),
        as_of=to_text(question.as_of),
        actions=actions,
        fingerprint=fingerprint(actions),
        unchanged=unchanged,
        recorded=known,
        refreshed=question.observed is not None,
        cost=cost(actions, question),
        diagnostics=(
            *sorted(builder.findings, key=lambda f: (f.address, f.id)),
            *_declared(actions, question),
        ),
        boundary=builder.boundary,
        desired=total,
    )


def _declared(actions: Iterable[Action], question: Question) -> Iterator[Diagnostic]:
    """Say, once a provider and field, which changes a vendor only emulates or never gives back.

    A token is left out: that it cannot be read is its nature.
    """
    said: set[tuple[str, str]] = set()
    for action in actions:
        if isinstance(action, Create):
            continue
        name = split(action.address)[0]
        table = question.capabilities.get(name)
        for change in action.changes:
            if table is None or change.path == "token" or (name, change.path) in said:
                continue
            said.add((name, change.path))
            field = table.field(change.path)
            if field.support in (Support.EMULATED, Support.UNREADABLE):
                yield info(
                    str(field.support),
                    f"{name}: {change.path} is {field.support}",
                    detail=f"{field.note[:1].upper()}{field.note[1:]}." if field.note else "",
                )


def _seen(record: Record, question: Question) -> Record:
    """Return the record with what a refresh just saw of it."""
    if question.observed is None or record.address not in question.observed:
        return record
    return replace(record, observed=question.observed[record.address])


def _sift(
    desired: Iterable[Account],
    index: dict[Address, bytes | None],
    doubtful: Collection[Address],
    question: Question,
) -> tuple[list[tuple[Account, bool]], int, int]:
    """Take every desired account out of the index; return those to look at, and how many came.

    With each comes whether it is recorded. What is left in the index has left the YAML. The last
    number is of recorded accounts that no target names and that may differ.
    """
    look: list[tuple[Account, bool]] = []
    total = passed = 0
    targets = question.targets
    closer = bool(doubtful) or question.observed is not None or question.keyed is not None
    for account in desired:
        total += 1
        have = index.pop(account.address, _FRESH)
        if have == account.digest and not (closer and _closer(account, doubtful, question)):
            continue
        if not targets or targeted(account.address, targets):
            look.append((account, have is not _FRESH))
        else:
            passed += have is not _FRESH
    return look, total, passed


_FRESH: Final = b"no digest is this short"


def _closer(account: Account, doubtful: Collection[Address], question: Question) -> bool:
    """Tell whether an account whose digest agrees must be looked at all the same."""
    return (
        account.address in doubtful
        or (question.observed is not None and account.address in question.observed)
        or (question.keyed is not None and b'"token":' in account.document)
    )


def cost(actions: Iterable[Action], question: Question) -> dict[str, Cost]:
    """Return what the actions cost per provider: mutating calls, and seconds at its rate.

    APIs are paced side by side, so the busiest one tells the time.
    """
    found: dict[str, Cost] = {}
    for name, group in groupby(actions, key=lambda action: split(action.address)[0]):
        capabilities = question.capabilities.get(name)
        if capabilities is None:
            continue
        apis: Counter[str] = Counter()
        creates = 0
        for action in group:
            if action.kind is Kind.CREATE:
                creates += 1
            else:
                apis.update(_apis(action, capabilities))
        for api in capabilities.apis("create") if creates else ():
            apis[api] += -(-creates // capabilities.batch.get("create", 1))
        if apis:
            rate = question.rates.get(name)
            slowest = max(
                count / (rate or 0.8 * capabilities.rate(api)) for api, count in apis.items()
            )
            found[name] = Cost(apis.total(), round(slowest, 2))
    return found


def _apis(action: Action, capabilities: Capabilities) -> Iterable[str]:
    if isinstance(action, Block | Unblock):
        return capabilities.apis(str(action.kind))
    if not isinstance(action, Update):
        return ()
    return {
        api
        for change in action.changes
        if at_vendor(change.path)
        for api in capabilities.apis(change.path)
    }
