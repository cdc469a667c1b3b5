"""Plan: desired accounts against recorded ones, as the actions that would make them agree."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from itertools import groupby, repeat
from typing import Final, assert_never

from reconciler.accounts import Account, Address, Alike, Batch, flatten, split, targeted
from reconciler.capabilities import Capabilities, Support
from reconciler.changes import (
    Action,
    Adopt,
    Block,
    Cost,
    Create,
    Forget,
    Kind,
    Plan,
    Siblings,
    Unblock,
    Update,
    at_vendor,
    ban_of,
    fingerprint,
    in_order,
    vendor_mints,
)
from reconciler.decide import Decisions, Question
from reconciler.diagnostics import Diagnostic, Source, info
from reconciler.state import Reader, Record
from reconciler.values import to_text

TOLD: Final = 20
"""Entries that are split and named; of the others only the number is told."""


def plan(desired: Iterable[Account | Batch], recorded: Reader, question: Question) -> Plan:
    """Return the plan that brings what is recorded to what is desired.

    Reads digests first and looks closer only where they differ, so cost follows the number of
    changes. An empty desired set is planned like any other; `guard` judges it.
    """
    identity = recorded.identity()
    doubtful = _doubtful(recorded)
    index: dict[Address, bytes | None] = {}
    wanted: list[tuple[Account, bool]] = []
    kept = _kept(question, doubtful)
    if kept and kept.whole:
        known = total = kept.accounts
        passed = 0
    else:
        index.update(kept.others if kept else recorded.index())
        known = kept.accounts if kept else len(index)
        wanted, total, passed = _sift(desired, index, doubtful, question, same=kept is not None)
        if kept:
            wanted = _unrecorded(wanted, recorded, to_text(question.as_of))
        wanted = _whole(wanted, question)
    unchanged = known - len(index) - passed - sum(1 for _, old in wanted if old)
    builder = Decisions(question, doubtful)
    entries = {account.siblings: account for account, _ in wanted if account.siblings}
    changed = {account.address: account for account, old in wanted if old}
    while wanted:  # a million of them are not held beside their actions
        account, old = wanted.pop()
        if not old:
            builder.new(account)
    for record in recorded.records(changed):
        builder.recorded(changed[record.address], _seen(record, question))
    leavers = (where for where in index if targeted(where, question.targets))
    for record in recorded.records(leavers):
        builder.absent(_seen(record, question))
    unchanged += builder.unchanged
    actions = tuple(sorted(builder.actions, key=in_order))
    siblings = _siblings(entries, builder, recorded)
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
            *_uncompared(question),
            *sorted(builder.findings, key=lambda f: (f.address, f.id)),
            *_splits(siblings),
            *_declared(actions, question),
        ),
        boundary=builder.boundary,
        desired=total,
        siblings=siblings,
        targets=tuple(question.targets),
    )


def alike(planned: Plan) -> bool:
    """Tell whether a plan found every account recorded as it is desired, with nothing to tell."""
    same = planned.unchanged == planned.desired == planned.recorded
    return same and not planned.actions and not planned.diagnostics and not planned.refreshed


def _doubtful(recorded: Reader) -> dict[Address, frozenset[str]]:
    """Return the kinds of action that are in doubt, by account."""
    found: dict[Address, frozenset[str]] = {}
    for intent in recorded.unresolved():
        kinds = found.get(intent.address, frozenset())
        found[intent.address] = kinds | {intent.action["action"]}
    return found


def _uncompared(question: Question) -> Iterator[Diagnostic]:
    """Say which fields a redacted snapshot does not hold."""
    if question.uncompared:
        yield info(
            "uncompared",
            f"not compared: {', '.join(p.rstrip('.') for p in question.uncompared)}",
            detail="The snapshot this plan is made against was redacted.",
        )


def _declared(actions: Iterable[Action], question: Question) -> Iterator[Diagnostic]:
    """Say, once a provider and field, which changes a vendor only emulates or never gives back.

    A token is left out: that it cannot be read is its nature.
    """
    said: set[tuple[str, str]] = set()
    lacking = {
        name: {
            path: f'"{path.rpartition(".")[2]}":'.encode()
            for path, field in table.fields.items()
            if field.support in (Support.EMULATED, Support.UNREADABLE) and path != "token"
        }
        for name, table in question.capabilities.items()
    }
    for action in actions:
        name = split(action.address)[0]
        table = question.capabilities.get(name)
        # A create is read only where it may say such a field: there may be a million of them.
        if isinstance(action, Create) and not any(
            key in action.document and (name, path) not in said
            for path, key in lacking.get(name, {}).items()
        ):
            continue
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


def _siblings(
    entries: Mapping[tuple[Address, ...], Account], builder: Decisions, recorded: Reader
) -> tuple[Siblings, ...]:
    """Return the entries in several apps that the plan touches, and who of each is behind.

    What no target names is counted only where it is recorded as desired, for then it needs nothing.
    """
    targets = builder.question.targets
    if not entries:
        return ()
    moment = to_text(builder.question.as_of)
    outside = {
        where: b"" if _over(account, moment) else account.digest
        for account in entries.values()
        for where in account.siblings
        if not targeted(where, targets)
    }
    todo: dict[Address, set[str]] = {
        where: set() for siblings in entries for where in siblings if where not in outside
    }
    for action in builder.actions:
        if action.address in todo:
            todo[action.address] |= _needs(action)
    for finding in builder.findings:
        if finding.id == "missing":
            todo.pop(Address(finding.address), None)
    for record in recorded.records(outside):
        if record.index_digest == outside[record.address]:
            todo[record.address] = set()
    waiting = {finding.address for finding in builder.findings if finding.id == "waiting"}
    return tuple(
        sorted(
            Siblings(tuple(own), _behind(own, waiting), account.file, account.line)
            for siblings, account in entries.items()
            if len(own := {where: todo[where] for where in siblings if where in todo}) > 1
            and any(own.values())
        )
    )


def _behind(todo: Mapping[Address, set[str]], waiting: Collection[str]) -> tuple[Address, ...]:
    """Return the siblings that need something which another one does not need.

    A create brings everything; what waits may be any field that another one is to get.
    """
    every = set().union(*todo.values())
    fields = every.difference(Kind)
    needs = {
        where: every if Kind.CREATE in own else own | fields if where in waiting else own
        for where, own in todo.items()
    }
    common = set.intersection(*needs.values())
    return tuple(where for where, own in todo.items() if own and needs[where] != common)


def _needs(action: Action) -> set[str]:
    """Name what an action brings to the vendor: the fields of an update, else its kind."""
    if isinstance(action, Update):
        return {change.path for change in action.changes if at_vendor(change.path)}
    return {str(action.kind)}


def _splits(siblings: Iterable[Siblings]) -> Iterator[Diagnostic]:
    """Say which entries some of their apps hold and others do not."""
    behind = [one for one in siblings if one.behind]
    for one in behind[:TOLD]:
        apps = " and ".join(split(where)[0] for where in one.accounts)
        first = " and ".join(split(where)[0] for where in one.behind)
        yield info(
            "split",
            f"{split(one.accounts[0])[1]}: not the same in {apps}; done first in {first}",
            detail="An action was not carried out there, or the app is new in its list.",
            source=Source(one.file, one.line),
            address=one.behind[0],
        )
    if len(behind) > TOLD:
        yield info(
            "split",
            f"{len(behind) - TOLD} more entries are not the same in all their apps; done first",
        )


def _seen(record: Record, question: Question) -> Record:
    """Return the record with what a refresh just saw of it."""
    if question.observed is None or record.address not in question.observed:
        return record
    return replace(record, observed=question.observed[record.address])


def _sift(
    desired: Iterable[Account | Batch],
    index: dict[Address, bytes | None],
    doubtful: Collection[Address],
    question: Question,
    *,
    same: bool,
) -> tuple[list[tuple[Account, bool]], int, int]:
    """Take every desired account out of the index; return those to look at, and how many came.

    With `same` the index leaves out what stands in batches that are the same.
    With each comes whether it is recorded. What is left in the index has left the YAML. The last
    number is of recorded accounts that no target names and that may differ.
    """
    look: list[tuple[Account, bool]] = []
    total = passed = 0
    targets = question.targets
    closer = bool(doubtful) or question.observed is not None or question.keyed is not None
    moment = to_text(question.as_of)
    for one in desired:
        if same and not isinstance(one, Account) and one.same:
            total += len(one.addresses)
            continue
        if not (closer or isinstance(one, Account) or _over(one, moment)) and _alike(one, index):
            total += len(one.addresses)
            continue
        for account in (one,) if isinstance(one, Account) else one.accounts():
            total += 1
            have = index.pop(account.address, _FRESH)
            if (
                have == account.digest
                and not _over(account, moment)
                and not (closer and _closer(account, doubtful, question))
            ):
                continue
            if not targets or targeted(account.address, targets):
                look.append((account, have is not _FRESH))
            else:
                passed += have is not _FRESH
    return look, total, passed


def _unrecorded(
    look: Sequence[tuple[Account, bool]], recorded: Reader, moment: str
) -> list[tuple[Account, bool]]:
    """Ask for those by name that no file was known to hold, and say of each if it is recorded.

    A file that is as it was may come without being told to be so, where it was read in a way that
    leaves open which bytes those were. Its accounts are no new ones.
    """
    new = [account.address for account, old in look if not old]
    have = {record.address: record.index_digest for record in recorded.records(new)}
    return [
        (account, old or account.address in have)
        for account, old in look
        if old or have.get(account.address) != account.digest or _over(account, moment)
    ]


def _kept(question: Question, doubtful: Collection[Address]) -> Alike | None:
    """Return what is known of the state, unless an account has to be looked at for itself."""
    closer = bool(doubtful or question.targets or question.uncompared)
    closer = closer or question.observed is not None or question.keyed is not None
    if question.alike is None or closer or _over(question.alike, to_text(question.as_of)):
        return None
    return question.alike


def _over(one: Account | Alike | Batch, moment: str) -> bool:
    """Tell whether a ban ends by then. Times are RFC 3339 in UTC, so they sort as texts."""
    return "" < one.until <= moment


def _alike(batch: Batch, index: dict[Address, bytes | None]) -> bool:
    """Take a batch out of the index if every account of it is recorded as it is desired."""
    have = list(map(index.pop, batch.addresses, repeat(_FRESH)))
    with suppress(TypeError):  # None, for what must be looked at
        if b"".join(have) == batch.digests:  # type: ignore[arg-type]
            return True
    index.update(
        (where, one) for where, one in zip(batch.addresses, have, strict=True) if one is not _FRESH
    )
    return False


def _whole(look: list[tuple[Account, bool]], question: Question) -> list[tuple[Account, bool]]:
    """Return the accounts to look at with their documents."""
    bare = [account for account, _ in look if not account.document]
    if not bare:
        return look
    whole = {account.address: account for account in question.again(bare)}
    return [(whole.get(account.address, account), old) for account, old in look]


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

    Counted is what apply sends if nothing fails; what an adopted account turns out to hold
    already it leaves out. APIs are paced side by side, so the busiest one tells the time.
    """
    found: dict[str, Cost] = {}
    for name, group in groupby(actions, key=lambda action: split(action.address)[0]):
        capabilities = question.capabilities.get(name)
        if capabilities is None:
            continue
        apis: Counter[str] = Counter()
        creates = 0
        completing = _Completing(capabilities)
        for action in group:
            if isinstance(action, Create):
                creates += 1
                completing.count(action, apis)
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


