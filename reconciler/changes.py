"""Changes: the closed set of actions, what each does to a record, and the plan they make."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

from reconciler.accounts import Address, flatten, split, unflatten
from reconciler.diagnostics import Diagnostic
from reconciler.values import canonical


class Kind(StrEnum):
    """The six kinds of action, in the order in which one account's actions must run."""

    ADOPT = "adopt"
    UNBLOCK = "unblock"
    CREATE = "create"
    UPDATE = "update"
    BLOCK = "block"
    FORGET = "forget"


class Reason(StrEnum):
    """Why an action is planned; it explains and never decides."""

    NOT_RECORDED = "not_recorded"
    CONFIG_CHANGED = "config_changed"
    FIELD_REMOVED = "field_removed"
    DRIFT = "drift"
    BAN_DECLARED = "ban_declared"
    BAN_LIFTED = "ban_lifted"
    BAN_EXPIRED = "ban_expired"
    ABSENT = "absent"
    ADOPTED = "adopted"
    TOKEN_VERSION = "token_version"  # noqa: S105 (a reason, no password)
    IN_DOUBT = "in_doubt"


class Change(NamedTuple):
    """One field before and after; None stands for a field that has no value.

    `removed`: the field left the YAML, `after` is the vendor's default and it is managed no more.
    `unknown`: nobody has read the account yet, `before` is only a placeholder. `token` holds the
    references and the version that a token change stands for, never a value.
    """

    path: str
    before: Any
    after: Any
    removed: bool = False
    unknown: bool = False
    token: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the shape of the plan file."""
        shape: dict[str, Any] = {"path": self.path, "before": self.before, "after": self.after}
        if self.removed:
            shape["removed"] = True
        if self.unknown:
            shape["unknown"] = True
        if self.token is not None:
            shape |= {"sensitive": True, "token": dict(self.token)}
        return shape

    @classmethod
    def from_json(cls, shape: Mapping[str, Any]) -> Change:
        """Read the shape of the plan file. Raises KeyError or TypeError if it is not one."""
        return cls(
            str(shape["path"]),
            shape["before"],
            shape["after"],
            bool(shape.get("removed", False)),
            bool(shape.get("unknown", False)),
            shape.get("token"),
        )


def token_change(
    before: Mapping[str, Any] | None, after: Mapping[str, Any], *, unknown: bool = False
) -> Change:
    """Return the change that sets a token anew: versions are shown, values never."""
    shown = f"(v{before['version']})" if before else None
    return Change("token", shown, f"(v{after['version']})", unknown=unknown, token=after)


def vendor_mints(token: Mapping[str, Any] | None) -> bool:
    """Tell whether a token is one that the vendor makes, so that a lost reply loses it."""
    return token is not None and token.get("generate") == "vendor"


class _New(NamedTuple):
    address: Address
    reason: Reason
    document: bytes
    file: str = ""
    line: int = 0
    version: int = 0


class Create(_New):
    """Register an account; it has no before. `document` holds no ban.

    `version` is 0, or that of the record whose account the vendor was seen to have lost.
    """

    __slots__ = ()
    kind = Kind.CREATE

    @property
    def changes(self) -> tuple[Change, ...]:
        """Every written field, each with no before."""
        document = json.loads(self.document)
        fields = tuple(
            Change(path, None, value) for path, value in sorted(flatten(document).items())
        )
        token = document.get("token")
        return (*fields, token_change(None, token)) if token else fields


class _Recorded(NamedTuple):
    address: Address
    reason: Reason
    version: int
    changes: tuple[Change, ...]
    file: str = ""
    line: int = 0


class Update(_Recorded):
    """Change fields of an account, at the vendor or (ban record, labels, protection) in state."""

    __slots__ = ()
    kind = Kind.UPDATE


class Block(_Recorded):
    """Ban an account; the first change is `banned`, the others are the ban record."""

    __slots__ = ()
    kind = Kind.BLOCK


class Unblock(_Recorded):
    """Lift the ban of an account."""

    __slots__ = ()
    kind = Kind.UNBLOCK


class Adopt(_Recorded):
    """Take an account that the vendor has already into state; it changes nothing there."""

    __slots__ = ()
    kind = Kind.ADOPT


class Forget(_Recorded):
    """Drop an account from state; the vendor is not touched."""

    __slots__ = ()
    kind = Kind.FORGET


Action: TypeAlias = Create | Update | Block | Unblock | Adopt | Forget
_RECORDED = {cls.kind: cls for cls in (Update, Block, Unblock, Adopt, Forget)}
ORDER = {kind: position for position, kind in enumerate(Kind)}


def in_order(action: Action) -> tuple[str, int]:
    """Return the sort key: by address, then in the order one account's actions must run."""
    return action.address, ORDER[action.kind]


