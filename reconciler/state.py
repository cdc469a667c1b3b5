"""State: what is recorded of each account, and the protocols a store keeps it by."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

from reconciler.accounts import Address, Document, Observed, encode, flatten, owned, split
from reconciler.changes import Action, Create, Kind, Override, carried_out
from reconciler.values import digest


@dataclass(frozen=True, slots=True)
class Record:
    """What is recorded of one account.

    `document` is what was last applied, `banned` whether a ban was last applied (a lapsed ban
    record stays in the document), `observed` what the vendor was last seen to hold (None: never
    read). `version` is the state's serial when the account last changed. `token_key` is the keyed
    fingerprint of the applied token, empty where none is kept. `updated_at` is RFC 3339 UTC.
    `waiting` names the paths that the vendor could not take when they were last tried.
    """

    address: Address
    document: Document
    banned: bool
    version: int = 0
    observed: Observed | None = None
    token_key: str = ""
    updated_at: str = ""
    run: str = ""
    waiting: tuple[str, ...] = ()

    @property
    def is_banned(self) -> bool:
        """Whether the vendor holds a ban, as far as is known: seen first, else as applied."""
        seen = self.observed
        return self.banned if seen is None or seen.banned is None else seen.banned

    def current(self, path: str) -> Any:
        """Return the last known value of `profile.x` or `configuration.x`; None if unknown."""
        section, _, name = path.partition(".")
        if self.observed is not None:
            seen: Any = getattr(self.observed, section, {})
            for part in name.split(".", 1):
                seen = seen.get(part) if isinstance(seen, Mapping) else None
            if seen is not None:
                return seen
        return flatten(self.document).get(path)

    def after(
        self,
        action: Action,
        *,
        waiting: tuple[str, ...] = (),
        token_key: str = "",
        seen: Observed | None = None,
    ) -> Record:
        """Return the record once the action was confirmed, but for the paths that wait."""
        observed = seen or self.observed
        if isinstance(action, Create):
            observed = seen
        elif observed is not None:
            for change in action.changes:
                observed = observed.holding(change.path, change.after)
        paths = {change.path for change in action.changes}
        return replace(
            self,
            document=carried_out(self.document, action),
            observed=observed,
            banned={Kind.CREATE: False, Kind.BLOCK: True, Kind.UNBLOCK: False}.get(
                action.kind, self.banned
            ),
            token_key=token_key if "token" in paths else self.token_key,
            waiting=tuple(sorted({*self.waiting, *waiting} - (paths - {*waiting}))),
        )

    @property
    def index_digest(self) -> bytes | None:
        """The digest planning compares with a desired account's, None if it must look closer."""
        return digest(encode(self.document)) if self.plain else None

    @property
    def plain(self) -> bool:
        """Whether equal digests mean that there is nothing to do.

        Not so where the vendor was seen to differ from what was applied, and where ban and record
        disagree. That a ban has ended is for whoever compares to see, who knows what time it is.
        """
        return ("ban" in self.document) == self.banned and self.undrifted

    @property
    def undrifted(self) -> bool:
        """Whether nothing that is managed was seen to differ from what was applied."""
        seen = self.observed
        if seen is None:
            return True
        applied = flatten(self.document)
        return (
            seen.exists
            and self.is_banned == self.banned
            and all(
                self.current(path) == value
                for path, value in applied.items()
                if path.startswith(("profile.", "configuration.")) and owned(self.document, path)
            )
        )

    def to_json(self) -> dict[str, Any]:
        """Return the shape of `state show ADDR --json` and of a snapshot's accounts."""
        document = self.document
        token = document.get("token")
        shape: dict[str, Any] = {
            "address": self.address,
            "version": self.version,
            "banned": self.is_banned,
            "attributes": {
                "profile": dict(document.get("profile", {})),
                "configuration": dict(document.get("configuration", {})),
            },
            "observed": self.observed.to_json() if self.observed else None,
            "ban": document.get("ban"),
            "token": {**token, **({"fingerprint": self.token_key} if self.token_key else {})}
            if token
            else None,
            "labels": dict(document.get("labels", {})),
            "manage": dict(document.get("manage", {})),
            "protected": document.get("protected"),
            "on_absent": document.get("on_absent"),
            "updated_at": self.updated_at,
            "run": self.run,
            "applied_ban": self.banned,
            "waiting": list(self.waiting),
        }
        return shape

    @classmethod
    def from_json(cls, shape: Mapping[str, Any]) -> Record:
        """Read the shape that `to_json` wrote. Raises KeyError or TypeError if it is not one."""
        attributes = shape["attributes"]
        document: dict[str, Any] = {
            name: dict(section)
            for name, section in (
                ("profile", attributes["profile"]),
                ("configuration", attributes["configuration"]),
                ("labels", shape.get("labels", {})),
                ("manage", shape.get("manage", {})),
            )
            if section
        }
        if shape["ban"] is not None:
            document["ban"] = shape["ban"]
        token_key = ""
        if token := shape["token"]:
            token_key = token.get("fingerprint", "")
            document["token"] = {k: v for k, v in token.items() if k != "fingerprint"}
        if shape.get("protected") is not None:
            document["protected"] = bool(shape["protected"])
        if shape.get("on_absent"):
            document["on_absent"] = shape["on_absent"]
        observed = Observed.from_json(shape["observed"]) if shape["observed"] else None
        banned = bool(shape["applied_ban"]) if "applied_ban" in shape else bool(shape["banned"])
        return cls(
            Address(shape["address"]),
            document,
            banned,
            int(shape["version"]),
            observed,
            token_key,
            shape["updated_at"],
            shape["run"],
            tuple(shape.get("waiting", ())),
        )


