"""Carry: one account's action carried out against its vendor, with the outcome made certain."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from reconciler.accounts import Address, Document, Observed, flatten, owned, split, unflatten
from reconciler.changes import (
    Action,
    Adopt,
    Block,
    Create,
    Unblock,
    Update,
    at_vendor,
    ban_of,
    calls_vendor,
    vendor_mints,
)
from reconciler.conversation import (
    REGISTERED,
    Call,
    Outcome,
    Provider,
    ReadFailed,
    Result,
    Token,
    Why,
)
from reconciler.diff import same
from reconciler.errors import ReconcilerError
from reconciler.state import Record
from reconciler.values import canonical

T = TypeVar("T")

ATTEMPTS = 3
"""How often an absolute value whose reply was lost is sent before it is left in doubt."""


class Send(Protocol):
    """Runs a conversation against the vendor; `transport` makes one per app."""

    def __call__(self, call: Call[T]) -> T:
        """Return what the conversation returns."""
        ...


class Tokens(Protocol):
    """Where account tokens come from; clear text never passes through here."""

    def ready(self, address: Address, token: Mapping[str, Any]) -> Token:
        """Return what a provider sets: a token minted here has been delivered by then."""
        ...

    def key(self, address: Address, token: Mapping[str, Any]) -> str:
        """Return the keyed fingerprint of the token, empty without a key."""
        ...


@dataclass(frozen=True, slots=True)
class Link:
    """One vendor app as an apply uses it."""

    provider: Provider
    send: Send
    tokens: Tokens
    concurrency: int
    check: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Carried:
    """How one action ended, and the record that it makes (None: the record is as it was)."""

    outcome: Outcome
    record: Record | None = None

    @property
    def confirmed(self) -> bool:
        """Whether the action is done."""
        return self.outcome.result is Result.CONFIRMED


DONE = Outcome(Result.CONFIRMED)


def look(link: Link, addresses: Sequence[Address]) -> dict[Address, Observed]:
    """Read accounts of one app in the vendor's batches; what could not be read is left out.

    Raises ReadFailed if the vendor answered nothing usable.
    """
    size = link.provider.capabilities.batch.get("read", 1)
    ids = {split(where)[1]: where for where in addresses}
    names = list(ids)
    found: dict[Address, Observed] = {}
    for start in range(0, len(names), size):
        seen = link.send(link.provider.read(names[start : start + size]))
        found.update((ids[name], sight) for name, sight in seen.items())
    return found


def holds(action: Action, seen: Observed) -> bool | None:
    """Tell from a reading whether the action's effect is there; None if it cannot tell.

    A create is judged by the account being there: who made it is for the caller to know.
    """
    match action:
        case Create():
            return seen.exists
        case Block() | Unblock():
            return None if seen.banned is None else seen.banned is isinstance(action, Block)
        case Update():
            sights = [
                _held(seen, change.path) for change in action.changes if at_vendor(change.path)
            ]
            wants = [change for change in action.changes if at_vendor(change.path)]
            if any(sight is None for sight in sights):
                return None
            return all(
                same(change.path, sight, change.after)
                for change, sight in zip(wants, sights, strict=True)
            )
        case _:
            return True


def _held(seen: Observed, path: str) -> Any:
    section, _, name = path.partition(".")
    place: Any = {"profile": seen.profile, "configuration": seen.configuration}.get(section, {})
    for part in name.split(".", 1):
        place = place.get(part) if isinstance(place, Mapping) else None
    return place


def carry_creates(
    link: Link, actions: Sequence[Create], coming: Collection[Address] = ()
) -> dict[Address, Carried]:
    """Register accounts that were read and are known to be absent, in one conversation.

    `coming` are those that an earlier run asked for, whose call may yet be carried out.
    """
    outcomes = _register(link, actions)
    return {
        action.address: _created(
            link, action, outcomes[action.address], coming=action.address in coming
        )
        for action in actions
    }


def _register(link: Link, actions: Sequence[Create]) -> dict[Address, Outcome]:
    """Send the creates; one whose token cannot be had is left out and fails alone."""
    outcomes: dict[Address, Outcome] = {}
    documents: dict[str, dict[str, Any]] = {}
    for action in actions:
        document = json.loads(action.document)
        try:
            if token := document.get("token"):
                document["token"] = {"value": link.tokens.ready(action.address, token)}
            documents[split(action.address)[1]] = document
        except ReconcilerError as problem:
            outcomes[action.address] = _local(problem)
    if documents:
        try:
            link.check()
            ended = link.send(link.provider.create(documents))
        except ReconcilerError as problem:
            ended = dict.fromkeys(documents, _local(problem))
        outcomes |= {
            action.address: ended[split(action.address)[1]]
            for action in actions
            if action.address not in outcomes
        }
    return outcomes


def _created(link: Link, action: Create, outcome: Outcome, *, coming: bool) -> Carried:
    """Settle one create; a lost reply is settled by reading, as the account was absent before.

    One that was registered and then not set as a whole is recorded with what was set, so that the
    next plan finds the rest; the create itself has failed.
    """
    if coming and outcome.why is Why.EXISTS:
        outcome = replace(outcome, result=Result.AMBIGUOUS)
    for _ in range(ATTEMPTS):
        if outcome.result is not Result.AMBIGUOUS:
            break
        seen = _sight(link, action.address)
        if seen is None:
            break
        if seen.exists:
            outcome = _finished(link, action, outcome, seen, anew=coming)
        else:
            # Should it exist by now, it is the one we asked for: it was absent before this run.
            outcome = _after_lost(outcome, _register(link, [action])[action.address])
    if outcome.result is Result.CONFIRMED:
        return Carried(outcome, made(link, action))
    if REGISTERED in outcome.done:
        record = made(link, _less(action, outcome.done))
        return Carried(outcome, _owing(record, json.loads(action.document)))
    return Carried(outcome)


def _finished(
    link: Link, action: Create, outcome: Outcome, seen: Observed, *, anew: bool
) -> Outcome:
    """Set what a create that was found after a lost reply is seen not to have set.

    `anew`: an earlier run's create may have been the one, so the token is set again.
    """
    later = link.provider.capabilities.after_login
    document = json.loads(action.document)
    fields = {
        path: value
        for path, value in flatten(document).items()
        if at_vendor(path) and path not in later
    }
    missing = {path: value for path, value in fields.items() if not _is_held(seen, path, value)}
    # A token that was sent came with the account; one that the vendor minted went with the reply.
    spec = document.get("token")
    lost = spec if anew or vendor_mints(spec) else None
    if not missing and not lost:
        return replace(outcome, result=Result.CONFIRMED, message="found after a lost reply")
    try:
        token = link.tokens.ready(action.address, lost) if lost else None
        link.check()
        ended = link.send(link.provider.update(split(action.address)[1], missing, token))
    except ReconcilerError as problem:
        ended = _local(problem)
    held = (*(fields.keys() - missing.keys()), *(("token",) if spec and not lost else ()))
    return replace(ended, done=(REGISTERED, *held, *ended.done))


def _is_held(seen: Observed, path: str, value: Any) -> bool:
    sight = _held(seen, path)
    return sight is not None and same(path, sight, value)


def _less(action: Create, done: Sequence[str]) -> Create:
    """Return a create without the fields at the vendor that were not set."""
    document = json.loads(action.document)
    flat = flatten(document)
    held = {path: value for path, value in flat.items() if path in done or not at_vendor(path)}
    token = {"token": document["token"]} if "token" in done and "token" in document else {}
    return action._replace(document=canonical(unflatten(held) | token))


def made(link: Link, action: Create, *, seen: Observed | None = None) -> Record:
    """Return the record of an account that the vendor has registered, less what it does not take.

    What is taken only after a first login waits, unless it is the vendor's default anyway. `seen`
    is given for another run's create: that one may have ended between its calls, so only what is
    seen to be held is claimed; and the token cannot be seen, so the next plan sets it again.
    """
    capabilities = link.provider.capabilities
    document = json.loads(action.document)
    flat = flatten(document)
    waiting = tuple(
        path
        for path in capabilities.after_login
        if flat.get(path, capabilities.field(path).default) != capabilities.field(path).default
    )
    held = {
        path: value
        for path, value in flat.items()
        if path not in waiting
        and (seen is None or not at_vendor(path) or _is_held(seen, path, value))
    }
    token = document.get("token") if seen is None else None
    record = Record(
        action.address,
        unflatten(held) | ({"token": token} if token else {}),
        banned=False,
        token_key=link.tokens.key(action.address, token) if token else "",
        waiting=waiting,
    )
    return _owing(record, document)


def _owing(record: Record, document: Document) -> Record:
    """Return the record with what a create has yet to set of sections that are then left alone.

    Without that they would be taken for the user's already, and nobody would ever set them.
    """
    held = flatten(record.document)
    due = {p for p in flatten(document) if at_vendor(p) and not owned(document, p)} - held.keys()
    return replace(record, waiting=tuple(sorted({*record.waiting, *due})))


def awaiting_ban(record: Record) -> Record:
    """Return the record of a new account whose own ban is still to come.

    Should the run end here, the ban belongs to the create, and limits do not count it as one of
    a person who was let in before.
    """
    return replace(record, waiting=tuple(sorted({*record.waiting, "banned"})))


def carry(
    link: Link, action: Action, record: Record, seen: Observed | None, *, kick: bool = True
) -> Carried:
    """Carry out one action on a recorded or adopted account.

    `seen` is what was read just before, if it was; what it holds already is not sent again, and
    an account that is gone, or holds neither what was planned from nor what is wanted, is left.
    `kick` False leaves sessions alone, where an earlier ban that is in doubt may have ended them.
    """
    if isinstance(action, Adopt):
        return _adopted(action, record, seen)
    if not calls_vendor(action):
        return Carried(DONE, record.after(action))
    if seen is not None and not seen.exists:
        return Carried(Outcome(Result.REJECTED, "", "no such account", Why.MISSING))
    if seen is not None and holds(action, seen) is True:
        return Carried(DONE, record.after(action))
    if seen is not None and (moved := _moved(action, seen)):
        return Carried(
            Outcome(
                Result.REJECTED,
                "changed",
                f"{moved} was changed at the vendor since it was recorded, so nothing was done; "
                "run: reconciler plan --refresh",
            )
        )
    later = _waits(link, action, record)
    sent = _narrowed(action, later + _there(action, seen))
    if isinstance(sent, Update) and not calls_vendor(sent):
        return _recorded(link, action, record, replace(DONE, waiting=later))
    outcome = _certain(link, sent, record, kick=kick)
    return _recorded(link, action, record, replace(outcome, waiting=outcome.waiting + later))


def _waits(link: Link, action: Action, record: Record) -> tuple[str, ...]:
    """Return the paths that the vendor cannot take because the account was found banned."""
    capabilities = link.provider.capabilities
    if not isinstance(action, Update) or not record.is_banned:
        return ()
    return tuple(
        change.path
        for change in action.changes
        if at_vendor(change.path) and capabilities.waits_while_banned(change.path)
    )


def _there(action: Action, seen: Observed | None) -> tuple[str, ...]:
    """Return the paths of an update whose value the vendor was just seen to hold."""
    if seen is None or not isinstance(action, Update):
        return ()
    return tuple(
        change.path
        for change in action.changes
        if at_vendor(change.path)
        and (sight := _held(seen, change.path)) is not None
        and same(change.path, sight, change.after)
    )


def _moved(action: Action, seen: Observed) -> str:
    """Return a path of an update whose value at the vendor is none that the plan knew of."""
    for change in action.changes if isinstance(action, Update) else ():
        if change.before is None or change.unknown or not at_vendor(change.path):
            continue
        sight = _held(seen, change.path)
        if sight is not None and not any(
            same(change.path, sight, known) for known in (change.before, change.after)
        ):
            return change.path
    return ""


def _narrowed(action: Action, paths: tuple[str, ...]) -> Action:
    if not paths or isinstance(action, Create):
        return action
    return action._replace(changes=tuple(c for c in action.changes if c.path not in paths))


def _adopted(action: Adopt, record: Record, seen: Observed | None) -> Carried:
    if seen is None:
        return Carried(Outcome(Result.NOT_SENT, "", "the account could not be read"))
    if not seen.exists:
        return Carried(
            Outcome(
                Result.REJECTED,
                "",
                "no such account at the vendor; `adopt: true` takes only accounts that exist",
                Why.MISSING,
            )
        )
    return Carried(DONE, record.after(action, seen=seen))


def _certain(link: Link, action: Action, record: Record, *, kick: bool) -> Outcome:
    """Send an absolute value until its outcome is certain, or give up in doubt.

    A lost reply is settled by reading. Where the value is not there, or cannot be read, it is
    sent again; a kick is not, because the lost call may have kicked already. A token that the
    vendor mints is no absolute value: it is left to the next apply, so that a late execution of
    the lost call does not void the one that was delivered.
    """
    outcome = _sent(link, action, record, kick=kick)
    minting = any(vendor_mints(change.token) for change in action.changes)
    for _ in range(0 if minting else ATTEMPTS - 1):
        if outcome.result is not Result.AMBIGUOUS:
            return outcome
        seen = _sight(link, action.address)
        if seen is not None and holds(action, seen) is True:
            return replace(outcome, result=Result.CONFIRMED, message="found after a lost reply")
        outcome = _after_lost(outcome, _sent(link, action, record, kick=False))
    return outcome


def _after_lost(lost: Outcome, again: Outcome) -> Outcome:
    """Return what is known after a call whose reply was lost and another try of the same.

    That the second was refused, or never sent, says nothing of the first: it stays in doubt.
    """
    if again.result in (Result.CONFIRMED, Result.AMBIGUOUS):
        return again
    told = "; then ".join(dict.fromkeys(text for text in (lost.message, again.message) if text))
    done = tuple(dict.fromkeys((*lost.done, *again.done)))
    return replace(lost, message=told, why=again.why, done=done)


def _sent(link: Link, action: Action, record: Record, *, kick: bool) -> Outcome:
    try:
        call = _conversation(link, action, record, kick=kick)
        link.check()
        return link.send(call)
    except ReconcilerError as problem:
        return _local(problem)


def _conversation(link: Link, action: Action, record: Record, *, kick: bool) -> Call[Outcome]:
    account_id = split(action.address)[1]
    match action:
        case Block():
            ban = ban_of(action)
            return link.provider.block(account_id, ban if kick else {**ban, "kick": False})
        case Unblock():
            return link.provider.unblock(account_id, record.document)
        case _:
            fields = {
                change.path: change.after
                for change in action.changes
                if at_vendor(change.path) and change.path != "token"
            }
            token = next((change.token for change in action.changes if change.token), None)
            ready = link.tokens.ready(action.address, token) if token else None
            return link.provider.update(account_id, fields, ready)


def _recorded(link: Link, action: Action, record: Record, outcome: Outcome) -> Carried:
    """Return the outcome with the record it makes: all that was confirmed, and no more."""
    if outcome.result is Result.CONFIRMED:
        held = _narrowed(action, outcome.waiting)
    elif outcome.done:
        left = {c.path for c in action.changes} - set(outcome.done)
        held = _narrowed(action, tuple(left))
    else:
        return Carried(outcome)
    token = next((change.token for change in held.changes if change.token), None)
    key = link.tokens.key(action.address, token) if token else ""
    return Carried(outcome, record.after(held, waiting=outcome.waiting, token_key=key))


def _sight(link: Link, address: Address) -> Observed | None:
    try:
        return look(link, [address]).get(address)
    except (ReadFailed, ReconcilerError):
        return None


def _local(problem: ReconcilerError) -> Outcome:
    """Return the outcome of what failed on this side before anything was sent."""
    return Outcome(Result.NOT_SENT, problem.diagnostics[0].id, problem.told)