def calls_vendor(action: Action) -> bool:
    """Tell whether the action changes anything at the vendor, or only what is recorded."""
    match action:
        case Create() | Block() | Unblock():
            return True
        case Update():
            return any(at_vendor(change.path) for change in action.changes)
        case _:
            return False


def at_vendor(path: str) -> bool:
    """Tell whether a changed path is held by the vendor (and not only recorded)."""
    return path == "token" or path.startswith(("profile.", "configuration."))


def ban_of(action: Block) -> dict[str, Any]:
    """Return the ban record that a block carries."""
    return {
        change.path.removeprefix("banned."): change.after
        for change in action.changes
        if change.path.startswith("banned.") and change.after is not None
    }


def carried_out(document: Mapping[str, Any], action: Action) -> dict[str, Any]:
    """Return the recorded document after the action was confirmed: only its changes are claimed."""
    if isinstance(action, Create):
        made: dict[str, Any] = json.loads(action.document)
        return made
    flat = flatten(document)
    ban = dict(document.get("ban", {}))
    banned = "ban" in document
    token = document.get("token")
    for change in action.changes:
        if change.path == "token":
            token = change.token
        elif change.path == "banned":
            banned = bool(change.after)
        elif change.path.startswith("banned."):
            _put(ban, change.path.removeprefix("banned."), change)
        else:
            _put(flat, change.path, change)
    after = unflatten(flat)
    if ban or banned:
        after["ban"] = ban
    if token:
        after["token"] = dict(token)
    return after


def _put(place: dict[str, Any], key: str, change: Change) -> None:
    if change.removed or change.after is None:
        place.pop(key, None)
    else:
        place[key] = change.after


def to_json(action: Action) -> dict[str, Any]:
    """Return the shape of one action in the plan file."""
    provider, account_id = split(action.address)
    shape: dict[str, Any] = {
        "address": action.address,
        "provider": provider,
        "account_id": account_id,
        "action": str(action.kind),
        "reason": str(action.reason),
        "version": action.version,
        "changes": _fields(action)
        if isinstance(action, Create)
        else [change.to_json() for change in action.changes],
    }
    if action.file:
        shape["source"] = {"file": action.file, "line": action.line}
    return shape


def _fields(action: Create) -> list[dict[str, Any]]:
    """Return a create's changes as JSON; most intents are these, so they are made directly."""
    document = json.loads(action.document)
    fields: list[dict[str, Any]] = [
        {"path": path, "before": None, "after": value}
        for path, value in sorted(flatten(document).items())
    ]
    token = document.get("token")
    return [*fields, token_change(None, token).to_json()] if token else fields