class Status(StrEnum):
    """How an intent ended. `intent` and `ambiguous` are in doubt, the others are settled."""

    INTENT = "intent"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    NOT_SENT = "not_sent"
    AMBIGUOUS = "ambiguous"


IN_DOUBT = (Status.INTENT, Status.AMBIGUOUS)


@dataclass(frozen=True, slots=True)
class Intent:
    """One action written down before its first byte is sent.

    `action` is the action's plan-file JSON (references, never secrets). `known_absent` says that
    the vendor was asked just before and did not know the account, so that a create found there
    later is ours. `at` is when it was written down (RFC 3339 UTC); the store knows.
    """

    id: str
    run: str
    address: Address
    action: Mapping[str, Any]
    known_absent: bool = False
    status: Status = Status.INTENT
    at: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Settlement:
    """How one intent ended, with what becomes of the account's record in the same transaction.

    `record` replaces the recorded account (its version is set by the store); `forget` drops it;
    neither leaves it as it is. `code` and `message` are the vendor's, already made safe to store.
    """

    intent: str
    status: Status
    code: str = ""
    message: str = ""
    record: Record | None = None
    forget: Address | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One command that writes: who, where, when and for which plan. Times are RFC 3339 UTC.

    `overrides` are the rules that it was not refused by, because somebody said so.
    """

    id: str
    operation: str
    started_at: str
    operator: str = ""
    fingerprint: str = ""
    context: Mapping[str, str] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the shape of `run` in `state history --json`, which remote state keeps too."""
        return {
            "id": self.id,
            "operation": self.operation,
            "started_at": self.started_at,
            "operator": self.operator,
            "fingerprint": self.fingerprint,
            "context": dict(self.context),
            "overrides": [one.to_json() for one in self.overrides],
        }

    @classmethod
    def from_json(cls, shape: Mapping[str, Any]) -> Run:
        """Read the shape that `to_json` wrote, also before there were overrides."""
        facts = {key: value for key, value in shape.items() if key != "overrides"}
        return cls(**facts, overrides=tuple(map(Override.from_json, shape.get("overrides", ()))))


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of history: what was done to an account, when, by which run, and how it ended."""

    at: str
    run: Run
    address: Address
    action: Mapping[str, Any]
    status: Status
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which state this is: its workspace, its lineage (made once) and its serial (every change).

    `chain` is the digest of all serials up to this one, empty where a store keeps none. Two states
    of one serial with different chains have gone different ways. `key` is the id of the key that
    the state is encrypted with, empty where it is clear.
    """

    workspace: str
    lineage: str
    serial: int
    chain: str = field(default="", compare=False)
    key: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who asks for the lock."""

    name: str
    host: str
    pid: int
    operation: str


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock as it is held. Times are RFC 3339 UTC by the store's clock.

    `apps` are the providers whose accounts it locks; None is the whole workspace.
    """

    id: str
    holder: Holder
    acquired_at: str
    expires_at: str
    fence: int
    apps: tuple[str, ...] | None = None


Scope: TypeAlias = Collection[str] | None
"""The providers whose accounts somebody may write; None is all there are."""


def within(address: Address, scope: Scope) -> bool:
    """Tell whether an account is one of these providers'."""
    return scope is None or split(address)[0] in scope