def _apis(action: Action, capabilities: Capabilities) -> Collection[str]:
    """Return the APIs that an action on an account that exists calls once each."""
    match action:
        case Block():
            kick = capabilities.apis("banned.kick") if ban_of(action).get("kick", True) else ()
            return (*capabilities.apis("block"), *kick)
        case Unblock():
            return capabilities.apis("unblock")
        case Update():
            paths = (
                "token.vendor" if vendor_mints(change.token) else change.path
                for change in action.changes
                if at_vendor(change.path)
            )
            return {api for path in paths for api in capabilities.apis(path)}
        case Create() | Adopt() | Forget():
            return ()
        case _:
            assert_never(action)


class _Completing:
    """What creates call beside the registration; most vendors nothing, so no document is read."""

    def __init__(self, capabilities: Capabilities) -> None:
        calls = capabilities.calls
        self.sections = tuple(
            name for name in ("profile", "configuration") if f"created.{name}" in calls
        )
        self.apis = cache(lambda path: capabilities.apis(f"created.{path}"))

    def count(self, action: Create, apis: Counter[str]) -> None:
        """Count the APIs that set what the registration did not; a flag that is off needs none."""
        if not self.sections:
            return
        document = json.loads(action.document)
        fields = flatten({name: document.get(name, {}) for name in self.sections})
        called = {
            api for path, value in fields.items() if value is not False for api in self.apis(path)
        }
        for api in called:
            apis[api] += 1