def from_json(shape: Mapping[str, Any]) -> Action:
    """Read one action of a plan file. Raises KeyError, TypeError or ValueError if it is not one."""
    where = Address(shape["address"])
    if split(where) != (shape["provider"], shape["account_id"]):
        raise ValueError(f"{where!r} does not fit its provider and account_id")
    kind, reason = Kind(shape["action"]), Reason(shape["reason"])
    changes = tuple(Change.from_json(change) for change in shape["changes"])
    place = shape.get("source", {})
    file, line = str(place.get("file", "")), int(place.get("line", 0))
    if kind is not Kind.CREATE:
        return _RECORDED[kind](where, reason, int(shape["version"]), changes, file, line)
    document = unflatten({c.path: c.after for c in changes if c.path != "token"})
    for change in changes:
        if change.token is not None:
            document["token"] = {"version": change.token["version"], **change.token}
    return Create(where, reason, canonical(document), file, line, int(shape["version"]))


def fingerprint(actions: Iterable[Action]) -> str:
    """Return the digest of what will be done, in address order, and of nothing else.

    Reasons, versions, sources, times and serials explain or guard and are left out, so planning
    the same thing again gives the same fingerprint.
    """
    told = hashlib.sha256()
    for action in actions:
        if isinstance(action, Create):
            body = action.document
        else:
            body = canonical(
                [[c.path, c.before, c.after, c.token, c.removed] for c in action.changes]
            )
        told.update(b"%s %s %s\n" % (action.kind.encode(), action.address.encode(), body))
    return f"sha256:{told.hexdigest()}"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a plan costs in one provider: vendor calls, and seconds at the configured rate."""

    calls: int
    seconds: float


class Siblings(NamedTuple):
    """The accounts of one entry in several apps, of which a plan touches some.

    `behind` are those that need something which another one does not need: an earlier run got
    further there, or the app is new in the entry. A create needs everything.
    """

    accounts: tuple[Address, ...]
    behind: tuple[Address, ...] = ()
    file: str = ""
    line: int = 0


class Override(NamedTuple):
    """A rule that shall not refuse one plan: which, why, who says so, and the rule as it was then.

    `digest` is `Rule.digest`: a rule that was changed since refuses again.
    """

    rule: str
    reason: str
    by: str
    digest: str

    def to_json(self) -> dict[str, str]:
        """Return the shape of the plan file."""
        return {"rule": self.rule, "reason": self.reason, "by": self.by, "rule_digest": self.digest}

    @classmethod
    def from_json(cls, shape: Mapping[str, Any]) -> Override:
        """Read the shape of the plan file. Raises KeyError or TypeError if it is not one."""
        found = [shape[key] for key in ("rule", "reason", "by", "rule_digest")]
        if not all(isinstance(text, str) for text in found):
            raise TypeError("a text is missing in it")
        return cls(*found)


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done, made from one snapshot of the recorded state at one moment.

    `actions` are sorted by address and then in running order; accounts that are behind their
    siblings go first all the same. `desired` and `recorded` are how
    many accounts there were on each side (limits are shares of the recorded ones). `allow` holds
    the limits that may be exceeded, by kind, `overrides` the rules that shall not refuse just this
    plan. `boundary` is when the first ban that the plan relies on ends, or empty. `targets` are the
    addresses and providers that it was asked for; none means all there are.
    """

    workspace: str
    lineage: str
    serial: int
    created_at: str
    as_of: str
    actions: tuple[Action, ...]
    fingerprint: str
    unchanged: int = 0
    desired: int = 0
    recorded: int = 0
    refreshed: bool = False
    diagnostics: tuple[Diagnostic, ...] = ()
    cost: Mapping[str, Cost] = field(default_factory=dict)
    allow: Mapping[str, int] = field(default_factory=dict)
    boundary: str = ""
    siblings: tuple[Siblings, ...] = ()
    overrides: tuple[Override, ...] = ()
    targets: tuple[str, ...] = ()

    def summary(self) -> dict[str, int]:
        """Return how many actions of each kind there are, and the unchanged accounts."""
        counts = dict.fromkeys(("create", "update", "block", "unblock", "adopt", "forget"), 0)
        for action in self.actions:
            counts[action.kind] += 1
        return {**counts, "unchanged": self.unchanged}