def overlap(one: Scope, other: Scope) -> bool:
    """Tell whether there may be an account in both."""
    return one is None or other is None or not set(one).isdisjoint(other)


class Reader(Protocol):
    """What anyone may ask of a store; a reader never waits for the lock."""

    def identity(self) -> Identity:
        """Return workspace, lineage and serial (serial 0 and empty lineage: nothing written)."""
        ...

    def index(self) -> Iterator[tuple[Address, bytes | None]]:
        """Yield address and `Record.index_digest` of every record, verified, by address."""
        ...

    def records(self, addresses: Iterable[Address]) -> Iterator[Record]:
        """Yield the records of these addresses, in any order; unknown ones are left out."""
        ...

    def everything(self) -> Iterator[Record]:
        """Yield every record, sorted by address."""
        ...

    def unresolved(self) -> tuple[Intent, ...]:
        """Return the intents in doubt, oldest first."""
        ...

    def apps(self) -> Mapping[str, str]:
        """Return, per provider, the identity of the vendor app its accounts belong to."""
        ...

    def history(self, address: Address | None = None) -> Iterator[Entry]:
        """Yield what was done, oldest first, of one account or of all."""
        ...

    def held(self) -> Lock | None:
        """Return the lock if somebody holds it now; of several the oldest."""
        ...


def doubts(recorded: Reader, scope: Scope) -> tuple[Intent, ...]:
    """Return the intents in doubt of these providers' accounts, oldest first.

    What is in doubt of another app may just be under way.
    """
    return tuple(intent for intent in recorded.unresolved() if within(intent.address, scope))


class Writer(Protocol):
    """The only way to change state; a store hands it out with the lock and fences every write.

    Every method raises `Locked` when the lock was lost, and then has written nothing. They raise
    StateError for an account out of `scope`: what the lock was asked for, whatever more it covers.
    """

    @property
    def scope(self) -> Scope: ...

    def begin(self, run: Run, lineage: str = "") -> None:
        """Record the run that the following writes belong to.

        A state that was never written goes on with `lineage` where one is given, else with a new
        one; any other state keeps its own.
        """
        ...

    def bind(self, apps: Mapping[str, str]) -> None:
        """Record which vendor app each provider speaks to. Never rebinds a provider."""
        ...

    def intend(self, intents: Sequence[Intent]) -> None:
        """Make the intents durable; when this returns they survive a power loss."""
        ...

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Record outcomes and the records they make, in one transaction, under one new serial.

        Settlements that change no record leave the serial alone.
        """
        ...

    def save(self, records: Sequence[Record], forget: Sequence[Address], operation: str) -> None:
        """Replace or drop records outside an apply (refresh, import, `state rm`), with history."""
        ...

    def check(self) -> None:
        """Raise `Locked` if the lock is lost; call it before every vendor mutation."""
        ...


class Rewriter(Writer, Protocol):
    """A writer that can also write anew what a store keeps at rest."""

    def erase(
        self,
        address: Address,
        record: Record | None,
        hide: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    ) -> int:
        """Replace what is kept of an account, and leave none of it behind as far as that goes.

        `record` replaces the recorded one where there is one; `hide` is given the action of every
        line of the account's journal and returns what stays of it, and the vendor's messages go.
        Adds a line of history, all in one transaction; returns how many lines were rewritten.
        Raises StateError while an action of the account is in doubt.
        """
        ...

    def rekey(self) -> None:
        """Write everything anew as the workspace's keys say: encrypted with the first, or clear.

        All of it or nothing; of what stood there before none is left behind, as far as that goes.
        Adds a line of history. Where it was so already, only what was left behind is cleared away.
        """
        ...


class Store(Reader, Protocol):
    """A reader that can also hand out the lock."""

    def lock(
        self, holder: Holder, timeout: float = 0.0, apps: Collection[str] | None = None
    ) -> AbstractContextManager[Rewriter]:
        """Take the lock or raise `Locked` naming its holder, after waiting `timeout` seconds.

        `apps` are the names of the providers whose accounts are written, None for all there are;
        a store may lock more than these.
        """
        ...

    def locks(self) -> tuple[Lock, ...]:
        """Return the locks that somebody holds now, oldest first."""
        ...

    def force_unlock(self, id: str, run: Run) -> None:
        """Break the lock with this exact id; raises `Locked` or `StateError` if it is another."""
        ...

    def chain(self) -> int:
        """Walk the chain of serials, and what reading leaves out, anew; return how many there are.

        Raises StateError for a link that does not fit. 0 where earlier serials are not kept.
        """
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...
